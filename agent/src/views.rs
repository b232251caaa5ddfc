//! The views of networks as model types, converted once for each change.

use std::{collections::BTreeMap, sync::Arc};

use andromede_model::{HostName, NetworkView, Port, Violation};

use crate::state::held::{Held, HeldNetwork};

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

/// The views of all networks that the host holds.
#[derive(Debug, Default)]
pub struct Views {
    views: Vec<NetworkView>,
    /// What each view was made of.
    sources: BTreeMap<String, Arc<HeldNetwork>>,
}

impl Views {
    /// Brings the views in line with what the host was told. A network that cannot be read keeps its last readable view.
    pub fn update(&mut self, held: &Held) -> Vec<ViewError> {
        let mut errors = Vec::new();
        self.sources.retain(|name, _| held.networks.contains_key(name));
        self.views.retain(|view| held.networks.contains_key(view.network.name.as_str()));
        for (name, network) in &held.networks {
            if self.sources.get(name).is_some_and(|source| Arc::ptr_eq(source, network)) {
                continue;
            }
            match NetworkView::try_from(network.view.clone()) {
                Ok(mut view) => {
                    view.revision = network.revision;
                    self.views.retain(|old| old.network.name != view.network.name);
                    self.views.push(view);
                    self.sources.insert(name.clone(), Arc::clone(network));
                }
                Err(violations) => errors.push(ViewError { network: name.clone(), violations }),
            }
        }
        self.views.sort_by(|a, b| a.network.name.cmp(&b.network.name));
        errors
    }

    /// The views, by name.
    pub fn all(&self) -> &[NetworkView] {
        &self.views
    }

    /// A port, and its network's view.
    pub fn port(&self, name: &str) -> Option<(&NetworkView, &Port)> {
        let name = name.parse().ok()?;
        self.views.iter().find_map(|view| view.ports.get(&name).map(|port| (view, port)))
    }

    /// The ports that are placed on a host.
    pub fn ports_of<'a>(&'a self, host: &'a HostName) -> impl Iterator<Item = &'a Port> {
        let ports = self.views.iter().flat_map(|view| view.ports.values());
        ports.filter(move |port| port.host.as_ref() == Some(host))
    }

    /// Addresses of all tunnel endpoints other than this host's own.
    pub fn endpoints(&self, own: std::net::Ipv4Addr) -> std::collections::BTreeSet<std::net::Ipv4Addr> {
        let hosts = self.views.iter().flat_map(|view| view.hosts.values().map(|host| host.underlay));
        let vteps = self.views.iter().flat_map(|view| view.vteps.values().map(|vtep| vtep.underlay));
        hosts.chain(vteps).filter(|endpoint| *endpoint != own).collect()
    }
}
