//! Ports that this host made for its leases, beside those that the controller told.
//!
//! The rows of a host are compiled from views of networks. A lease must be in force before, and whether or not, the controller hears of
//! it: its port is laid over the view. Once the controller tells the same port, its word stands: it knows the identity of the groups.
//! So what is laid over the views is at the same time what the controller has yet to hear.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use andromede_model::{HostName, Labels, NetworkView, Port, PortLimits, PortName, Uid};
use andromede_proto::{agent::v1::Claim, label::POD_UID};

use super::{
    lease::{Lease, Leased, Leases, is_of_a_lease},
    owner::Owner,
};

/// What was laid over a view: each port as the controller told it, or none if it told nothing.
pub type Overlay = BTreeMap<PortName, Option<Port>>;

/// Lays the leases over a view, and says what it covered.
pub fn lay(view: &mut NetworkView, host: &HostName, leases: &Leases) -> Overlay {
    let mut covered = Overlay::new();
    let network = &view.network.name;
    let ports = leases.iter().flat_map(|(_, lease)| lease.ports().map(move |leased| (lease, leased)));
    let leased: BTreeMap<&PortName, Port> = ports
        .filter(|(_, leased)| leased.port.network() == *network)
        .map(|(lease, leased)| (leased.port, port_of(lease, leased, host)))
        .collect();
    // A port whose lease has ended: the controller has not heard of it yet.
    let ended = view.ports.values().filter(|port| is_own(port, host) && !leased.contains_key(&port.name));
    for name in ended.map(|port| port.name.clone()).collect::<Vec<_>>() {
        let port = view.ports.remove(&name);
        covered.insert(name, port);
    }
    for (name, port) in leased {
        let by_policy = port.labels.get(POD_UID).is_some();
        if let Some(told) = view.ports.get_mut(name).filter(|told| agrees(told, &port, by_policy)) {
            // The port is what its lease is: made anew by the controller, it is still the same.
            told.uid = Uid::UNSET;
            continue;
        }
        let identity = view.identities.iter().find(|(_, groups)| **groups == port.groups);
        let port = Port { identity: identity.map_or(0, |(number, _)| *number), ..port };
        let told = view.ports.insert(name.clone(), port);
        covered.insert(name.clone(), told);
    }
    covered
}

/// Takes it off again: the view is as the controller told it.
pub fn lift(view: &mut NetworkView, overlay: Overlay) {
    for (name, told) in overlay {
        match told {
            Some(port) => drop(view.ports.insert(name, port)),
            None => drop(view.ports.remove(&name)),
        }
    }
}

/// Adds to a claim what the controller has yet to hear of a network, no more than `most` in all, of the ports that are `chosen`.
pub fn claim(view: &NetworkView, overlay: &Overlay, most: usize, chosen: &dyn Fn(&str) -> bool, claim: &mut Claim) {
    for name in overlay.keys().filter(|name| chosen(name.as_str())) {
        if claim.written.len().saturating_add(claim.deleted.len()) >= most {
            return;
        }
        match view.ports.get(name) {
            Some(port) => claim.written.push(port.clone().into()),
            None => claim.deleted.push(name.to_string()),
        }
    }
}

/// The container that has an address of a port which is not its own: it was given before anybody here had heard of the port.
pub fn holder<'a>(leases: &'a Leases, port: &Port) -> Option<(IpAddr, &'a Owner)> {
    let network = port.name.network();
    let is_others = |leased: &Leased<'_>| *leased.port != port.name && leased.port.network() == network;
    leases.iter().find_map(|(owner, lease)| {
        let mut addresses = lease.ports().filter(is_others).flat_map(|leased| leased.addresses);
        addresses.find(|address| port.addresses.contains(address)).map(|address| (*address, owner))
    })
}

/// Is it a port that this host made?
fn is_own(port: &Port, host: &HostName) -> bool {
    port.host.as_ref() == Some(host) && is_of_a_lease(port)
}

/// A port of a lease. The one that stands for a container has neither groups nor a pod: nobody sends to it.
fn port_of(lease: &Lease, leased: Leased<'_>, host: &HostName) -> Port {
    let is_own = *leased.port == lease.port;
    Port {
        name: leased.port.clone(),
        addresses: leased.addresses.to_vec(),
        mac: leased.mac,
        host: Some(host.clone()),
        groups: if is_own { lease.groups.clone() } else { BTreeSet::new() },
        limits: PortLimits::default(),
        identity: 0,
        revision: 0,
        uid: Uid::UNSET,
        labels: if is_own { labels_of(lease) } else { Labels::default() },
    }
}

/// Labels of the port of a lease.
fn labels_of(lease: &Lease) -> Labels {
    let label = (POD_UID.to_owned(), lease.pod.uid.clone());
    // An identifier that is no label was refused when the lease was asked for.
    if lease.by_policy { Labels::new([label].into()).unwrap_or_default() } else { Labels::default() }
}

/// Does the controller say the same of a port as its lease? What groups a pod has that lives by policies, the controller says.
fn agrees(told: &Port, leased: &Port, by_policy: bool) -> bool {
    told.host == leased.host
        && told.addresses == leased.addresses
        && told.mac == leased.mac
        && (by_policy || told.groups == leased.groups)
}
