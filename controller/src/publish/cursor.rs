//! How far one host is.

use std::collections::BTreeMap;

use andromede_model::{AnyName, Host, HostName, Model, NetworkName, NetworkView, Resource, ViewDelta};

use super::{index::Index, log::Change};

/// The revision of each network that a host knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    networks: BTreeMap<NetworkName, u64>,
    /// Revision of the host's own record that it was sent.
    host: u64,
}

/// What a host has yet to hear, in order to be at `revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUpdate {
    /// The revision reached.
    pub revision: u64,
    /// Networks from scratch.
    pub snapshots: Vec<NetworkView>,
    /// Networks from what the host knows.
    pub deltas: Vec<ViewDelta>,
    /// Networks that the host no longer holds.
    pub left: Vec<NetworkName>,
    /// The host's own record, if it changed.
    pub host: Option<Host>,
}

impl HostUpdate {
    /// Is there nothing but the revision?
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.deltas.is_empty() && self.left.is_empty() && self.host.is_none()
    }
}

/// The names of what a host has yet to hear; the content comes from the model.
#[derive(Debug)]
pub(super) struct Due {
    revision: u64,
    /// Networks held: what changed, or none for a snapshot. Networks without a change are absent.
    networks: Vec<(NetworkName, Option<Change>)>,
    left: Vec<NetworkName>,
}

impl Cursor {
    /// A host that knows these networks at these revisions.
    pub fn new(networks: BTreeMap<NetworkName, u64>) -> Self {
        Self { networks, host: 0 }
    }

    /// What is due, by name. None if the host does not exist.
    pub(super) fn due(&self, host: &HostName, index: &Index, revision: u64) -> Option<Due> {
        let mut due = Due { revision, networks: Vec::new(), left: Vec::new() };
        for (name, log) in index.held(host)? {
            let known = self.networks.get(name).filter(|known| **known <= revision);
            match known.map(|known| log.since(*known)) {
                Some(Some(change)) if change.is_empty() => {}
                Some(Some(change)) => due.networks.push((name.clone(), Some(change))),
                Some(None) | None => due.networks.push((name.clone(), None)),
            }
        }
        due.left = self.networks.keys().filter(|name| !index.holds(host, name)).cloned().collect();
        Some(due)
    }

    /// Fills in the content and moves to the end. None if the host does not exist.
    pub(super) fn advance(&mut self, host: &HostName, model: &Model, due: Due) -> Option<HostUpdate> {
        let record = model.host(host)?;
        let changed = record.revision != self.host;
        let mut update = HostUpdate {
            revision: due.revision,
            snapshots: Vec::new(),
            deltas: Vec::new(),
            left: due.left,
            host: changed.then(|| record.clone()),
        };
        self.host = record.revision;
        for name in &update.left {
            self.networks.remove(name);
        }
        for (name, change) in due.networks {
            match change {
                Some(change) => update.deltas.push(delta(model, name.clone(), change)),
                None => update.snapshots.extend(model.view(&name)),
            }
            self.networks.insert(name, due.revision);
        }
        for known in self.networks.values_mut() {
            *known = due.revision;
        }
        Some(update)
    }
}

/// Each name as it is now: written if it is in the view, deleted if it is not.
fn delta(model: &Model, network: NetworkName, change: Change) -> ViewDelta {
    let mut delta = ViewDelta {
        network,
        written: Vec::new(),
        deleted: Vec::new(),
        identities: Vec::new(),
        identities_removed: Vec::new(),
    };
    for name in change.names {
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

/// The resource, if it is in the network's view.
fn visible(model: &Model, network: &NetworkName, name: &AnyName) -> Option<Resource> {
    match name {
        AnyName::Port(port) => model.port(port).filter(|port| port.host.is_some()).cloned().map(Into::into),
        AnyName::Host(host) if !model.holds(host, network) => None,
        _ => model.get(name),
    }
}
