//! ARP for IPv4 over Ethernet, RFC 826.

use andromede_abi::{Mac, Pod};

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

/// The two address pairs.
#[repr(C, packed)]
#[derive(Clone, Copy)]
pub struct Addresses {
    /// Sender hardware address.
    pub sender_mac: Mac,
    /// Sender protocol address, as on the wire.
    pub sender: [u16; 2],
    /// Target hardware address.
    pub target_mac: Mac,
    /// Target protocol address, as on the wire.
    pub target: [u16; 2],
}

// SAFETY: bytes and words without padding (the layout is packed), any bits are a value.
#[allow(unsafe_code, reason = "a header of the wire is plain bytes")]
unsafe impl Pod for Addresses {}

/// An address as two words of the wire, as one.
#[inline(always)]
pub const fn word(halves: [u16; 2]) -> u32 {
    let [high, low] = halves;
    let [a, b] = high.to_ne_bytes();
    let [c, d] = low.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
