//! When new flows of a network must wait.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{LocationRow, NetworkIndex, Slot, location_flag};

use crate::{
    Rows, Wanted,
    difference::{Difference, Prefixes, place},
};

/// What changes in one network, as far as the verdict on a new flow depends on it.
#[derive(Default)]
struct Flips {
    /// Local ports whose row changes.
    ports: BTreeSet<Slot>,
    /// Locations of this host that change.
    local: BTreeSet<Slot>,
    /// Locations elsewhere that change.
    remote: BTreeSet<Slot>,
    /// Addresses that are found in another table than before, or behind another prefix, and slots that lose one of several
    /// rows.
    moved: usize,
}

impl Flips {
    /// Could a flow be judged by one old and one new row, and pass although the old rows and the new ones refuse it, or be cut
    /// although both permit it?
    fn need_window(&self) -> bool {
        let locations = self.local.len() + self.remote.len() + self.moved;
        self.ports.len() + self.local.len() > 1
            || (!self.ports.is_empty() && locations > 0)
            || (self.moved > 0 && locations > 1)
    }
}

/// The networks in which new flows wait, and their change words.
pub(crate) struct Windows {
    words: BTreeMap<NetworkIndex, Slot>,
    open: BTreeSet<NetworkIndex>,
}

impl Windows {
    pub(crate) fn of(found: &Rows, wanted: &Wanted, difference: &Difference<'_>) -> Self {
        let names = wanted.names.networks.iter();
        let words = names.filter_map(|(index, name)| Some((*index, *wanted.network_slots.get(name)?))).collect();
        let flips = flips(found, &wanted.rows, difference);
        let open = flips.into_iter().filter(|(_, flips)| flips.need_window()).map(|(network, _)| network).collect();
        Self { words, open }
    }

    /// The words to make odd.
    pub(crate) fn open(&self) -> impl Iterator<Item = Slot> + '_ {
        self.open.iter().filter_map(|network| self.words.get(network)).copied()
    }
}

fn flips(found: &Rows, wanted: &Rows, difference: &Difference<'_>) -> BTreeMap<NetworkIndex, Flips> {
    let mut networks: BTreeMap<NetworkIndex, Flips> = BTreeMap::new();
    for old in difference.ports.judged_otherwise() {
        networks.entry(old.network).or_default().ports.insert(old.slot);
    }
    let is_local = |row: &LocationRow| row.flags & location_flag::LOCAL != 0;
    for (key, old, new) in &difference.locations.changed {
        let flips = networks.entry(key.network).or_default();
        let slots = if is_local(old) || is_local(new) { &mut flips.local } else { &mut flips.remote };
        slots.extend([old.slot, new.slot]);
    }
    for (key, ..) in &difference.prefixes.changed {
        networks.entry(key.data.network).or_default().moved += 1;
    }
    let prefixes = [Prefixes::of(found), Prefixes::of(wanted)];
    let locations = difference.locations.added.iter().chain(&difference.locations.removed);
    let locations = locations.map(|(key, _)| (key.network, key.address, u32::MAX));
    let others = difference.prefixes.added.iter().chain(&difference.prefixes.removed);
    for (network, address, length) in locations.chain(others.map(|(key, _)| place(key))) {
        if prefixes.iter().any(|prefixes| prefixes.around(network, address, length).is_some()) {
            networks.entry(network).or_default().moved += 1;
        }
    }
    // Between an old law and a new place, or the other way round, a flow that both permit would be refused.
    let somebody_moves = difference.hosts.changed.iter().any(|(_, old, new)| old.zone != new.zone);
    for (index, old, new) in difference.networks.changed.iter().filter(|_| somebody_moves) {
        if (old.flags, old.zones) != (new.flags, new.zones) {
            networks.entry(**index).or_default().moved += 2;
        }
    }
    let staying: BTreeSet<Slot> = wanted.locations.values().map(|row| row.slot).collect();
    for (key, row) in &difference.locations.removed {
        if staying.contains(&row.slot) {
            networks.entry(key.network).or_default().moved += 1;
        }
    }
    networks
}
