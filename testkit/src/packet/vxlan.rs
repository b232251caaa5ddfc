//! VXLAN, RFC 7348.

use super::{Ends, Udp};

/// The UDP port of VXLAN.
pub const VXLAN_PORT: u16 = 4789;

/// The eight bytes of a VXLAN header; `vni` has 24 bits.
pub fn vxlan_header(vni: u32) -> [u8; 8] {
    let [_, a, b, c] = vni.to_be_bytes();
    [0x08, 0, 0, 0, a, b, c, 0]
}

/// A frame between two tunnel endpoints that carries `inner`, with no outer UDP checksum, as the RFC wants.
pub fn vxlan(outer: &Ends, source_port: u16, vni: u32, inner: &[u8]) -> Vec<u8> {
    let udp = Udp { source: source_port, destination: VXLAN_PORT };
    outer.ip(super::protocol::UDP, &udp.wrap_with_checksum(0, &[&vxlan_header(vni)[..], inner].concat()))
}
