//! How a frame is read and written.

use andromede_abi::Pod;

/// Largest offset that the pipeline ever reads at: the verifier needs a bound.
pub const MAX_OFFSET: usize = 512;

/// What a checksum of the upper layer is, beside the sum of what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It covers the pseudo-header too: TCP, ICMPv6.
    Addressed,
    /// Likewise, and 0 stands for none (UDP: RFC 768).
    AddressedOrNone,
    /// It covers the message alone: ICMP over IPv4.
    Message,
}

/// An Ethernet frame. Reads and writes are by value and checked as a whole; nothing hands out slices.
pub trait Frame {
    /// The value at this offset in bytes, or none if it is not wholly inside the frame.
    fn load<T: Pod>(&self, offset: usize) -> Option<T>;

    /// Writes the value at this offset in bytes, or none if it would not be wholly inside the frame.
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Option<()>;

    /// Changes a checksum of the upper layer, which stands at this offset in bytes, by what the sum of all that it covers has changed: see
    /// [`crate::wire::checksum`]. None if it is not wholly inside the frame.
    fn amend(&mut self, offset: usize, change: u32, checksum: Checksum) -> Option<()>;

    /// Length in bytes, all segments of a GSO frame together.
    fn len(&self) -> u32;

    /// Has the frame no byte?
    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts or lengthens the frame at its end; new bytes are zero. None if there is no room.
    fn resize(&mut self, length: u32) -> Option<()>;
}
