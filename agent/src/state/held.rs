//! The networks that the host holds, as the controller told them: a fold of its updates.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use andromede_proto::{
    agent::v1::{Identity, NetworkDelta, NetworkView},
    v1::{
        Host, Network, OperatorPolicy, Port, PrefixList, Resource, SecurityGroup, Subnet, Tenant, Unsupported, Vtep,
        resource::Kind,
    },
};

use super::unknown::{Marks, Told};

/// One network and how far it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldNetwork {
    /// Epoch of the store that the revision belongs to.
    pub store_epoch: u64,
    /// Revision that the view is of.
    pub revision: u64,
    /// The view.
    pub view: NetworkView,
    /// What of the view this agent does not know: by the resource in which it is, or by nothing. Unless that is empty, the view is not
    /// what was meant, and must not be in force.
    pub unknown: Marks,
}

/// All that the controller told this host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// Epoch of the store of the last update.
    pub store_epoch: u64,
    /// Revision of the last update.
    pub revision: u64,
    /// The host itself; none before the first session.
    pub host: Option<Host>,
    /// By network name.
    pub networks: BTreeMap<String, Arc<HeldNetwork>>,
    /// Names of networks whose stored view could not be read at this start. A hello does not name them, so the first update tells
    /// those anew that the host still holds; until then nothing is known of them.
    pub unreadable: BTreeSet<String>,
}

/// Why an update cannot be followed: the session must begin anew, with snapshots.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FoldError {
    /// A delta for a network of which there is no snapshot.
    #[error("update {revision} changes {network}, of which this host has no snapshot; it is asked for one")]
    NoSnapshot {
        /// The network.
        network: String,
        /// The update.
        revision: u64,
    },
    /// Something that has no name.
    #[error("update {revision}, {network}: {what} is missing; the controller is newer than this agent, or broken")]
    Missing {
        /// The network, or empty.
        network: String,
        /// The update.
        revision: u64,
        /// What is missing.
        what: &'static str,
    },
    /// The record of another host.
    #[error("the controller speaks of this host as {told}, but it is {own}; correct --host or the certificate")]
    OtherHost {
        /// Name told.
        told: String,
        /// Name of this host.
        own: String,
    },
    /// A kind of resource that does not belong into the view of a network.
    #[error("update {revision}, {network}: a resource that no network holds; the controller is newer than this agent")]
    Foreign {
        /// The network.
        network: String,
        /// The update.
        revision: u64,
    },
}

/// Networks that an update changed: to be written, or to be removed from the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Names of networks whose view changed.
    pub written: Vec<String>,
    /// Names of networks that are no longer held.
    pub left: Vec<String>,
}

impl Held {
    /// The revisions to be named in a hello: those of the present epoch, of networks that are known whole.
    pub fn revisions(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        self.networks
            .iter()
            .filter(|(_, held)| held.store_epoch == self.store_epoch && held.unknown.is_empty())
            .map(|(name, held)| (name.clone(), held.revision))
    }

    /// What the host was told of its networks and this agent does not know.
    pub fn unsupported(&self) -> Vec<Unsupported> {
        let of = |(network, held): (&String, &Arc<HeldNetwork>)| {
            let whats: BTreeSet<&String> = held.unknown.values().collect();
            let told = |what: &String| Unsupported { network: network.clone(), what: what.clone() };
            whats.into_iter().map(told).collect::<Vec<_>>()
        };
        self.networks.iter().flat_map(of).collect()
    }

    /// Takes updates in, in the order in which they came, all of them whole or none. If they are `complete`, or the first ones of another
    /// store epoch, the first stands for everything: what it does not name is left. What is not known of it stays with the network in which it is.
    pub fn fold(&mut self, store_epoch: u64, updates: &[Told], complete: bool) -> Result<Touched, FoldError> {
        let mut next = self.clone();
        if complete || store_epoch != self.store_epoch {
            next.networks.clear();
            next.store_epoch = store_epoch;
        }
        let mut written = BTreeSet::new();
        for told in updates {
            next.take(told, &mut written)?;
        }
        written.retain(|name| next.networks.contains_key(name));
        let before: BTreeSet<&String> = self.networks.keys().chain(&self.unreadable).collect();
        let left = before.into_iter().filter(|name| !next.networks.contains_key(*name)).cloned().collect();
        *self = next;
        Ok(Touched { written: written.into_iter().collect(), left })
    }

    /// Takes one update in, and adds the names of networks that it writes.
    fn take(&mut self, told: &Told, written: &mut BTreeSet<String>) -> Result<(), FoldError> {
        let (update, store_epoch) = (&told.update, self.store_epoch);
        self.unreadable.clear();
        for view in &update.snapshots {
            let name = view.network.as_ref().map(|network| network.name.clone()).ok_or(FoldError::Missing {
                network: String::new(),
                revision: update.revision,
                what: "the network of a snapshot",
            })?;
            let unknown = told.snapshots.get(&name).cloned().unwrap_or_default();
            let held = HeldNetwork { store_epoch, revision: update.revision, view: view.clone(), unknown };
            self.networks.insert(name.clone(), Arc::new(held));
            written.insert(name);
        }
        for delta in &update.deltas {
            let held = self
                .networks
                .get_mut(&delta.network)
                .ok_or_else(|| FoldError::NoSnapshot { network: delta.network.clone(), revision: update.revision })?;
            let held = Arc::make_mut(held);
            let unknown = told.deltas.get(&delta.network).cloned().unwrap_or_default();
            fold_delta(&mut held.view, delta, unknown.contains_key(""), update.revision)?;
            forget(&mut held.unknown, delta);
            held.unknown.extend(unknown);
            held.revision = update.revision;
            written.insert(delta.network.clone());
        }
        for name in &update.networks_left {
            self.networks.remove(name);
        }
        self.revision = update.revision;
        if update.host.is_some() {
            self.host.clone_from(&update.host);
        }
        Ok(())
    }
}

/// The resources of a delta, by kind.
#[derive(Default)]
struct Written {
    network: Option<Network>,
    tenant: Option<Tenant>,
    subnets: Vec<Subnet>,
    ports: Vec<Port>,
    security_groups: Vec<SecurityGroup>,
    vteps: Vec<Vtep>,
    prefix_lists: Vec<PrefixList>,
    operator_policies: Vec<OperatorPolicy>,
    hosts: Vec<Host>,
}

impl Written {
    /// A resource of no kind is one of a kind that this agent does not know, if there is any, or else an error.
    fn sort(resources: &[Resource], network: &str, unknown: bool, revision: u64) -> Result<Self, FoldError> {
        let mut written = Self::default();
        for resource in resources {
            match &resource.kind {
                Some(Kind::Network(resource)) => written.network = Some(resource.clone()),
                Some(Kind::Tenant(resource)) => written.tenant = Some(resource.clone()),
                Some(Kind::Subnet(resource)) => written.subnets.push(resource.clone()),
                Some(Kind::Port(resource)) => written.ports.push(resource.clone()),
                Some(Kind::SecurityGroup(resource)) => written.security_groups.push(resource.clone()),
                Some(Kind::Vtep(resource)) => written.vteps.push(resource.clone()),
                Some(Kind::PrefixList(resource)) => written.prefix_lists.push(resource.clone()),
                Some(Kind::OperatorPolicy(resource)) => written.operator_policies.push(resource.clone()),
                Some(Kind::Host(resource)) => written.hosts.push(resource.clone()),
                None if unknown => {}
                // A network is told the numbers of zones, not the zones.
                Some(Kind::Zone(_)) | None => return Err(FoldError::Foreign { network: network.to_owned(), revision }),
            }
        }
        Ok(written)
    }
}

/// What was not known of resources that are written anew, or gone.
fn forget(unknown: &mut Marks, delta: &NetworkDelta) {
    for name in delta.written.iter().map(Resource::name).chain(delta.deleted.iter().map(String::as_str)) {
        unknown.remove(name);
    }
}

fn fold_delta(view: &mut NetworkView, delta: &NetworkDelta, unknown: bool, revision: u64) -> Result<(), FoldError> {
    let written = Written::sort(&delta.written, &delta.network, unknown, revision)?;
    let gone: HashSet<&str> = delta.deleted.iter().map(String::as_str).collect();
    let gone = |name: &String| gone.contains(name.as_str());
    let removed: HashSet<u32> = delta.identities_removed.iter().copied().collect();
    // What is not said of a law that is written is that there is none.
    if delta.zones.is_some() || written.network.is_some() || written.tenant.is_some() {
        view.zones.clone_from(&delta.zones);
    }
    if written.network.is_some() {
        view.network = written.network;
    }
    if written.tenant.is_some() {
        view.tenant = written.tenant;
    }
    replace(&mut view.subnets, written.subnets, |subnet| subnet.name.clone(), gone);
    replace(&mut view.ports, written.ports, |port| port.name.clone(), gone);
    replace(&mut view.security_groups, written.security_groups, |group| group.name.clone(), gone);
    replace(&mut view.prefix_lists, written.prefix_lists, |list| list.name.clone(), gone);
    replace(&mut view.operator_policies, written.operator_policies, |policy| policy.name.clone(), gone);
    replace(&mut view.vteps, written.vteps, |vtep| vtep.name.clone(), gone);
    replace(&mut view.hosts, written.hosts, |host| host.name.clone(), gone);
    let number = |identity: &Identity| identity.number;
    replace(&mut view.identities, delta.identities.clone(), number, |number| removed.contains(number));
    Ok(())
}

/// Takes out of a list what is gone, then writes over what has the same key, or adds it. One pass, whatever the sizes.
fn replace<T, K: Eq + Hash>(list: &mut Vec<T>, written: Vec<T>, key: impl Fn(&T) -> K, gone: impl Fn(&K) -> bool) {
    let mut written: HashMap<K, T> = written.into_iter().map(|element| (key(&element), element)).collect();
    list.retain_mut(|element| {
        let key = key(element);
        match written.remove(&key) {
            Some(newer) => *element = newer,
            None => return !gone(&key),
        }
        true
    });
    list.extend(written.into_values());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use andromede_proto::agent::v1::AdmittedZones;
    use andromede_proto::agent::v1::Update;
    use proptest::prelude::*;

    use super::*;

    const NET: &str = "tenants/t/networks/n";

    fn port(name: &str, mac: &str) -> Port {
        Port { name: format!("{NET}/ports/{name}"), mac: mac.to_owned(), ..Port::default() }
    }

    fn snapshot(revision: u64, ports: Vec<Port>) -> Update {
        let network = Network { name: NET.to_owned(), ..Network::default() };
        let view = NetworkView { network: Some(network), ports, ..NetworkView::default() };
        Update { revision, snapshots: vec![view], ..Update::default() }
    }

    fn delta(revision: u64, written: Vec<Port>, deleted: &[&str]) -> Update {
        let written = written.into_iter().map(|port| Resource { kind: Some(Kind::Port(port)) }).collect();
        let deleted = deleted.iter().map(|name| format!("{NET}/ports/{name}")).collect();
        let delta = NetworkDelta { network: NET.to_owned(), written, deleted, ..NetworkDelta::default() };
        Update { revision, deltas: vec![delta], ..Update::default() }
    }

    /// Ports by name, with their Ethernet address.
    fn ports(held: &Held) -> BTreeMap<String, String> {
        let ports = held.networks.values().flat_map(|network| &network.view.ports);
        ports.map(|port| (port.name.clone(), port.mac.clone())).collect()
    }

    proptest! {
        #[test]
        fn any_deltas_lead_to_what_they_say(
            commits in prop::collection::vec(prop::collection::vec((0_u8..6, prop::option::of(0_u8..4)), 0..8), 0..12)
        ) {
            let mut held = Held::default();
            held.fold(1, &[snapshot(0, vec![]).into()], false).unwrap();
            let (mut expected, mut updates) = (BTreeMap::new(), vec![Told::from(snapshot(0, vec![]))]);
            for (revision, commit) in (1_u64..).zip(&commits) {
                // A controller names each resource once in a delta: as it is afterwards.
                let last: BTreeMap<u8, Option<u8>> = commit.iter().copied().collect();
                let name = |number: &u8| format!("p{number}");
                let written = last.iter().filter_map(|(key, mac)| mac.map(|mac| port(&name(key), &mac.to_string())));
                let deleted: Vec<String> =
                    last.iter().filter(|(_, mac)| mac.is_none()).map(|(key, _)| name(key)).collect();
                let deleted: Vec<&str> = deleted.iter().map(String::as_str).collect();
                updates.push(delta(revision, written.collect(), &deleted).into());
                held.fold(1, &updates[updates.len() - 1..], false).unwrap();
                for (key, mac) in last {
                    let key = format!("{NET}/ports/{}", name(&key));
                    match mac {
                        Some(mac) => drop(expected.insert(key, mac.to_string())),
                        None => drop(expected.remove(&key)),
                    }
                }
                prop_assert_eq!(ports(&held), expected.clone());
                prop_assert_eq!(held.revision, revision);
            }
            let mut at_once = Held::default();
            at_once.fold(1, &updates, false).unwrap();
            prop_assert_eq!(ports(&at_once), expected);
            prop_assert_eq!(at_once.revision, held.revision);
        }
    }

    #[test]
    fn a_delta_with_something_foreign_changes_nothing() {
        let mut held = Held::default();
        held.fold(1, &[snapshot(3, vec![port("a", "1")]).into()], false).unwrap();
        let before = held.clone();
        let mut update = delta(4, vec![port("b", "2")], &["a"]);
        update.deltas[0].written.push(Resource { kind: None });
        let good = delta(4, vec![port("c", "3")], &[]);
        update.revision = 5;
        assert!(matches!(held.fold(1, &[good.into(), update.into()], false), Err(FoldError::Foreign { .. })));
        assert_eq!(held, before, "nor does what came with it");
    }

    #[test]
    fn deltas_lead_to_the_same_view_as_a_snapshot() {
        let mut by_deltas = Held::default();
        by_deltas.fold(1, &[snapshot(3, vec![port("a", "1"), port("b", "2")]).into()], false).unwrap();
        let touched =
            by_deltas.fold(1, &[delta(4, vec![port("b", "3"), port("c", "4")], &["a"]).into()], false).unwrap();
        assert_eq!(touched.written, [NET]);
        let mut by_snapshot = Held::default();
        by_snapshot.fold(1, &[snapshot(4, vec![port("b", "3"), port("c", "4")]).into()], false).unwrap();
        assert_eq!(ports(&by_deltas), ports(&by_snapshot));
        assert_eq!(by_deltas.revision, by_snapshot.revision);
        assert_eq!(by_deltas.revisions().collect::<Vec<_>>(), [(NET.to_owned(), 4)]);
    }

    /// A law is followed as it is told, and ends only with a tenant or a network that has none.
    #[test]
    fn a_law_lasts_until_it_is_told_otherwise() {
        let zones = |numbers: &[u32]| Some(AdmittedZones { numbers: numbers.to_vec() });
        let mut first = snapshot(3, vec![]);
        first.snapshots[0].zones = zones(&[1, 2]);
        let mut held = Held::default();
        held.fold(1, &[first.into()], false).unwrap();
        let tenant = Resource { kind: Some(Kind::Tenant(Tenant::default())) };
        let told: [(Option<AdmittedZones>, Vec<Resource>, Option<AdmittedZones>); 4] = [
            (None, vec![Resource { kind: Some(Kind::Port(port("a", "1"))) }], zones(&[1, 2])),
            (zones(&[]), vec![], zones(&[])),
            (zones(&[7]), vec![tenant.clone()], zones(&[7])),
            (None, vec![tenant], None),
        ];
        for (revision, (zones, written, expected)) in (4_u64..).zip(told) {
            let mut update = delta(revision, vec![], &[]);
            (update.deltas[0].zones, update.deltas[0].written) = (zones, written);
            held.fold(1, &[update.into()], false).unwrap();
            assert_eq!(held.networks[NET].view.zones, expected, "revision {revision}");
        }
    }

    #[test]
    fn a_delta_without_snapshot_changes_nothing() {
        let mut held = Held::default();
        let refused = held.fold(1, &[delta(4, vec![port("b", "3")], &[]).into()], false).unwrap_err();
        assert!(matches!(refused, FoldError::NoSnapshot { .. }));
        assert_eq!(held, Held::default());
    }

    #[test]
    fn networks_are_left_by_name_or_by_a_new_store_epoch() {
        let mut held = Held::default();
        held.fold(1, &[snapshot(3, vec![]).into()], false).unwrap();
        let left = Update { revision: 5, networks_left: vec![NET.to_owned()], ..Update::default() };
        let mut other = held.clone();
        assert_eq!(other.fold(1, &[left.into()], false).unwrap().left, [NET]);
        assert!(other.networks.is_empty());
        let touched = held.fold(2, &[Update { revision: 1, ..Update::default() }.into()], false).unwrap();
        assert_eq!((touched.left, held.networks.len(), held.revision), (vec![NET.to_owned()], 0, 1));
    }
}
