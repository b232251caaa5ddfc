//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checksum;

/// An IPv4 header.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Type of service.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification.
    pub id: u16,
    /// The Don't Fragment bit.
    pub dont_fragment: bool,
    /// The More Fragments bit.
    pub more_fragments: bool,
    /// Fragment offset in units of eight bytes.
    pub fragment_offset: u16,
    /// Options; padded with zeros to a multiple of four bytes, at most 40.
    pub options: Vec<u8>,
}

impl Ipv4 {
    /// A usual header between two addresses.
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            source,
            destination,
            tos: 0,
            ttl: 64,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            options: Vec::new(),
        }
    }

    /// The header around a payload.
    pub fn wrap(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4).min(40), 0);
        let header_length = 20 + options.len();
        let total = (header_length + payload.len()) as u16;
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let header = |sum: u16| {
            [
                &[0x40 | (header_length / 4) as u8, self.tos][..],
                &total.to_be_bytes(),
                &self.id.to_be_bytes(),
                &(flags | self.fragment_offset & 0x1fff).to_be_bytes(),
                &[self.ttl, protocol],
                &sum.to_be_bytes(),
                &self.source.octets(),
                &self.destination.octets(),
                &options,
            ]
            .concat()
        };
        let sum = checksum(&[&header(0)]);
        [&header(sum)[..], payload].concat()
    }
}

/// An IPv6 header.
#[derive(Clone, Debug)]
pub struct Ipv6 {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Hop limit.
    pub hop_limit: u8,
}

impl Ipv6 {
    /// A usual header between two addresses.
    pub const fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self { source, destination, traffic_class: 0, flow_label: 0, hop_limit: 64 }
    }

    /// The header around a payload.
    pub fn wrap(&self, next_header: u8, payload: &[u8]) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        [
            &first.to_be_bytes()[..],
            &(payload.len() as u16).to_be_bytes(),
            &[next_header, self.hop_limit],
            &self.source.octets(),
            &self.destination.octets(),
            payload,
        ]
        .concat()
    }
}
