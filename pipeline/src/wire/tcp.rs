//! TCP, RFC 9293: what the fabric looks at.

/// Bytes of the header without options.
pub const HEADER: usize = 20;
/// Offset of the checksum.
pub const CHECKSUM: usize = 16;
/// No more data from the sender.
pub const FIN: u8 = 1;
/// Synchronise sequence numbers.
pub const SYN: u8 = 2;
/// Reset the connection.
pub const RST: u8 = 4;
/// What was sent shall be handed on at once.
pub const PSH: u8 = 8;
/// The acknowledgement field counts.
pub const ACK: u8 = 16;

/// Flags that no sender sets together: a SYN that also ends or resets, and a segment that neither opens nor resets nor acknowledges
/// (RFC 9293, section 3.1: once a connection is established, ACK is always set).
#[inline(always)]
pub const fn impossible(flags: u8) -> bool {
    let opening = flags & SYN != 0 && flags & (FIN | RST) != 0;
    let nothing = flags & (SYN | RST | ACK) == 0;
    opening || nothing
}
