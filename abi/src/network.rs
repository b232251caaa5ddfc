//! What holds for a whole network.

use crate::{
    identifiers::{NetworkIndex, Slot},
    meter::MeterIndex,
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

/// Bits of [`NetworkRow::flags`].
pub mod network_flag {
    /// The network is bound to places: nothing is encapsulated towards a host whose zone is not among [`super::NetworkRow::zones`].
    pub const BOUND: u16 = 1 << 0;
}

/// Zones, by number: bit `n % 64` of word `n / 64` is that of zone `n`. That of 0, which stands for no zone, is never set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ZoneSet(pub [u64; 2]);
row!(ZoneSet, 16, [u64; 2]);

impl ZoneSet {
    /// No zone.
    pub const NONE: Self = Self([0; 2]);
    /// The largest number of a zone.
    pub const LAST: u32 = 127;

    /// Is the zone among them?
    #[inline(always)]
    pub const fn has(&self, zone: u32) -> bool {
        let Self([low, high]) = *self;
        let word = if zone < 64 { low } else { high };
        zone != 0 && zone <= Self::LAST && word >> (zone & 63) & 1 != 0
    }

    /// The same and this zone; of a number that none has, the same.
    #[must_use]
    pub const fn with(self, zone: u32) -> Self {
        let Self([low, high]) = self;
        let bit = 1_u64 << (zone & 63);
        match zone {
            1..64 => Self([low | bit, high]),
            64..=Self::LAST => Self([low, high | bit]),
            _ => self,
        }
    }

    /// The zones that both have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        let (Self([a, b]), Self([c, d])) = (self, other);
        Self([a & c, b & d])
    }
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
    /// See [`network_flag`].
    pub flags: u16,
    /// The row in `METERS` that its packets are counted in.
    pub meter: MeterIndex,
    /// When its connections are over.
    pub timeouts: Timeouts,
    /// Most connections of the tenant on this host, of all its networks; 0: no limit.
    pub tenant_flows: u32,
    /// The zones to whose hosts its packets may be sent, if [`network_flag::BOUND`] is set.
    pub zones: ZoneSet,
}
row!(NetworkRow, 64, u64, [u32; 2], [u16; 2], Timeouts, u32, ZoneSet);

impl NetworkRow {
    /// The owner word of the row of this network.
    #[inline(always)]
    pub const fn owner_of(network: NetworkIndex) -> u64 {
        1 << 32 | network as u64
    }

    /// May its packets be sent to a host of this zone? Of a host that has none the number is 0.
    #[inline(always)]
    pub const fn admits(&self, zone: u32) -> bool {
        self.flags & network_flag::BOUND == 0 || self.zones.has(zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_zones_that_were_put_in() {
        let set = [1, 63, 64, 127].into_iter().fold(ZoneSet::NONE, ZoneSet::with);
        assert!((0..1_000).filter(|zone| set.has(*zone)).eq([1, 63, 64, 127]));
        assert_eq!(ZoneSet::NONE.with(0).with(128).with(u32::MAX), ZoneSet::NONE, "no zone has these numbers");
        assert_eq!(set.and(ZoneSet::NONE.with(64).with(2)), ZoneSet::NONE.with(64));
    }
}
