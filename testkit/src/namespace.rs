//! A network namespace without a name.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

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
            loopback_up().context("bringing the loopback up")?;
            Ok(File::open("/proc/thread-self/ns/net")?.into())
        });
        let Ok(fd) = made.join() else { bail!("the thread that makes a network namespace panicked") };
        Ok(Self { fd: Arc::new(fd?) })
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

    /// The same for several lines, in one process: starting one is what takes time. The first that fails ends it.
    pub fn ip_batch(&self, lines: &[impl AsRef<str>]) -> Result<()> {
        let text = lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect::<String>();
        let mut command = self.command("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting `ip -batch -`")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`ip -batch` failed ({}): {}\nof:\n{text}", output.status, stderr.trim());
        Ok(())
    }

    /// Ethernet address of an interface.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6]> {
        let find = || -> nix::Result<Option<[u8; 6]>> {
            let mut named = nix::ifaddrs::getifaddrs()?.filter(|found| found.interface_name == interface);
            Ok(named.find_map(|found| found.address?.as_link_addr()?.addr()))
        };
        let mac = self.run(find)?.context("listing the interfaces")?;
        mac.with_context(|| format!("{interface} has no Ethernet address"))
    }

    /// Index of an interface.
    pub fn index(&self, interface: &str) -> Result<u32> {
        self.run(|| nix::net::if_::if_nametoindex(interface))?
            .with_context(|| format!("looking for the interface {interface}"))
    }
}

/// Joins two namespaces by a veth pair; both ends are up.
pub fn veth(a: &Namespace, a_name: &str, b: &Namespace, b_name: &str, mtu: u32) -> Result<()> {
    veth_and(a, a_name, b, b_name, mtu, "", &[])
}

/// The same, and more in the same two processes: `options` of the first end, and what `ip` is told in the namespace of the second.
pub fn veth_and(
    a: &Namespace,
    a_name: &str,
    b: &Namespace,
    b_name: &str,
    mtu: u32,
    options: &str,
    lines: &[String],
) -> Result<()> {
    let other = b.path();
    let other = other.display();
    // The second cannot be up before it has its peer (`veth_open`, drivers/net/veth.c).
    a.ip(&format!("link add {a_name} mtu {mtu} up {options} type veth peer name {b_name} mtu {mtu} netns {other}"))?;
    b.ip_batch(&[&[format!("link set {b_name} up")], lines].concat())
}

/// Brings the loopback of this thread's namespace up.
fn loopback_up() -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: plain integers and bytes; zero is a value of each.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: `SIOCSIFFLAGS` reads one such request (netdevice(7)).
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
