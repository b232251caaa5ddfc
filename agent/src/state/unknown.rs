//! What an update says that this agent does not know, by the network in which it is.

use std::collections::BTreeMap;

use andromede_proto::{
    agent::v1::{NetworkDelta, NetworkView, Update},
    unknown::Unknown,
};

/// What is not known of one network: by the name of the resource in which it is; by "" if it is in none that has a name.
pub type Marks = BTreeMap<String, String>;

/// An update, and what of it is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The update.
    pub update: Update,
    /// By the name of the network that is told from scratch.
    pub snapshots: BTreeMap<String, Marks>,
    /// By the name of the network that changed.
    pub deltas: BTreeMap<String, Marks>,
}

impl From<Update> for Told {
    /// All of it is known.
    fn from(update: Update) -> Self {
        Self { update, ..Self::default() }
    }
}

impl Told {
    /// Sorts what is not known of an update by networks; what is in none of them is given back in words.
    pub fn new(update: Update, unknown: Vec<Unknown>) -> Result<Self, Vec<String>> {
        let mut told = Self::from(update);
        let mut elsewhere = Vec::new();
        for Unknown { path, what } in unknown {
            let (first, rest) = path.split_first().map_or(((0, 0), &[][..]), |(first, rest)| (*first, rest));
            match (first, told.update.snapshots.get(first.1), told.update.deltas.get(first.1)) {
                ((2, _), Some(view), _) => {
                    let (network, resource) = (network_of(view), resource_of(view, rest));
                    told.snapshots.entry(network).or_default().insert(resource, what);
                }
                ((3, _), _, Some(delta)) => {
                    let (network, resource) = (delta.network.clone(), written_of(delta, rest));
                    told.deltas.entry(network).or_default().insert(resource, what);
                }
                _ => elsewhere.push(what),
            }
        }
        if elsewhere.is_empty() { Ok(told) } else { Err(elsewhere) }
    }

    /// Adds a network that came in parts.
    pub fn add(&mut self, view: NetworkView, unknown: Vec<Unknown>) {
        if !unknown.is_empty() {
            let marks = unknown.into_iter().map(|unknown| (resource_of(&view, &unknown.path), unknown.what));
            self.snapshots.insert(network_of(&view), marks.collect());
        }
        self.update.snapshots.push(view);
    }
}

fn network_of(view: &NetworkView) -> String {
    view.network.as_ref().map(|network| network.name.clone()).unwrap_or_default()
}

/// The resource of a delta in which a path ends.
fn written_of(delta: &NetworkDelta, path: &[(u32, usize)]) -> String {
    let written = path.first().filter(|(field, _)| *field == 2).and_then(|(_, nth)| delta.written.get(*nth));
    written.map(|resource| resource.name().to_owned()).unwrap_or_default()
}

/// The resource of a view in which a path ends.
fn resource_of(view: &NetworkView, path: &[(u32, usize)]) -> String {
    let Some(&(field, nth)) = path.first() else { return String::new() };
    let name = match field {
        1 => view.network.as_ref().map(|it| &it.name),
        2 => view.subnets.get(nth).map(|it| &it.name),
        3 => view.ports.get(nth).map(|it| &it.name),
        4 => view.security_groups.get(nth).map(|it| &it.name),
        5 => view.vteps.get(nth).map(|it| &it.name),
        6 => view.hosts.get(nth).map(|it| &it.name),
        8 => view.prefix_lists.get(nth).map(|it| &it.name),
        9 => view.operator_policies.get(nth).map(|it| &it.name),
        10 => view.tenant.as_ref().map(|it| &it.name),
        _ => None,
    };
    name.cloned().unwrap_or_default()
}
