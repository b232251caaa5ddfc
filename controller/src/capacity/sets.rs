//! The sets of rules of one network: what each costs, and which hosts have it.

use std::{collections::BTreeSet, sync::Arc};

use andromede_abi::maps;
use andromede_model::{HostName, Model, SecurityGroupName, SharedMap};
use andromede_plan::{Cost, SetCost, TooLarge};

/// A set of groups.
pub(super) type Groups = BTreeSet<SecurityGroupName>;

/// An interned set of groups, as ports have it.
#[derive(Clone, Debug)]
struct Identity {
    groups: Arc<Groups>,
    /// Those of the groups that have rules: ports that differ in the others share compiled rules. None: no group has.
    ruled: Option<Arc<Groups>>,
    /// Ports on each host.
    hosts: SharedMap<HostName, usize>,
}

/// Rules that are compiled together.
#[derive(Clone, Debug)]
struct Set {
    /// What they cost; none: they cannot be compiled. No API lets such rules be, but an older one did.
    measured: Option<SetCost>,
    /// How many identities have them.
    identities: usize,
    /// On each host, how many of these identities a port has.
    hosts: SharedMap<HostName, usize>,
}

impl Set {
    fn cost(&self) -> Cost {
        self.measured.as_ref().map_or_else(unmeasured, SetCost::cost)
    }
}

/// Rules that cannot be compiled leave no room for others.
fn unmeasured() -> Cost {
    let mut cost = Cost::default();
    for table in [maps::POLICY_IDENTITIES, maps::POLICY_PREFIXES, maps::POLICY_SERVICES, maps::POLICY_CELLS] {
        cost.add(&table, table.rows as usize);
    }
    cost
}

/// What a change did to sets and hosts.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Sets that were made, or have more rows than before.
    pub(super) grown: BTreeSet<Arc<Groups>>,
    /// Sets that cannot be compiled.
    pub(super) too_large: Vec<(Arc<Groups>, TooLarge)>,
    /// Hosts of which something changed that others do not share.
    pub(super) hosts: BTreeSet<HostName>,
}

/// All sets of one network. A copy is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct Sets {
    identities: SharedMap<u32, Arc<Identity>>,
    compiled: SharedMap<Arc<Groups>, Arc<Set>>,
    /// The sets whose rules name a group.
    naming: SharedMap<SecurityGroupName, Arc<BTreeSet<Arc<Groups>>>>,
    /// What the sets of a host cost together.
    hosts: SharedMap<HostName, Cost>,
}

impl Sets {
    /// What the sets of a host cost together.
    pub(super) fn cost_on(&self, host: &HostName) -> Cost {
        self.hosts.get(host).copied().unwrap_or_default()
    }

    /// What one set costs.
    pub(super) fn cost_of(&self, set: &Arc<Groups>) -> Cost {
        self.compiled.get(set).map(|set| set.cost()).unwrap_or_default()
    }

    /// The set of a host that has most rows of a table.
    pub(super) fn largest_on(&self, host: &HostName, table: &maps::Table) -> Option<(Arc<Groups>, usize)> {
        let here = self.compiled.iter().filter(|(_, set)| set.hosts.contains_key(host));
        let rows = here.map(|(groups, set)| (Arc::clone(groups), set.cost().rows(table)));
        rows.max_by_key(|(_, rows)| *rows)
    }

    /// Sets of groups are new, are gone, or have other rules.
    pub(super) fn change(
        &mut self,
        after: &Model,
        new: &[(u32, &Groups)],
        has_changed: impl Fn(&Groups) -> bool,
        touched: &mut Touched,
    ) {
        let changed = self.identities.iter().filter(|(_, identity)| has_changed(&identity.groups));
        let mut unhooked: Vec<u32> = changed.map(|(number, _)| *number).collect();
        for number in &unhooked {
            self.unhook(*number, touched);
        }
        for (number, groups) in new {
            let identity = Identity { groups: Arc::new((*groups).clone()), ruled: None, hosts: SharedMap::default() };
            self.identities.insert(*number, Arc::new(identity));
            self.admit(groups, touched);
            unhooked.push(*number);
        }
        for number in unhooked {
            self.hook(after, number, touched);
        }
    }

    /// A set of groups that no port has any more.
    pub(super) fn forget(&mut self, number: u32, touched: &mut Touched) {
        self.unhook(number, touched);
        if let Some(identity) = self.identities.remove(&number) {
            self.dismiss(&identity.groups, touched);
        }
    }

    /// One more port with this identity on a host.
    pub(super) fn place(&mut self, number: u32, host: &HostName, touched: &mut Touched) {
        let Some(identity) = self.identities.get_mut(&number).map(Arc::make_mut) else { return };
        let ports = identity.hosts.get(host).copied().unwrap_or_default();
        identity.hosts.insert(host.clone(), ports.saturating_add(1));
        if let (0, Some(set)) = (ports, identity.ruled.clone()) {
            self.enter(&set, host, touched);
        }
    }

    /// One port less.
    pub(super) fn displace(&mut self, number: u32, host: &HostName, touched: &mut Touched) {
        let Some(identity) = self.identities.get_mut(&number).map(Arc::make_mut) else { return };
        match identity.hosts.get(host).copied() {
            None => {}
            Some(ports) if ports > 1 => {
                identity.hosts.insert(host.clone(), ports.saturating_sub(1));
            }
            Some(_) => {
                identity.hosts.remove(host);
                if let Some(set) = identity.ruled.clone() {
                    self.leave(&set, host, touched);
                }
            }
        }
    }

    /// Puts an identity under the rules that its groups have now.
    fn hook(&mut self, after: &Model, number: u32, touched: &mut Touched) {
        let Some(identity) = self.identities.get(&number).cloned() else { return };
        let has_rules =
            |group: &&SecurityGroupName| after.security_group(group).is_some_and(|group| !group.rules.is_empty());
        let ruled: Groups = identity.groups.iter().filter(has_rules).cloned().collect();
        let ruled = (!ruled.is_empty()).then(|| Arc::new(ruled));
        let Some(set) = ruled.clone() else { return };
        self.identities.insert(number, Arc::new(Identity { ruled, ..identity.as_ref().clone() }));
        if !self.compiled.contains_key(&set) {
            self.make(after, &set, touched);
        }
        if let Some(set) = self.compiled.get_mut(&set).map(Arc::make_mut) {
            set.identities = set.identities.saturating_add(1);
        }
        for host in identity.hosts.keys() {
            self.enter(&set, host, touched);
        }
    }

    /// Takes an identity away from its rules.
    fn unhook(&mut self, number: u32, touched: &mut Touched) {
        let Some(identity) = self.identities.get(&number).cloned() else { return };
        let Some(set) = identity.ruled.clone() else { return };
        self.identities.insert(number, Arc::new(Identity { ruled: None, ..identity.as_ref().clone() }));
        for host in identity.hosts.keys() {
            self.leave(&set, host, touched);
        }
        let left = self.compiled.get_mut(&set).map(Arc::make_mut).map(|set| {
            set.identities = set.identities.saturating_sub(1);
            set.identities
        });
        if left == Some(0) {
            self.unmake(&set);
        }
    }

    fn make(&mut self, after: &Model, groups: &Arc<Groups>, touched: &mut Touched) {
        let identities = self.identities.values().map(|identity| identity.groups.as_ref());
        let measured = SetCost::of(after, groups, identities);
        touched.grown.insert(Arc::clone(groups));
        let measured = measured.map_err(|error| touched.too_large.push((Arc::clone(groups), error))).ok();
        for name in measured.iter().flat_map(SetCost::names) {
            let mut sets = self.naming.get(name).cloned().unwrap_or_default();
            Arc::make_mut(&mut sets).insert(Arc::clone(groups));
            self.naming.insert(name.clone(), sets);
        }
        self.compiled
            .insert(Arc::clone(groups), Arc::new(Set { measured, identities: 0, hosts: SharedMap::default() }));
    }

    fn unmake(&mut self, groups: &Arc<Groups>) {
        let Some(set) = self.compiled.remove(groups) else { return };
        for name in set.measured.iter().flat_map(SetCost::names) {
            let Some(sets) = self.naming.get_mut(name).map(Arc::make_mut) else { continue };
            sets.remove(groups);
            if sets.is_empty() {
                self.naming.remove(name);
            }
        }
    }

    /// The sets whose rules name one of these groups.
    fn concerned(&self, groups: &Groups) -> BTreeSet<Arc<Groups>> {
        groups.iter().filter_map(|group| self.naming.get(group)).flat_map(|sets| sets.iter().cloned()).collect()
    }

    /// Ports may have these groups from now on: sets whose rules name them say so.
    fn admit(&mut self, groups: &Groups, touched: &mut Touched) {
        for concerned in self.concerned(groups) {
            let Some(set) = self.compiled.get_mut(&concerned).map(Arc::make_mut) else { continue };
            let before = set.cost();
            if let Some(measured) = &mut set.measured
                && let Err(error) = measured.add(groups)
            {
                set.measured = None;
                touched.too_large.push((Arc::clone(&concerned), error));
            }
            let (after, hosts) = (set.cost(), set.hosts.clone());
            touched.grown.insert(concerned);
            for host in hosts.keys() {
                self.charge(host, after - before, before - after, touched);
            }
        }
    }

    /// No port has these groups any more.
    fn dismiss(&mut self, groups: &Groups, touched: &mut Touched) {
        for concerned in self.concerned(groups) {
            let Some(set) = self.compiled.get_mut(&concerned).map(Arc::make_mut) else { continue };
            let before = set.cost();
            if let Some(measured) = &mut set.measured {
                measured.remove(groups);
            }
            let (after, hosts) = (set.cost(), set.hosts.clone());
            for host in hosts.keys() {
                self.charge(host, after - before, before - after, touched);
            }
        }
    }

    /// An identity of the set comes to a host.
    fn enter(&mut self, groups: &Arc<Groups>, host: &HostName, touched: &mut Touched) {
        let Some(set) = self.compiled.get_mut(groups).map(Arc::make_mut) else { return };
        let identities = set.hosts.get(host).copied().unwrap_or_default();
        set.hosts.insert(host.clone(), identities.saturating_add(1));
        if identities == 0 {
            let cost = set.cost();
            self.charge(host, cost, Cost::default(), touched);
        }
    }

    /// The last port of an identity leaves a host.
    fn leave(&mut self, groups: &Arc<Groups>, host: &HostName, touched: &mut Touched) {
        let Some(set) = self.compiled.get_mut(groups).map(Arc::make_mut) else { return };
        match set.hosts.get(host).copied() {
            None => {}
            Some(identities) if identities > 1 => {
                set.hosts.insert(host.clone(), identities.saturating_sub(1));
            }
            Some(_) => {
                set.hosts.remove(host);
                let cost = set.cost();
                self.charge(host, Cost::default(), cost, touched);
            }
        }
    }

    fn charge(&mut self, host: &HostName, more: Cost, less: Cost, touched: &mut Touched) {
        let cost = self.cost_on(host) + more - less;
        if cost == Cost::default() {
            self.hosts.remove(host);
        } else {
            self.hosts.insert(host.clone(), cost);
        }
        touched.hosts.insert(host.clone());
    }
}
