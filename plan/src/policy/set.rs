//! Numbers of compiled sets: a set that is there already keeps its number.
//!
//! The rules of a set never change. Who belongs to its groups does: an identity that is new on this host gets its row before any
//! address has the identity, and one that no port has any more loses its row after the last address lost it. So a set keeps its
//! number as long as its rules are the same and say the same of every identity that a connection may have been judged by.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use andromede_abi::{
    CellKey, IdentityClassKey, PolicyPrefixKey, PolicySet, PortRow, Prefixed, ServiceKey, remote_level,
};

use andromede_model::SecurityGroupName;

use super::{Class, Content, Groups, Rules, groups::ClassCells};
use crate::Rows;

/// A set among the rows found.
#[derive(Default)]
struct Found {
    rules: Rules,
    /// Class of each identity.
    classes: BTreeMap<u32, u32>,
    /// Cells of each class of identities.
    cells: BTreeMap<u32, ClassCells>,
}

/// The compiled sets among the rows, by number.
fn sets(rows: &Rows) -> BTreeMap<PolicySet, Found> {
    let mut sets: BTreeMap<PolicySet, Found> = BTreeMap::new();
    for (key, row) in &rows.policy_identities {
        sets.entry(key.set).or_default().classes.insert(key.identity, row.class);
    }
    for (key, row) in &rows.policy_prefixes {
        sets.entry(key.data.set).or_default().rules.prefixes.insert((key.length, key.data.address), *row);
    }
    for (key, row) in &rows.policy_services {
        let ServiceKey { set, protocol, port } = key.data;
        sets.entry(set).or_default().rules.services.insert((key.length, protocol, port), *row);
    }
    for (key, cell) in &rows.policy_cells {
        let set = sets.entry(key.set).or_default();
        let service: Class = (usize::from(key.service_level), key.service);
        match usize::from(key.remote_level) {
            remote_level::IDENTITY => drop(set.cells.entry(key.remote).or_default().insert(service, *cell)),
            level => drop(set.rules.cells.insert((service, (level, key.remote)), *cell)),
        }
    }
    sets
}

/// The identities that ports of a network may have, each with its groups.
type Living = BTreeMap<u32, BTreeSet<SecurityGroupName>>;

/// A set that is wanted.
struct Claimed {
    rules: Arc<Rules>,
    groups: Groups,
}

/// Gives compiled sets their numbers.
pub(crate) struct Sets {
    found: BTreeMap<PolicySet, Found>,
    /// Numbers of sets found or wanted, by a hash of their rules.
    by_rules: HashMap<u64, Vec<PolicySet>>,
    claimed: BTreeMap<PolicySet, Claimed>,
    /// Identities that an address found has.
    known: BTreeSet<u32>,
    /// Numbers that a row found, or a set wanted, has.
    used: BTreeSet<PolicySet>,
    next: PolicySet,
}

/// A hash that is the same in every process.
fn hash(rules: &Rules) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(rules)
}

impl Sets {
    /// Numbers in use are those of the rows found, and those that ports found refer to.
    pub(crate) fn new(rows: &Rows) -> Self {
        let found = sets(rows);
        let mut by_rules: HashMap<u64, Vec<PolicySet>> = HashMap::new();
        for (set, content) in &found {
            by_rules.entry(hash(&content.rules)).or_default().push(*set);
        }
        let used: BTreeSet<PolicySet> =
            found.keys().copied().chain(rows.ports.values().flat_map(PortRow::sets)).collect();
        let next = used.last().copied().unwrap_or_default().wrapping_add(1);
        let locations = rows.locations.values().chain(rows.prefixes.values());
        let known = locations.map(|row| row.identity).filter(|identity| *identity != 0).collect();
        Self { found, by_rules, claimed: BTreeMap::new(), known, used, next }
    }

    /// The number of the set with this content, whose rows are put among those wanted; 0 if it has no rules. `living` are the
    /// identities that a port may have.
    pub(crate) fn number(&mut self, content: Content, living: &Living, wanted: &mut Rows) -> PolicySet {
        if content.rules.services.is_empty() {
            return 0;
        }
        let hash = hash(&content.rules);
        let candidates = self.by_rules.get(&hash).map(Vec::as_slice).unwrap_or_default();
        if let Some(set) = candidates.iter().copied().find(|set| self.is_claimed_by(*set, &content)) {
            return set;
        }
        let keeps = |set: &PolicySet| !self.claimed.contains_key(set) && self.may_become(*set, &content, living);
        let set = candidates.iter().copied().find(keeps).unwrap_or_else(|| {
            while self.next == 0 || self.used.contains(&self.next) {
                self.next = self.next.wrapping_add(1);
            }
            self.next
        });
        self.used.insert(set);
        let of_hash = self.by_rules.entry(hash).or_default();
        if !of_hash.contains(&set) {
            of_hash.push(set);
        }
        self.write(set, &content, wanted);
        self.claimed.insert(set, Claimed { rules: content.rules, groups: content.groups });
        set
    }

    fn is_claimed_by(&self, set: PolicySet, content: &Content) -> bool {
        self.claimed.get(&set).is_some_and(|claimed| claimed.rules == content.rules && claimed.groups == content.groups)
    }

    /// Does the set found say of every connection that there may be what the content says?
    fn may_become(&self, set: PolicySet, content: &Content, living: &Living) -> bool {
        let Some(found) = self.found.get(&set).filter(|found| found.rules == *content.rules) else { return false };
        let nothing = ClassCells::new();
        living.keys().all(|identity| {
            let before = found.classes.get(identity).map(|class| found.cells.get(class).unwrap_or(&nothing));
            let after = content.groups.of.get(identity).map(AsRef::as_ref);
            match (before, after) {
                (Some(before), after) => before == after.unwrap_or(&nothing),
                (None, Some(_)) => !self.known.contains(identity),
                (None, None) => true,
            }
        })
    }

    /// Writes the tables under a number. Identities keep the class that they have among the rows found.
    fn write(&self, set: PolicySet, content: &Content, rows: &mut Rows) {
        for ((length, address), row) in &content.rules.prefixes {
            let data = PolicyPrefixKey { set, address: *address };
            rows.policy_prefixes.insert(Prefixed { length: *length, data }, *row);
        }
        for ((length, protocol, port), row) in &content.rules.services {
            let data = ServiceKey { set, protocol: *protocol, port: *port };
            rows.policy_services.insert(Prefixed { length: *length, data }, *row);
        }
        for ((service, remote), cell) in &content.rules.cells {
            rows.policy_cells.insert(cell_key(set, *service, *remote), *cell);
        }
        let found = self.found.get(&set).map(|found| &found.classes);
        let class_found = |identity: &u32| found.and_then(|classes| classes.get(identity)).copied();
        // Identities that the same rules match share their cells, not only what these say: they are told apart by where they are.
        let mut classes: HashMap<*const ClassCells, u32> = HashMap::new();
        for (identity, cells) in &content.groups.of {
            if let Some(class) = class_found(identity) {
                classes.entry(Arc::as_ptr(cells)).or_insert(class);
            }
        }
        let mut written = BTreeSet::new();
        for (identity, cells) in &content.groups.of {
            let class = class_found(identity);
            let class = class.unwrap_or_else(|| *classes.entry(Arc::as_ptr(cells)).or_insert(*identity));
            rows.policy_identities.insert(IdentityClassKey { set, identity: *identity }, Groups::row(class, cells));
            if !written.insert(class) {
                continue;
            }
            for (service, cell) in cells.iter() {
                rows.policy_cells.insert(cell_key(set, *service, (remote_level::IDENTITY, class)), *cell);
            }
        }
    }
}

/// The key of a cell.
fn cell_key(set: PolicySet, service: Class, remote: Class) -> CellKey {
    CellKey {
        set,
        remote: remote.1,
        service: service.1,
        remote_level: remote.0 as u16,
        service_level: service.0 as u16,
    }
}
