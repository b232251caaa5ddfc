//! Numbers of compiled sets: a set that is there already keeps its number.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{CellKey, IdentityClassKey, PolicyPrefixKey, PolicySet, Prefixed, ServiceKey};

use super::Content;
use crate::Rows;

/// The compiled sets among the rows, by number.
fn contents(rows: &Rows) -> BTreeMap<PolicySet, Content> {
    let mut contents: BTreeMap<PolicySet, Content> = BTreeMap::new();
    for (key, class) in &rows.policy_identities {
        contents.entry(key.set).or_default().identities.insert(key.identity, *class);
    }
    for (key, class) in &rows.policy_prefixes {
        contents.entry(key.data.set).or_default().prefixes.insert((key.length, key.data.address), *class);
    }
    for (key, class) in &rows.policy_services {
        let ServiceKey { set, protocol, port } = key.data;
        contents.entry(set).or_default().services.insert((key.length, protocol, port), *class);
    }
    for (key, cell) in &rows.policy_cells {
        contents.entry(key.set).or_default().cells.insert((key.remote, key.service), *cell);
    }
    contents
}

impl Content {
    /// Writes the tables under a number.
    fn write(&self, set: PolicySet, rows: &mut Rows) {
        for (identity, class) in &self.identities {
            rows.policy_identities.insert(IdentityClassKey { set, identity: *identity }, *class);
        }
        for ((length, address), class) in &self.prefixes {
            let data = PolicyPrefixKey { set, address: *address };
            rows.policy_prefixes.insert(Prefixed { length: *length, data }, *class);
        }
        for ((length, protocol, port), class) in &self.services {
            let data = ServiceKey { set, protocol: *protocol, port: *port };
            rows.policy_services.insert(Prefixed { length: *length, data }, *class);
        }
        for ((remote, service), cell) in &self.cells {
            rows.policy_cells.insert(CellKey { set, remote: *remote, service: *service }, *cell);
        }
    }
}

/// Gives compiled sets their numbers.
pub(crate) struct Sets {
    /// Sets that are wanted or found, by content.
    numbers: BTreeMap<Content, PolicySet>,
    /// Numbers that a row found, or a set wanted, has.
    used: BTreeSet<PolicySet>,
    next: PolicySet,
}

impl Sets {
    /// Numbers in use are those of the rows found, and those that ports found refer to.
    pub(crate) fn new(found: &Rows) -> Self {
        let contents = contents(found);
        let referred = found.ports.values().flat_map(|port| [port.egress_set, port.ingress_set]);
        let used: BTreeSet<PolicySet> = contents.keys().copied().chain(referred).collect();
        let next = used.last().copied().unwrap_or_default().wrapping_add(1);
        // Of two equal sets the one with the lower number is kept.
        let numbers = contents.into_iter().rev().map(|(set, content)| (content, set)).collect();
        Self { numbers, used, next }
    }

    /// The number of the set with this content, whose rows are put among those wanted; 0 if it has no cell.
    pub(crate) fn number(&mut self, content: Content, wanted: &mut Rows) -> PolicySet {
        if content.cells.is_empty() {
            return 0;
        }
        if let Some(set) = self.numbers.get(&content) {
            content.write(*set, wanted);
            return *set;
        }
        while self.next == 0 || self.used.contains(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let set = self.next;
        self.used.insert(set);
        content.write(set, wanted);
        self.numbers.insert(content, set);
        set
    }
}
