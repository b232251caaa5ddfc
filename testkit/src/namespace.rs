//! A network namespace without a name.

use std::{
    ffi::OsStr,
    fs::File,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use crate::requires;

/// A network namespace, held by a file descriptor: the kernel removes it, and all interfaces in it, when the
/// last holder is gone, however that comes about.
#[derive(Clone, Debug)]
pub struct Namespace {
    fd: Arc<OwnedFd>,
}

impl Namespace {
    /// A new namespace with nothing in it but a loopback that is up.
    pub fn new() -> Result<Self> {
        let made = thread::spawn(|| -> Result<OwnedFd> {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace (needs CAP_SYS_ADMIN)")?;
            Ok(File::open("/proc/thread-self/ns/net")?.into())
        });
        let Ok(fd) = made.join() else { bail!("the thread that makes a network namespace panicked") };
        let namespace = Self { fd: Arc::new(fd?) };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A namespace that has a path, such as `/run/netns/name`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening the network namespace {}", path.display()))?;
        Ok(Self { fd: Arc::new(file.into()) })
    }

    /// A path that other processes can open while this one lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd()).into()
    }

    /// Moves the calling thread into the namespace, for good.
    fn enter(&self) -> nix::Result<()> {
        setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET)
    }

    /// Does `job` in the namespace, in a thread of its own, and waits for it. Sockets opened there stay there.
    /// A panic of `job` goes on in the caller.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let done = scope.spawn(|| self.enter().map(|()| job())).join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).context("entering a network namespace")
        })
    }

    /// Starts `job` in the namespace, in a thread of its own.
    pub fn spawn<T: Send + 'static>(&self, job: impl FnOnce() -> Result<T> + Send + 'static) -> JoinHandle<Result<T>> {
        let namespace = self.clone();
        thread::spawn(move || {
            namespace.enter().context("entering a network namespace")?;
            job()
        })
    }

    /// A command that will run in the namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", requires::search_path());
        let fd = Arc::clone(&self.fd);
        // SAFETY: between fork and exec only `setns` is called, which is a bare system call.
        unsafe {
            command.pre_exec(move || setns(fd.as_fd(), CloneFlags::CLONE_NEWNET).map_err(Into::into));
        }
        command
    }

    /// Runs a command line (split at white space) in the namespace; an error if it fails, with what it wrote.
    pub fn exec(&self, line: &str) -> Result<Output> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        let output = self.command(program).args(words).output().with_context(|| format!("starting `{line}`"))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{line}` failed ({}): {}", output.status, stderr.trim());
        Ok(output)
    }

    /// Runs `ip` with these arguments (split at white space) in the namespace.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        self.exec(&format!("ip {arguments}")).map(drop)
    }

    /// Ethernet address of an interface.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6]> {
        let output = self.exec(&format!("ip -o link show dev {interface}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.split_whitespace().skip_while(|word| *word != "link/ether").skip(1);
        crate::packet::parse_mac(words.next().with_context(|| format!("{interface} has no Ethernet address"))?)
    }

    /// Index of an interface.
    pub fn index(&self, interface: &str) -> Result<u32> {
        self.run(|| nix::net::if_::if_nametoindex(interface))?
            .with_context(|| format!("looking for the interface {interface}"))
    }
}

/// Joins two namespaces by a veth pair; both ends are up.
pub fn veth(a: &Namespace, a_name: &str, b: &Namespace, b_name: &str, mtu: u32) -> Result<()> {
    let other = b.path();
    a.ip(&format!("link add {a_name} mtu {mtu} type veth peer name {b_name} mtu {mtu} netns {}", other.display()))?;
    a.ip(&format!("link set {a_name} up"))?;
    b.ip(&format!("link set {b_name} up"))
}
