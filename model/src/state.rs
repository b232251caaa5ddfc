//! The state of one network.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::once,
};

use crate::{
    AnyName, HostName, Network, NetworkName, Port, PortName, Resource, ResourceKind, SecurityGroup, SecurityGroupName,
    Subnet, SubnetName, Vtep, VtepName,
};

/// A network and all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkState {
    pub(crate) network: Network,
    pub(crate) subnets: BTreeMap<SubnetName, Subnet>,
    pub(crate) groups: BTreeMap<SecurityGroupName, SecurityGroup>,
    pub(crate) ports: BTreeMap<PortName, Port>,
    pub(crate) vteps: BTreeMap<VtepName, Vtep>,
    pub(crate) identities: BTreeMap<u32, BTreeSet<SecurityGroupName>>,
}

impl NetworkState {
    /// A network with nothing in it.
    pub(crate) fn new(network: Network) -> Self {
        Self {
            network,
            subnets: BTreeMap::new(),
            groups: BTreeMap::new(),
            ports: BTreeMap::new(),
            vteps: BTreeMap::new(),
            identities: BTreeMap::new(),
        }
    }

    /// The name of the network.
    pub(crate) fn name(&self) -> &NetworkName {
        &self.network.name
    }

    /// Puts a resource of this network in place.
    pub(crate) fn insert(&mut self, resource: &Resource) {
        match resource.clone() {
            Resource::Tenant(_) | Resource::Host(_) => {}
            Resource::Network(network) => self.network = network,
            Resource::Subnet(subnet) => drop(self.subnets.insert(subnet.name.clone(), subnet)),
            Resource::SecurityGroup(group) => drop(self.groups.insert(group.name.clone(), group)),
            Resource::Port(port) => drop(self.ports.insert(port.name.clone(), port)),
            Resource::Vtep(vtep) => drop(self.vteps.insert(vtep.name.clone(), vtep)),
        }
    }

    /// Removes a resource of this network, not the network itself.
    pub(crate) fn remove(&mut self, name: &AnyName) {
        match name {
            AnyName::Tenant(_) | AnyName::Host(_) | AnyName::Network(_) => {}
            AnyName::Subnet(name) => drop(self.subnets.remove(name)),
            AnyName::SecurityGroup(name) => drop(self.groups.remove(name)),
            AnyName::Port(name) => drop(self.ports.remove(name)),
            AnyName::Vtep(name) => drop(self.vteps.remove(name)),
        }
    }

    /// One resource of this network.
    pub(crate) fn get(&self, name: &AnyName) -> Option<Resource> {
        match name {
            AnyName::Tenant(_) | AnyName::Host(_) => None,
            AnyName::Network(name) => (name == self.name()).then(|| self.network.clone().into()),
            AnyName::Subnet(name) => self.subnets.get(name).cloned().map(Into::into),
            AnyName::SecurityGroup(name) => self.groups.get(name).cloned().map(Into::into),
            AnyName::Port(name) => self.ports.get(name).cloned().map(Into::into),
            AnyName::Vtep(name) => self.vteps.get(name).cloned().map(Into::into),
        }
    }

    /// All resources of one kind, by name.
    pub(crate) fn all(&self, kind: ResourceKind) -> Box<dyn Iterator<Item = Resource> + '_> {
        match kind {
            ResourceKind::Tenant | ResourceKind::Host => Box::new(std::iter::empty()),
            ResourceKind::Network => Box::new(once(self.network.clone().into())),
            ResourceKind::Subnet => Box::new(self.subnets.values().cloned().map(Into::into)),
            ResourceKind::SecurityGroup => Box::new(self.groups.values().cloned().map(Into::into)),
            ResourceKind::Port => Box::new(self.ports.values().cloned().map(Into::into)),
            ResourceKind::Vtep => Box::new(self.vteps.values().cloned().map(Into::into)),
        }
    }

    /// The hosts that ports of this network are placed on.
    pub(crate) fn hosts(&self) -> BTreeSet<&HostName> {
        self.ports.values().filter_map(|port| port.host.as_ref()).collect()
    }
}
