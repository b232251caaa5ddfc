//! The array of epochs and change words.

use andromede_abi::Slot;

use crate::{
    rows::{Rows, TableError},
    sys::MappedWords,
};

/// One word for each slot: the epoch of a port or location, or the change word of a network.
#[derive(Debug)]
pub struct Epochs(pub(crate) Rows<u32, u32>);

impl Epochs {
    fn check(&self, slot: Slot) -> Result<(), TableError> {
        let rows = self.0.capacity();
        if slot < rows { Ok(()) } else { Err(TableError::OutOfRange { table: self.0.table.name, index: slot, rows }) }
    }

    /// Number of slots.
    pub fn capacity(&self) -> u32 {
        self.0.capacity()
    }

    /// Reads the word of a slot; 0 if it was never written.
    pub fn get(&self, slot: Slot) -> Result<u32, TableError> {
        self.check(slot)?;
        Ok(self.0.get(&slot)?.unwrap_or(0))
    }

    /// Writes the word of a slot.
    pub fn set(&self, slot: Slot, value: u32) -> Result<(), TableError> {
        self.check(slot)?;
        self.0.insert(&slot, &value)
    }

    /// All words that are not 0, by slot.
    pub fn all(&self) -> Result<Vec<(Slot, u32)>, TableError> {
        // A million words, by far the most of them 0: to call the kernel for each is slow.
        if let Ok(words) = MappedWords::new(&self.0.map) {
            return Ok((0..).zip(words.iter()).filter(|(_, value)| *value != 0).collect());
        }
        let mut found = Vec::new();
        self.0.for_each(|slot, value| {
            if value != 0 {
                found.push((slot, value));
            }
        })?;
        Ok(found)
    }
}
