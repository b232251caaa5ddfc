//! From the rows found to the rows wanted.
//!
//! The order of the steps is the promise "a change closes before it opens": at no moment passes a new flow that both the old
//! and the new rows refuse.
//!
//! 1. What nothing refers to yet: new compiled sets, hosts, and the epochs of slots that are given out (again).
//! 2. The change words of networks in which several rows that one flow depends on change become odd: new flows wait there.
//! 3. What is gone is removed.
//! 4. Rows that change are written, ports before locations; each by one write.
//! 5. What is new is added: a new address is reachable only once the rules of the others are the new ones.
//! 6. Epochs: flows that were judged by what changed are judged again. Only now, or they would be judged by old rows again.
//! 7. Change words become even.
//! 8. After a grace period no program uses the old sets and hosts: they are removed.

mod difference;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{LocationRow, Slot};

use crate::{Row, RowKey, Rows, Step, Wanted};
use difference::{Difference, add, change, remove};
use window::Windows;

/// The steps from the rows found to the rows wanted, in the order in which they are to be carried out.
pub fn changes(found: &Rows, wanted: &Wanted) -> Vec<Step> {
    let difference = Difference::between(found, &wanted.rows);
    let windows = Windows::of(found, wanted, &difference);
    let mut epochs = Epochs { words: found.epochs.clone(), steps: Vec::new() };
    let (old_slots, new_slots) = (found.slots(), wanted.rows.slots());
    let network_slots: BTreeSet<Slot> = wanted.network_slots.values().copied().collect();

    let mut steps = difference.unreferenced();
    for slot in new_slots.difference(&old_slots) {
        epochs.give_out(*slot, network_slots.contains(slot));
    }
    for slot in windows.open() {
        epochs.begin(slot);
    }
    steps.append(&mut epochs.steps);
    steps.extend(difference.removals());
    steps.extend(difference.flips());
    steps.extend(difference.additions());

    let mut stale = difference.stale(found, &wanted.rows);
    stale.extend(windows.interrupted(found, wanted));
    stale.extend(old_slots.difference(&new_slots));
    for slot in stale.difference(&old_network_slots(found)) {
        epochs.bump(*slot);
    }
    for slot in network_slots {
        epochs.end(slot);
    }
    steps.append(&mut epochs.steps);
    let leftovers = difference.leftovers();
    if !leftovers.is_empty() {
        steps.push(Step::Grace);
        steps.extend(leftovers);
    }
    steps
}

/// Makes every flow be judged again at its next packet, without a change of rows. For an agent that finds tables which another
/// process wrote: that process may have ended between writing a row and its epoch.
pub fn revalidate(found: &Rows) -> Vec<Step> {
    let mut epochs = Epochs { words: found.epochs.clone(), steps: Vec::new() };
    for slot in found.slots().difference(&old_network_slots(found)) {
        epochs.bump(*slot);
    }
    epochs.steps
}

/// The slots of change words: they are no epochs.
fn old_network_slots(found: &Rows) -> BTreeSet<Slot> {
    let members = found.members.values().map(|row| row.network_slot);
    members.chain(found.ports.values().map(|row| row.network_slot)).collect()
}

/// The words of the table, as they become step by step.
struct Epochs {
    words: BTreeMap<Slot, u32>,
    steps: Vec<Step>,
}

impl Epochs {
    /// Sets a word to the next value, or the one after it if the parity is wrong.
    fn next(&mut self, slot: Slot, parity: Option<u32>) -> u32 {
        let word = self.words.entry(slot).or_default();
        *word = word.wrapping_add(1);
        if parity.is_some_and(|parity| *word % 2 != parity) {
            *word = word.wrapping_add(1);
        }
        *word
    }

    /// A slot gets a new meaning: flows that still refer to the old one are stale.
    fn give_out(&mut self, slot: Slot, network: bool) {
        let value = self.next(slot, network.then_some(0));
        self.steps.push(Step::Epoch { slot, value });
    }

    fn bump(&mut self, slot: Slot) {
        let value = self.next(slot, None);
        self.steps.push(Step::Epoch { slot, value });
    }

    fn begin(&mut self, network_slot: Slot) {
        let value = self.next(network_slot, Some(1));
        self.steps.push(Step::BeginChange { network_slot, value });
    }

    /// Makes the word even if it is odd, whoever made it odd.
    fn end(&mut self, network_slot: Slot) {
        if self.words.get(&network_slot).is_some_and(|word| word % 2 == 1) {
            let value = self.next(network_slot, Some(0));
            self.steps.push(Step::EndChange { network_slot, value });
        }
    }
}

impl Difference<'_> {
    /// Rows that nothing refers to yet.
    fn unreferenced(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.extend(add(&self.policy_services, Row::PolicyService));
        steps.extend(add(&self.policy_identities, Row::PolicyIdentity));
        steps.extend(add(&self.policy_prefixes, Row::PolicyPrefix));
        steps.extend(add(&self.policy_cells, Row::PolicyCell));
        steps.extend(add(&self.hosts, Row::Host));
        steps.extend(change(&self.hosts, Row::Host));
        steps
    }

    /// What is gone. Prefixes go first: an address whose own row goes would be found in them.
    fn removals(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = remove(&self.prefixes, RowKey::Prefix).collect();
        steps.extend(remove(&self.members, RowKey::Member));
        steps.extend(remove(&self.sources, RowKey::Source));
        steps.extend(remove(&self.ports, RowKey::Port));
        steps.extend(remove(&self.locations, RowKey::Location));
        steps
    }

    /// Rows that change.
    fn flips(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = change(&self.ports, Row::Port).collect();
        steps.extend(change(&self.members, Row::Member));
        steps.extend(change(&self.prefixes, Row::Prefix));
        steps.extend(change(&self.locations, Row::Location));
        steps
    }

    /// What is new.
    fn additions(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = add(&self.sources, Row::Source).collect();
        steps.extend(change(&self.sources, Row::Source));
        steps.extend(add(&self.ports, Row::Port));
        steps.extend(add(&self.members, Row::Member));
        steps.extend(add(&self.prefixes, Row::Prefix));
        steps.extend(add(&self.locations, Row::Location));
        steps
    }

    /// What nothing refers to any more.
    fn leftovers(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = remove(&self.policy_cells, RowKey::PolicyCell).collect();
        steps.extend(remove(&self.policy_services, RowKey::PolicyService));
        steps.extend(remove(&self.policy_identities, RowKey::PolicyIdentity));
        steps.extend(remove(&self.policy_prefixes, RowKey::PolicyPrefix));
        steps.extend(remove(&self.hosts, RowKey::Host));
        steps
    }

    /// Slots of ports and locations whose flows must be judged again.
    fn stale(&self, found: &Rows, wanted: &Rows) -> BTreeSet<Slot> {
        let both = |(old, new): (&LocationRow, &LocationRow)| [old.slot, new.slot];
        let mut stale = BTreeSet::new();
        stale.extend(self.ports.changed.iter().map(|(_, old, _)| old.slot));
        stale.extend(self.ports.removed.iter().map(|(_, old)| old.slot));
        stale.extend(self.sources.removed.iter().map(|(key, _)| key.data.slot));
        stale.extend(self.locations.changed.iter().flat_map(|(_, old, new)| both((old, new))));
        stale.extend(self.prefixes.changed.iter().flat_map(|(_, old, new)| both((old, new))));
        stale.extend(self.locations.removed.iter().map(|(_, old)| old.slot));
        stale.extend(self.prefixes.removed.iter().map(|(_, old)| old.slot));
        // What is new within a prefix was behind that prefix before.
        stale.extend(self.uncovered(found).into_iter().map(|row| row.slot));
        // Flows carry the addresses of the host that they go to.
        let moved: BTreeSet<_> = self.hosts.changed.iter().map(|(key, _, _)| **key).collect();
        if !moved.is_empty() {
            let locations = wanted.locations.values().chain(wanted.prefixes.values());
            stale.extend(locations.filter(|row| moved.contains(&row.host)).map(|row| row.slot));
        }
        stale.remove(&0);
        stale
    }
}
