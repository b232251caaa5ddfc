//! Who should reach whom in `examples/two-tenants.yaml`: written by hand, not computed from the bundle.

use super::fabric::Port;

/// What a check sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Protocol {
    /// ICMP echo, IPv4.
    Icmp,
    /// `ICMPv6` echo.
    IcmpV6,
    /// A TCP connection over IPv4 to the port [`TCP_PORT`].
    Tcp,
    /// A UDP datagram over IPv6 to the port [`UDP_PORT`].
    Udp,
}

impl Protocol {
    /// In the order in which they are shown.
    pub(super) const ALL: [Self; 4] = [Self::Icmp, Self::IcmpV6, Self::Tcp, Self::Udp];

    /// For people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::IcmpV6 => "icmpv6",
            Self::Tcp => "tcp 80, IPv4",
            Self::Udp => "udp 53, IPv6",
        }
    }

    /// IP protocol number.
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Icmp => 1,
            Self::IcmpV6 => 58,
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// Does it go over IPv6?
    pub(super) const fn is_v6(self) -> bool {
        matches!(self, Self::IcmpV6 | Self::Udp)
    }
}

/// TCP port of the checks.
pub(super) const TCP_PORT: u16 = 80;

/// UDP port of the checks.
pub(super) const UDP_PORT: u16 = 53;

/// TCP port of the measured stream: it must be one that the rules allow between the two ports of [`STREAM`].
pub(super) const STREAM_PORT: u16 = 443;

/// Between whom throughput is measured: on different hosts, and allowed.
pub(super) const STREAM: (&str, &str) = ("mairie/desk", "mairie/web");

/// A refused try that `--keep` proposes to look at: from, to, TCP port.
pub(super) const REFUSED: (&str, &str, u16) = ("mairie/desk", "mairie/db", 80);

/// What passes from one port of a tenant to another. All else between them is refused, and nothing else passes at all.
const ALLOWED: &[(&str, &str, &[Protocol])] = &[
    ("mairie/desk", "mairie/web", &[Protocol::Icmp, Protocol::IcmpV6, Protocol::Tcp, Protocol::Udp]),
    ("mairie/web", "mairie/db", &[Protocol::Icmp, Protocol::Tcp]),
    ("mairie/web", "mairie/desk", PING),
    ("mairie/db", "mairie/desk", PING),
    ("mairie/db", "mairie/web", PING),
    ("hopital/ward", "hopital/records", &[Protocol::Icmp, Protocol::IcmpV6, Protocol::Tcp]),
    ("hopital/ward", "hopital/lab", PING),
    ("hopital/lab", "hopital/ward", PING),
    ("hopital/lab", "hopital/records", PING),
    ("hopital/records", "hopital/ward", &[Protocol::Icmp, Protocol::IcmpV6, Protocol::Udp]),
    ("hopital/records", "hopital/lab", &[Protocol::Udp]),
];

const PING: &[Protocol] = &[Protocol::Icmp, Protocol::IcmpV6];

/// Should the packet be let through?
pub(super) fn allowed(from: &Port, to: &Port, protocol: Protocol) -> bool {
    let (from, to) = (from.title(), to.title());
    ALLOWED.iter().any(|(a, b, protocols)| *a == from && *b == to && protocols.contains(&protocol))
}
