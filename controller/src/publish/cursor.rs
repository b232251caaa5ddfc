//! How far one host is.

use std::{collections::BTreeMap, sync::Arc};

use andromede_model::{Admitted, AnyName, Host, HostName, Model, NetworkName, Resource, ViewDelta};

use super::{encoded::Snapshot, index::Index, log::Change};

/// The revision of each network that a host knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    networks: BTreeMap<NetworkName, u64>,
    /// Revision of the host's own record that it was sent.
    host: u64,
}

/// What a host has yet to hear, in order to be at `revision`.
#[derive(Clone, Debug)]
pub struct HostUpdate {
    /// The revision reached.
    pub revision: u64,
    /// Networks from scratch.
    pub snapshots: Vec<Snapshot>,
    /// Networks from what the host knows.
    pub deltas: Vec<ViewDelta>,
    /// Networks that the host no longer holds.
    pub left: Vec<NetworkName>,
    /// The host's own record, if it changed.
    pub host: Option<Host>,
    /// The same networks as the deltas, from scratch.
    instead: BTreeMap<NetworkName, Snapshot>,
}

impl HostUpdate {
    /// The snapshot that says the same as the delta of a network.
    pub fn snapshot(&self, network: &NetworkName) -> Option<Snapshot> {
        self.instead.get(network).cloned()
    }

    /// Is there nothing but the revision?
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.deltas.is_empty() && self.left.is_empty() && self.host.is_none()
    }
}

/// The names of what a host has yet to hear; the content comes from the model.
#[derive(Debug)]
pub(super) struct Due {
    revision: u64,
    /// Networks held that changed.
    networks: Vec<Changed>,
    left: Vec<NetworkName>,
}

/// A network that changed for a host.
#[derive(Debug)]
struct Changed {
    network: NetworkName,
    /// Revision of the last change.
    at: u64,
    path: Path,
}

/// How a host comes to the present state of a network.
#[derive(Debug)]
enum Path {
    /// From scratch.
    Snapshot,
    /// By what changed since. The hosts hold no port of the network any more.
    Delta { change: Change, hosts_left: Vec<AnyName> },
}

impl Cursor {
    /// The revision of a network that the host holds in a state that says nothing here: it gets a snapshot.
    pub const UNKNOWN: u64 = u64::MAX;

    /// A host that knows these networks at these revisions.
    pub fn new(networks: BTreeMap<NetworkName, u64>) -> Self {
        Self { networks, host: 0 }
    }

    /// What is due, by name. None if the host does not exist.
    pub(super) fn due(&self, host: &HostName, index: &Index, revision: u64) -> Option<Due> {
        let mut due = Due { revision, networks: Vec::new(), left: Vec::new() };
        for (network, log) in index.held(host)? {
            let known = self.networks.get(network).copied().filter(|known| *known <= revision);
            if known.is_some_and(|known| known >= log.head()) {
                continue;
            }
            let network = network.clone();
            let path = match known.and_then(|known| log.since(known)) {
                Some(mut change) => {
                    let left = |name: &AnyName| matches!(name, AnyName::Host(other) if !index.holds(other, &network));
                    let hosts_left = change.names.iter().filter(|name| left(name)).cloned().collect();
                    change.names.retain(|name| !left(name));
                    Path::Delta { change, hosts_left }
                }
                None => Path::Snapshot,
            };
            due.networks.push(Changed { network, at: log.head(), path });
        }
        due.left = self.networks.keys().filter(|name| !index.holds(host, name)).cloned().collect();
        Some(due)
    }

    /// Fills in the content and moves to the end. None if the host does not exist, or was fenced: then it is told nothing.
    pub(super) fn advance(&mut self, host: &HostName, model: &Arc<Model>, due: Due) -> Option<HostUpdate> {
        let record = model.host(host).filter(|host| !host.is_fenced())?;
        let changed = record.revision != self.host;
        let mut update = HostUpdate {
            revision: due.revision,
            snapshots: Vec::new(),
            deltas: Vec::new(),
            left: due.left,
            host: changed.then(|| record.clone()),
            instead: BTreeMap::new(),
        };
        self.host = record.revision;
        for name in &update.left {
            self.networks.remove(name);
        }
        for Changed { network, at, path } in due.networks {
            // Nothing is placed where its network may not be. If it were: what a host may not have it is never told.
            if !model.admits(&network, record) {
                if self.networks.remove(&network).is_some() {
                    update.left.push(network);
                }
                continue;
            }
            let snapshot = Snapshot { network: network.clone(), changed: at, model: Arc::clone(model) };
            match path {
                Path::Delta { change, hosts_left } => {
                    let only_zones = change.names.iter().all(|name| matches!(name, AnyName::Zone(_)));
                    let mut delta = delta(model, network.clone(), change, hosts_left);
                    // A zone that comes or goes changes nothing for a network that is not bound.
                    delta.zones.take_if(|zones| only_zones && *zones == Admitted::Anywhere);
                    if !delta.is_empty() {
                        update.deltas.push(delta);
                        update.instead.insert(network.clone(), snapshot);
                    }
                }
                Path::Snapshot => update.snapshots.push(snapshot),
            }
            self.networks.insert(network, due.revision);
        }
        for known in self.networks.values_mut() {
            *known = due.revision;
        }
        Some(update)
    }
}

/// Each name as it is now: written if it is in the view, deleted if it is not.
fn delta(model: &Model, network: NetworkName, change: Change, hosts_left: Vec<AnyName>) -> ViewDelta {
    let by_law = |name: &AnyName| matches!(name, AnyName::Zone(_) | AnyName::Tenant(_) | AnyName::Network(_));
    let mut delta = ViewDelta {
        zones: change.names.iter().any(by_law).then(|| model.zones_of(&network)),
        network,
        written: Vec::new(),
        deleted: hosts_left,
        identities: Vec::new(),
        identities_removed: Vec::new(),
    };
    // A change of a zone is told by the zones that are admitted.
    for name in change.names.into_iter().filter(|name| !matches!(name, AnyName::Zone(_))) {
        match visible(model, &delta.network, &name) {
            Some(resource) => delta.written.push(resource),
            None => delta.deleted.push(name),
        }
    }
    for (number, set) in change.identities {
        match set {
            Some(set) => delta.identities.push(set),
            None => delta.identities_removed.push(number),
        }
    }
    delta
}

/// The resource, if it is in the network's view: ports are only while they are placed, hosts unless they were fenced or the network may
/// not be there, policies of the operator only where they concern the network.
fn visible(model: &Model, network: &NetworkName, name: &AnyName) -> Option<Resource> {
    match name {
        AnyName::OperatorPolicy(name) => {
            model.operator_policy(name).filter(|policy| policy.concerns(network)).cloned().map(Into::into)
        }
        AnyName::Port(port) => model.port(port).filter(|port| port.host.is_some()).cloned().map(Into::into),
        AnyName::Host(host) => {
            let host = model.host(host).filter(|host| !host.is_fenced() && model.admits(network, host));
            host.cloned().map(Into::into)
        }
        AnyName::Subnet(subnet) => model.subnet(subnet).map(|subnet| subnet.as_told().into()),
        _ => model.get(name),
    }
}
