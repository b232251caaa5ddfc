//! The rows of one network on the hosts that hold it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use andromede_abi::maps;
use andromede_model::{
    AnyName, Commit, HostName, Model, NetworkName, OperatorPolicyName, Port, Prefix, Remote, Resource, ResourceKind,
    SecurityGroupName, SharedMap, Subnet, Vtep,
};
use andromede_plan::Cost;

use super::sets::{Groups, Sets, Touched};

/// What one host has of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Placed {
    ports: usize,
    /// Subnets that are leased to it.
    subnets: usize,
    /// Addresses of its ports behind the first of each family.
    sources: usize,
}

/// What a network costs on the hosts that hold it. A copy is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkUse {
    /// Addresses of ports that have a place, and gateways.
    locations: usize,
    /// Ports that have a place, and gateways.
    slots: usize,
    vteps: usize,
    /// Prefixes behind foreign tunnel endpoints.
    prefixes: usize,
    /// Those of them that lie around the addresses of IPv4.
    around_v4: usize,
    hosts: SharedMap<HostName, Placed>,
    sets: Sets,
    /// The operator's policies that concern it and have rules.
    pub(super) policies: Arc<BTreeSet<OperatorPolicyName>>,
}

/// Does the prefix lie around the place of IPv4 within IPv6?
fn is_around_v4(prefix: &Prefix) -> bool {
    prefix.contains(IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()))
}

/// The addresses of a port behind the first of each family.
fn further_addresses(port: &Port) -> usize {
    let v4 = port.addresses.iter().filter(|address| address.is_ipv4()).count();
    v4.saturating_sub(1).saturating_add(port.addresses.len().saturating_sub(v4).saturating_sub(1))
}

/// Counts up or down.
fn count(what: &mut usize, number: usize, up: bool) {
    *what = if up { what.saturating_add(number) } else { what.saturating_sub(number) };
}

impl NetworkUse {
    /// The same after a commit; a network that is new begins with `Self::default`. `before` and `after` are the models on both sides of it.
    pub(super) fn change(
        &mut self,
        name: &NetworkName,
        (before, after): (&Model, &Model),
        commit: &Commit,
        touched: &mut Touched,
    ) {
        let changed: BTreeSet<AnyName> = commit
            .written
            .iter()
            .filter(|resource| matches!(resource.kind(), ResourceKind::SecurityGroup | ResourceKind::PrefixList))
            .map(Resource::name)
            .filter(|changed| changed.network().as_ref() == Some(name))
            .collect();
        let new = commit.identities.iter().filter(|(network, _)| network == name);
        let new: Vec<(u32, &Groups)> = new.map(|(_, set)| (set.number, &set.groups)).collect();
        let has_changed = |groups: &Groups| !changed.is_empty() && names_any(after, groups, &changed);
        self.sets.change(after, &new, has_changed, touched);
        let names = commit.written.iter().map(Resource::name).chain(commit.deleted.iter().cloned());
        for resource in names.filter(|other| other.network().as_ref() == Some(name)) {
            self.count(before, &resource, false, touched);
            self.count(after, &resource, true, touched);
        }
        for (_, number) in commit.identities_removed.iter().filter(|(network, _)| network == name) {
            self.sets.forget(*number, touched);
        }
    }

    /// All of a network that is there already.
    pub(super) fn of(name: &NetworkName, model: &Model) -> Self {
        let (mut all, mut touched) = (Self::default(), Touched::default());
        let identities: Vec<_> = model.identities(name).collect();
        all.sets.change(model, &identities, |_| false, &mut touched);
        for kind in [ResourceKind::Subnet, ResourceKind::Port, ResourceKind::Vtep] {
            for resource in model.all_in(name, kind) {
                all.count(model, &resource.name(), true, &mut touched);
            }
        }
        all
    }

    /// Counts what a resource of this model takes, up or down.
    fn count(&mut self, model: &Model, name: &AnyName, up: bool, touched: &mut Touched) {
        match name {
            AnyName::Port(name) => {
                if let Some(port) = model.port(name) {
                    self.port(port, up, touched);
                }
            }
            AnyName::Subnet(_) | AnyName::Vtep(_) => match model.get(name) {
                Some(Resource::Subnet(subnet)) => self.subnet(&subnet, up, touched),
                Some(Resource::Vtep(vtep)) => self.vtep(&vtep, up),
                _ => {}
            },
            _ => {}
        }
    }

    fn port(&mut self, port: &Port, up: bool, touched: &mut Touched) {
        let Some(host) = &port.host else { return };
        count(&mut self.locations, port.addresses.len(), up);
        count(&mut self.slots, 1, up);
        self.place(host, touched, |placed| {
            count(&mut placed.ports, 1, up);
            count(&mut placed.sources, further_addresses(port), up);
        });
        if up {
            self.sets.place(port.identity, host, touched);
        } else {
            self.sets.displace(port.identity, host, touched);
        }
    }

    fn subnet(&mut self, subnet: &Subnet, up: bool, touched: &mut Touched) {
        count(&mut self.locations, 1, up);
        count(&mut self.slots, 1, up);
        if let Some(host) = &subnet.host {
            self.place(host, touched, |placed| count(&mut placed.subnets, 1, up));
        }
    }

    fn vtep(&mut self, vtep: &Vtep, up: bool) {
        count(&mut self.vteps, 1, up);
        count(&mut self.prefixes, vtep.prefixes.len(), up);
        count(&mut self.around_v4, vtep.prefixes.iter().filter(|prefix| is_around_v4(prefix)).count(), up);
    }

    fn place(&mut self, host: &HostName, touched: &mut Touched, change: impl FnOnce(&mut Placed)) {
        let mut placed = self.hosts.get(host).copied().unwrap_or_default();
        change(&mut placed);
        if placed == Placed::default() {
            self.hosts.remove(host);
        } else {
            self.hosts.insert(host.clone(), placed);
        }
        touched.hosts.insert(host.clone());
    }

    /// The hosts that hold the network.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.keys()
    }

    /// Does the host hold the network?
    pub(super) fn holds(&self, host: &HostName) -> bool {
        self.hosts.contains_key(host)
    }

    /// Rows that every host has that holds the network. Of `HOSTS` those of foreign endpoints: other hosts may be known by another network.
    pub(super) fn common(&self) -> Cost {
        let mut cost = Cost::default();
        let prefixes = self.prefixes.saturating_add(usize::from(self.around_v4 > 0));
        let others = self.hosts.len().saturating_sub(1);
        cost.add(&maps::NETWORKS, 1);
        cost.add(&maps::LOCATIONS, self.locations);
        cost.add(&maps::PREFIXES, prefixes);
        cost.add(&maps::MEMBERS, others.saturating_add(self.vteps));
        cost.add(&maps::HOSTS, self.vteps);
        cost.add(&maps::EPOCHS, self.slots.saturating_add(prefixes).saturating_add(1));
        cost
    }

    /// Rows on a host; none where the host does not hold the network.
    pub(super) fn cost_on(&self, host: &HostName) -> Cost {
        let Some(placed) = self.hosts.get(host) else { return Cost::default() };
        let mut cost = self.common() + self.sets.cost_on(host);
        cost.add(&maps::PORTS, placed.ports);
        cost.add(&maps::SOURCES, placed.sources);
        cost
    }

    /// The sets of rules.
    pub(super) const fn sets(&self) -> &Sets {
        &self.sets
    }
}

/// Is one of the groups among those that changed, or does a rule of theirs name a prefix list that did?
fn names_any(model: &Model, groups: &Groups, changed: &BTreeSet<AnyName>) -> bool {
    let lists = changed.iter().any(|name| matches!(name, AnyName::PrefixList(_)));
    let names_list = |group: &SecurityGroupName| {
        model.security_group(group).into_iter().flat_map(|group| &group.rules).any(|rule| match &rule.remote {
            Remote::PrefixList(list) => changed.contains(&AnyName::from(list.clone())),
            Remote::Any | Remote::Cidr(_) | Remote::Group(_) => false,
        })
    };
    groups.iter().any(|group| changed.contains(&AnyName::from(group.clone())) || (lists && names_list(group)))
}
