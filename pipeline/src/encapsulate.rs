//! The outer header of VXLAN over IPv4.

use andromede_abi::{HostConfig, NextHop};

use crate::wire::{ethernet, ip, ip_protocol, vxlan};

/// Bytes of the outer header, the inner frame not counted: Ethernet 14, IPv4 20, UDP 8, VXLAN 8.
pub const OVERHEAD: usize = ethernet::HEADER + ip::V4_HEADER + vxlan::UDP_HEADER + vxlan::HEADER;

/// Hop limit of what this host sends.
pub const OUTER_TTL: u8 = 64;

/// The outer header for an inner frame of `inner_length` bytes, as 16-bit words of the wire.
///
/// DF is set and the UDP checksum is zero (RFC 7348, sections 4.3 and 5). The Ethernet destination is left zero: the
/// kernel resolves the next hop.
#[inline(always)]
pub fn outer_header(host: &HostConfig, hop: &NextHop, source_port: u16, inner_length: u32) -> [u16; OVERHEAD / 2] {
    let udp_length = (inner_length as u16).wrapping_add((vxlan::UDP_HEADER + vxlan::HEADER) as u16);
    let total_length = udp_length.wrapping_add(ip::V4_HEADER as u16);
    let [m0, m1, m2] = ethernet::words(host.underlay_mac);
    let [s0, s1] = split(host.underlay_v4);
    let [d0, d1] = split(hop.underlay.v4_word());
    let [v0, v1] = split((hop.vni << 8).to_be());
    let version = 0x4500_u16.to_be();
    let fragment = ip::V4_DONT_FRAGMENT.to_be();
    let ttl = ((OUTER_TTL as u16) << 8 | ip_protocol::UDP as u16).to_be();
    let sum = (version as u32)
        .wrapping_add(total_length.to_be() as u32)
        .wrapping_add(fragment as u32)
        .wrapping_add(ttl as u32)
        .wrapping_add(s0 as u32)
        .wrapping_add(s1 as u32)
        .wrapping_add(d0 as u32)
        .wrapping_add(d1 as u32);
    [
        0,
        0,
        0,
        m0,
        m1,
        m2,
        ethernet::TYPE_IPV4,
        version,
        total_length.to_be(),
        0,
        fragment,
        ttl,
        ip::checksum(sum),
        s0,
        s1,
        d0,
        d1,
        source_port,
        host.vxlan_port,
        udp_length.to_be(),
        0,
        ((vxlan::FLAG_VNI >> 16) as u16).to_be(),
        0,
        v0,
        v1,
    ]
}

/// A word of the wire as its two halves, each as it stands there.
#[inline(always)]
const fn split(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_ne_bytes();
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
}
