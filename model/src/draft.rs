//! A write on its way to a commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::Arc,
};

use crate::{
    AnyName, Cause, HostName, IdentitySet, Model, Network, NetworkName, OperatorPolicyName, Port, PortName,
    PrefixListName, Resource, SecurityGroupName, SubnetName, TenantName, Violation, Vni, VtepName, ZoneName,
    state::NetworkState,
};

/// What a write does to one network.
#[derive(Default)]
pub(crate) struct Touched {
    /// The network itself is written.
    pub(crate) network: bool,
    pub(crate) subnets: Vec<SubnetName>,
    pub(crate) prefix_lists: Vec<PrefixListName>,
    pub(crate) groups: Vec<SecurityGroupName>,
    pub(crate) ports: Vec<PortName>,
    pub(crate) vteps: Vec<VtepName>,
    /// A subnet is deleted.
    pub(crate) subnets_deleted: bool,
    /// A security group or a prefix list, which rules refer to, is deleted.
    pub(crate) groups_deleted: bool,
    /// Identities that a port may have had before.
    left: BTreeSet<u32>,
}

/// The model before a write and as it would be after it, and what is wrong with that.
pub(crate) struct Draft<'a> {
    pub(crate) before: &'a Model,
    pub(crate) after: Model,
    /// Place of each written resource in the request.
    written: BTreeMap<AnyName, usize>,
    /// Place of each deleted name in the request.
    pub(crate) deleted: BTreeMap<AnyName, usize>,
    pub(crate) touched: BTreeMap<NetworkName, Touched>,
    pub(crate) zones: Vec<ZoneName>,
    pub(crate) tenants: Vec<TenantName>,
    pub(crate) hosts: Vec<HostName>,
    pub(crate) operator_policies: Vec<OperatorPolicyName>,
    pub(crate) violations: Vec<Violation>,
    /// Interned sets that are new, with their networks.
    pub(crate) interned: Vec<(NetworkName, IdentitySet)>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(before: &'a Model, written: &[Resource], deleted: &[AnyName]) -> Self {
        let mut draft = Self {
            before,
            after: before.clone(),
            written: BTreeMap::new(),
            deleted: BTreeMap::new(),
            touched: BTreeMap::new(),
            zones: Vec::new(),
            tenants: Vec::new(),
            hosts: Vec::new(),
            operator_policies: Vec::new(),
            violations: Vec::new(),
            interned: Vec::new(),
        };
        for (place, resource) in written.iter().enumerate() {
            let name = resource.name();
            if let Some(first) = draft.written.insert(name.clone(), place) {
                draft.violations.push(Violation::new(
                    format!("resources[{place}].{}.name", resource.kind().field()),
                    &name,
                    format!("a resource is written once in a call; resources[{first}] has the same name"),
                    "remove one of the two",
                ));
            } else {
                draft.touch(&name);
            }
        }
        for (place, name) in deleted.iter().enumerate() {
            if draft.deleted.insert(name.clone(), place).is_some() || draft.written.contains_key(name) {
                let (rule, fix) = ("a resource is written or deleted once in a call", "name it once");
                draft.refuse_deletion(name, rule, fix);
            }
            draft.touch_by_deletion(name);
        }
        draft
    }

    /// Notes that a resource is written.
    fn touch(&mut self, name: &AnyName) {
        match name {
            AnyName::Zone(name) => return self.zones.push(name.clone()),
            AnyName::Tenant(name) => return self.tenants.push(name.clone()),
            AnyName::Host(name) => return self.hosts.push(name.clone()),
            AnyName::OperatorPolicy(name) => return self.operator_policies.push(name.clone()),
            _ => {}
        }
        let Some(network) = name.network() else { return };
        let touched = self.touched.entry(network).or_default();
        match name {
            AnyName::Zone(_) | AnyName::Tenant(_) | AnyName::Host(_) | AnyName::OperatorPolicy(_) => {}
            AnyName::Network(_) => touched.network = true,
            AnyName::PrefixList(name) => touched.prefix_lists.push(name.clone()),
            AnyName::Subnet(name) => touched.subnets.push(name.clone()),
            AnyName::SecurityGroup(name) => touched.groups.push(name.clone()),
            AnyName::Vtep(name) => touched.vteps.push(name.clone()),
            AnyName::Port(name) => {
                touched.ports.push(name.clone());
                touched.left.extend(self.before.port(name).map(|port| port.identity));
            }
        }
    }

    /// Notes that a resource is deleted.
    fn touch_by_deletion(&mut self, name: &AnyName) {
        let Some(network) = name.network() else { return };
        let touched = self.touched.entry(network).or_default();
        match name {
            AnyName::Subnet(_) => touched.subnets_deleted = true,
            AnyName::SecurityGroup(_) | AnyName::PrefixList(_) => touched.groups_deleted = true,
            AnyName::Port(name) => touched.left.extend(self.before.port(name).map(|port| port.identity)),
            AnyName::Zone(_)
            | AnyName::Tenant(_)
            | AnyName::Host(_)
            | AnyName::Network(_)
            | AnyName::OperatorPolicy(_)
            | AnyName::Vtep(_) => {}
        }
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

    /// Notes that a resource cannot be deleted.
    pub(crate) fn refuse_deletion(&mut self, name: &AnyName, rule: impl Into<String>, fix: impl Into<String>) {
        let path = match (self.deleted.len(), self.deleted.get(name)) {
            (0..=1, _) | (_, None) => "name".to_owned(),
            (_, Some(place)) => format!("deleted[{place}]"),
        };
        self.violations.push(Violation::new(path, name, rule, fix));
    }

    /// Notes that a resource cannot be deleted because something uses it.
    pub(crate) fn refuse_in_use(&mut self, name: &AnyName, rule: impl Into<String>, fix: impl Into<String>) {
        self.refuse_deletion(name, rule, fix);
        if let Some(last) = self.violations.last_mut() {
            last.cause = Cause::InUse;
        }
    }

    /// Notes that a field of what is written would put what is there where it may not be.
    pub(crate) fn refuse_around(
        &mut self,
        name: &AnyName,
        field: &str,
        standing: &AnyName,
        rule: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.refuse(name.clone(), field, standing, rule, fix);
        if let Some(last) = self.violations.last_mut() {
            last.cause = Cause::InUse;
        }
    }

    /// Notes that there is no address left for a port in these subnets.
    pub(crate) fn refuse_full(&mut self, port: &PortName, subnets: &str) {
        let rule = format!("no address is free in {subnets}");
        let fix = "delete ports that are not needed, or add a subnet; addresses rest before they are given out again";
        self.refuse(port.clone(), "addresses", "", rule, fix);
        if let Some(last) = self.violations.last_mut() {
            last.cause = Cause::Quota;
            last.value = port.network().to_string();
        }
    }

    /// Is the resource part of the write?
    pub(crate) fn is_written(&self, name: &AnyName) -> bool {
        self.written.contains_key(name)
    }

    /// Gives the addresses of all written ports free: they may change hands within the write.
    pub(crate) fn release_ports(&mut self) {
        for (network, touched) in &self.touched {
            if let Some(state) = self.after.networks.get_mut(network).filter(|_| !touched.ports.is_empty()) {
                let state = Arc::make_mut(state);
                touched.ports.iter().for_each(|name| state.release(name));
            }
        }
    }

    /// Refuses a network's VNI that another network has.
    pub(crate) fn check_vni(&mut self, network: &Network) {
        let taken = self.after.vnis.get(&network.vni).is_some_and(|other| *other != network.name);
        if taken && network.vni != Vni::UNSET {
            // The other may be another tenant's: it is not named.
            let rule = "a VNI belongs to one network of the fabric; another has this one";
            let fix = "choose another, or 0 to be given one";
            self.refuse(network.name.clone(), "vni", network.vni, rule, fix);
        }
    }

    /// Refuses addresses of a port that another port has, or that it has twice. Asked before the port is put in place.
    pub(crate) fn check_unique(&mut self, port: &Port) {
        let Some(state) = self.after.networks.get(&port.name.network()).cloned() else { return };
        let mut own = BTreeSet::new();
        for (place, address) in port.addresses.iter().enumerate() {
            let other = if own.insert(*address) { state.by_address(*address) } else { Some(&port.name) };
            if let Some(other) = other {
                let rule = format!("an address belongs to one port of the network, once; {other} has it");
                let field = format!("addresses[{place}]");
                self.refuse(port.name.clone(), &field, address, rule, "choose another address");
            }
        }
        if let Some(other) = state.by_mac(port.mac) {
            let rule = format!("an Ethernet address belongs to one port of the network; {other} has it");
            let fix = "leave it out to be given one, or choose another";
            self.refuse(port.name.clone(), "mac", port.mac, rule, fix);
        }
    }

    /// The number of a port's set of groups; `next` gives one to a set that is new.
    pub(crate) fn identity(&mut self, port: &Port, next: impl FnOnce() -> u32) -> u32 {
        let network = port.name.network();
        let Some(state) = self.after.networks.get_mut(&network).filter(|_| !port.groups.is_empty()) else { return 0 };
        if let Some(number) = state.identity_of(&port.groups) {
            return number;
        }
        let set = IdentitySet { number: next(), groups: port.groups.clone() };
        Arc::make_mut(state).intern(&set);
        let number = set.number;
        self.interned.push((network, set));
        number
    }

    /// Identities that no port has any more, with their networks.
    pub(crate) fn unused(&self) -> Vec<(NetworkName, u32)> {
        let of = |(network, touched): (&NetworkName, &Touched)| {
            let state = self.after.networks.get(network)?;
            let unused = touched.left.iter().filter(|number| state.is_unused(**number));
            Some(unused.map(|number| (network.clone(), *number)).collect::<Vec<_>>())
        };
        self.touched.iter().filter_map(of).flatten().collect()
    }

    /// A network as it would be.
    pub(crate) fn state(&self, network: &NetworkName) -> Option<Arc<NetworkState>> {
        self.after.networks.get(network).cloned()
    }
}
