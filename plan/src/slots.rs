//! Slots: who has which, and who gets a new one.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{Address, LocationKey, Mac, NetworkIndex, PrefixKey, Prefixed, Slot, location_kind, maps};

use crate::Rows;

impl Rows {
    /// All slots that a row refers to.
    pub(crate) fn slots(&self) -> BTreeSet<Slot> {
        let ports = self.ports.values().flat_map(|row| [row.slot, row.network_slot]);
        let sources = self.sources.keys().map(|key| key.data.slot);
        let locations = self.locations.values().chain(self.prefixes.values()).map(|row| row.slot);
        let members = self.members.values().map(|row| row.network_slot);
        let networks = self.networks.values().map(|row| row.network_slot);
        ports.chain(sources).chain(locations).chain(members).chain(networks).filter(|slot| *slot != 0).collect()
    }

    /// The highest slot that a row refers to.
    pub(crate) fn highest_slot(&self) -> Option<Slot> {
        let ports = self.ports.values().map(|row| row.slot.max(row.network_slot));
        let locations = self.locations.values().chain(self.prefixes.values()).map(|row| row.slot);
        let members = self.members.values().map(|row| row.network_slot);
        ports.chain(locations).chain(members).max()
    }

    /// The epoch in a slot.
    pub(crate) fn epoch(&self, slot: Slot) -> u32 {
        self.epochs.get(&slot).copied().unwrap_or_default()
    }
}

/// Gives slots. What is there already keeps its own; a new one is none that any row found refers to.
pub(crate) struct Slots<'a> {
    found: &'a Rows,
    by_mac: BTreeMap<(NetworkIndex, Mac), Slot>,
    by_network: BTreeMap<NetworkIndex, Slot>,
    used: BTreeSet<Slot>,
    claimed: BTreeSet<Slot>,
    next: Slot,
}

impl<'a> Slots<'a> {
    pub(crate) fn new(found: &'a Rows) -> Self {
        let ports = found.locations.iter().filter(|(_, row)| row.kind == location_kind::PORT);
        let by_mac = ports.map(|(key, row)| ((key.network, row.mac), row.slot)).collect();
        let members = found.members.values().map(|row| (row.network, row.network_slot));
        let networks = found.networks.iter().map(|(network, row)| (*network, row.network_slot));
        let ports = found.ports.values().map(|row| (row.network, row.network_slot));
        let by_network = members.chain(ports).chain(networks).collect();
        Self { found, by_mac, by_network, used: &found.slots() | &found.counted, claimed: BTreeSet::new(), next: 1 }
    }

    /// Takes a slot over, unless it is taken already.
    fn claim(&mut self, slot: Option<Slot>) -> Option<Slot> {
        slot.filter(|slot| *slot != 0 && self.claimed.insert(*slot))
    }

    /// A slot that nobody has; none if the table is full.
    fn fresh(&mut self) -> Option<Slot> {
        while self.used.contains(&self.next) {
            self.next += 1;
        }
        let slot = self.next;
        self.next += 1;
        (slot < maps::EPOCHS.rows && self.claimed.insert(slot)).then_some(slot)
    }

    /// The slot that a port has: its Ethernet address tells, which is unique in the network.
    pub(crate) fn known_port(&mut self, network: NetworkIndex, mac: Mac) -> Option<Slot> {
        self.claim(self.by_mac.get(&(network, mac)).copied())
    }

    /// The slot of a port whose Ethernet address is new: that of one of its addresses, or a new one.
    pub(crate) fn port(&mut self, network: NetworkIndex, addresses: &[Address]) -> Option<Slot> {
        let found = self.found;
        let of = |address: &Address| found.locations.get(&LocationKey { network, address: *address });
        let known = addresses.iter().filter_map(of).filter(|row| row.kind == location_kind::PORT);
        for row in known {
            if let Some(slot) = self.claim(Some(row.slot)) {
                return Some(slot);
            }
        }
        self.fresh()
    }

    /// The slot of an address that is of this kind and no port's: a router's, or the node's.
    pub(crate) fn location(&mut self, key: &LocationKey, kind: u8) -> Option<Slot> {
        let known = self.found.locations.get(key).filter(|row| row.kind == kind);
        self.claim(known.map(|row| row.slot)).or_else(|| self.fresh())
    }

    /// The slot of a prefix.
    pub(crate) fn prefix(&mut self, key: &Prefixed<PrefixKey>) -> Option<Slot> {
        let known = self.found.prefixes.get(key);
        self.claim(known.map(|row| row.slot)).or_else(|| self.fresh())
    }

    /// The slot of a network's change word.
    pub(crate) fn network(&mut self, network: NetworkIndex) -> Option<Slot> {
        self.claim(self.by_network.get(&network).copied()).or_else(|| self.fresh())
    }
}
