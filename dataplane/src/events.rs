//! Reports of drops and of rules, as the packet path sends them.

use std::{
    fmt,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use andromede_abi::{DropEvent, Pod, RuleEvent, from_bytes};
use aya::maps::{MapData, RingBuf};

/// Reports of dropped packets.
pub type DropEvents = Events<DropEvent>;
/// Reports of rules that say `log`.
pub type RuleEvents = Events<RuleEvent>;

/// Reader of a ring buffer of records of type `E`. Its descriptor becomes readable when there is an event: wait for it (epoll, tokio's
/// `AsyncFd`), then call [`Events::next`] until there is none.
pub struct Events<E> {
    ring: RingBuf<MapData>,
    malformed: u64,
    records: PhantomData<fn() -> E>,
}

impl<E: Pod> Events<E> {
    pub(crate) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring, malformed: 0, records: PhantomData }
    }

    /// The next event, if there is one.
    #[allow(clippy::should_implement_trait, reason = "an end is not final: later there may be more")]
    pub fn next(&mut self) -> Option<E> {
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

impl<E> AsFd for Events<E> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl<E> AsRawFd for Events<E> {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("malformed", &self.malformed).finish_non_exhaustive()
    }
}
