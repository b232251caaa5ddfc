//! From the rows found to the rows wanted.
//!
//! The order of the steps is the promise "a change closes before it opens": at no moment passes a new flow that both the old
//! and the new rows refuse. It is also such that the agent may end after any step: whoever goes on finds in the rows what is
//! left to do.
//!
//! 1. Compiled sets that no port refers to are removed: a change was interrupted, or did not fit. Then what nothing refers to
//!    yet is written: new compiled sets, networks, change words that are given out.
//! 2. The change words of networks in which several rows that one flow depends on change become odd: new flows wait there.
//! 3. Epochs of what goes away, leads elsewhere although its rows say the same, or is where its network may not be any more: its flows
//!    are judged at every packet.
//! 4. Networks may be only where the old rows and the new ones let them be. What is gone is removed. Hosts are written: locations say who is behind them.
//! 5. Rows that change are written, ports before locations; each by one write.
//! 6. What is new is added: a new address is reachable only once the rules of the others are the new ones.
//! 7. Rows that only get a new epoch, and of networks that may be in further zones the rows that say so. Then change words become even.
//! 8. The epochs of what changed: its flows are judged again, by new rows only, and without having to wait.
//! 9. After a grace period no program uses the old sets and hosts: they are removed.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{NetworkIndex, NetworkRow, PolicySet, PortRow, Slot, network_flag};

use crate::{
    Row, RowKey, Rows, Step, Wanted,
    difference::{Difference, Table, add, change, remove},
    window::Windows,
};

/// The steps from the rows found to the rows wanted, in the order in which they are to be carried out.
pub fn changes(found: &Rows, wanted: &Wanted) -> Vec<Step> {
    // The rows as they would be if only epochs moved, to tell such rows from those that say something new.
    let (bare_found, bare_wanted) = (found.places(), wanted.rows.places());
    let bare = Difference::but_rules(&bare_found, &bare_wanted);
    let difference = Difference::between(found, &wanted.rows);
    let windows = Windows::of(&bare_found, wanted, &bare);
    let mut words = Words { words: found.epochs.clone(), steps: Vec::new() };
    let (old_slots, new_slots) = (found.slots(), wanted.rows.slots());

    let referred = found.ports.values().flat_map(PortRow::sets).collect();
    let (garbage, leftovers) = difference.leftovers(&referred);
    let mut steps = after_grace(garbage);
    steps.extend(difference.unreferenced());
    let network_slots = wanted.network_slots.values().copied();
    let network_slots: BTreeSet<Slot> = network_slots.filter(|slot| new_slots.contains(slot)).collect();
    for slot in network_slots.difference(&old_slots) {
        words.give_out(*slot);
    }
    for slot in windows.open() {
        words.begin(slot);
    }
    steps.append(&mut words.steps);
    let mut early = bare.stale_early(&bare_found, &bare_wanted);
    early.append(&mut bare.expelled(&bare_wanted));
    let (early, late) = moving_words(found, wanted, |slot| early.contains(slot) || !new_slots.contains(slot));
    let (epochs_only, flips) = difference.rewrites(&bare);
    steps.extend(early);
    steps.extend(difference.narrowed());
    steps.extend(difference.removals());
    steps.extend(flips);
    steps.extend(difference.additions());
    steps.extend(epochs_only);
    steps.extend(difference.widened());
    for slot in network_slots {
        words.end(slot);
    }
    steps.append(&mut words.steps);
    steps.extend(late);
    steps.extend(after_grace(leftovers));
    steps
}

/// Steps that free what a program may still be reading.
fn after_grace(steps: Vec<Step>) -> Vec<Step> {
    let grace = (!steps.is_empty()).then_some(Step::Grace);
    grace.into_iter().chain(steps).collect()
}

/// The step that writes the row of a network.
const fn network(index: NetworkIndex, row: NetworkRow) -> Step {
    Step::Insert(Row::Network(index, row))
}

/// The new row of a network, but only with the zones that the old one permits too.
const fn narrowed(old: &NetworkRow, new: &NetworkRow) -> NetworkRow {
    match (old.flags & network_flag::BOUND != 0, new.flags & network_flag::BOUND != 0) {
        (false, _) => *new,
        (true, false) => NetworkRow { flags: new.flags | network_flag::BOUND, zones: old.zones, ..*new },
        (true, true) => NetworkRow { zones: old.zones.and(new.zones), ..*new },
    }
}

/// The epochs that move, in two parts: those that do before the rows, and those that do after them.
fn moving_words(found: &Rows, wanted: &Wanted, early: impl Fn(&Slot) -> bool) -> (Vec<Step>, Vec<Step>) {
    let moved = wanted.rows.epochs.iter().filter(|(slot, value)| found.epoch(**slot) != **value);
    moved.map(|(slot, value)| Step::Epoch { slot: *slot, value: *value }).partition(|step| match step {
        Step::Epoch { slot, .. } => early(slot),
        _ => false,
    })
}

/// The change words of networks, as they become step by step.
struct Words {
    words: BTreeMap<Slot, u32>,
    steps: Vec<Step>,
}

impl Words {
    /// Sets a word to the next value of that parity.
    fn next(&mut self, slot: Slot, parity: u32) -> u32 {
        let word = self.words.entry(slot).or_default();
        *word = word.wrapping_add(if *word % 2 == parity { 2 } else { 1 });
        *word
    }

    /// A slot becomes the word of a network.
    fn give_out(&mut self, slot: Slot) {
        let value = self.next(slot, 0);
        self.steps.push(Step::Epoch { slot, value });
    }

    fn begin(&mut self, network_slot: Slot) {
        let value = self.next(network_slot, 1);
        self.steps.push(Step::BeginChange { network_slot, value });
    }

    /// Makes the word even if it is odd, whoever made it odd.
    fn end(&mut self, network_slot: Slot) {
        if self.words.get(&network_slot).is_some_and(|word| word % 2 == 1) {
            let value = self.next(network_slot, 0);
            self.steps.push(Step::EndChange { network_slot, value });
        }
    }
}

/// The rows of a table that change, in two parts: those that only get a new epoch, and those that say something new.
fn divide<K: Ord + Copy, V: Copy>(
    table: &Table<'_, K, V>,
    bare: &Table<'_, K, V>,
    row: fn(K, V) -> Row,
    parts: &mut (Vec<Step>, Vec<Step>),
) {
    let new: BTreeSet<&K> = bare.changed.iter().map(|(key, _, _)| *key).collect();
    for (key, _, value) in &table.changed {
        let part = if new.contains(key) { &mut parts.1 } else { &mut parts.0 };
        part.push(Step::Insert(row(**key, **value)));
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
        steps.extend(add(&self.networks, Row::Network));
        steps
    }

    /// The rows of networks, as far as they permit no more than before.
    fn narrowed(&self) -> impl Iterator<Item = Step> + '_ {
        self.networks.changed.iter().map(|(index, old, new)| network(**index, narrowed(old, new)))
    }

    /// The rows of networks that may be in zones in which they might not be before.
    fn widened(&self) -> impl Iterator<Item = Step> + '_ {
        let widened = self.networks.changed.iter().filter(|(_, old, new)| narrowed(old, new) != **new);
        widened.map(|(index, _, new)| network(**index, **new))
    }

    /// Rows that are written again: those that only get a new epoch, and those that say something new.
    fn rewrites(&self, bare: &Self) -> (Vec<Step>, Vec<Step>) {
        let mut parts = (Vec::new(), Vec::new());
        parts.1.extend(add(&self.hosts, Row::Host));
        parts.1.extend(change(&self.hosts, Row::Host));
        divide(&self.ports, &bare.ports, Row::Port, &mut parts);
        parts.1.extend(change(&self.members, Row::Member));
        divide(&self.prefixes, &bare.prefixes, Row::Prefix, &mut parts);
        divide(&self.locations, &bare.locations, Row::Location, &mut parts);
        parts
    }

    /// What is gone. Prefixes go before locations: an address whose own row goes would be found in them.
    fn removals(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = remove(&self.prefixes, RowKey::Prefix).collect();
        steps.extend(remove(&self.members, RowKey::Member));
        steps.extend(remove(&self.sources, RowKey::Source));
        steps.extend(remove(&self.ports, RowKey::Port));
        steps.extend(remove(&self.locations, RowKey::Location));
        steps
    }

    /// What is new. Ports go before the addresses by which they are reached.
    fn additions(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = add(&self.sources, Row::Source).collect();
        steps.extend(change(&self.sources, Row::Source));
        steps.extend(add(&self.ports, Row::Port));
        steps.extend(add(&self.members, Row::Member));
        steps.extend(add(&self.prefixes, Row::Prefix));
        steps.extend(add(&self.locations, Row::Location));
        steps
    }

    /// What nothing refers to any more: compiled sets that even the ports found do not refer to, and the rest.
    fn leftovers(&self, referred: &BTreeSet<PolicySet>) -> (Vec<Step>, Vec<Step>) {
        let mut steps: Vec<Step> = remove(&self.policy_cells, RowKey::PolicyCell).collect();
        steps.extend(remove(&self.policy_services, RowKey::PolicyService));
        steps.extend(remove(&self.policy_identities, RowKey::PolicyIdentity));
        steps.extend(remove(&self.policy_prefixes, RowKey::PolicyPrefix));
        steps.extend(remove(&self.hosts, RowKey::Host));
        steps.extend(remove(&self.networks, RowKey::Network));
        let is_garbage = |step: &Step| match step {
            Step::Remove(RowKey::PolicyCell(key)) => !referred.contains(&key.set),
            Step::Remove(RowKey::PolicyService(key)) => !referred.contains(&key.data.set),
            Step::Remove(RowKey::PolicyIdentity(key)) => !referred.contains(&key.set),
            Step::Remove(RowKey::PolicyPrefix(key)) => !referred.contains(&key.data.set),
            _ => false,
        };
        steps.into_iter().partition(is_garbage)
    }
}
