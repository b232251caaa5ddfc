//! The whole state, and its fold over commits.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use crate::{
    Admitted, AnyName, Commit, Counters, Host, HostName, IdentitySet, Network, NetworkName, NetworkView,
    OperatorPolicy, OperatorPolicyName, Port, PortName, PrefixList, PrefixListName, Resource, ResourceKind,
    SecurityGroup, SecurityGroupName, Subnet, Tenant, TenantName, Vni, Zone, ZoneName, commit::CommitError,
    residency::Law, shared::SharedMap, state::NetworkState,
};

/// The whole state. A copy is cheap: it shares with the original what neither changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub(crate) revision: u64,
    /// Epoch of the store, for identifiers; 0 where there is none.
    pub(crate) epoch: u64,
    pub(crate) counters: Counters,
    pub(crate) zones: SharedMap<ZoneName, Zone>,
    pub(crate) tenants: SharedMap<TenantName, Tenant>,
    pub(crate) hosts: SharedMap<HostName, Host>,
    pub(crate) operator_policies: SharedMap<OperatorPolicyName, Arc<OperatorPolicy>>,
    pub(crate) networks: SharedMap<NetworkName, Arc<NetworkState>>,
    /// Which network has a VNI.
    pub(crate) vnis: SharedMap<Vni, NetworkName>,
}

impl Model {
    /// Revision of the last commit; 0 before the first.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Epoch of the store that it is the state of; 0: of none.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The same, of a store of this epoch: what it creates from now on has identifiers of that epoch.
    #[must_use]
    pub fn at_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The part of it that belongs to one tenant, to be read, and the zones, among which it chooses where to be: neither other tenants nor
    /// hosts nor policies of the operator.
    #[must_use]
    pub fn of_tenant(&self, tenant: &TenantName) -> Self {
        let mut part = Self { zones: self.zones.clone(), ..self.of_nobody() };
        if let Some(found) = self.tenants.get(tenant) {
            part.tenants.insert(tenant.clone(), found.clone());
        }
        for (name, state) in self.own_networks(tenant) {
            part.networks.insert(name.clone(), Arc::clone(state));
        }
        part
    }

    /// The networks of a tenant.
    fn own_networks(&self, tenant: &TenantName) -> impl Iterator<Item = (&NetworkName, &Arc<NetworkState>)> {
        let inside = format!("{tenant}/");
        let also_inside = inside.clone();
        self.networks
            .stretch(move |name| name.as_str() < inside.as_str(), move |name| name.as_str().starts_with(&also_inside))
    }

    /// The states of a tenant's networks.
    pub(crate) fn states_of(&self, tenant: &TenantName) -> impl Iterator<Item = &NetworkState> {
        self.own_networks(tenant).map(|(_, state)| state.as_ref())
    }

    /// The part of it that everybody may know: its revision.
    #[must_use]
    pub fn of_nobody(&self) -> Self {
        Self { revision: self.revision, epoch: self.epoch, ..Self::default() }
    }

    /// Adds one commit. After an error the model is not changed.
    pub fn commit(&mut self, commit: &Commit) -> Result<(), CommitError> {
        if commit.revision != self.revision + 1 {
            return Err(CommitError::OutOfOrder { revision: self.revision, found: commit.revision });
        }
        self.check_networks(commit)?;
        for name in &commit.deleted {
            self.remove(name);
        }
        for resource in &commit.written {
            self.insert(resource).map_err(|name| CommitError::NoNetwork { revision: commit.revision, name })?;
        }
        for (network, set) in &commit.identities {
            if let Some(state) = self.networks.get_mut(network) {
                Arc::make_mut(state).intern(set);
            }
        }
        for (network, number) in &commit.identities_removed {
            if let Some(state) = self.networks.get_mut(network) {
                Arc::make_mut(state).forget(*number);
            }
        }
        self.counters = commit.counters;
        self.revision = commit.revision;
        Ok(())
    }

    /// Is every network that the commit writes into there, or made by it before? Asked before anything changes, so that a
    /// commit is added in place: a fold over a long log must not copy the model at each step.
    fn check_networks(&self, commit: &Commit) -> Result<(), CommitError> {
        let mut made = BTreeSet::new();
        for resource in &commit.written {
            let Some(network) = resource.network() else { continue };
            let there = || self.networks.contains_key(&network) && !commit.deleted.contains(&network.clone().into());
            if resource.kind() == ResourceKind::Network {
                made.insert(network);
            } else if !made.contains(&network) && !there() {
                return Err(CommitError::NoNetwork { revision: commit.revision, name: resource.name() });
            }
        }
        Ok(())
    }

    /// Puts a resource in place; the name of one whose network is not there comes back.
    pub(crate) fn insert(&mut self, resource: &Resource) -> Result<(), AnyName> {
        match resource {
            Resource::Zone(zone) => drop(self.zones.insert(zone.name.clone(), zone.clone())),
            Resource::Tenant(tenant) => drop(self.tenants.insert(tenant.name.clone(), tenant.clone())),
            Resource::Host(host) => drop(self.hosts.insert(host.name.clone(), host.clone())),
            Resource::OperatorPolicy(policy) => {
                drop(self.operator_policies.insert(policy.name.clone(), Arc::new(policy.clone())));
            }
            Resource::Network(network) => {
                self.vnis.insert(network.vni, network.name.clone());
                if let Some(state) = self.networks.get_mut(&network.name) {
                    Arc::make_mut(state).insert(resource);
                } else {
                    self.networks.insert(network.name.clone(), Arc::new(NetworkState::new(network.clone())));
                }
            }
            Resource::Subnet(_)
            | Resource::PrefixList(_)
            | Resource::SecurityGroup(_)
            | Resource::Port(_)
            | Resource::Vtep(_) => {
                let state = resource.network().and_then(|network| self.networks.get_mut(&network));
                Arc::make_mut(state.ok_or_else(|| resource.name())?).insert(resource);
            }
        }
        Ok(())
    }

    /// Removes a resource.
    pub(crate) fn remove(&mut self, name: &AnyName) {
        match name {
            AnyName::Zone(name) => drop(self.zones.remove(name)),
            AnyName::Tenant(name) => drop(self.tenants.remove(name)),
            AnyName::Host(name) => drop(self.hosts.remove(name)),
            AnyName::OperatorPolicy(name) => drop(self.operator_policies.remove(name)),
            AnyName::Network(name) => {
                if let Some(state) = self.networks.remove(name)
                    && self.vnis.get(&state.network.vni) == Some(name)
                {
                    self.vnis.remove(&state.network.vni);
                }
            }
            AnyName::Subnet(_)
            | AnyName::PrefixList(_)
            | AnyName::SecurityGroup(_)
            | AnyName::Port(_)
            | AnyName::Vtep(_) => {
                if let Some(state) = name.network().and_then(|network| self.networks.get_mut(&network)) {
                    Arc::make_mut(state).remove(name);
                }
            }
        }
    }

    /// One commit that makes the whole model out of nothing, for snapshots: see [`Model::restore`].
    pub fn snapshot(&self) -> Commit {
        let set = |(number, groups)| IdentitySet { number, groups };
        Commit {
            revision: self.revision,
            written: ResourceKind::ALL.into_iter().flat_map(|kind| self.all(kind)).collect(),
            deleted: Vec::new(),
            identities: (self.networks.iter())
                .flat_map(|(name, state)| state.identity_sets().into_iter().map(move |pair| (name.clone(), set(pair))))
                .collect(),
            identities_removed: Vec::new(),
            counters: self.counters,
        }
    }

    /// The model of which this is the [`Model::snapshot`].
    pub fn restore(snapshot: &Commit) -> Result<Self, CommitError> {
        let mut model = Self { revision: snapshot.revision.saturating_sub(1), ..Self::default() };
        if snapshot.revision > 0 {
            model.commit(snapshot)?;
        }
        Ok(model)
    }

    /// One resource.
    pub fn get(&self, name: &AnyName) -> Option<Resource> {
        match name {
            AnyName::Zone(name) => self.zones.get(name).cloned().map(Into::into),
            AnyName::Tenant(name) => self.tenants.get(name).cloned().map(Into::into),
            AnyName::Host(name) => self.hosts.get(name).cloned().map(Into::into),
            AnyName::OperatorPolicy(name) => Some(self.operator_policies.get(name)?.as_ref().clone().into()),
            _ => self.networks.get(&name.network()?)?.get(name),
        }
    }

    /// All resources of one kind, by name.
    pub fn all(&self, kind: ResourceKind) -> Box<dyn Iterator<Item = Resource> + '_> {
        match kind {
            ResourceKind::Zone => Box::new(self.zones.values().cloned().map(Into::into)),
            ResourceKind::Tenant => Box::new(self.tenants.values().cloned().map(Into::into)),
            ResourceKind::Host => Box::new(self.hosts.values().cloned().map(Into::into)),
            ResourceKind::OperatorPolicy => {
                Box::new(self.operator_policies.values().map(|policy| policy.as_ref().clone().into()))
            }
            _ => Box::new(self.networks.values().flat_map(move |state| state.all(kind))),
        }
    }

    /// How many resources of a kind there are.
    pub fn count(&self, kind: ResourceKind) -> usize {
        let inside = |count: fn(&NetworkState) -> usize| self.networks.values().map(|state| count(state)).sum();
        match kind {
            ResourceKind::Zone => self.zones.len(),
            ResourceKind::Tenant => self.tenants.len(),
            ResourceKind::Host => self.hosts.len(),
            ResourceKind::OperatorPolicy => self.operator_policies.len(),
            ResourceKind::Network => self.networks.len(),
            ResourceKind::Subnet => inside(|state| state.subnets.len()),
            ResourceKind::PrefixList => inside(|state| state.prefix_lists.len()),
            ResourceKind::SecurityGroup => inside(|state| state.groups.len()),
            ResourceKind::Port => inside(|state| state.ports.len()),
            ResourceKind::Vtep => inside(|state| state.vteps.len()),
        }
    }

    /// The names of all networks, in order.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkName> {
        self.networks.values().map(|state| state.name())
    }

    /// All resources of one kind in a network, by name.
    pub fn all_in(&self, network: &NetworkName, kind: ResourceKind) -> impl Iterator<Item = Resource> + '_ {
        self.networks.get(network).into_iter().flat_map(move |state| state.all(kind))
    }

    /// A host.
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// A zone.
    pub fn zone(&self, name: &ZoneName) -> Option<&Zone> {
        self.zones.get(name)
    }

    /// The law of a network.
    pub(crate) fn law<'a>(&'a self, network: &'a Network) -> Law<'a> {
        Law::new(self.tenants.get(&network.name.tenant()), network)
    }

    /// Where a network may be; nowhere, if there is none of this name.
    pub fn zones_of(&self, network: &NetworkName) -> Admitted {
        let Some(network) = self.network(network) else { return Admitted::Zones(BTreeSet::new()) };
        let law = self.law(network);
        if !law.is_bound() {
            return Admitted::Anywhere;
        }
        let admitted = self.zones.values().filter(|zone| law.admits(Some(zone)));
        Admitted::Zones(admitted.map(|zone| zone.index).collect())
    }

    /// May the network be on the host?
    pub fn admits(&self, network: &NetworkName, host: &Host) -> bool {
        let zone = host.zone.as_ref().and_then(|zone| self.zones.get(zone));
        self.network(network).is_some_and(|network| self.law(network).admits(zone))
    }

    /// A policy of the operator.
    pub fn operator_policy(&self, name: &OperatorPolicyName) -> Option<&OperatorPolicy> {
        self.operator_policies.get(name).map(AsRef::as_ref)
    }

    /// The operator's policies, by name.
    pub fn operator_policies(&self) -> impl Iterator<Item = &OperatorPolicy> {
        self.operator_policies.values().map(AsRef::as_ref)
    }

    /// A network.
    pub fn network(&self, name: &NetworkName) -> Option<&Network> {
        self.networks.get(name).map(|state| &state.network)
    }

    /// The subnet of a network that has an address.
    pub fn subnet_of(&self, network: &NetworkName, address: IpAddr) -> Option<&Subnet> {
        self.networks.get(network)?.subnets.values().find(|subnet| subnet.cidr.contains(address))
    }

    /// Is a subnet of the network leased to the host?
    pub fn leases(&self, host: &HostName, network: &NetworkName) -> bool {
        let state = self.networks.get(network);
        state.is_some_and(|state| state.subnets.values().any(|subnet| subnet.host.as_ref() == Some(host)))
    }

    /// A port.
    pub fn port(&self, name: &PortName) -> Option<&Port> {
        self.networks.get(&name.network())?.ports.get(name).map(AsRef::as_ref)
    }

    /// A security group.
    pub fn security_group(&self, name: &SecurityGroupName) -> Option<&SecurityGroup> {
        self.networks.get(&name.network())?.groups.get(name).map(AsRef::as_ref)
    }

    /// A prefix list.
    pub fn prefix_list(&self, name: &PrefixListName) -> Option<&PrefixList> {
        self.networks.get(&name.network())?.prefix_lists.get(name).map(AsRef::as_ref)
    }

    /// The interned sets of groups of a network, by number.
    pub fn identities(&self, network: &NetworkName) -> impl Iterator<Item = (u32, &BTreeSet<SecurityGroupName>)> {
        self.networks.get(network).into_iter().flat_map(|state| state.interned())
    }

    /// How many hosts there are.
    pub const fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// The networks with a port on the host, or a subnet leased to it: what the host holds.
    pub fn networks_of(&self, host: &HostName) -> BTreeSet<NetworkName> {
        let holds = |state: &NetworkState| {
            state.subnets.values().any(|subnet| subnet.host.as_ref() == Some(host))
                || state.ports.values().any(|port| port.host.as_ref() == Some(host))
        };
        self.networks.values().filter(|state| holds(state)).map(|state| state.name().clone()).collect()
    }

    /// The hosts with a port of the network, or a subnet leased to them: those that must know it.
    pub fn hosts_of(&self, network: &NetworkName) -> BTreeSet<HostName> {
        self.networks.get(network).map(|state| state.hosts().into_iter().cloned().collect()).unwrap_or_default()
    }

    /// What a host must know of a network. Hosts that were fenced, and hosts where the network may not be, do not belong to it: what is
    /// placed on them has no place.
    pub fn view(&self, network: &NetworkName) -> Option<NetworkView> {
        let state = self.networks.get(network)?;
        let placed = state.ports.iter().filter(|(_, port)| port.host.is_some());
        let hosts = state.hosts().into_iter().filter_map(|name| self.hosts.get(name));
        let hosts = hosts.filter(|host| !host.is_fenced() && self.admits(network, host));
        Some(NetworkView {
            network: state.network.clone(),
            tenant: self.tenants.get(&network.tenant()).cloned(),
            zones: self.zones_of(network),
            subnets: state.subnets.iter().map(|(name, subnet)| (name.clone(), subnet.as_told())).collect(),
            ports: placed.map(|(name, port)| (name.clone(), port.as_ref().clone())).collect(),
            prefix_lists: state.plain_prefix_lists(),
            groups: state.plain_groups(),
            operator_policies: (self.operator_policies.values())
                .filter(|policy| policy.concerns(network))
                .map(|policy| (policy.name.clone(), policy.as_ref().clone()))
                .collect(),
            vteps: state.plain_vteps(),
            hosts: hosts.map(|host| (host.name.clone(), host.clone())).collect(),
            identities: state.identity_sets(),
            revision: self.revision,
        })
    }
}
