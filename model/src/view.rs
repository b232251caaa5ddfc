//! What a host must know of one network.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Admitted, AnyName, Host, HostName, Network, NetworkName, OperatorPolicy, OperatorPolicyName, Port, PortName,
    PrefixList, PrefixListName, Resource, SecurityGroup, SecurityGroupName, Subnet, SubnetName, Tenant, Vtep, VtepName,
};

/// An interned set of security groups: the identity of the ports that have exactly these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentitySet {
    /// Its number, never 0.
    pub number: u32,
    /// Its groups, at least one.
    pub groups: BTreeSet<SecurityGroupName>,
}

/// One network as its hosts see it: all of it, except ports that are not placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// The network.
    pub network: Network,
    /// Its tenant; none in what an older controller told.
    pub tenant: Option<Tenant>,
    /// Where it may be.
    pub zones: Admitted,
    /// Its subnets.
    pub subnets: BTreeMap<SubnetName, Subnet>,
    /// Its ports that are placed on a host.
    pub ports: BTreeMap<PortName, Port>,
    /// Its prefix lists.
    pub prefix_lists: BTreeMap<PrefixListName, PrefixList>,
    /// The policies of the operator that concern it.
    pub operator_policies: BTreeMap<OperatorPolicyName, OperatorPolicy>,
    /// Its security groups.
    pub groups: BTreeMap<SecurityGroupName, SecurityGroup>,
    /// Its foreign tunnel endpoints.
    pub vteps: BTreeMap<VtepName, Vtep>,
    /// The hosts that hold a port of it, or that a subnet of it is leased to.
    pub hosts: BTreeMap<HostName, Host>,
    /// The interned sets of groups, by number.
    pub identities: BTreeMap<u32, BTreeSet<SecurityGroupName>>,
    /// The revision of which this is the view.
    pub revision: u64,
}

/// What leads from one view of a network to a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewDelta {
    /// The network.
    pub network: NetworkName,
    /// Where it may be now; none: where it might before.
    pub zones: Option<Admitted>,
    /// Resources of the view as they are now.
    pub written: Vec<Resource>,
    /// Names of those that left the view.
    pub deleted: Vec<AnyName>,
    /// New interned sets.
    pub identities: Vec<IdentitySet>,
    /// Numbers of sets that are gone.
    pub identities_removed: Vec<u32>,
}

impl ViewDelta {
    /// Does it change nothing?
    pub fn is_empty(&self) -> bool {
        self.zones.is_none()
            && self.written.is_empty()
            && self.deleted.is_empty()
            && self.identities.is_empty()
            && self.identities_removed.is_empty()
    }
}

/// Adds to `delta` what leads from `old` to `new`.
fn compare<N, R>(old: &BTreeMap<N, R>, new: &BTreeMap<N, R>, delta: &mut ViewDelta)
where
    N: Ord + Clone + Into<AnyName>,
    R: PartialEq + Clone + Into<Resource>,
{
    let changed = new.iter().filter(|(name, resource)| old.get(name) != Some(*resource));
    delta.written.extend(changed.map(|(_, resource)| resource.clone().into()));
    let gone = old.keys().filter(|name| !new.contains_key(name));
    delta.deleted.extend(gone.map(|name| name.clone().into()));
}

impl NetworkView {
    /// A network in which there is nothing yet, at the revision at which it was last changed.
    pub const fn empty(network: Network) -> Self {
        Self {
            revision: network.revision,
            network,
            tenant: None,
            zones: Admitted::Anywhere,
            subnets: BTreeMap::new(),
            ports: BTreeMap::new(),
            prefix_lists: BTreeMap::new(),
            operator_policies: BTreeMap::new(),
            groups: BTreeMap::new(),
            vteps: BTreeMap::new(),
            hosts: BTreeMap::new(),
            identities: BTreeMap::new(),
        }
    }

    /// What leads from this view to a later one of the same network.
    pub fn delta_to(&self, later: &Self) -> ViewDelta {
        let mut delta = ViewDelta {
            network: later.network.name.clone(),
            zones: (self.zones != later.zones).then(|| later.zones.clone()),
            written: Vec::new(),
            deleted: Vec::new(),
            identities: Vec::new(),
            identities_removed: Vec::new(),
        };
        if self.network != later.network {
            delta.written.push(later.network.clone().into());
        }
        if self.tenant != later.tenant {
            delta.written.extend(later.tenant.clone().map(Into::into));
        }
        compare(&self.hosts, &later.hosts, &mut delta);
        compare(&self.subnets, &later.subnets, &mut delta);
        compare(&self.prefix_lists, &later.prefix_lists, &mut delta);
        compare(&self.operator_policies, &later.operator_policies, &mut delta);
        compare(&self.groups, &later.groups, &mut delta);
        compare(&self.ports, &later.ports, &mut delta);
        compare(&self.vteps, &later.vteps, &mut delta);
        for (number, groups) in &later.identities {
            if self.identities.get(number) != Some(groups) {
                delta.identities.push(IdentitySet { number: *number, groups: groups.clone() });
            }
        }
        delta.identities_removed =
            self.identities.keys().copied().filter(|number| !later.identities.contains_key(number)).collect();
        delta
    }

    /// Makes this the view that the delta leads to. Resources of other networks and tenants in it are ignored.
    pub fn apply(&mut self, delta: &ViewDelta, revision: u64) {
        for name in &delta.deleted {
            self.remove(name);
        }
        for resource in &delta.written {
            self.insert(resource);
        }
        for number in &delta.identities_removed {
            self.identities.remove(number);
        }
        for set in &delta.identities {
            self.identities.insert(set.number, set.groups.clone());
        }
        if let Some(zones) = &delta.zones {
            self.zones.clone_from(zones);
        }
        self.revision = revision;
    }

    fn insert(&mut self, resource: &Resource) {
        if resource.network().is_some_and(|network| network != self.network.name) {
            return;
        }
        match resource.clone() {
            Resource::Zone(_) => {}
            Resource::Tenant(tenant) => {
                if tenant.name == self.network.name.tenant() {
                    self.tenant = Some(tenant);
                }
            }
            Resource::Network(network) => self.network = network,
            Resource::Host(host) => drop(self.hosts.insert(host.name.clone(), host)),
            Resource::Subnet(subnet) => drop(self.subnets.insert(subnet.name.clone(), subnet)),
            Resource::PrefixList(list) => drop(self.prefix_lists.insert(list.name.clone(), list)),
            Resource::OperatorPolicy(policy) => {
                drop(self.operator_policies.insert(policy.name.clone(), policy));
            }
            Resource::SecurityGroup(group) => drop(self.groups.insert(group.name.clone(), group)),
            Resource::Port(port) => drop(self.ports.insert(port.name.clone(), port)),
            Resource::Vtep(vtep) => drop(self.vteps.insert(vtep.name.clone(), vtep)),
        }
    }

    fn remove(&mut self, name: &AnyName) {
        match name {
            AnyName::Zone(_) | AnyName::Tenant(_) | AnyName::Network(_) => {}
            AnyName::Host(name) => drop(self.hosts.remove(name)),
            AnyName::Subnet(name) => drop(self.subnets.remove(name)),
            AnyName::PrefixList(name) => drop(self.prefix_lists.remove(name)),
            AnyName::OperatorPolicy(name) => drop(self.operator_policies.remove(name)),
            AnyName::SecurityGroup(name) => drop(self.groups.remove(name)),
            AnyName::Port(name) => drop(self.ports.remove(name)),
            AnyName::Vtep(name) => drop(self.vteps.remove(name)),
        }
    }
}
