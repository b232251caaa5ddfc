//! The state of one network.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::{empty, once},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    AnyName, HostName, IdentitySet, MacAddress, Network, NetworkName, Port, PortName, Prefix, PrefixList,
    PrefixListName, Resource, ResourceKind, SecurityGroup, SecurityGroupName, Subnet, SubnetName, Vtep, VtepName,
    shared::SharedMap,
};

/// A set of groups.
pub(crate) type Groups = BTreeSet<SecurityGroupName>;

/// A network and all that belongs to it. A copy is cheap, and so is a change of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkState {
    pub(crate) network: Network,
    pub(crate) subnets: SharedMap<SubnetName, Subnet>,
    pub(crate) prefix_lists: SharedMap<PrefixListName, Arc<PrefixList>>,
    pub(crate) groups: SharedMap<SecurityGroupName, Arc<SecurityGroup>>,
    pub(crate) ports: SharedMap<PortName, Arc<Port>>,
    pub(crate) vteps: SharedMap<VtepName, Arc<Vtep>>,
    /// Interned sets of groups, by number.
    identities: SharedMap<u32, Arc<Groups>>,
    /// The same, by set.
    numbers: SharedMap<Arc<Groups>, u32>,
    /// How many ports have an identity.
    users: SharedMap<u32, usize>,
    /// Which port has an address.
    addresses: SharedMap<IpAddr, PortName>,
    /// Which port has an Ethernet address.
    macs: SharedMap<MacAddress, PortName>,
}

/// Copies out of the shared maps.
fn plain<K: Ord + Clone, V: Clone>(shared: &SharedMap<K, Arc<V>>) -> BTreeMap<K, V> {
    shared.iter().map(|(key, value)| (key.clone(), value.as_ref().clone())).collect()
}

impl NetworkState {
    /// A network with nothing in it.
    pub(crate) fn new(network: Network) -> Self {
        Self {
            network,
            subnets: SharedMap::default(),
            prefix_lists: SharedMap::default(),
            groups: SharedMap::default(),
            ports: SharedMap::default(),
            vteps: SharedMap::default(),
            identities: SharedMap::default(),
            numbers: SharedMap::default(),
            users: SharedMap::default(),
            addresses: SharedMap::default(),
            macs: SharedMap::default(),
        }
    }

    /// The name of the network.
    pub(crate) const fn name(&self) -> &NetworkName {
        &self.network.name
    }

    /// Puts a resource of this network in place.
    pub(crate) fn insert(&mut self, resource: &Resource) {
        match resource.clone() {
            Resource::Zone(_) | Resource::Tenant(_) | Resource::Host(_) | Resource::OperatorPolicy(_) => {}
            Resource::Network(network) => self.network = network,
            Resource::Subnet(subnet) => drop(self.subnets.insert(subnet.name.clone(), subnet)),
            Resource::PrefixList(list) => drop(self.prefix_lists.insert(list.name.clone(), Arc::new(list))),
            Resource::SecurityGroup(group) => drop(self.groups.insert(group.name.clone(), Arc::new(group))),
            Resource::Port(port) => self.insert_port(port),
            Resource::Vtep(vtep) => drop(self.vteps.insert(vtep.name.clone(), Arc::new(vtep))),
        }
    }

    fn insert_port(&mut self, port: Port) {
        self.remove_port(&port.name);
        for address in &port.addresses {
            self.addresses.insert(*address, port.name.clone());
        }
        if !port.mac.is_unset() {
            self.macs.insert(port.mac, port.name.clone());
        }
        if port.identity != 0 {
            let users = self.users.get(&port.identity).copied().unwrap_or_default();
            self.users.insert(port.identity, users + 1);
        }
        self.ports.insert(port.name.clone(), Arc::new(port));
    }

    fn remove_port(&mut self, name: &PortName) {
        self.release(name);
        let Some(port) = self.ports.remove(name) else { return };
        match self.users.get(&port.identity).copied() {
            Some(0 | 1) => drop(self.users.remove(&port.identity)),
            Some(users) => drop(self.users.insert(port.identity, users - 1)),
            None => {}
        }
    }

    /// Gives the addresses of a port free, so that others may have them.
    pub(crate) fn release(&mut self, name: &PortName) {
        let Some(port) = self.ports.get(name).cloned() else { return };
        for address in &port.addresses {
            if self.addresses.get(address) == Some(name) {
                self.addresses.remove(address);
            }
        }
        if self.macs.get(&port.mac) == Some(name) {
            self.macs.remove(&port.mac);
        }
    }

    /// Removes a resource of this network, not the network itself.
    pub(crate) fn remove(&mut self, name: &AnyName) {
        match name {
            AnyName::Zone(_)
            | AnyName::Tenant(_)
            | AnyName::Host(_)
            | AnyName::Network(_)
            | AnyName::OperatorPolicy(_) => {}
            AnyName::Subnet(name) => drop(self.subnets.remove(name)),
            AnyName::PrefixList(name) => drop(self.prefix_lists.remove(name)),
            AnyName::SecurityGroup(name) => drop(self.groups.remove(name)),
            AnyName::Port(name) => self.remove_port(name),
            AnyName::Vtep(name) => drop(self.vteps.remove(name)),
        }
    }

    /// The port that has the address.
    pub(crate) fn by_address(&self, address: IpAddr) -> Option<&PortName> {
        self.addresses.get(&address)
    }

    /// The ports that have addresses of a prefix.
    pub(crate) fn holders(&self, prefix: Prefix) -> impl Iterator<Item = (&IpAddr, &PortName)> {
        self.addresses.stretch(move |address| *address < prefix.address(), move |address| *address <= prefix.last())
    }

    /// How many addresses ports have, from the first to the last.
    pub(crate) fn used_between(&self, first: &IpAddr, last: &IpAddr) -> usize {
        self.addresses.count_between(first, last)
    }

    /// The port that has the Ethernet address.
    pub(crate) fn by_mac(&self, mac: MacAddress) -> Option<&PortName> {
        self.macs.get(&mac)
    }

    /// The number of an interned set of groups.
    pub(crate) fn identity_of(&self, groups: &Groups) -> Option<u32> {
        // The key of the map is shared; a copy of the set is the price of looking for it.
        self.numbers.get(&Arc::new(groups.clone())).copied()
    }

    /// How many interned sets there are.
    pub(crate) const fn identities(&self) -> usize {
        self.identities.len()
    }

    /// Has no port this identity?
    pub(crate) fn is_unused(&self, identity: u32) -> bool {
        self.identities.contains_key(&identity) && !self.users.contains_key(&identity)
    }

    /// Adds an interned set.
    pub(crate) fn intern(&mut self, set: &IdentitySet) {
        let groups = Arc::new(set.groups.clone());
        self.identities.insert(set.number, Arc::clone(&groups));
        self.numbers.insert(groups, set.number);
    }

    /// Removes an interned set.
    pub(crate) fn forget(&mut self, identity: u32) {
        if let Some(groups) = self.identities.remove(&identity) {
            self.numbers.remove(&groups);
        }
    }

    /// The interned sets, by number.
    pub(crate) fn interned(&self) -> impl Iterator<Item = (u32, &Groups)> {
        self.identities.iter().map(|(number, groups)| (*number, groups.as_ref()))
    }

    /// All interned sets, by number, copied.
    pub(crate) fn identity_sets(&self) -> BTreeMap<u32, Groups> {
        plain(&self.identities)
    }

    /// One resource of this network.
    pub(crate) fn get(&self, name: &AnyName) -> Option<Resource> {
        match name {
            AnyName::Zone(_) | AnyName::Tenant(_) | AnyName::Host(_) | AnyName::OperatorPolicy(_) => None,
            AnyName::Network(name) => (name == self.name()).then(|| self.network.clone().into()),
            AnyName::Subnet(name) => self.subnets.get(name).cloned().map(Into::into),
            AnyName::PrefixList(name) => Some(self.prefix_lists.get(name)?.as_ref().clone().into()),
            AnyName::SecurityGroup(name) => Some(self.groups.get(name)?.as_ref().clone().into()),
            AnyName::Port(name) => Some(self.ports.get(name)?.as_ref().clone().into()),
            AnyName::Vtep(name) => Some(self.vteps.get(name)?.as_ref().clone().into()),
        }
    }

    /// All resources of one kind, by name.
    pub(crate) fn all(&self, kind: ResourceKind) -> Box<dyn Iterator<Item = Resource> + '_> {
        match kind {
            ResourceKind::Zone | ResourceKind::Tenant | ResourceKind::Host | ResourceKind::OperatorPolicy => {
                Box::new(empty())
            }
            ResourceKind::Network => Box::new(once(self.network.clone().into())),
            ResourceKind::Subnet => Box::new(self.subnets.values().cloned().map(Into::into)),
            ResourceKind::PrefixList => Box::new(self.prefix_lists.values().map(|list| list.as_ref().clone().into())),
            ResourceKind::SecurityGroup => Box::new(self.groups.values().map(|group| group.as_ref().clone().into())),
            ResourceKind::Port => Box::new(self.ports.values().map(|port| port.as_ref().clone().into())),
            ResourceKind::Vtep => Box::new(self.vteps.values().map(|vtep| vtep.as_ref().clone().into())),
        }
    }

    /// The hosts that ports of this network are placed on, or subnets leased to.
    pub(crate) fn hosts(&self) -> BTreeSet<&HostName> {
        let ports = self.ports.values().filter_map(|port| port.host.as_ref());
        ports.chain(self.subnets.values().filter_map(|subnet| subnet.host.as_ref())).collect()
    }

    /// All prefix lists, copied.
    pub(crate) fn plain_prefix_lists(&self) -> BTreeMap<PrefixListName, PrefixList> {
        plain(&self.prefix_lists)
    }

    /// All security groups, copied.
    pub(crate) fn plain_groups(&self) -> BTreeMap<SecurityGroupName, SecurityGroup> {
        plain(&self.groups)
    }

    /// All foreign tunnel endpoints, copied.
    pub(crate) fn plain_vteps(&self) -> BTreeMap<VtepName, Vtep> {
        plain(&self.vteps)
    }
}
