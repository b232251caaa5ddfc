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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use andromede_proto::{
        unknown,
        v1::{Network, Resource, SecurityGroup, Subnet},
    };
    use prost::Message as _;

    use super::*;
    use crate::{
        state::{held::Held, store::Store},
        views::Views,
    };

    const NETWORKS: [&str; 2] = ["tenants/a/networks/n", "tenants/b/networks/n"];
    /// Field 999 with the value 7, as a newer controller may put it anywhere.
    const NEWER: [u8; 3] = [0xb8, 0x3e, 7];

    /// A field of this number that holds a message.
    fn field(number: u8, message: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(message.len()).unwrap()], message].concat()
    }

    /// An update as it comes: its bytes, read by this agent.
    fn told(bytes: &[u8]) -> Result<Told, Vec<String>> {
        Told::new(Update::decode(bytes).unwrap(), unknown::find::<Update>(bytes))
    }

    fn network(name: &str, index: u32) -> Network {
        Network { name: name.to_owned(), vni: 100 + index, index, tenant_index: index, mtu: 1400, ..Network::default() }
    }

    fn subnet(network: &str) -> Subnet {
        Subnet { name: format!("{network}/subnets/s"), cidr: "10.0.0.0/24".to_owned(), ..Subnet::default() }
    }

    fn snapshots() -> Update {
        let view =
            |(index, name): (u32, &&str)| NetworkView { network: Some(network(name, index)), ..NetworkView::default() };
        Update { revision: 1, snapshots: (1..).zip(&NETWORKS).map(view).collect(), ..Update::default() }
    }

    /// A change of both networks, the first of which has a subnet with this behind it.
    fn change(revision: u64, newer: &[u8]) -> Vec<u8> {
        let delta = |(nth, name): (usize, &&str)| {
            let subnet = [subnet(name).encode_to_vec(), if nth == 0 { newer.to_vec() } else { Vec::new() }].concat();
            let written = field(3, &subnet);
            assert!(Resource::decode(written.as_slice()).unwrap().name().ends_with("subnets/s"));
            let delta = NetworkDelta { network: (*name).to_owned(), ..NetworkDelta::default() };
            field(3, &[delta.encode_to_vec(), field(2, &written)].concat())
        };
        let update = Update { revision, ..Update::default() }.encode_to_vec();
        [update, NETWORKS.iter().enumerate().flat_map(delta).collect()].concat()
    }

    #[test]
    fn a_network_with_something_unknown_stays_as_it_was_until_that_is_gone_and_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (mut held, mut views) = (Held::default(), Views::default());
        let mut take = |held: &mut Held, bytes: &[u8]| {
            let touched = held.fold(1, &[told(bytes).unwrap()], false).unwrap();
            store.save(held, &touched).unwrap();
            let errors = views.update(held).len();
            (errors, views.all().iter().map(|view| view.subnets.len()).collect::<Vec<_>>())
        };
        assert_eq!(take(&mut held, &snapshots().encode_to_vec()), (0, vec![0, 0]));
        assert_eq!(take(&mut held, &change(2, &NEWER)), (1, vec![0, 1]), "it is not half of what was meant");
        let [unsupported] = held.unsupported().try_into().unwrap();
        assert_eq!(
            (unsupported.network.as_str(), unsupported.what.as_str()),
            (NETWORKS[0], "andromede.v1.Subnet: field 999")
        );
        assert_eq!(held.revisions().map(|(name, _)| name).collect::<Vec<_>>(), [NETWORKS[1]], "it is asked anew");
        let restarted = store.load().unwrap().held;
        let found: Vec<_> = restarted.networks.values().map(|it| (it.revision, it.view.subnets.len())).collect();
        assert_eq!(found, [(1, 0), (2, 1)], "a restart finds what was understood last");

        let group = SecurityGroup { name: format!("{}/securityGroups/g", NETWORKS[0]), ..SecurityGroup::default() };
        let delta =
            NetworkDelta { network: NETWORKS[0].to_owned(), written: vec![group.into()], ..NetworkDelta::default() };
        let other = Update { revision: 3, deltas: vec![delta], ..Update::default() };
        assert_eq!(take(&mut held, &other.encode_to_vec()), (1, vec![0, 1]), "another change of it mends nothing");
        assert_eq!(take(&mut held, &change(4, &[])), (0, vec![1, 1]));
        assert!(held.unsupported().is_empty());
        assert_eq!(store.load().unwrap().held, held);
    }

    #[test]
    fn a_resource_of_an_unknown_kind_is_of_its_network_and_the_rest_of_nothing() {
        let zone = field(15, &[]);
        let delta = NetworkDelta { network: NETWORKS[0].to_owned(), ..NetworkDelta::default() }.encode_to_vec();
        let found = told(&field(3, &[delta, field(2, &zone)].concat())).unwrap();
        assert_eq!(found.deltas.get(NETWORKS[0]).unwrap().keys().collect::<Vec<_>>(), [""]);
        let mut held = Held::default();
        held.fold(1, &[snapshots().into()], false).unwrap();
        held.fold(1, &[found], false).unwrap();
        assert_eq!(held.unsupported().len(), 1);
        assert_eq!(told(&NEWER), Err(vec!["andromede.agent.v1.Update: field 999".to_owned()]));
        // What came in parts is told by its own paths.
        let mut whole = Told::default();
        let bytes = [snapshots().snapshots[0].encode_to_vec(), field(2, &NEWER)].concat();
        whole.add(NetworkView::decode(bytes.as_slice()).unwrap(), unknown::find::<NetworkView>(&bytes));
        assert_eq!(whole.snapshots.get(NETWORKS[0]).map(BTreeMap::len), Some(1));
    }
}
