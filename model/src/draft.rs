//! A write on its way to a commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::Arc,
};

use crate::{AnyName, Counters, IdentitySet, Model, NetworkName, Resource, Violation, state::NetworkState};

/// The model before a write and as it would be after it, and what is wrong with that.
pub(crate) struct Draft<'a> {
    pub(crate) before: &'a Model,
    pub(crate) after: Model,
    /// Place of each written resource in the request.
    written: BTreeMap<AnyName, usize>,
    /// Place of each deleted name in the request.
    pub(crate) deleted: BTreeMap<AnyName, usize>,
    /// The networks that the write touches and that are still there.
    touched: BTreeSet<NetworkName>,
    pub(crate) violations: Vec<Violation>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(before: &'a Model, written: &[Resource], deleted: &[AnyName]) -> Self {
        let mut draft = Self {
            before,
            after: before.clone(),
            written: BTreeMap::new(),
            deleted: BTreeMap::new(),
            touched: BTreeSet::new(),
            violations: Vec::new(),
        };
        for (place, resource) in written.iter().enumerate() {
            let name = resource.name();
            draft.touched.extend(name.network());
            if let Some(first) = draft.written.insert(name.clone(), place) {
                draft.violations.push(Violation::new(
                    format!("resources[{place}].{}.name", resource.kind().field()),
                    &name,
                    format!("a resource is written once in a call; resources[{first}] has the same name"),
                    "remove one of the two",
                ));
            }
        }
        for (place, name) in deleted.iter().enumerate() {
            draft.touched.extend(name.network());
            if draft.deleted.insert(name.clone(), place).is_some() || draft.written.contains_key(name) {
                let (rule, fix) = ("a resource is written or deleted once in a call", "name it once");
                draft.refuse_deletion(name, rule, fix);
            }
        }
        draft
    }

    /// The path of a field of a resource: in the request if it is written there, otherwise beginning with its name.
    pub(crate) fn path(&self, name: &AnyName, field: &str) -> String {
        match self.written.get(name) {
            Some(place) => format!("resources[{place}].{}.{field}", name.kind().field()),
            None => format!("{name}.{field}"),
        }
    }

    /// Notes that the value of a field breaks a rule.
    pub(crate) fn refuse(
        &mut self,
        name: impl Into<AnyName>,
        field: &str,
        value: impl Display,
        rule: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let path = self.path(&name.into(), field);
        self.violations.push(Violation::new(path, value, rule, fix));
    }

    /// Notes that a resource must not be deleted.
    pub(crate) fn refuse_deletion(&mut self, name: &AnyName, rule: impl Into<String>, fix: impl Into<String>) {
        let path = match (self.deleted.len(), self.deleted.get(name)) {
            (0..=1, _) | (_, None) => "name".to_owned(),
            (_, Some(place)) => format!("deleted[{place}]"),
        };
        self.violations.push(Violation::new(path, name, rule, fix));
    }

    /// Is the resource part of the write?
    pub(crate) fn is_written(&self, name: &AnyName) -> bool {
        self.written.contains_key(name)
    }

    /// The networks that the write touches, as they would be.
    pub(crate) fn touched(&self) -> Vec<Arc<NetworkState>> {
        self.touched.iter().filter_map(|name| self.after.networks.get(name)).cloned().collect()
    }

    /// The interned sets that ports of touched networks begin or cease to need; ports get their numbers.
    pub(crate) fn intern(&mut self, counters: &mut Counters) -> (NewSets, OldSets) {
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for state in self.touched() {
            let mut numbers: BTreeMap<_, _> = state.identities.iter().map(|(number, set)| (set, *number)).collect();
            let mut used = BTreeSet::new();
            let mut ports = Vec::new();
            for port in state.ports.values() {
                let number = if port.groups.is_empty() {
                    0
                } else if let Some(number) = numbers.get(&port.groups) {
                    *number
                } else {
                    let number = counters.identity;
                    counters.identity = number.saturating_add(1);
                    numbers.insert(&port.groups, number);
                    new.push((state.name().clone(), IdentitySet { number, groups: port.groups.clone() }));
                    number
                };
                used.insert(number);
                if port.identity != number {
                    ports.push((port.name.clone(), number));
                }
            }
            let unused = state.identities.keys().filter(|number| !used.contains(number));
            old.extend(unused.map(|number| (state.name().clone(), *number)));
            if let Some(entry) = self.after.networks.get_mut(state.name()).filter(|_| !ports.is_empty()) {
                let entry = Arc::make_mut(entry);
                for (name, number) in ports {
                    if let Some(port) = entry.ports.get_mut(&name) {
                        port.identity = number;
                    }
                }
            }
        }
        (new, old)
    }
}

/// Interned sets that are new, with their networks.
pub(crate) type NewSets = Vec<(NetworkName, IdentitySet)>;
/// Numbers of interned sets that are gone, with their networks.
pub(crate) type OldSets = Vec<(NetworkName, u32)>;
