//! Taking an interface away, without waiting for what the kernel does after it is gone.
//!
//! The kernel first closes both ends of the pair and takes them out of its lists: from then on nothing passes and nobody finds them. Then
//! it waits, for tens of milliseconds, until no processor can still be using them, frees them, and answers
//! (`unregister_netdevice_many_notify` and `netdev_run_todo`, net/core/dev.c). Whoever deletes a pod needs the first. What has begun the
//! kernel brings to its end, even if this process is killed.

use std::{io, thread, time::Duration};

use nix::{errno::Errno, net::if_::if_indextoname};
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::sleep,
};

use super::netlink::{Netlink, NetlinkError};

/// Pause between two looks at whether the interface is still there.
const LOOK: Duration = Duration::from_millis(1);

/// An interface that is being removed. How many there are at once is bounded by the kernel, which takes one after the other out of its
/// lists.
#[derive(Debug)]
pub struct Removal {
    answer: oneshot::Receiver<Result<(), NetlinkError>>,
}

impl Removal {
    /// Removes an interface of the network namespace of this thread, and returns as soon as nothing passes and nobody finds it; no error
    /// if it is gone already. `freed` is called once the kernel has freed it, or refused.
    pub async fn begin(ifindex: u32, freed: impl FnOnce() + Send + 'static) -> Result<Self, NetlinkError> {
        let refused = |source| NetlinkError { action: format!("remove interface {ifindex}"), source };
        let (sender, mut answer) = oneshot::channel();
        // A thread of its own: the request ends only once the kernel has freed all, and blocks meanwhile.
        let work = move || {
            // Nobody may listen any more.
            drop(sender.send(remove(ifindex)));
            freed();
        };
        thread::Builder::new().name("removal".to_owned()).spawn(work).map_err(refused)?;
        loop {
            tokio::select! {
                answered = &mut answer => {
                    answered.map_err(|_| refused(io::Error::other("the thread ended early")))??;
                    // The answer was taken: what is asked later finds the channel closed, which says that it has come.
                    return Ok(Self { answer });
                }
                () = sleep(LOOK) => {
                    if is_gone(ifindex) {
                        return Ok(Self { answer });
                    }
                }
            }
        }
    }

    /// Has the kernel freed the interface, and with it the programs that were at it?
    pub fn is_over(&mut self) -> bool {
        !matches!(self.answer.try_recv(), Err(TryRecvError::Empty))
    }
}

fn remove(ifindex: u32) -> Result<(), NetlinkError> {
    let refused = |source| NetlinkError { action: format!("remove interface {ifindex}"), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
    runtime.block_on(async { Netlink::open().map_err(refused)?.delete_link(ifindex).await })
}

/// Asked by the number: by the name, the kernel would look for a module of that name. Where there is no such interface, nix 0.31 takes the
/// null pointer of the C library for a name, an empty one.
fn is_gone(ifindex: u32) -> bool {
    match if_indextoname(ifindex) {
        Ok(name) => name.is_empty(),
        Err(error) => matches!(error, Errno::ENXIO | Errno::ENODEV),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_gone() {
        assert!(!is_gone(1), "the loopback device of every network namespace");
        assert!(is_gone(0x7fff_ffff));
    }
}
