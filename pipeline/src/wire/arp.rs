//! ARP for IPv4 over Ethernet, RFC 826.

use super::ethernet;

/// Offset of the ARP packet in the frame.
pub const OFFSET: usize = ethernet::HEADER;
/// Offset of the first of the four fixed fields: hardware type, protocol type, lengths.
pub const FIXED: usize = OFFSET;
/// Ethernet, IPv4, 6 and 4 bytes: the only combination there is here. As the words stand on the wire.
pub const FIXED_ETHERNET_IPV4: [u16; 3] = [1_u16.to_be(), 0x0800_u16.to_be(), 0x0604_u16.to_be()];
/// Offset of the operation.
pub const OPERATION: usize = OFFSET + 6;
/// Request, network byte order.
pub const REQUEST: u16 = 1_u16.to_be();
/// Reply, network byte order.
pub const REPLY: u16 = 2_u16.to_be();
/// Offset of the two address pairs.
pub const ADDRESSES: usize = OFFSET + 8;

/// The two address pairs, as 16-bit words of the wire: sender's Ethernet address, sender's protocol address, target's
/// Ethernet address, target's protocol address.
pub type Addresses = [u16; 10];

/// An address of two words of the wire, as one.
#[inline(always)]
pub const fn word(high: u16, low: u16) -> u32 {
    ((u16::from_be(high) as u32) << 16 | u16::from_be(low) as u32).to_be()
}
