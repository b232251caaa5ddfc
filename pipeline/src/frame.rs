//! How a frame is read and written.

use andromede_abi::Pod;

/// Largest offset that the pipeline ever reads at: the verifier needs a bound.
pub const MAX_OFFSET: usize = 512;

/// An Ethernet frame. Reads and writes are by value and checked as a whole; nothing hands out slices.
pub trait Frame {
    /// The value at this offset in bytes, or none if it is not wholly inside the frame.
    fn load<T: Pod>(&self, offset: usize) -> Option<T>;

    /// Writes the value at this offset in bytes, or none if it would not be wholly inside the frame.
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Option<()>;

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
