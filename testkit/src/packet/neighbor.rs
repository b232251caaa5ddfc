//! Address resolution: ARP (RFC 826) and neighbour discovery (RFC 4861).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{BROADCAST, Ipv6, Mac, ether_type, ethernet, protocol, transport_checksum};

/// ARP operations.
pub mod arp_operation {
    /// Who has?
    pub const REQUEST: u16 = 1;
    /// I have.
    pub const REPLY: u16 = 2;
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug)]
pub struct ArpPacket {
    /// See [`arp_operation`].
    pub operation: u16,
    /// Ethernet address that the sender claims.
    pub sender_mac: Mac,
    /// IP address that the sender claims.
    pub sender: Ipv4Addr,
    /// Ethernet address of the target; zero in a request.
    pub target_mac: Mac,
    /// IP address of the target.
    pub target: Ipv4Addr,
}

impl ArpPacket {
    /// A request: who has `target`?
    pub const fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self { operation: arp_operation::REQUEST, sender_mac, sender, target_mac: [0; 6], target }
    }

    /// The bytes behind the Ethernet header.
    pub fn bytes(&self) -> Vec<u8> {
        [
            &[0, 1, 8, 0, 6, 4][..],
            &self.operation.to_be_bytes(),
            &self.sender_mac,
            &self.sender.octets(),
            &self.target_mac,
            &self.target.octets(),
        ]
        .concat()
    }

    /// The frame: a request is broadcast, a reply goes to the target.
    pub fn frame(&self) -> Vec<u8> {
        let to = if self.operation == arp_operation::REQUEST { BROADCAST } else { self.target_mac };
        ethernet(to, self.sender_mac, ether_type::ARP, &self.bytes())
    }
}

/// The solicited-node multicast address (RFC 4291, section 2.7.1) and its Ethernet address (RFC 2464).
pub fn solicited_node(address: Ipv6Addr) -> (Ipv6Addr, Mac) {
    let [.., b, c, d] = address.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, b, c, d]);
    (group, [0x33, 0x33, 0xff, b, c, d])
}

/// A frame that asks who has `target`.
pub fn neighbor_solicitation(source_mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let (group, group_mac) = solicited_node(target);
    // RFC 4861 section 4.3: a probe for one's own address, sent from ::, carries no link-layer address.
    let option = if source.is_unspecified() { Vec::new() } else { [&[1, 1][..], &source_mac].concat() };
    let body = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), &option].concat();
    discovery(group_mac, source_mac, source, group, body)
}

/// A frame by which `target_mac` claims `target` towards `destination`.
pub fn neighbor_advertisement(
    destination_mac: Mac,
    source_mac: Mac,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    target_mac: Mac,
) -> Vec<u8> {
    let body = [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &target.octets(), &[2, 1], &target_mac].concat();
    discovery(destination_mac, source_mac, source, destination, body)
}

fn discovery(to: Mac, from: Mac, source: Ipv6Addr, destination: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = transport_checksum(source.into(), destination.into(), protocol::ICMPV6, &message);
    message.splice(2..4, sum.to_be_bytes());
    let header = Ipv6 { hop_limit: 255, ..Ipv6::new(source, destination) };
    ethernet(to, from, ether_type::IPV6, &header.wrap(protocol::ICMPV6, &message))
}
