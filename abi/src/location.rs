//! Where an address of a network is.

use crate::{
    Address,
    identifiers::{HostIndex, Identity, Mac, NetworkIndex, Slot},
    pod::row,
};

/// Values of [`LocationRow::kind`].
pub mod location_kind {
    /// Nothing is known: dropped.
    pub const UNKNOWN: u8 = 0;
    /// A port of the fabric, here or on another host.
    pub const PORT: u8 = 1;
    /// The node itself (pods), or with [`crate::FORWARDED`] for its host what the node reaches.
    pub const HOST: u8 = 2;
    /// Behind a foreign tunnel endpoint.
    pub const VTEP: u8 = 3;
    /// The network's own router: it answers ARP and neighbour solicitations.
    pub const GATEWAY: u8 = 4;
    /// Moved away: send on to the host (reserved for migration).
    pub const FORWARD: u8 = 5;
}

/// Values of [`LocationRow::encapsulation`].
pub mod encapsulation {
    /// VXLAN, RFC 7348, over IPv4.
    pub const VXLAN_V4: u8 = 0;
}

/// Bits of [`LocationRow::flags`].
pub mod location_flag {
    /// The location is on this host; `ifindex` is that of the port.
    pub const LOCAL: u8 = 1 << 0;
    /// The address stands for a workload of another network: only the node that holds it sends there.
    pub const INFRASTRUCTURE: u8 = 1 << 1;
}

/// Key of `locations`: one address of one network. The address stands first, so that a program's copies of it are aligned.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocationKey {
    /// The address.
    pub address: Address,
    /// The network.
    pub network: NetworkIndex,
}
row!(LocationKey, 20, Address, u32);

/// Key data of the longest-prefix table `prefixes` (prefix length 32 + that of the address, IPv4 counted as /96 and more):
/// what lies behind foreign tunnel endpoints. Its rows are [`LocationRow`]s too, which want 8-byte alignment: hence the last word.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrefixKey {
    /// The network.
    pub network: NetworkIndex,
    /// The address, or the first address of the prefix.
    pub address: Address,
    /// Zero; no prefix reaches it.
    pub reserved: u32,
}
row!(PrefixKey, 24, u32, Address, u32);

impl PrefixKey {
    /// The key of an address of a network.
    #[inline(always)]
    pub const fn new(network: NetworkIndex, address: Address) -> Self {
        Self { network, address, reserved: 0 }
    }
}

/// Row of `locations` and `prefixes`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocationRow {
    /// [`LocationRow::owner_of`] of the key; checked again after copying. In `prefixes` that of the prefix's first address.
    pub owner: u64,
    /// The location's epoch; for a local port that of the port.
    pub slot: Slot,
    /// See [`location_kind`].
    pub kind: u8,
    /// See [`encapsulation`].
    pub encapsulation: u8,
    /// Key between the hosts (reserved for encryption).
    pub key_id: u8,
    /// See [`location_flag`].
    pub flags: u8,
    /// The host that holds the address; a foreign tunnel endpoint has a number like a host.
    pub host: HostIndex,
    /// A second host that may hold it meanwhile (reserved for migration).
    pub alternate_host: HostIndex,
    /// Zone of the host (reserved: [`HostRow::zone`] is the one that counts).
    pub zone: u32,
    /// Interned set of groups of the port there; 0 behind a foreign tunnel endpoint.
    pub identity: Identity,
    /// Index of the host-side interface, for a local port; 0 until its workload is attached.
    pub ifindex: u32,
    /// Ethernet address that answers for the location.
    pub mac: Mac,
    /// Zero.
    pub reserved0: u16,
    /// Epoch of this row: `epochs[slot]` is set to it after the row was written. All rows of one slot carry the same.
    pub epoch: u32,
    /// Zero.
    pub reserved: [u32; 4],
}
row!(LocationRow, 64, u64, u32, [u8; 4], [u32; 5], Mac, u16, u32, [u32; 4]);

impl LocationRow {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        owner: 0,
        slot: 0,
        kind: location_kind::UNKNOWN,
        encapsulation: 0,
        key_id: 0,
        flags: 0,
        host: 0,
        alternate_host: 0,
        zone: 0,
        identity: 0,
        ifindex: 0,
        mac: [0; 6],
        reserved0: 0,
        epoch: 0,
        reserved: [0; 4],
    };

    /// The owner word of the row for this key. It is never 0 for a network that exists.
    #[inline(always)]
    pub const fn owner_of(key: &LocationKey) -> u64 {
        let [a, b, c, d] = key.address.0;
        let tag = a.rotate_left(5) ^ b.rotate_left(11) ^ c.rotate_left(17) ^ d;
        (key.network as u64) << 32 | tag as u64
    }
}

/// Row of `hosts`, keyed by [`HostIndex`]: how this host reaches another.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRow {
    /// The key and a mark in the upper half; checked again after copying.
    pub owner: u64,
    /// Address of the tunnel endpoint.
    pub underlay: Address,
    /// Next hop on the underlay towards it: the endpoint itself if it is on the link.
    pub gateway: Address,
    /// Index of the underlay interface.
    pub ifindex: u32,
    /// Number of the zone of that host; 0: none.
    pub zone: u32,
    /// Key between the hosts (reserved for encryption).
    pub key_id: u32,
    /// What packets that go there count to, see [`crate::meter_place`].
    pub place: u32,
}
row!(HostRow, 56, u64, Address, Address, [u32; 4]);

impl HostRow {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        owner: 0,
        underlay: Address::UNSPECIFIED,
        gateway: Address::UNSPECIFIED,
        ifindex: 0,
        zone: 0,
        key_id: 0,
        place: 0,
    };

    /// The owner word of the row of this host.
    #[inline(always)]
    pub const fn owner_of(host: HostIndex) -> u64 {
        1 << 32 | host as u64
    }
}
