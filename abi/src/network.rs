//! What holds for a whole network.

use crate::{
    identifiers::{NetworkIndex, Slot},
    pod::row,
};

/// How long a connection without packets is remembered, in seconds, by what was seen of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established.
    pub tcp_established: u32,
    /// TCP, half-open, or closed by one side.
    pub tcp_transitory: u32,
    /// TCP, closed by both sides or reset, and an SCTP association that is over: late packets only.
    pub tcp_closed: u32,
    /// UDP that was answered, and an established SCTP association.
    pub udp_replied: u32,
    /// UDP that was not answered, and an SCTP association that is half-open.
    pub udp_one_way: u32,
    /// Everything else: ICMP queries, other protocols.
    pub other: u32,
}
row!(Timeouts, 24, [u32; 6]);

impl Timeouts {
    /// What holds where nobody said anything else: RFC 5382, REQ-5 (2 hours 4 minutes; 4 minutes), RFC 4787, REQ-5 (5 minutes; not
    /// less than 2), RFC 5508, REQ-1 (1 minute).
    pub const DEFAULT: Self = Self {
        tcp_established: 7_440,
        tcp_transitory: 240,
        tcp_closed: 10,
        udp_replied: 300,
        udp_one_way: 120,
        other: 60,
    };
}

/// Row of `networks`, keyed by [`NetworkIndex`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkRow {
    /// [`NetworkRow::owner_of`]; checked again after copying.
    pub owner: u64,
    /// Number of the network's tenant.
    pub tenant: u32,
    /// The network's word in `epochs`: odd while several tables of the network change together.
    pub network_slot: Slot,
    /// No bit is given out yet.
    pub flags: u32,
    /// When its connections are over.
    pub timeouts: Timeouts,
    /// Most connections of the tenant on this host, of all its networks; 0: no limit.
    pub tenant_flows: u32,
    /// Zero: zones come here.
    pub reserved: [u32; 4],
}
row!(NetworkRow, 64, u64, [u32; 3], Timeouts, u32, [u32; 4]);

impl NetworkRow {
    /// The owner word of the row of this network.
    #[inline(always)]
    pub const fn owner_of(network: NetworkIndex) -> u64 {
        1 << 32 | network as u64
    }
}
