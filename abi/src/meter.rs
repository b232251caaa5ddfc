//! What is metered: packets, bytes and connections, by network and by place.

use crate::pod::row;

/// Index of a network's row in `METERS`; 0: the row of all networks that have none of their own.
pub type MeterIndex = u16;

/// Where a packet goes to or comes from, as far as a bill asks. A packet between two workloads is counted once, at the host of the one that
/// sends it; what comes from or goes to somebody else is counted at the host of the workload.
pub mod meter_place {
    /// Not counted here: the sender's host has counted it.
    pub const NONE: u8 = 0;
    /// To a workload of this host.
    pub const SAME_HOST: u8 = 1;
    /// To a workload of another host, in the zone of this one.
    pub const SAME_ZONE: u8 = 2;
    /// To a workload of a host in another zone.
    pub const OTHER_ZONE: u8 = 3;
    /// To a foreign tunnel endpoint.
    pub const OUTSIDE_SENT: u8 = 4;
    /// From a foreign tunnel endpoint.
    pub const OUTSIDE_RECEIVED: u8 = 5;
    /// To the node itself.
    pub const NODE_SENT: u8 = 6;
    /// From the node itself, or what it forwards.
    pub const NODE_RECEIVED: u8 = 7;
    /// How many there are.
    pub const COUNT: usize = 8;
}

/// What was counted of one place.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Meter {
    /// Packets as they are on a wire: each segment of a large frame is one.
    pub packets: u64,
    /// Their bytes, from the inner Ethernet header on, without a checksum behind: each segment with its own headers.
    pub bytes: u64,
    /// Connections that were opened by such a packet.
    pub flows: u64,
    /// Zero.
    pub reserved: u64,
}
row!(Meter, 32, [u64; 4]);

/// Row of `METERS`: what a network has used on this host, of one processor.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MeterRow {
    /// By [`meter_place`].
    pub places: [Meter; meter_place::COUNT],
}
row!(MeterRow, 256, [Meter; meter_place::COUNT]);
