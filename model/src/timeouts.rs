//! How long connections are remembered.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::ValueError;

/// Seconds without a packet after which a network forgets a connection, by what was seen of it. Each has a range of its own:
/// see [`Timeouts::RANGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// TCP, established.
    pub tcp_established: u32,
    /// TCP, half-open or closed by one side.
    pub tcp_transitory: u32,
    /// TCP, closed by both sides or reset.
    pub tcp_closed: u32,
    /// UDP that was answered.
    pub udp_replied: u32,
    /// UDP that was not answered.
    pub udp_one_way: u32,
    /// Everything else.
    pub other: u32,
}

impl Default for Timeouts {
    /// RFC 5382, REQ-5 (2 hours 4 minutes; 4 minutes), RFC 4787, REQ-5 (5 minutes; not less than 2), RFC 5508, REQ-1 (1 minute).
    fn default() -> Self {
        Self {
            tcp_established: 7_440,
            tcp_transitory: 240,
            tcp_closed: 10,
            udp_replied: 300,
            udp_one_way: 120,
            other: 60,
        }
    }
}

/// The name of a timeout, what it is for, and its range.
type Field = (&'static str, fn(&Timeouts) -> u32, RangeInclusive<u32>);

impl Timeouts {
    /// The timeouts by name, each with its range in seconds. The documents ask for more than the lower ends: an operator who
    /// knows the workloads may go below, never so far that a retransmission (RFC 6298: 1 s, then doubled) is forgotten.
    pub const RANGES: [Field; 6] = [
        ("tcp_established_seconds", |it| it.tcp_established, 60..=2_592_000),
        ("tcp_transitory_seconds", |it| it.tcp_transitory, 10..=3_600),
        ("tcp_closed_seconds", |it| it.tcp_closed, 1..=240),
        ("udp_replied_seconds", |it| it.udp_replied, 10..=86_400),
        ("udp_one_way_seconds", |it| it.udp_one_way, 5..=3_600),
        ("other_seconds", |it| it.other, 5..=86_400),
    ];

    /// The timeouts that are out of their range, with their names.
    pub fn wrong(&self) -> impl Iterator<Item = (&'static str, ValueError)> + '_ {
        Self::RANGES.into_iter().filter_map(|(name, value, range)| {
            let value = value(self);
            let rule = format!("this timeout is {} to {} seconds", range.start(), range.end());
            let error = || ValueError::new(value, rule, "give one in this range, or 0 for the default");
            (!range.contains(&value)).then(|| (name, error()))
        })
    }
}
