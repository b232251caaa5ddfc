//! The views of networks as model types, converted once for each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use andromede_abi::NetworkIndex;
use andromede_model::{HostName, NetworkName, NetworkView, Port, PortName, Violation};
use andromede_proto::agent::v1::Claim;

use crate::{
    claims::Refusals,
    pods::{
        lease::Leases,
        overlay::{self, Overlay},
    },
    state::held::{Held, HeldNetwork},
};

/// Most ports in one claim; the controller takes 1,000.
const CLAIM: usize = 500;

/// A network that the agent cannot read.
#[derive(Debug, thiserror::Error)]
#[error("network {network}: {text}; its last readable view stays in force", text = in_words(.violations))]
pub struct ViewError {
    /// The network.
    pub network: String,
    /// What is wrong.
    pub violations: Vec<Violation>,
}

fn in_words(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Takes networks out that this agent cannot read: their revision must not be named in a hello, so that they are told anew. To be
/// called at the start, when there is no last readable view.
pub fn set_unreadable_aside(held: &mut Held) -> Vec<ViewError> {
    let mut errors = Vec::new();
    for (name, network) in &held.networks {
        if let Err(violations) = NetworkView::try_from(network.view.clone()) {
            errors.push(ViewError { network: name.clone(), violations });
        }
    }
    for error in &errors {
        held.networks.remove(&error.network);
        held.unreadable.insert(error.network.clone());
    }
    errors
}

/// The view, if this agent knows all of it.
fn read(network: &HeldNetwork) -> Result<NetworkView, Vec<Violation>> {
    if network.unknown.is_empty() {
        return NetworkView::try_from(network.view.clone());
    }
    let rule = "this agent does not know it";
    let violation =
        |(of, what): (&String, &String)| Violation::new(of, what, rule, "upgrade the agent, or take it back");
    Err(network.unknown.iter().map(violation).collect())
}

/// The views of all networks that the host holds.
#[derive(Debug, Default)]
pub struct Views {
    readable: Vec<NetworkView>,
    /// What each view was made of.
    sources: BTreeMap<String, Arc<HeldNetwork>>,
    /// Networks that were readable at some time since the start.
    spoken: BTreeSet<NetworkIndex>,
    /// What lies over each view: ports of leases that the controller did not tell.
    overlays: BTreeMap<NetworkName, Overlay>,
}

impl Views {
    /// Brings the views in line with what the host was told. A network that cannot be read keeps its last readable view.
    pub fn update(&mut self, held: &Held) -> Vec<ViewError> {
        let mut errors = Vec::new();
        self.sources.retain(|name, _| held.networks.contains_key(name));
        self.readable.retain(|view| held.networks.contains_key(view.network.name.as_str()));
        for (name, network) in &held.networks {
            if self.sources.get(name).is_some_and(|source| Arc::ptr_eq(source, network)) {
                continue;
            }
            match read(network) {
                Ok(mut view) => {
                    view.revision = network.revision;
                    self.spoken.insert(view.network.index);
                    self.readable.retain(|old| old.network.name != view.network.name);
                    self.overlays.remove(&view.network.name);
                    self.readable.push(view);
                    self.sources.insert(name.clone(), Arc::clone(network));
                }
                Err(violations) => errors.push(ViewError { network: name.clone(), violations }),
            }
        }
        self.readable.sort_by(|a, b| a.network.name.cmp(&b.network.name));
        errors
    }

    /// Lays the ports of leases over the views.
    pub fn lay(&mut self, host: &HostName, leases: &Leases) {
        let mut overlays = BTreeMap::new();
        for view in &mut self.readable {
            if let Some(old) = self.overlays.remove(&view.network.name) {
                overlay::lift(view, old);
            }
            let new = overlay::lay(view, host, leases);
            if !new.is_empty() {
                overlays.insert(view.network.name.clone(), new);
            }
        }
        self.overlays = overlays;
    }

    /// What the controller has yet to hear of: first what it has not refused, so that bad ports do not keep good ones waiting.
    pub fn claim(&self, refusals: &Refusals) -> Claim {
        let mut claim = Claim::default();
        for refused in [false, true] {
            for view in &self.readable {
                if let Some(overlay) = self.overlays.get(&view.network.name) {
                    overlay::claim(view, overlay, CLAIM, &|port| refusals.refused(port) == refused, &mut claim);
                }
            }
        }
        claim
    }

    /// Does the controller have yet to hear of this port?
    pub fn is_unheard(&self, port: &str) -> bool {
        self.overlays.values().any(|overlay| overlay.keys().any(|name| name.as_str() == port))
    }

    /// The view of a network.
    pub fn network(&self, name: &NetworkName) -> Option<&NetworkView> {
        self.readable.iter().find(|view| view.network.name == *name)
    }

    /// The views, by name.
    pub fn all(&self) -> &[NetworkView] {
        &self.readable
    }

    /// The networks whose rows the views decide on: those that are or were readable since the start. None if that is all of them,
    /// because every network of this host can be read.
    pub fn spoken(&self, held: &Held) -> Option<&BTreeSet<NetworkIndex>> {
        let whole = held.unreadable.is_empty() && held.networks.keys().all(|name| self.sources.contains_key(name));
        (!whole).then_some(&self.spoken)
    }

    /// Is it certain that a port is not placed on this host any more? A network that cannot be read says nothing of its ports.
    pub fn is_gone(&self, held: &Held, port: &PortName, host: &HostName) -> bool {
        let network = port.network();
        if let Some(view) = self.readable.iter().find(|view| view.network.name == network) {
            return view.ports.get(port).is_none_or(|port| port.host.as_ref() != Some(host));
        }
        // Revision 0: the controller told nothing yet.
        held.revision != 0 && held.unreadable.is_empty() && !held.networks.contains_key(network.as_str())
    }

    /// A port, and its network's view.
    pub fn port(&self, name: &str) -> Option<(&NetworkView, &Port)> {
        let name = name.parse().ok()?;
        self.readable.iter().find_map(|view| view.ports.get(&name).map(|port| (view, port)))
    }

    /// The ports that are placed on a host.
    pub fn ports_of<'a>(&'a self, host: &'a HostName) -> impl Iterator<Item = &'a Port> {
        let ports = self.readable.iter().flat_map(|view| view.ports.values());
        ports.filter(move |port| port.host.as_ref() == Some(host))
    }

    /// Addresses of all tunnel endpoints other than this host's own.
    pub fn endpoints(&self, own: std::net::Ipv4Addr) -> std::collections::BTreeSet<std::net::Ipv4Addr> {
        let hosts = self.readable.iter().flat_map(|view| view.hosts.values().map(|host| host.underlay));
        let vteps = self.readable.iter().flat_map(|view| view.vteps.values().map(|vtep| vtep.underlay));
        hosts.chain(vteps).filter(|endpoint| *endpoint != own).collect()
    }
}
