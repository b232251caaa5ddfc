//! Reports of drops, as the packet path sends them.

use std::{
    fmt,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use andromede_abi::{DropEvent, from_bytes};
use aya::maps::{MapData, RingBuf};

/// Reader of the ring buffer. Its descriptor becomes readable when there is an event: wait for it (epoll, tokio's
/// `AsyncFd`), then call [`Events::next`] until there is none.
pub struct Events {
    ring: RingBuf<MapData>,
    malformed: u64,
}

impl Events {
    pub(crate) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring, malformed: 0 }
    }

    /// The next event, if there is one.
    #[allow(clippy::should_implement_trait, reason = "an end is not final: later there may be more")]
    pub fn next(&mut self) -> Option<DropEvent> {
        while let Some(record) = self.ring.next() {
            match from_bytes(&record) {
                Some(event) => return Some(event),
                None => self.malformed = self.malformed.saturating_add(1),
            }
        }
        None
    }

    /// Records that were not as long as an event: a program of another version wrote them.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("malformed", &self.malformed).finish_non_exhaustive()
    }
}
