//! What the kernel tells userspace about rules that say `log`.

use crate::{
    Address,
    identifiers::{NetworkIndex, RuleNumber, Slot},
    pod::row,
};

/// Directions of rules, as bits: both sides of one packet may have a rule that says `log`.
pub mod rule_direction {
    /// What the port sends: the rule of a connection's initiator.
    pub const EGRESS: u8 = 1 << 0;
    /// What the port receives: the rule of a connection's answerer.
    pub const INGRESS: u8 = 1 << 1;
}

/// Events that the rules of one port send in a second, and at once after a quiet time; the rest is counted at the port
/// ([`crate::Usage::RuleEventsLost`]).
pub const RULE_EVENTS_OF_PORT: u64 = 100;

/// Events that the rules of all ports of one tenant send on a host in a second, and at once after a quiet time.
pub const RULE_EVENTS_OF_TENANT: u64 = 1_000;

/// Record in the ring buffer `rule_events`: a rule that says `log` let a new connection in or out, or refused a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleEvent {
    /// Nanoseconds since boot.
    pub time: u64,
    /// Number of the connection; 0 if the packet was refused.
    pub connection: u64,
    /// The rule.
    pub rule: RuleNumber,
    /// The port that has the rule.
    pub port: Slot,
    /// The network.
    pub network: NetworkIndex,
    /// Length of the frame in bytes, all segments together.
    pub length: u32,
    /// Source address of the packet.
    pub source: Address,
    /// Destination address of the packet.
    pub destination: Address,
    /// Source port, network byte order.
    pub source_port: u16,
    /// Destination port, network byte order; ICMP: type and code.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flags.
    pub tcp_flags: u8,
    /// One of [`rule_direction`].
    pub direction: u8,
    /// What the rule does: [`crate::Action`] as its number.
    pub action: u8,
}
row!(RuleEvent, 72, [u64; 2], [u32; 4], Address, Address, u16, u16, [u8; 4]);
