//! The networks that the host holds, as the controller told them: a fold of its updates.

use std::{collections::BTreeMap, sync::Arc};

use andromede_proto::{
    agent::v1::{NetworkDelta, NetworkView, Update},
    v1::{Host, Resource, resource::Kind},
};

/// One network and how far it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldNetwork {
    /// Epoch of the store that the revision belongs to.
    pub store_epoch: u64,
    /// Revision that the view is of.
    pub revision: u64,
    /// The view.
    pub view: NetworkView,
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
    /// The revisions to be named in a hello: those of the present epoch.
    pub fn revisions(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        self.networks
            .iter()
            .filter(|(_, held)| held.store_epoch == self.store_epoch)
            .map(|(name, held)| (name.clone(), held.revision))
    }

    /// Takes an update in, whole or not at all. One that is `complete`, or the first one of another store epoch, stands for everything:
    /// what it does not name is left.
    pub fn fold(&mut self, store_epoch: u64, update: &Update, complete: bool) -> Result<Touched, FoldError> {
        let mut next = self.clone();
        let mut touched = Touched::default();
        if complete || store_epoch != self.store_epoch {
            next.networks.clear();
            next.store_epoch = store_epoch;
        }
        for view in &update.snapshots {
            let name = view.network.as_ref().map(|network| network.name.clone()).ok_or(FoldError::Missing {
                network: String::new(),
                revision: update.revision,
                what: "the network of a snapshot",
            })?;
            let held = HeldNetwork { store_epoch, revision: update.revision, view: view.clone() };
            next.networks.insert(name.clone(), Arc::new(held));
            touched.written.push(name);
        }
        for delta in &update.deltas {
            let held = next
                .networks
                .get_mut(&delta.network)
                .ok_or_else(|| FoldError::NoSnapshot { network: delta.network.clone(), revision: update.revision })?;
            let held = Arc::make_mut(held);
            fold_delta(&mut held.view, delta, update.revision)?;
            held.revision = update.revision;
            touched.written.push(delta.network.clone());
        }
        for name in &update.networks_left {
            next.networks.remove(name);
        }
        touched.left = self.networks.keys().filter(|name| !next.networks.contains_key(*name)).cloned().collect();
        touched.written.retain(|name| next.networks.contains_key(name));
        next.revision = update.revision;
        if update.host.is_some() {
            next.host.clone_from(&update.host);
        }
        *self = next;
        Ok(touched)
    }
}

fn fold_delta(view: &mut NetworkView, delta: &NetworkDelta, revision: u64) -> Result<(), FoldError> {
    for name in &delta.deleted {
        delete(view, name);
    }
    for number in &delta.identities_removed {
        view.identities.retain(|identity| identity.number != *number);
    }
    for resource in &delta.written {
        write(view, resource, &delta.network, revision)?;
    }
    for identity in &delta.identities {
        put(&mut view.identities, identity, |identity| &identity.number);
    }
    Ok(())
}

fn delete(view: &mut NetworkView, name: &str) {
    view.subnets.retain(|resource| resource.name != name);
    view.ports.retain(|resource| resource.name != name);
    view.security_groups.retain(|resource| resource.name != name);
    view.vteps.retain(|resource| resource.name != name);
    view.hosts.retain(|resource| resource.name != name);
}

fn write(view: &mut NetworkView, resource: &Resource, network: &str, revision: u64) -> Result<(), FoldError> {
    match &resource.kind {
        Some(Kind::Network(written)) => view.network = Some(written.clone()),
        Some(Kind::Subnet(written)) => put(&mut view.subnets, written, |resource| &resource.name),
        Some(Kind::Port(written)) => put(&mut view.ports, written, |resource| &resource.name),
        Some(Kind::SecurityGroup(written)) => put(&mut view.security_groups, written, |resource| &resource.name),
        Some(Kind::Vtep(written)) => put(&mut view.vteps, written, |resource| &resource.name),
        Some(Kind::Host(written)) => put(&mut view.hosts, written, |resource| &resource.name),
        Some(Kind::Tenant(_)) | None => return Err(FoldError::Foreign { network: network.to_owned(), revision }),
    }
    Ok(())
}

/// Replaces the element with the same key, or adds it.
fn put<T: Clone, K: PartialEq>(list: &mut Vec<T>, written: &T, key: impl Fn(&T) -> &K) {
    match list.iter_mut().find(|element| key(element) == key(written)) {
        Some(element) => element.clone_from(written),
        None => list.push(written.clone()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use andromede_proto::v1::{Network, Port};

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

    #[test]
    fn deltas_lead_to_the_same_view_as_a_snapshot() {
        let mut by_deltas = Held::default();
        by_deltas.fold(1, &snapshot(3, vec![port("a", "1"), port("b", "2")]), false).unwrap();
        let touched = by_deltas.fold(1, &delta(4, vec![port("b", "3"), port("c", "4")], &["a"]), false).unwrap();
        assert_eq!(touched.written, [NET]);
        let mut by_snapshot = Held::default();
        by_snapshot.fold(1, &snapshot(4, vec![port("b", "3"), port("c", "4")]), false).unwrap();
        assert_eq!(by_deltas, by_snapshot);
        assert_eq!(by_deltas.revisions().collect::<Vec<_>>(), [(NET.to_owned(), 4)]);
    }

    #[test]
    fn a_delta_without_snapshot_changes_nothing() {
        let mut held = Held::default();
        let refused = held.fold(1, &delta(4, vec![port("b", "3")], &[]), false).unwrap_err();
        assert!(matches!(refused, FoldError::NoSnapshot { .. }));
        assert_eq!(held, Held::default());
    }

    #[test]
    fn networks_are_left_by_name_or_by_a_new_store_epoch() {
        let mut held = Held::default();
        held.fold(1, &snapshot(3, vec![]), false).unwrap();
        let left = Update { revision: 5, networks_left: vec![NET.to_owned()], ..Update::default() };
        let mut other = held.clone();
        assert_eq!(other.fold(1, &left, false).unwrap().left, [NET]);
        assert!(other.networks.is_empty());
        let touched = held.fold(2, &Update { revision: 1, ..Update::default() }, false).unwrap();
        assert_eq!((touched.left, held.networks.len(), held.revision), (vec![NET.to_owned()], 0, 1));
    }
}
