//! Giving out numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    AnyName, Counters, Host, MacAddress, Model, Network, NetworkName, OperatorPolicy, Port, Resource, Resting, Rule,
    SecurityGroup, Tenant, Uid, Vni, Vtep, Zone, ZoneName, draft::Draft, limits,
};

/// Numbers for the resources of one write. Resources that are there already keep theirs.
pub(crate) struct Numbers<'a> {
    pub(crate) counters: Counters,
    /// Which addresses must rest.
    resting: &'a dyn Resting,
    /// Identifier of what this write creates.
    uid: Uid,
    /// Networks in which this write found no address, with the subnets that are full. The write will be refused, and a search that finds
    /// nothing is long: it is made once.
    full: BTreeMap<NetworkName, String>,
}

/// Takes the next number.
fn next(counter: &mut u32) -> u32 {
    let number = *counter;
    *counter = number.saturating_add(1);
    number
}

/// The least number that no zone has; 0 if all are taken, which a check refuses. Zones are few, and a number stands in no table once its
/// zone is gone: it may be given again.
fn free_zone(draft: &Draft<'_>) -> u32 {
    let taken: BTreeSet<u32> = draft.after.zones.values().map(|zone| zone.index).collect();
    (1..).take(limits::ZONES).find(|number| !taken.contains(number)).unwrap_or_default()
}

/// The number of a zone; 0 if there is none.
fn zone_index(draft: &Draft<'_>, zone: Option<&ZoneName>) -> u32 {
    zone.and_then(|zone| draft.after.zones.get(zone)).map_or(0, |zone| zone.index)
}

/// How much a resource leaves to be chosen. Those with a choice of their own stand before those that are given one, and those
/// that keep what they have before those that are new, so that they are not forestalled.
fn leaves_choice(before: &Model, resource: &Resource) -> u8 {
    match resource {
        Resource::Network(network) => u8::from(network.vni == Vni::UNSET),
        Resource::Port(port) if port.addresses.is_empty() && before.port(&port.name).is_none() => 2,
        Resource::Port(port) => u8::from(port.mac.is_unset()),
        _ => 0,
    }
}

impl<'a> Numbers<'a> {
    pub(crate) const fn new(model: &Model, resting: &'a dyn Resting) -> Self {
        let uid = Uid { epoch: model.epoch, revision: model.revision + 1 };
        Self { counters: model.counters, resting, uid, full: BTreeMap::new() }
    }

    /// Puts the written resources, with their numbers, into the draft: their names, parents before children.
    pub(crate) fn place(&mut self, draft: &mut Draft<'_>, mut written: Vec<Resource>) -> Vec<AnyName> {
        written.sort_by_cached_key(|it| (it.kind(), leaves_choice(draft.before, it), it.name()));
        draft.release_ports();
        let mut names = Vec::with_capacity(written.len());
        for resource in written {
            let name = resource.name();
            let numbered = self.number(draft, resource);
            if draft.after.insert(&numbered).is_err() {
                let network = name.network().map(|network| network.to_string()).unwrap_or_default();
                let rule = format!("it belongs to a network that is there; there is no {network}");
                let fix = "write the network in the same call, or correct the name";
                draft.refuse(name.clone(), "name", &name, rule, fix);
            }
            names.push(name);
        }
        names
    }

    fn number(&mut self, draft: &mut Draft<'_>, resource: Resource) -> Resource {
        let before = draft.before.get(&resource.name());
        let revision = before.as_ref().map(Resource::revision).unwrap_or_default();
        let numbered = match (resource, before) {
            (Resource::Zone(zone), Some(Resource::Zone(before))) => Zone { index: before.index, ..zone }.into(),
            (Resource::Zone(zone), _) => Zone { index: free_zone(draft), ..zone }.into(),
            (Resource::Tenant(tenant), Some(Resource::Tenant(before))) => {
                Tenant { index: before.index, ..tenant }.into()
            }
            (Resource::Tenant(tenant), _) => Tenant { index: next(&mut self.counters.tenant), ..tenant }.into(),
            (Resource::Network(network), before) => self.network(draft, network, before).into(),
            (Resource::Host(host), before) => self.host(draft, host, before).into(),
            (Resource::Vtep(vtep), before) => self.vtep(draft, vtep, before).into(),
            (Resource::SecurityGroup(group), before) => self.group(group, before).into(),
            (Resource::OperatorPolicy(policy), before) => self.operator_policy(policy, before).into(),
            (Resource::Port(port), before) => self.port(draft, port, before).into(),
            (resource @ (Resource::Subnet(_) | Resource::PrefixList(_)), _) => resource,
        };
        numbered.at_revision(revision)
    }

    fn host(&mut self, draft: &Draft<'_>, host: Host, before: Option<Resource>) -> Host {
        let zone_index = zone_index(draft, host.zone.as_ref());
        match before {
            Some(Resource::Host(before)) => Host { index: before.index, zone_index, ..host.after(Some(&before)) },
            _ => Host { index: next(&mut self.counters.host), zone_index, ..host.after(None) },
        }
    }

    fn vtep(&mut self, draft: &Draft<'_>, vtep: Vtep, before: Option<Resource>) -> Vtep {
        let zone_index = zone_index(draft, vtep.zone.as_ref());
        let index = match before {
            Some(Resource::Vtep(before)) => before.index,
            _ => next(&mut self.counters.host),
        };
        Vtep { zone_index, index, ..vtep }
    }

    fn network(&mut self, draft: &mut Draft<'_>, mut network: Network, before: Option<Resource>) -> Network {
        network.tenant_index = draft.after.tenants.get(&network.name.tenant()).map_or(0, |tenant| tenant.index);
        if let Some(Resource::Network(before)) = before {
            if network.vni != Vni::UNSET && network.vni != before.vni {
                let rule = format!("the VNI of a network never changes; it is {}", before.vni);
                draft.refuse(network.name.clone(), "vni", network.vni, rule, "leave it out, or make a new network");
            }
            (network.index, network.vni) = (before.index, before.vni);
            return network;
        }
        network.index = next(&mut self.counters.network);
        if network.vni == Vni::UNSET {
            network.vni = self.free_vni(draft).unwrap_or_default();
            if network.vni == Vni::UNSET {
                let fix = "delete networks that are not needed";
                draft.refuse(network.name.clone(), "vni", 0, "all VNIs are in use", fix);
            }
        }
        draft.check_vni(&network);
        network
    }

    /// The next VNI that is not in use.
    fn free_vni(&mut self, draft: &Draft<'_>) -> Option<Vni> {
        for _ in 0..=draft.after.vnis.len() {
            let number = next(&mut self.counters.vni);
            if self.counters.vni > Vni::MAX {
                self.counters.vni = Counters::FIRST_VNI;
            }
            let vni = Vni::try_from(number).ok()?;
            if !draft.after.vnis.contains_key(&vni) {
                return Some(vni);
            }
        }
        None
    }

    fn group(&mut self, mut group: SecurityGroup, before: Option<Resource>) -> SecurityGroup {
        let before = match before {
            Some(Resource::SecurityGroup(before)) => before.rules,
            _ => Vec::new(),
        };
        self.rules(&mut group.rules, &before);
        group
    }

    fn operator_policy(&mut self, mut policy: OperatorPolicy, before: Option<Resource>) -> OperatorPolicy {
        let before = match before {
            Some(Resource::OperatorPolicy(before)) => before.rules,
            _ => Vec::new(),
        };
        self.rules(&mut policy.rules, &before);
        policy
    }

    /// A rule keeps its number as long as its name is there.
    fn rules(&mut self, rules: &mut [Rule], before: &[Rule]) {
        let known: BTreeMap<_, _> = before.iter().map(|rule| (&rule.name, rule.number)).collect();
        for rule in rules {
            rule.number = known.get(&rule.name).copied().unwrap_or_else(|| next(&mut self.counters.rule));
        }
    }

    fn port(&mut self, draft: &mut Draft<'_>, mut port: Port, before: Option<Resource>) -> Port {
        port.uid = self.uid;
        if let Some(Resource::Port(before)) = before {
            port.uid = before.uid;
            if port.mac.is_unset() {
                port.mac = before.mac;
            }
            if port.addresses.is_empty() {
                port.addresses = before.addresses;
            }
        }
        if port.addresses.is_empty() {
            let network = port.name.network();
            let found = match self.full.get(&network) {
                Some(full) => Err(full.clone()),
                None => draft.free_addresses(&port, self.resting),
            };
            match found {
                Ok(addresses) => port.addresses = addresses,
                Err(full) => {
                    draft.refuse_full(&port.name, &full);
                    self.full.insert(network, full);
                }
            }
        }
        if port.mac.is_unset() {
            port.mac = self.free_mac(draft, &port).unwrap_or_default();
            if port.mac.is_unset() {
                draft.refuse(port.name.clone(), "mac", "", "all generated addresses are in use", "choose an address");
            }
        }
        draft.check_unique(&port);
        port.identity = draft.identity(&port, || next(&mut self.counters.identity));
        port
    }

    /// The next Ethernet address that no port of the network has.
    fn free_mac(&mut self, draft: &Draft<'_>, port: &Port) -> Option<MacAddress> {
        let state = draft.state(&port.name.network());
        let used = |mac| state.as_ref().is_some_and(|state| state.by_mac(mac).is_some());
        let ports = state.as_ref().map_or(0, |state| state.ports.len());
        let mut candidates = (0..=ports).map(|_| MacAddress::generated(next(&mut self.counters.mac)));
        candidates.find(|mac| !used(*mac))
    }
}

impl Resource {
    /// The same, written at that revision.
    pub(crate) fn at_revision(mut self, revision: u64) -> Self {
        *match &mut self {
            Self::Zone(zone) => &mut zone.revision,
            Self::Tenant(tenant) => &mut tenant.revision,
            Self::Host(host) => &mut host.revision,
            Self::Network(network) => &mut network.revision,
            Self::OperatorPolicy(policy) => &mut policy.revision,
            Self::Subnet(subnet) => &mut subnet.revision,
            Self::PrefixList(list) => &mut list.revision,
            Self::SecurityGroup(group) => &mut group.revision,
            Self::Port(port) => &mut port.revision,
            Self::Vtep(vtep) => &mut vtep.revision,
        } = revision;
        self
    }
}
