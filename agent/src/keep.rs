//! Rows of networks of which nothing new can be said: nothing is known of them yet, or what is known does not fit.
//!
//! A stored network that cannot be read says nothing about its rows: they are what the process before wrote, and workloads depend on
//! them. They stay until the controller has told the network anew, or that it is gone. So do those of a network that does not fit.

use std::collections::BTreeSet;

use andromede_abi::{NetworkIndex, Slot};
use andromede_plan::{Rows, Wanted};

/// Adds the rows found of networks that nobody spoke of to those wanted, so that they are not removed. Ports without a workload are
/// not kept: nothing uses their rows.
pub fn keep(wanted: &mut Wanted, found: &Rows, is_spoken: impl Fn(NetworkIndex) -> bool, attached: &BTreeSet<u32>) {
    let unspoken = |network: NetworkIndex| !is_spoken(network);
    let rows = &mut wanted.rows;
    let mut slots = BTreeSet::<Slot>::new();
    let mut sets = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    for (ifindex, row) in
        found.ports.iter().filter(|(ifindex, row)| unspoken(row.network) && attached.contains(ifindex))
    {
        rows.ports.entry(*ifindex).or_insert(*row);
        slots.insert(row.slot);
        sets.extend(row.sets());
    }
    for (key, row) in found.sources.iter().filter(|(key, _)| slots.contains(&key.data.slot)) {
        rows.sources.entry(*key).or_insert(*row);
    }
    for (key, row) in found.locations.iter().filter(|(key, _)| unspoken(key.network)) {
        rows.locations.entry(*key).or_insert(*row);
        slots.insert(row.slot);
        hosts.insert(row.host);
    }
    for (key, row) in found.prefixes.iter().filter(|(key, _)| unspoken(key.data.network)) {
        rows.prefixes.entry(*key).or_insert(*row);
        slots.insert(row.slot);
        hosts.insert(row.host);
    }
    for (key, row) in found.members.iter().filter(|(_, row)| unspoken(row.network)) {
        rows.members.entry(*key).or_insert(*row);
        hosts.insert(row.host);
    }
    for (key, row) in found.networks.iter().filter(|(key, _)| unspoken(**key)) {
        rows.networks.entry(*key).or_insert(*row);
    }
    for (key, row) in found.hosts.iter().filter(|(host, _)| hosts.contains(host)) {
        rows.hosts.entry(*key).or_insert(*row);
    }
    keep_sets(rows, found, &sets);
    // Without them the slots would count as given up, and every flow of theirs as stale.
    for slot in slots {
        rows.epochs.insert(slot, found.epochs.get(&slot).copied().unwrap_or_default());
    }
}

/// The compiled rules of kept ports.
fn keep_sets(rows: &mut Rows, found: &Rows, sets: &BTreeSet<u32>) {
    let identities = found.policy_identities.iter().filter(|(key, _)| sets.contains(&key.set));
    rows.policy_identities.extend(identities.map(|(key, row)| (*key, *row)));
    let prefixes = found.policy_prefixes.iter().filter(|(key, _)| sets.contains(&key.data.set));
    rows.policy_prefixes.extend(prefixes.map(|(key, row)| (*key, *row)));
    let services = found.policy_services.iter().filter(|(key, _)| sets.contains(&key.data.set));
    rows.policy_services.extend(services.map(|(key, row)| (*key, *row)));
    let cells = found.policy_cells.iter().filter(|(key, _)| sets.contains(&key.set));
    rows.policy_cells.extend(cells.map(|(key, row)| (*key, *row)));
}
