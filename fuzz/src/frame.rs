//! Frames that workloads and hosts might send.

use std::net::IpAddr;

use andromede_abi::{Address, HostIndex, Mac};

use crate::fabric::{HERE, VXLAN_PORT, underlay};

/// What a workload sends.
pub(crate) struct Inner {
    pub(crate) destination_mac: Mac,
    pub(crate) source_mac: Mac,
    pub(crate) source: Address,
    pub(crate) destination: Address,
    pub(crate) protocol: u8,
    pub(crate) upper: Vec<u8>,
    /// It is a part of a datagram: what names that, where it begins in units of eight bytes, and whether more follow.
    pub(crate) part: Option<(u32, u16, bool)>,
}

impl Inner {
    /// The bytes; lengths are right, checksums are zero (nothing on the path reads them).
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut frame = [self.destination_mac, self.source_mac].concat();
        let length = self.upper.len() as u16 + if self.part.is_some() && !self.source.is_v4() { 8 } else { 0 };
        match (IpAddr::from(self.source), IpAddr::from(self.destination)) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0x00]);
                frame.extend(ipv4(self.protocol, self.part, source.octets(), destination.octets(), length));
            }
            (source, destination) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([if self.part.is_some() { 44 } else { self.protocol }, 64]);
                frame.extend(sixteen(source));
                frame.extend(sixteen(destination));
                if let Some((id, offset, more)) = self.part {
                    frame.extend([self.protocol, 0]);
                    frame.extend((offset << 3 | u16::from(more)).to_be_bytes());
                    frame.extend(id.to_be_bytes());
                }
            }
        }
        frame.extend(&self.upper);
        frame
    }
}

fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn ipv4(protocol: u8, part: Option<(u32, u16, bool)>, source: [u8; 4], destination: [u8; 4], length: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((length + 20).to_be_bytes());
    let (id, place) = part.map_or((0, 0x4000), |(id, offset, more)| (id as u16, offset | u16::from(more) << 13));
    header.extend(id.to_be_bytes());
    header.extend(place.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(source);
    header.extend(destination);
    header
}

/// A TCP header.
pub(crate) fn tcp(source_port: u16, destination_port: u16, flags: u8) -> Vec<u8> {
    let mut upper = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
    upper.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    upper
}

/// A UDP datagram with four bytes in it.
pub(crate) fn udp(source_port: u16, destination_port: u16) -> Vec<u8> {
    let mut upper = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
    upper.extend([0, 12, 0, 0, b'p', b'i', b'n', b'g']);
    upper
}

/// An ICMP or `ICMPv6` message with an identifier.
pub(crate) fn icmp(kind: u8, identifier: u16) -> Vec<u8> {
    let mut upper = vec![kind, 0, 0, 0];
    upper.extend(identifier.to_be_bytes());
    upper.extend([0, 1]);
    upper
}

/// The frame as a host sends it to this one, in VXLAN.
pub(crate) fn encapsulated(inner: &[u8], sender: HostIndex, vni: u32) -> Vec<u8> {
    let mut upper = [50_000_u16.to_be_bytes(), VXLAN_PORT.to_be_bytes()].concat();
    upper.extend((inner.len() as u16 + 16).to_be_bytes());
    upper.extend([0, 0, 8, 0, 0, 0]);
    upper.extend((vni << 8).to_be_bytes());
    upper.extend(inner);
    let outer = Inner {
        destination_mac: [2, 0, 0, 0, 0, HERE as u8],
        source_mac: [2, 0, 0, 0, 0, sender as u8],
        source: underlay(sender),
        destination: underlay(HERE),
        protocol: 17,
        upper,
        part: None,
    };
    outer.bytes()
}
