//! Datagrams in pieces: what is kept of a first fragment, so that later ones, which have no ports, are told by it.
//!
//! A port has [`FRAGMENT_PLACES`] places for datagrams that it sends and as many for those that it receives, and a newer
//! datagram takes the place of an older one. So a port's flood of fragments can only push out datagrams of the same port, and
//! the table, which is as large as all places of all ports, is never full.

use crate::{
    Address,
    identifiers::{NetworkIndex, Slot},
    pod::row,
};

/// Places of a port for datagrams that are on their way in pieces, in each direction. A power of two.
pub const FRAGMENT_PLACES: u16 = 32;

/// Nanoseconds that a datagram is remembered. Receivers wait 30 seconds (Linux) to 2 minutes (RFC 1122, section 3.3.2) for
/// what is missing, but fragments follow each other within a moment.
pub const FRAGMENT_LIFETIME: u64 = 15_000_000_000;

/// Values of [`FragmentKey::way`].
pub mod fragment_way {
    /// The port sent the datagram.
    pub const SENT: u16 = 0;
    /// The port receives the datagram, from another host.
    pub const RECEIVED: u16 = 1;
}

/// Key of `fragments`: a place of a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FragmentKey {
    /// Slot of the port.
    pub slot: Slot,
    /// See [`fragment_way`].
    pub way: u16,
    /// Which of the port's places, below [`FRAGMENT_PLACES`].
    pub place: u16,
}
row!(FragmentKey, 8, u32, u16, u16);

/// What names a datagram while it is in pieces (RFC 791, section 3.2; RFC 8200, section 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The network.
    pub network: NetworkIndex,
    /// Source address.
    pub source: &'a Address,
    /// Destination address.
    pub destination: &'a Address,
    /// The identification, as the header has it: 16 bits of IPv4, 32 of IPv6.
    pub identification: u32,
    /// IP protocol number for IPv4. 0 for IPv6, whose receivers do not look at it.
    pub protocol: u8,
}

impl Datagram<'_> {
    /// A 32-bit mixture of the addresses and the protocol.
    #[inline(always)]
    const fn pair(&self) -> u32 {
        const PRIME: u32 = 0x9e37_79b1;
        let [a, b, c, d] = self.source.0;
        let [e, f, g, h] = self.destination.0;
        let mut x = self.network ^ a.rotate_left(3) ^ b.rotate_left(7) ^ c.rotate_left(13);
        x = (x ^ d).wrapping_mul(PRIME);
        x = (x ^ (x >> 15) ^ e.rotate_left(5) ^ f.rotate_left(11) ^ g.rotate_left(17)).wrapping_mul(PRIME);
        x = (x ^ (x >> 13) ^ h).wrapping_mul(PRIME);
        x = (x ^ (x >> 16) ^ self.protocol as u32).wrapping_mul(PRIME);
        x ^ (x >> 15)
    }

    /// The owner word of the datagram's row. Datagrams of the same addresses and protocol never share it. Others of one port that
    /// do would be told by each other's ports, and would still be judged by their own addresses.
    #[inline(always)]
    pub const fn owner(&self) -> u64 {
        let tag = (self.pair() ^ self.identification).wrapping_mul(0x85eb_ca6b);
        (self.network as u64) << 32 | (tag ^ (tag >> 13)) as u64
    }

    /// The datagram's place among those of a port. Datagrams that a pair of addresses numbers one after the other have
    /// different ones.
    #[inline(always)]
    pub const fn key(&self, slot: Slot, way: u16) -> FragmentKey {
        let place = self.pair().wrapping_add(self.identification) as u16 & (FRAGMENT_PLACES - 1);
        FragmentKey { slot, way, place }
    }
}

/// Row of `fragments`: a datagram of which a fragment passed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentRow {
    /// [`Datagram::owner`]; checked again after copying.
    pub owner: u64,
    /// When its first fragment passed, or the last one before that: nanoseconds since boot.
    pub seen: u64,
    /// Where the first fragment ends, in bytes of the datagram's payload; 0 if it was not seen yet.
    pub first_end: u16,
    /// Where the lowest of the fragments begins that passed before the first; `u16::MAX` if none did.
    pub lowest: u16,
    /// Source port as the flow's key has it, network byte order.
    pub source_port: u16,
    /// Destination port, likewise.
    pub destination_port: u16,
    /// What rules compare: destination port, or type and code of ICMP; network byte order.
    pub service_port: u16,
    /// IP protocol number of the upper layer.
    pub protocol: u8,
    /// TCP flags of the first fragment.
    pub tcp_flags: u8,
    /// `pipeline::Transport` of the first fragment, as its number.
    pub transport: u8,
    /// Type of the first SCTP chunk.
    pub chunk: u8,
    /// Zero.
    pub reserved: [u8; 2],
}
row!(FragmentRow, 32, u64, u64, [u16; 5], [u8; 4], [u8; 2]);

impl FragmentRow {
    /// A datagram of which nothing is known.
    #[inline(always)]
    pub const fn unknown(owner: u64) -> Self {
        Self {
            owner,
            seen: 0,
            first_end: 0,
            lowest: u16::MAX,
            source_port: 0,
            destination_port: 0,
            service_port: 0,
            protocol: 0,
            tcp_flags: 0,
            transport: 0,
            chunk: 0,
            reserved: [0; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(source: &Address, identification: u32) -> Datagram<'_> {
        Datagram { network: 1, source, destination: &Address::UNSPECIFIED, identification, protocol: 17 }
    }

    #[test]
    fn consecutive_datagrams_of_a_pair_have_different_places() {
        let source = Address::from_v4_word(0x0100_000a);
        let mut places: [u16; FRAGMENT_PLACES as usize] =
            core::array::from_fn(|id| datagram(&source, 60_000 + id as u32).key(1, fragment_way::SENT).place);
        places.sort_unstable();
        assert!(places.into_iter().eq(0..FRAGMENT_PLACES));
    }

    #[test]
    fn datagrams_have_owners_of_their_own() {
        let (one, other) = (Address::from_v4_word(0x0100_000a), Address::from_v4_word(0x0200_000a));
        assert_ne!(datagram(&one, 7).owner(), datagram(&one, 8).owner());
        assert_ne!(datagram(&one, 7).owner(), datagram(&other, 7).owner());
        assert_eq!(datagram(&one, 7).owner() >> 32, 1, "the network stands by itself");
        for (id, protocol) in (0..1_000).flat_map(|id| [1, 6, 47].map(|protocol| (id, protocol))) {
            let other = Datagram { protocol, ..datagram(&one, id) };
            let same = (0..1_000).find(|id| datagram(&one, *id).owner() == other.owner());
            assert_eq!(same, None, "a UDP datagram shares the owner word of {id}, protocol {protocol}");
        }
    }
}
