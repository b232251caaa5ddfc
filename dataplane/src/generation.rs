//! The word by which the packet path knows that a table has changed.

use std::io;

use crate::sys::{MappedCounter, RawMap};

/// How many writes to tables of configuration there were. What a processor keeps of those tables it keeps under this number, and reads
/// again once it is another.
#[derive(Debug)]
pub(crate) struct Generation(MappedCounter);

impl Generation {
    /// The word in this map.
    pub(crate) fn of(map: &RawMap) -> io::Result<Self> {
        MappedCounter::new(map).map(Self)
    }

    /// A table was written to.
    pub(crate) fn advance(&self) {
        self.0.increment();
    }
}
