//! A local port: the host side of a workload's interface.

use crate::{
    Address, PortLimits,
    identifiers::{Identity, Mac, NetworkIndex, PolicySet, Slot},
    pod::row,
};

/// Bits of [`PortRow::flags`].
pub mod port_flag {
    /// What no egress rule decides is allowed. Without this bit it is dropped.
    pub const EGRESS_DEFAULT_ALLOW: u16 = 1 << 0;
    /// What no ingress rule decides is allowed. Without this bit it is dropped.
    pub const INGRESS_DEFAULT_ALLOW: u16 = 1 << 1;
    /// The port may send from further addresses: look into `sources`.
    pub const FURTHER_SOURCES: u16 = 1 << 2;
    /// A tap device: GSO frames must arrive as the kernel's vxlan device leaves them, and there is no peer to redirect to.
    pub const TAP: u16 = 1 << 3;
    /// The port belongs to a network made for pods: what the node itself sends to it is admitted.
    pub const NODE_ADMITTED: u16 = 1 << 4;
    /// The node knows the workload by an infrastructure address: what goes between both is translated at the port.
    pub const TRANSLATED: u16 = 1 << 5;
    /// What the workload sends is policed: see the limits.
    pub const TRANSMIT_POLICED: u16 = 1 << 8;
    /// What the workload receives is policed.
    pub const RECEIVE_POLICED: u16 = 1 << 9;
}

/// Row of `ports`, keyed by the index of the host-side interface (u32, host byte order).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRow {
    /// [`PortRow::owner_of`] of the key and the network; checked again after copying.
    pub owner: u64,
    /// Network of the port.
    pub network: NetworkIndex,
    /// The network's name on the wire, 24 bits.
    pub vni: u32,
    /// The port's epoch, and its number in events.
    pub slot: Slot,
    /// The network's word in `epochs`: odd while several tables of the network change together.
    pub network_slot: Slot,
    /// Interned set of groups.
    pub identity: Identity,
    /// Index of the host-side interface.
    pub ifindex: u32,
    /// Compiled rules for what the workload sends.
    pub egress_set: PolicySet,
    /// Compiled rules for what the workload receives.
    pub ingress_set: PolicySet,
    /// Number of the tenant.
    pub tenant: u32,
    /// Number of the zone of this host; 0: none.
    pub zone: u32,
    /// The only source address of frames.
    pub mac: Mac,
    /// See [`port_flag`].
    pub flags: u16,
    /// First IPv4 address, as in a header; 0 if there is none.
    pub v4: u32,
    /// Epoch of this row: `epochs[slot]` is set to it after the row was written.
    pub epoch: u32,
    /// First IPv6 address; unspecified if there is none.
    pub v6: Address,
    /// What the workload may take.
    pub limits: PortLimits,
    /// Compiled rules of the operator for what the workload sends, asked before those of the tenant.
    pub operator_egress_set: PolicySet,
    /// Compiled rules of the operator for what the workload receives.
    pub operator_ingress_set: PolicySet,
    /// The IPv4 address by which the node knows the workload, as in a header, instead of its first one; 0 if there is none.
    pub infrastructure_v4: u32,
    /// Zero.
    pub reserved: u32,
    /// The IPv6 address by which the node knows the workload instead of its first one; unspecified if there is none.
    pub infrastructure_v6: Address,
}
row!(PortRow, 144, u64, [u32; 10], Mac, u16, u32, u32, Address, PortLimits, [u32; 4], Address);

impl PortRow {
    /// The owner word of the row for this interface and network.
    #[inline(always)]
    pub const fn owner_of(ifindex: u32, network: NetworkIndex) -> u64 {
        (network as u64) << 32 | ifindex as u64
    }

    /// The compiled sets that it refers to; 0 is none.
    pub const fn sets(&self) -> [PolicySet; 4] {
        [self.egress_set, self.ingress_set, self.operator_egress_set, self.operator_ingress_set]
    }
}

/// Key data of the longest-prefix table `sources` (prefix length 32 + that of the address, IPv4 counted as /96 and more).
/// The value is a u32 that is 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey {
    /// Slot of the port.
    pub slot: Slot,
    /// An address that the port may send from.
    pub address: Address,
}
row!(SourceKey, 20, u32, Address);
