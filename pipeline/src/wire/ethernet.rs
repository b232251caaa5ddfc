//! Ethernet II.

use andromede_abi::Mac;

/// Bytes of the header without a VLAN tag.
pub const HEADER: usize = 14;
/// Offset of the destination address.
pub const DESTINATION: usize = 0;
/// Offset of the source address.
pub const SOURCE: usize = 6;
/// Offset of the type.
pub const TYPE: usize = 12;

/// IPv4, network byte order.
pub const TYPE_IPV4: u16 = 0x0800_u16.to_be();
/// ARP, network byte order.
pub const TYPE_ARP: u16 = 0x0806_u16.to_be();
/// IPv6, network byte order.
pub const TYPE_IPV6: u16 = 0x86dd_u16.to_be();
/// VLAN tag (IEEE 802.1Q), network byte order.
pub const TYPE_VLAN: u16 = 0x8100_u16.to_be();
/// Service VLAN tag (IEEE 802.1ad), network byte order.
pub const TYPE_SERVICE_VLAN: u16 = 0x88a8_u16.to_be();

/// Is it a group address (the lowest bit of the first byte)?
#[inline(always)]
pub const fn is_group(mac: Mac) -> bool {
    let [first, ..] = mac;
    first & 1 != 0
}

/// The address as 16-bit words of the wire.
#[inline(always)]
pub const fn words(mac: Mac) -> [u16; 3] {
    let [a, b, c, d, e, f] = mac;
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])]
}
