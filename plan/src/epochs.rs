//! Epochs: which flows must be judged again.
//!
//! A flow is marked with the epoch that stands in the row it was judged by, and is stale as soon as the word in `epochs` is
//! another. So a row that changes is written with its new epoch first, and the word follows when all rows are written; where a
//! row goes away, the word moves first. If the agent ends in between, the next one finds rows and words that differ, and
//! needs no memory of its own.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::Slot;

use crate::{Rows, difference::Difference};

/// The newest epoch of each slot that stands in a row or in the table. Change words of networks are among them.
fn newest(found: &Rows) -> BTreeMap<Slot, u32> {
    let mut newest = found.epochs.clone();
    let ports = found.ports.values().map(|row| (row.slot, row.epoch));
    let locations = found.locations.values().chain(found.prefixes.values()).map(|row| (row.slot, row.epoch));
    for (slot, epoch) in ports.chain(locations) {
        let word = newest.entry(slot).or_default();
        // Epochs wrap around: of two, the newer is the one less than half the circle ahead.
        if epoch.wrapping_sub(*word) < u32::MAX / 2 {
            *word = epoch;
        }
    }
    newest
}

/// Writes into the wanted rows, and into the wanted table, the epochs that go with the change from the rows found.
pub(crate) fn settle(found: &Rows, wanted: &mut Rows) {
    let newest = newest(found);
    let epoch_of = |slot: Slot| newest.get(&slot).copied().unwrap_or_default();
    // For the comparison rows have the epoch that they have now: it finds what else differs.
    for (key, row) in &mut wanted.ports {
        row.epoch = found.ports.get(key).map_or_else(|| epoch_of(row.slot), |row| row.epoch);
    }
    for (key, row) in &mut wanted.locations {
        row.epoch = found.locations.get(key).map_or_else(|| epoch_of(row.slot), |row| row.epoch);
    }
    for (key, row) in &mut wanted.prefixes {
        row.epoch = found.prefixes.get(key).map_or_else(|| epoch_of(row.slot), |row| row.epoch);
    }
    let (old_slots, new_slots) = (found.judging_slots(), wanted.judging_slots());
    let difference = Difference::but_rules(found, wanted);
    let mut stale = difference.stale_late();
    stale.append(&mut difference.stale_early(found, wanted));
    stale.append(&mut difference.expelled(wanted));
    stale.append(&mut difference.remetered(wanted));
    stale.extend(new_slots.symmetric_difference(&old_slots));
    let settled = |slot: Slot| epoch_of(slot).wrapping_add(u32::from(stale.contains(&slot)));
    for row in wanted.ports.values_mut() {
        row.epoch = settled(row.slot);
    }
    for row in wanted.locations.values_mut().chain(wanted.prefixes.values_mut()) {
        row.epoch = settled(row.slot);
    }
    wanted.epochs = new_slots.union(&old_slots).map(|slot| (*slot, settled(*slot))).collect();
}

impl Rows {
    /// The slots by which flows are judged: those of ports and locations, not the change words of networks.
    fn judging_slots(&self) -> BTreeSet<Slot> {
        let ports = self.ports.values().map(|row| row.slot);
        let locations = self.locations.values().chain(self.prefixes.values()).map(|row| row.slot);
        ports.chain(locations).filter(|slot| *slot != 0).collect()
    }

    /// The same rows without the epochs of ports and locations, and without the tables of rules, which have none: what else they say.
    pub(crate) fn places(&self) -> Self {
        let mut rows = Self {
            ports: self.ports.clone(),
            sources: self.sources.clone(),
            locations: self.locations.clone(),
            prefixes: self.prefixes.clone(),
            hosts: self.hosts.clone(),
            members: self.members.clone(),
            networks: self.networks.clone(),
            ..Self::default()
        };
        rows.ports.values_mut().for_each(|row| row.epoch = 0);
        rows.locations.values_mut().chain(rows.prefixes.values_mut()).for_each(|row| row.epoch = 0);
        rows
    }
}
