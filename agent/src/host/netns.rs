//! Small jobs inside a workload's network namespace, on threads of their own: a thread that entered another namespace never returns
//! to the runtime's pool.

use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::{NSFS_MAGIC, fstatfs},
};
use tokio::sync::oneshot;

use crate::state::attachments::NetnsId;

/// Why a namespace could not be used.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The path leads nowhere, or to something else.
    #[error(
        "netns {path}: cannot open it: {source}; give the path of a network namespace, for example /run/netns/NAME or /proc/PID/ns/net"
    )]
    Open {
        /// The path.
        path: PathBuf,
        /// The answer of the file system.
        source: io::Error,
    },
    /// The path leads to something else.
    #[error("netns {path}: it is no network namespace; give for example /run/netns/NAME or /proc/PID/ns/net")]
    NotNetns {
        /// The path.
        path: PathBuf,
    },
    /// The job's thread failed.
    #[error("netns {path}: cannot work inside: {source}")]
    Enter {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A workload's network namespace, held open.
#[derive(Debug)]
pub struct Netns {
    /// Where it was found.
    pub path: PathBuf,
    /// Its identity.
    pub id: NetnsId,
    file: File,
}

impl Netns {
    /// Opens the namespace at a path.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        let open = |source| NetnsError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        // Only the file system is checked here; that it is a *network* namespace is checked by the kernel on entry.
        if !fstatfs(&file).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC) {
            return Err(NetnsError::NotNetns { path: path.to_owned() });
        }
        let id = NetnsId { device: metadata.dev(), inode: metadata.ino() };
        Ok(Self { path: path.to_owned(), id, file })
    }

    /// The descriptor, for requests that move an interface there.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Runs a job inside: `make` is called on a thread that has entered the namespace, and its future runs there to its end.
    pub async fn run<T, F, Fut>(&self, make: F) -> Result<T, NetnsError>
    where
        T: Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T>,
    {
        let failed = |source| NetnsError::Enter { path: self.path.clone(), source };
        let file = self.file.try_clone().map_err(failed)?;
        let (sender, receiver) = oneshot::channel();
        std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn(move || sender.send(run_inside(&file, make)))
            .map_err(failed)?;
        let result = receiver.await.map_err(|_| failed(io::Error::other("the thread ended early")))?;
        result.map_err(failed)
    }
}

fn run_inside<T, F, Fut>(netns: &File, make: F) -> io::Result<T>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { make().await }))
}
