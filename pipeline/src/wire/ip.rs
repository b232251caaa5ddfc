//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers.

/// Bytes of an IPv4 header without options.
pub const V4_HEADER: usize = 20;
/// Offset of the checksum in an IPv4 header.
pub const V4_CHECKSUM: usize = 10;
/// Bytes of an IPv6 header without extensions.
pub const V6_HEADER: usize = 40;
/// Flag and offset bits of an IPv4 header that make a fragment: more fragments, and the offset.
pub const V4_FRAGMENT: u32 = 0x3fff;
/// More fragments follow.
pub const V4_MORE_FRAGMENTS: u32 = 0x2000;
/// The offset bits alone.
pub const V4_FRAGMENT_OFFSET: u32 = 0x1fff;
/// More fragments follow: the last bit of the word with the offset in the fragment header of IPv6.
pub const V6_MORE_FRAGMENTS: u16 = 1;
/// Don't fragment.
pub const V4_DONT_FRAGMENT: u16 = 0x4000;

/// Sum of the 16-bit words as RFC 1071 wants it, folded and inverted. The words stand as on the wire, and so does the sum.
#[inline(always)]
pub const fn checksum(sum: u32) -> u16 {
    let folded = (sum >> 16).wrapping_add(sum & 0xffff);
    let folded = (folded >> 16).wrapping_add(folded & 0xffff);
    !(folded as u16)
}

/// A word as the sum of its two halves.
#[inline(always)]
pub const fn halves(word: u32) -> u32 {
    (word >> 16).wrapping_add(word & 0xffff)
}
