//! What the kernel tells userspace about drops.

use crate::{
    Address,
    identifiers::{NetworkIndex, RuleNumber, Slot},
    pod::row,
};

/// [`DropEvent::kind`]: a dropped packet.
pub const EVENT_KIND_DROP: u16 = 1;

/// Events that one processor sends in a second at most; the rest is only counted.
pub const EVENTS_PER_SECOND: u64 = 200;

/// Events that one processor may send at once after a quiet time.
pub const EVENT_BURST: u64 = 100;

/// Record in the ring buffer `events`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropEvent {
    /// Nanoseconds since boot.
    pub time: u64,
    /// [`EVENT_KIND_DROP`].
    pub kind: u16,
    /// [`crate::DropReason`] as its number.
    pub reason: u16,
    /// [`crate::Stage`] as its number.
    pub stage: u8,
    /// See [`crate::hook`].
    pub hook: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flags.
    pub tcp_flags: u8,
    /// Rule that decided.
    pub rule: RuleNumber,
    /// Local port concerned; 0 if none is known.
    pub port: Slot,
    /// The network; 0 if none is known.
    pub network: NetworkIndex,
    /// Length of the frame in bytes, all segments together.
    pub length: u32,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port, network byte order.
    pub source_port: u16,
    /// Destination port, network byte order; ICMP: type and code.
    pub destination_port: u16,
    /// Outer source address as in a header; 0 if the frame came from a workload.
    pub outer_source: u32,
}
row!(DropEvent, 72, u64, u16, u16, [u8; 4], [u32; 4], Address, Address, u16, u16, u32);

/// Key of the per-CPU table `drops`; the value is a u64 that counts packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DropCounterKey {
    /// Local port concerned; 0 if none is known.
    pub port: Slot,
    /// The network; 0 if none is known.
    pub network: NetworkIndex,
    /// Rule that decided.
    pub rule: RuleNumber,
    /// [`crate::DropReason`] as its number.
    pub reason: u32,
}
row!(DropCounterKey, 16, [u32; 4]);

/// The one row of the per-CPU array `event_budget`: a token bucket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EventBudget {
    /// When tokens were last added: nanoseconds since boot.
    pub filled: u64,
    /// Tokens left.
    pub tokens: u64,
    /// Events that were not sent for want of a token or of room.
    pub suppressed: u64,
}
row!(EventBudget, 24, u64, u64, u64);
