//! One step of a change.

use andromede_abi::Slot;

use crate::{Row, RowKey, Rows};

/// One step. Steps are carried out in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a row.
    Insert(Row),
    /// Remove a row.
    Remove(RowKey),
    /// Write an epoch.
    Epoch {
        /// Which.
        slot: Slot,
        /// Its value from now on, greater than before.
        value: u32,
    },
    /// Make the network's change word odd: new flows of the network wait, established ones go on.
    BeginChange {
        /// The network's word.
        network_slot: Slot,
        /// Its value from now on, odd.
        value: u32,
    },
    /// Make the network's change word even again.
    EndChange {
        /// The network's word.
        network_slot: Slot,
        /// Its value from now on, even.
        value: u32,
    },
    /// Wait until no program still uses what it read before (one RCU grace period).
    Grace,
}

impl Rows {
    /// Carries out one step, as the host's tables would.
    pub fn apply(&mut self, step: &Step) {
        match *step {
            Step::Insert(row) => self.insert(row),
            Step::Remove(key) => self.remove(&key),
            Step::Epoch { slot, value }
            | Step::BeginChange { network_slot: slot, value }
            | Step::EndChange { network_slot: slot, value } => drop(self.epochs.insert(slot, value)),
            Step::Grace => {}
        }
    }
}
