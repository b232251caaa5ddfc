//! What the numbers in rows, events and counters stand for.

use std::collections::BTreeMap;

use andromede_abi::{NetworkIndex, RuleNumber, Slot, rule};
use andromede_plan::{Names, Wanted};

/// Names of ports, networks and rules of this host.
#[derive(Clone, Debug, Default)]
pub struct HostNames {
    names: Names,
    slots: BTreeMap<String, Slot>,
}

impl HostNames {
    /// The names that come with these rows.
    pub fn new(wanted: &Wanted) -> Self {
        let slots = wanted.slots.iter().map(|(port, slot)| (port.to_string(), *slot)).collect();
        Self { names: wanted.names.clone(), slots }
    }

    /// Are these other names?
    pub fn differs(&self, wanted: &Wanted) -> bool {
        self.names != wanted.names || self.slots.len() != wanted.slots.len()
    }

    /// Name of a local port; empty if none has the slot.
    pub fn port(&self, slot: Slot) -> String {
        self.names.ports.get(&slot).map(ToString::to_string).unwrap_or_default()
    }

    /// Name of a network; empty if none has the index.
    pub fn network(&self, index: NetworkIndex) -> String {
        self.names.networks.get(&index).map(ToString::to_string).unwrap_or_default()
    }

    /// Index of a network.
    pub fn network_index(&self, name: &str) -> Option<NetworkIndex> {
        self.names.networks.iter().find(|(_, network)| network.as_str() == name).map(|(index, _)| *index)
    }

    /// A rule as "group/rule"; the defaults by their names; empty if no rule was involved.
    pub fn rule(&self, number: RuleNumber) -> String {
        match number {
            rule::NONE => String::new(),
            rule::DEFAULT_INGRESS => "default-ingress".to_owned(),
            rule::DEFAULT_EGRESS => "default-egress".to_owned(),
            other => match self.names.rules.get(&other) {
                Some((group, rule)) => format!("{}/{rule}", group.id()),
                None => format!("rule {other}, which is no longer here"),
            },
        }
    }

    /// Slot of a local port.
    pub fn slot(&self, port: &str) -> Option<Slot> {
        self.slots.get(port).copied()
    }

    /// Slots of the local ports.
    pub fn slots(&self) -> impl Iterator<Item = (&str, Slot)> {
        self.slots.iter().map(|(port, slot)| (port.as_str(), *slot))
    }
}
