//! Whole frames between two sides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Ipv4, Ipv6, Mac, Tcp, Udp, ether_type, ethernet, icmp_echo, icmp_error, protocol};

/// Bytes of an Ethernet header.
const ETHERNET_HEADER: usize = 14;

/// Where a frame comes from and goes to. Both addresses are of one family.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Ethernet source.
    pub source_mac: Mac,
    /// Ethernet destination.
    pub destination_mac: Mac,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
}

impl Ends {
    /// From one side to the other.
    pub fn new(from: (Mac, impl Into<IpAddr>), to: (Mac, impl Into<IpAddr>)) -> Self {
        Self { source_mac: from.0, destination_mac: to.0, source: from.1.into(), destination: to.1.into() }
    }

    /// The other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source_mac: self.destination_mac,
            destination_mac: self.source_mac,
            source: self.destination,
            destination: self.source,
        }
    }

    /// A frame with any IP payload.
    pub fn ip(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ipv4(&Ipv4::new(source, destination), protocol, payload)
            }
            (source, destination) => {
                let header = Ipv6::new(v6(source), v6(destination));
                ethernet(self.destination_mac, self.source_mac, ether_type::IPV6, &header.wrap(protocol, payload))
            }
        }
    }

    /// A frame with an IPv4 header of the caller's making.
    pub fn ipv4(&self, header: &Ipv4, protocol: u8, payload: &[u8]) -> Vec<u8> {
        ethernet(self.destination_mac, self.source_mac, ether_type::IPV4, &header.wrap(protocol, payload))
    }

    /// A TCP segment.
    pub fn tcp(&self, tcp: &Tcp, payload: &[u8]) -> Vec<u8> {
        self.ip(protocol::TCP, &tcp.wrap(self.source, self.destination, payload))
    }

    /// A UDP datagram.
    pub fn udp(&self, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
        self.ip(protocol::UDP, &Udp { source, destination }.wrap(self.source, self.destination, payload))
    }

    /// An echo request (or reply) of the addresses' family.
    pub fn echo(&self, request: bool, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
        let number = if self.source.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
        self.ip(number, &icmp_echo(self.source, self.destination, request, id, sequence, payload))
    }

    /// An SCTP packet without checksum: its verification tag, and the type of its only chunk, which has no value.
    pub fn sctp(&self, source: u16, destination: u16, tag: u32, chunk: u8) -> Vec<u8> {
        let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        self.ip(protocol::SCTP, &[&ports[..], &tag.to_be_bytes(), &[0; 4], &[chunk, 0, 0, 4]].concat())
    }

    /// An ICMP error of the addresses' family about the IP packet in `about`, of which it quotes 64 bytes at most; `kind` is its
    /// type and code.
    pub fn icmp_error(&self, kind: (u8, u8), about: &[u8]) -> Vec<u8> {
        let number = if self.source.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
        let packet = about.get(ETHERNET_HEADER..).unwrap_or_default();
        let quote = packet.get(..64).unwrap_or(packet);
        self.ip(number, &icmp_error(self.source, self.destination, kind, 0, quote))
    }

    /// The IPv4 addresses, if they are such.
    pub const fn v4(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some((source, destination)),
            _ => None,
        }
    }
}

pub(super) const fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
