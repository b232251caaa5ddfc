//! Small values with rules of their own.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Violation;

/// A text or number that is not the value it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{value:?}: {rule}; {fix}")]
pub struct ValueError {
    /// What was given.
    pub value: String,
    /// The rule that it breaks.
    pub rule: String,
    /// What to do.
    pub fix: String,
}

impl ValueError {
    pub(crate) fn new(value: impl fmt::Display, rule: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { value: value.to_string(), rule: rule.into(), fix: fix.into() }
    }

    /// The same, as a violation by a field.
    pub fn violation(self, field: impl Into<String>) -> Violation {
        Violation::new(field, self.value, self.rule, self.fix)
    }
}

macro_rules! as_text {
    ($($name:ident)*) => { $(
        impl TryFrom<String> for $name {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )* };
}
pub(crate) use as_text;

/// Is it 1 to 63 characters of a-z, 0-9 and "-", beginning with a letter?
pub(crate) fn lower_case_id(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// A network's name on the wire: 1 to 16777215 (RFC 7348, section 5), or [`Vni::UNSET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vni(u32);

impl Vni {
    /// Not chosen yet: the model gives one out.
    pub const UNSET: Self = Self(0);
    /// The greatest.
    pub const MAX: u32 = 0x00ff_ffff;

    /// The number, host byte order; 0 if it is not chosen yet.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Vni {
    type Error = ValueError;

    fn try_from(number: u32) -> Result<Self, ValueError> {
        if number > Self::MAX {
            return Err(ValueError::new(
                number,
                "a VNI is 1 to 16777215",
                "choose a smaller one, or 0 to be given one",
            ));
        }
        Ok(Self(number))
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> Self {
        vni.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A unicast Ethernet address in transmission order, or [`MacAddress::UNSET`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// The Ethernet address of every network's own router. No port has it.
pub const GATEWAY_MAC: MacAddress = MacAddress([0x02, 0x00, 0x5e, 0x00, 0x00, 0x01]);

impl MacAddress {
    /// Not chosen yet: the model gives one out.
    pub const UNSET: Self = Self([0; 6]);

    /// From six bytes in transmission order: a unicast address, not all zero.
    pub fn new(bytes: [u8; 6]) -> Result<Self, ValueError> {
        let [first, ..] = bytes;
        let mac = Self(bytes);
        if first & 1 != 0 {
            return Err(ValueError::new(
                mac,
                "the address of an interface is unicast",
                "clear the lowest bit of the first byte, for example 02:00:00:00:00:01",
            ));
        }
        if bytes == [0; 6] {
            return Err(ValueError::new(mac, "the address is not all zero", "leave it out to be given one"));
        }
        Ok(mac)
    }

    /// The n-th address that the model gives out: locally administered, under the prefix 02:ad.
    pub(crate) const fn generated(number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        Self([0x02, 0xad, a, b, c, d])
    }

    /// The six bytes, in transmission order.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Is it still to be chosen?
    pub fn is_unset(self) -> bool {
        self == Self::UNSET
    }
}

impl FromStr for MacAddress {
    type Err = ValueError;

    /// Six bytes in hexadecimal, two digits each, with ":" between them.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || {
            ValueError::new(
                text,
                "an Ethernet address is six bytes in hexadecimal with \":\" between them",
                "write it as 02:00:00:aa:bb:cc",
            )
        };
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(error)?;
            if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(error());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() {
            return Err(error());
        }
        Self::new(bytes)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Destination ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// All ports from `first` to `last`; none if `last` is lower.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// The first port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Is the port one of them?
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// A decimal number without sign, at most five digits.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let plain = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

impl FromStr for PortRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (Some(first), Some(last)) = (decimal(first), decimal(last)) else {
            return Err(ValueError::new(
                text,
                "a port is a number from 0 to 65535, a range two of them with \"-\" between",
                "write it as 443 or 8000-8080",
            ));
        };
        Self::new(first, last)
            .ok_or_else(|| ValueError::new(text, "a range begins with its lower end", format!("write {last}-{first}")))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// The protocol that a rule looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Protocol {
    /// All of them.
    #[default]
    Any,
    /// One, by its IANA number.
    Number(u8),
}

impl Protocol {
    /// RFC 792.
    pub const ICMP: Self = Self::Number(1);
    /// RFC 9293.
    pub const TCP: Self = Self::Number(6);
    /// RFC 768.
    pub const UDP: Self = Self::Number(17);
    /// RFC 4443.
    pub const ICMPV6: Self = Self::Number(58);
    /// RFC 9260.
    pub const SCTP: Self = Self::Number(132);

    /// Has it destination ports that a rule may name?
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }

    /// Has it a type and a code?
    pub fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }
}

impl FromStr for Protocol {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(match text {
            "any" => Self::Any,
            "icmp" => Self::ICMP,
            "tcp" => Self::TCP,
            "udp" => Self::UDP,
            "icmpv6" => Self::ICMPV6,
            "sctp" => Self::SCTP,
            _ => Self::Number(decimal(text).ok_or_else(|| {
                ValueError::new(
                    text,
                    "a protocol is tcp, udp, icmp, icmpv6, sctp, any, or a number from 0 to 255",
                    "write one of them in lower case",
                )
            })?),
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Any => f.write_str("any"),
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMPV6 => f.write_str("icmpv6"),
            Self::SCTP => f.write_str("sctp"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// An address from its text; IPv4 written as IPv6 (RFC 4291, section 2.5.5.2) is refused, so that an address has one form.
pub fn parse_address(text: &str) -> Result<IpAddr, ValueError> {
    let address = text.parse().map_err(|_| {
        ValueError::new(text, "an address is an IPv4 or IPv6 address", "write it as 10.0.0.7 or fd00:10::7")
    })?;
    match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => Err(ValueError::new(text, "IPv4 is not written as IPv6", format!("write {v4}"))),
            None => Ok(address),
        },
        IpAddr::V4(_) => Ok(address),
    }
}

as_text! { MacAddress PortRange Protocol }
