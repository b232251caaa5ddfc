//! How the Internet checksum changes with what it covers (RFC 1071, RFC 1624). Sums and words stand as on the wire: the sum does not depend
//! on the order of bytes.

use crate::{frame::Frame, wire::ip};

/// What a sum changes by if one 32-bit word takes the place of another. Changes may be added up, a few thousand of them.
#[inline(always)]
pub const fn change(old: u32, new: u32) -> u32 {
    ip::halves(!old).wrapping_add(ip::halves(new))
}

/// The same of a 16-bit word.
#[inline(always)]
pub const fn change_half(old: u16, new: u16) -> u32 {
    (!old as u32).wrapping_add(new as u32)
}

/// The checksum of what has changed so (RFC 1624, equation 3).
#[inline(always)]
pub const fn changed(checksum: u16, change: u32) -> u16 {
    // As the kernel does it (`csum_replace_by_diff`, include/net/checksum.h), so that both choose the same of the two zeros.
    let (sum, carry) = change.overflowing_add(!(checksum as u32));
    ip::checksum(sum.wrapping_add(carry as u32))
}

/// Changes the checksum at this offset of a frame. If 0 stands for none, that stays, and no other becomes 0.
#[inline(always)]
pub fn amend<F: Frame>(frame: &mut F, offset: usize, change: u32, zero_is_none: bool) -> Option<()> {
    let old: u16 = frame.load(offset)?;
    if zero_is_none && old == 0 {
        return Some(());
    }
    let new = changed(old, change);
    frame.store(offset, if zero_is_none && new == 0 { u16::MAX } else { new })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_checksum_is_that_of_the_changed_words() {
        // The example of RFC 1624, section 4.
        assert_eq!(changed(0xdd2f, change_half(0x5555, 0x3285)), 0x0000);
        for (old, new) in [(0x0a00_0007, 0x0af4_0007), (0, u32::MAX), (u32::MAX, 0), (0xdead_beef, 0xdead_beef)] {
            let rest = 0x1234_u32;
            let before = ip::checksum(rest.wrapping_add(ip::halves(old)));
            let after = ip::checksum(rest.wrapping_add(ip::halves(new)));
            assert_eq!(changed(before, change(old, new)), after, "{old:08x} {new:08x}");
        }
    }
}
