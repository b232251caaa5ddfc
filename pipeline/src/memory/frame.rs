//! A frame in memory.

use andromede_abi::{Pod, bytes_of, from_bytes};

use crate::{
    frame::{Checksum, Frame},
    wire::checksum,
};

/// Longest frame in bytes that `resize` makes.
const MAX_LENGTH: u32 = 65_549;

/// A frame in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Frame for Bytes {
    fn load<T: Pod>(&self, offset: usize) -> Option<T> {
        from_bytes(self.0.get(offset..offset.checked_add(size_of::<T>())?)?)
    }

    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Option<()> {
        self.0.get_mut(offset..offset.checked_add(size_of::<T>())?)?.copy_from_slice(bytes_of(&value));
        Some(())
    }

    fn amend(&mut self, offset: usize, change: u32, kind: Checksum) -> Option<()> {
        checksum::amend(self, offset, change, matches!(kind, Checksum::AddressedOrNone))
    }

    fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn resize(&mut self, length: u32) -> Option<()> {
        (length <= MAX_LENGTH).then(|| self.0.resize(length as usize, 0))
    }
}
