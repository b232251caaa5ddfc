//! A place for pins that goes away by itself.

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

/// A bpffs mounted in a mount namespace of its own. What is pinned there lives as long as this value or a
/// process inside, and needs no cleaning up, even after `kill -9`.
#[derive(Clone, Debug)]
pub struct Pins {
    namespace: Arc<OwnedFd>,
    folder: PathBuf,
}

impl Pins {
    /// Mounts a bpffs on `folder`, which must exist, for those that [`enter`](Self::enter) only.
    pub fn new(folder: &Path) -> Result<Self> {
        let target = folder.to_owned();
        let made = thread::spawn(move || -> Result<OwnedFd> {
            unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace (needs CAP_SYS_ADMIN)")?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("making mounts private")?;
            mount(Some("bpf"), &target, Some("bpf"), MsFlags::empty(), none)
                .with_context(|| format!("mounting a bpffs on {}", target.display()))?;
            Ok(File::open("/proc/thread-self/ns/mnt")?.into())
        });
        let Ok(namespace) = made.join() else { bail!("the thread that mounts a bpffs panicked") };
        Ok(Self { namespace: Arc::new(namespace?), folder: folder.to_owned() })
    }

    /// Mounts a bpffs on `folder` for everybody to see, until [`unmount_under`](Self::unmount_under).
    pub fn mount_openly(folder: &Path) -> Result<()> {
        mount(Some("bpf"), folder, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting a bpffs on {}", folder.display()))
    }

    /// Unmounts every file system under `folder`.
    pub fn unmount_under(folder: &Path) -> Result<()> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").context("reading the list of mounts")?;
        let points = mounts.lines().filter_map(|line| line.split_whitespace().nth(1)).map(Path::new);
        for point in points.filter(|point| point.starts_with(folder)) {
            umount2(point, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {}", point.display()))?;
        }
        Ok(())
    }

    /// Where the bpffs is, inside.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes `command` run where the bpffs is mounted. The working directory becomes `/`.
    pub fn enter(&self, command: &mut Command) {
        let fd = Arc::clone(&self.namespace);
        // SAFETY: between fork and exec only `setns` is called, which is a bare system call.
        unsafe {
            command.pre_exec(move || setns(fd.as_fd(), CloneFlags::CLONE_NEWNS).map_err(Into::into));
        }
    }

    /// Does `job` in a thread that sees the bpffs.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = || -> Result<T> {
                unshare(CloneFlags::CLONE_FS).context("parting from the other threads' root")?;
                setns(self.namespace.as_fd(), CloneFlags::CLONE_NEWNS).context("entering a mount namespace")?;
                Ok(job())
            };
            scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
