//! ICMP (RFC 792) and `ICMPv6` (RFC 4443): what the fabric tells apart.

/// Bytes of the header that all messages have.
pub const HEADER: usize = 8;
/// Offset of the checksum.
pub const CHECKSUM: usize = 2;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Code of "unreachable": the packet must be fragmented, and must not be.
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// `ICMPv6`: the packet is too big.
pub const V6_PACKET_TOO_BIG: u8 = 2;
/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// `ICMPv6` echo request.
pub const V6_ECHO_REQUEST: u8 = 128;
/// `ICMPv6` echo reply.
pub const V6_ECHO_REPLY: u8 = 129;

/// Is a message of this type an error about another packet? Unreachable, source quench, redirect, time exceeded, parameter problem.
#[inline(always)]
pub const fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// Is an `ICMPv6` message of this type an error about another packet? Its highest bit is zero (RFC 4443, section 2.1).
#[inline(always)]
pub const fn v6_is_error(kind: u8) -> bool {
    kind < 128
}

/// Is an error of this type matched to the connection that it quotes? Unreachable, time exceeded, parameter problem. A source quench
/// (RFC 6633) and a redirect are not: they ask for something, and rules are asked whether they may.
#[inline(always)]
pub const fn is_matched(kind: u8) -> bool {
    matches!(kind, 3 | 11 | 12)
}

/// Type and code of an echo request as rules compare them, network byte order.
pub const ECHO_REQUEST_SERVICE: u16 = ((ECHO_REQUEST as u16) << 8).to_be();
/// Type and code of an `ICMPv6` echo request as rules compare them, network byte order.
pub const V6_ECHO_REQUEST_SERVICE: u16 = ((V6_ECHO_REQUEST as u16) << 8).to_be();
