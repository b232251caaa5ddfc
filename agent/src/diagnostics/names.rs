//! What the numbers in rows, events and counters stand for.

use std::collections::BTreeMap;

use andromede_abi::{NetworkIndex, RuleNumber, Slot, rule};
use andromede_model::PortName;
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

    /// Name of a local port of a network; empty if none has the slot. A slot that another tenant's port has now does not lend its
    /// name to what happened before; network 0 stands for any.
    pub fn port(&self, slot: Slot, network: NetworkIndex) -> String {
        let port = self.names.ports.get(&slot);
        let of_network = |port: &&PortName| {
            network == 0 || self.names.networks.get(&network).is_some_and(|name| *name == port.network())
        };
        port.filter(of_network).map(ToString::to_string).unwrap_or_default()
    }

    /// Are there no names yet?
    pub fn is_empty(&self) -> bool {
        self.names.networks.is_empty()
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
            rule::NODE => "node".to_owned(),
            other => match self.names.rules.get(&other) {
                Some((owner, rule)) => {
                    let owner = owner.as_str().rsplit('/').next().unwrap_or_default();
                    format!("{owner}/{rule}")
                }
                None => format!("rule {other}, which is no longer here"),
            },
        }
    }

    /// The group or policy in which a rule stands, if the rule is here.
    pub fn rule_owner(&self, number: RuleNumber) -> Option<&str> {
        self.names.rules.get(&number).map(|(owner, _)| owner.as_str())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    fn names() -> HostNames {
        let mut wanted = Wanted::default();
        let port: PortName = "tenants/b/networks/n/ports/p".parse().unwrap();
        wanted.slots.insert(port.clone(), 9);
        wanted.names.ports.insert(9, port);
        for (index, network) in [(1, "tenants/a/networks/n"), (2, "tenants/b/networks/n")] {
            wanted.names.networks.insert(index, network.parse().unwrap());
        }
        let group = "tenants/b/networks/n/securityGroups/web".parse().unwrap();
        wanted.names.rules.insert(1024, (group, "http".parse().unwrap()));
        let policy = "operatorPolicies/malware".parse().unwrap();
        wanted.names.rules.insert(1025, (policy, "sinkhole".parse().unwrap()));
        HostNames::new(&wanted)
    }

    #[test]
    fn a_slot_names_its_port_only_within_the_network_of_the_port() {
        let names = names();
        assert_eq!(names.port(9, 2), "tenants/b/networks/n/ports/p");
        assert_eq!(names.port(9, 0), "tenants/b/networks/n/ports/p");
        assert_eq!(names.port(9, 1), "", "what tenant a's port dropped before is not told as tenant b's");
        assert_eq!(names.port(8, 2), "");
    }

    #[test]
    fn rules_are_told_as_group_and_rule() {
        let names = names();
        assert_eq!(names.rule(1024), "web/http");
        assert_eq!(names.rule(1025), "malware/sinkhole");
        assert_eq!(names.rule(rule::NONE), "");
        assert_eq!(names.rule(rule::DEFAULT_INGRESS), "default-ingress");
        assert!(names.rule(4711).contains("4711"));
    }
}
