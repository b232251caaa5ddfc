//! Address prefixes.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::value::{ValueError, as_text};

/// An IPv4 or IPv6 prefix whose host bits are zero. An IPv6 prefix is never inside `::ffff:0:0/96`: IPv4 is written as IPv4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// The bits of an address, at the upper end of 128.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A mask of that many leading ones.
fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128u32.saturating_sub(u32::from(length))).unwrap_or(0)
}

impl Prefix {
    /// The prefix of that length; an error if the length is too great or host bits are set.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, ValueError> {
        let text = format!("{address}/{length}");
        let (most, family) = if address.is_ipv4() { (32, "IPv4") } else { (128, "IPv6") };
        if length > most {
            return Err(ValueError::new(
                text,
                format!("the length of an {family} prefix is 0 to {most}"),
                "correct the number behind the \"/\"",
            ));
        }
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
        let cut = Self::containing(address, length);
        if cut.address != address {
            return Err(ValueError::new(text, "the host bits of a prefix are zero", format!("write {cut}")));
        }
        Ok(cut)
    }

    /// The prefix of that length that contains the address.
    fn containing(address: IpAddr, length: u8) -> Self {
        let cut = bits(address) & mask(length);
        let address = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((cut >> 96) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(cut)),
        };
        Self { address, length }
    }

    /// The prefix of one address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Its first address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Its length in bits: at most 32 for IPv4, 128 for IPv6.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Is it an IPv4 prefix?
    pub const fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Is the address, of the same family, in it?
    pub fn contains(self, address: IpAddr) -> bool {
        self.is_ipv4() == address.is_ipv4() && bits(address) & mask(self.length) == bits(self.address)
    }

    /// Is the other prefix, of the same family, wholly in it?
    pub fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    /// Have the two an address in common?
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Its last address.
    pub fn last(self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | host))
            }
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | !mask(self.length))),
        }
    }
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
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text! { Prefix }
