//! Neighbour discovery for IPv6, RFC 4861.

/// Router solicitation, the first of the message types.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// Neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;
/// Redirect, the last of the message types.
pub const REDIRECT: u8 = 137;
/// Is this the type of a neighbour discovery message?
#[inline(always)]
pub const fn is_discovery(kind: u8) -> bool {
    kind >= ROUTER_SOLICITATION && kind <= REDIRECT
}

/// Hop limit of every message: what came through a router is discarded (section 7.1.1).
pub const HOP_LIMIT: u8 = 255;
/// Bytes of a solicitation without options: type, code, checksum, reserved, target.
pub const MESSAGE: usize = 24;
/// Bytes of an Ethernet address option.
pub const OPTION: usize = 8;
/// Type and length of the option with the sender's Ethernet address, as a word of the wire.
pub const SOURCE_ADDRESS_OPTION: u16 = 0x0101_u16.to_be();
/// Type and length of the option with the target's Ethernet address, as a word of the wire.
pub const TARGET_ADDRESS_OPTION: u16 = 0x0201_u16.to_be();
/// Advertisement flag: the target is a router.
pub const ROUTER: u32 = 0x8000_0000;
/// Advertisement flag: it answers a solicitation.
pub const SOLICITED: u32 = 0x4000_0000;
/// Advertisement flag: it overrides what is cached.
pub const OVERRIDE: u32 = 0x2000_0000;
/// All nodes, `ff02::1`, as the words stand on the wire.
pub const ALL_NODES: [u32; 4] = [0xff02_0000_u32.to_be(), 0, 0, 1_u32.to_be()];
/// Ethernet address of all nodes.
pub const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// Bytes of an advertisement with its option, from the Ethernet header on.
pub const ADVERTISEMENT_FRAME: u32 = 86;
/// Payload length of such an advertisement.
pub const ADVERTISEMENT_PAYLOAD: u32 = 32;
