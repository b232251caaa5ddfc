//! One form for both address families.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::pod::Pod;

/// An IPv6 address, or an IPv4 address as `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2).
/// The words are in network byte order: in memory the sixteen bytes stand as on the wire.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(pub [u32; 4]);

const V4_MARK: u32 = 0x0000_ffff_u32.to_be();

impl Address {
    /// `::`, which stands for "none".
    pub const UNSPECIFIED: Self = Self([0; 4]);

    /// From the 32 bits of an IPv4 address as they stand in a header (network byte order).
    #[inline(always)]
    pub const fn from_v4_word(word: u32) -> Self {
        Self([0, 0, V4_MARK, word])
    }

    /// Is this an IPv4 address?
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        let [a, b, c, _] = self.0;
        (a | b) == 0 && c == V4_MARK
    }

    /// The last 32 bits as they stand in a header: for an IPv4 address, the address.
    #[inline(always)]
    pub const fn v4_word(self) -> u32 {
        let [_, _, _, d] = self.0;
        d
    }

    /// Multicast of either family, or the IPv4 limited broadcast address.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        let [a, _, _, d] = self.0;
        if self.is_v4() {
            let word = u32::from_be(d);
            word >> 28 == 0xe || word == u32::MAX
        } else {
            u32::from_be(a) >> 24 == 0xff
        }
    }

    /// IPv6 link-local unicast, `fe80::/10` (RFC 4291, section 2.5.6).
    #[inline(always)]
    pub const fn is_v6_link_local(self) -> bool {
        let [a, _, _, _] = self.0;
        u32::from_be(a) >> 22 == 0x3fa
    }

    /// `::` or 0.0.0.0.
    #[inline(always)]
    pub const fn is_unspecified(self) -> bool {
        let [a, b, c, d] = self.0;
        d == 0 && (a | b) == 0 && (c == 0 || c == V4_MARK)
    }
}

// SAFETY: four u32 words, no padding, any bits are a value.
unsafe impl Pod for Address {}

impl From<Ipv4Addr> for Address {
    fn from(v4: Ipv4Addr) -> Self {
        Self::from_v4_word(u32::from_ne_bytes(v4.octets()))
    }
}

impl From<Ipv6Addr> for Address {
    fn from(v6: Ipv6Addr) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = v6.octets();
        Self([
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
            u32::from_ne_bytes([m, n, o, p]),
        ])
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.is_v4() {
            return Self::V4(Ipv4Addr::from(address.v4_word().to_ne_bytes()));
        }
        let [a, b, c, d] = address.0.map(u32::from_be);
        let bits = u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d);
        Self::V6(Ipv6Addr::from_bits(bits))
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_keep_apart_and_come_back() {
        let v4: IpAddr = Ipv4Addr::new(10, 0, 0, 7).into();
        let v6: IpAddr = "fd00:10::7".parse::<Ipv6Addr>().map_or(v4, IpAddr::V6);
        assert!(Address::from(v4).is_v4());
        assert!(!Address::from(v6).is_v4());
        assert_eq!(IpAddr::from(Address::from(v4)), v4);
        assert_eq!(IpAddr::from(Address::from(v6)), v6);
    }

    #[test]
    fn kinds_of_address() {
        let of = |text: &str| Address::from(text.parse::<IpAddr>().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        for group in ["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1"] {
            assert!(of(group).is_group(), "{group}");
        }
        for unicast in ["223.255.255.255", "240.0.0.1", "10.0.0.1", "fe80::1", "fd00::1"] {
            assert!(!of(unicast).is_group(), "{unicast}");
        }
        assert!(of("fe80::1").is_v6_link_local() && of("febf::1").is_v6_link_local());
        assert!(!of("fec0::1").is_v6_link_local() && !of("fd00::1").is_v6_link_local());
        assert!(of("::").is_unspecified() && of("0.0.0.0").is_unspecified());
        assert!(!of("::1").is_unspecified() && !of("0.0.0.1").is_unspecified());
    }
}
