//! Address prefixes.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    str::FromStr,
};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::value::{ValueError, as_text};

/// An IPv4 or IPv6 prefix whose host bits are zero. An IPv6 prefix is never inside `::ffff:0:0/96`: IPv4 is written as IPv4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(IpNetwork);

impl Prefix {
    /// The prefix of that length; an error if the length is too great or host bits are set.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, ValueError> {
        let text = format!("{address}/{length}");
        let Ok(network) = IpNetwork::new(address, length) else {
            let (most, family) = if address.is_ipv4() { (32, "IPv4") } else { (128, "IPv6") };
            return Err(ValueError::new(
                text,
                format!("the length of an {family} prefix is 0 to {most}"),
                "correct the number behind the \"/\"",
            ));
        };
        if let IpAddr::V6(v6) = address
            && v6.to_ipv4_mapped().is_some()
            && length >= 96
        {
            return Err(ValueError::new(
                text,
                "IPv4 is not written as IPv6 (::ffff:0:0/96)",
                "write the IPv4 prefix itself, for example 10.0.0.0/24",
            ));
        }
        if network.network() != address {
            let fix = format!("write {}/{length}", network.network());
            return Err(ValueError::new(text, "the host bits of a prefix are zero", fix));
        }
        Ok(Self(network))
    }

    /// The prefix of one address.
    pub fn host(address: IpAddr) -> Self {
        Self(address.into())
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.0.ip()
    }

    /// Its length in bits: at most 32 for IPv4, 128 for IPv6.
    pub fn length(self) -> u8 {
        self.0.prefix()
    }

    /// Is it an IPv4 prefix?
    pub fn is_ipv4(self) -> bool {
        self.0.is_ipv4()
    }

    /// Is the address, of the same family, in it?
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// Is the other prefix, of the same family, wholly in it?
    pub fn covers(self, other: Self) -> bool {
        self.length() <= other.length() && self.contains(other.address())
    }

    /// Have the two an address in common?
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Its addresses as numbers, the first and the last.
    pub(crate) fn range(self) -> RangeInclusive<u128> {
        bits(self.address())..=bits(self.last())
    }

    /// Its last address.
    pub fn last(self) -> IpAddr {
        self.0.broadcast()
    }
}

/// An address as a number.
pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address that is this number.
pub(crate) fn address(bits: u128, v4: bool) -> IpAddr {
    if v4 { IpAddr::V4(Ipv4Addr::from_bits(bits as u32)) } else { IpAddr::V6(Ipv6Addr::from_bits(bits)) }
}

impl FromStr for Prefix {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || {
            ValueError::new(
                text,
                "a prefix is an IPv4 or IPv6 address, \"/\" and a length in bits",
                "write it as 10.0.0.0/24 or fd00:10::/64",
            )
        };
        let (address, length) = text.split_once('/').ok_or_else(error)?;
        if !(1..=3).contains(&length.len()) || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        Self::new(address.parse().map_err(|_| error())?, length.parse().map_err(|_| error())?)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text! { Prefix }
