//! How far an input got: what of the packet path the kept inputs reach is asked by a test.

use std::collections::BTreeSet;

use andromede_abi::DropReason;

/// What frames of an input met.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// Why some were dropped.
    pub reasons: BTreeSet<DropReason>,
    /// What passed: see [`Passed`].
    pub passed: BTreeSet<Passed>,
}

/// A kind of packet that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passed {
    /// A whole one, no ICMP error.
    Whole,
    /// The first part of a datagram.
    First,
    /// Another part of a datagram whose first had passed.
    Later,
    /// Another part of a datagram whose first had not.
    Early,
    /// An ICMP error.
    Error,
}

impl Reached {
    /// With what another input met.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.reasons.extend(other.reasons);
        self.passed.extend(other.passed);
        self
    }
}
