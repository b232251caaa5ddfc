//! Who may send into a network from the underlay.

use crate::{
    Address,
    identifiers::{HostIndex, NetworkIndex, Slot},
    pod::row,
};

/// Key of `members`: a network's name on the wire and the outer source address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey {
    /// Outer source address.
    pub underlay: Address,
    /// VXLAN network identifier, 24 bits, host byte order.
    pub vni: u32,
}
row!(MemberKey, 20, Address, u32);

/// Bits of [`MemberRow::flags`].
pub mod member_flag {
    /// A foreign tunnel endpoint: its prefixes are in `prefixes`.
    pub const VTEP: u32 = 1 << 0;
}

/// Row of `members`: the sender is a member of the network, and under this number.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// [`MemberRow::owner_of`]; checked again after copying.
    pub owner: u64,
    /// The network that this name on the wire means, coming from this sender.
    pub network: NetworkIndex,
    /// The sender. It may send only from addresses whose location names it.
    pub host: HostIndex,
    /// The network's word in `epochs`.
    pub network_slot: Slot,
    /// Zone of the sender (reserved).
    pub zone: u32,
    /// See [`member_flag`].
    pub flags: u32,
    /// Zero.
    pub reserved: [u32; 3],
}
row!(MemberRow, 40, u64, [u32; 5], [u32; 3]);

impl MemberRow {
    /// The owner word of the row for this key.
    #[inline(always)]
    pub const fn owner_of(key: &MemberKey) -> u64 {
        let [a, b, c, d] = key.underlay.0;
        let tag = a.rotate_left(5) ^ b.rotate_left(11) ^ c.rotate_left(17) ^ d;
        (key.vni as u64 | 1 << 31) << 32 | tag as u64
    }
}
