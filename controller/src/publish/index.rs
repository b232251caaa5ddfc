//! Who holds what, and what changed for whom.

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::{AnyName, Commit, HostName, Model, NetworkName, OperatorPolicyName, Resource, TenantName};
use tokio::sync::watch;

use super::{
    concerned::{Commits, Concerned},
    log::{Change, NetworkLog},
};

/// A port that is, was or becomes placed, or a subnet that is leased: what a commit does to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The port or subnet.
    pub moved: AnyName,
    /// Its network.
    pub network: NetworkName,
    /// The host that held it before the commit.
    pub from: Option<HostName>,
    /// The host that holds it after the commit.
    pub to: Option<HostName>,
}

impl Move {
    /// The placed ports and leased subnets that a commit touches; `before` is the model to which it will be added.
    pub fn all(before: &Model, commit: &Commit) -> Vec<Self> {
        let holder = |resource: &Resource| match resource {
            Resource::Port(port) => port.host.clone(),
            Resource::Subnet(subnet) => subnet.host.clone(),
            _ => None,
        };
        let is_held = |name: &AnyName| matches!(name, AnyName::Port(_) | AnyName::Subnet(_));
        let written = commit.written.iter().map(|resource| (resource.name(), holder(resource)));
        written
            .chain(commit.deleted.iter().map(|name| (name.clone(), None)))
            .filter(|(name, _)| is_held(name))
            .filter_map(|(moved, to)| {
                let from = before.get(&moved).as_ref().and_then(holder);
                Some(Self { network: moved.network()?, from, to, moved })
            })
            .filter(|moved| moved.from.is_some() || moved.to.is_some())
            .collect()
    }
}

#[derive(Debug)]
struct Network {
    log: NetworkLog,
    /// Ports of the network on each host, and subnets leased to it.
    hosts: BTreeMap<HostName, usize>,
    /// Hosts that held it before, and the revision that took the last of it from them: one that has not applied that still does.
    left: BTreeMap<HostName, u64>,
}

/// What a host holds of one network.
#[derive(Debug, Default)]
struct Holding {
    ports: usize,
    subnets: usize,
}

impl Holding {
    fn count(&mut self, name: &AnyName) -> &mut usize {
        if matches!(name, AnyName::Port(_)) { &mut self.ports } else { &mut self.subnets }
    }
}

#[derive(Debug, Default)]
struct Host {
    /// The networks that it holds.
    networks: BTreeMap<NetworkName, Holding>,
    /// Last revision that concerns it. Its session follows; the sender goes with the host.
    wanted: watch::Sender<u64>,
}

/// Logs of all networks, and the networks of all hosts. It is the fold of the same commits as the model.
#[derive(Debug, Default)]
pub struct Index {
    networks: BTreeMap<NetworkName, Network>,
    hosts: BTreeMap<HostName, Host>,
    /// The networks that each policy of the operator names; none: it concerns all.
    policies: BTreeMap<OperatorPolicyName, BTreeSet<NetworkName>>,
    /// The hosts that each of the last commits concerns.
    commits: Commits,
}

impl Index {
    /// Adds a commit, and wakes the hosts that it concerns.
    pub fn apply(&mut self, commit: &Commit, moves: &[Move]) {
        let revision = commit.revision;
        let mut concerned = Concerned::default();
        self.make(commit, &mut concerned);
        let mut changes = self.changes(commit, &mut concerned);
        for moved in moves {
            let change = changes.entry(moved.network.clone()).or_default();
            change.names.insert(moved.moved.clone());
            self.place(moved, revision, change);
            concerned.add(Some(moved.network.tenant()), moved.from.iter().chain(&moved.to));
        }
        for (name, change) in changes {
            if let Some(network) = self.networks.get_mut(&name)
                && !change.is_empty()
            {
                network.log.push(revision, change);
                concerned.add(Some(name.tenant()), network.hosts.keys());
            }
        }
        for name in &commit.deleted {
            if let AnyName::Host(name) = name {
                self.hosts.remove(name);
            }
        }
        for name in concerned.hosts(None) {
            if let Some(host) = self.hosts.get_mut(name) {
                host.wanted.send_replace(revision);
            }
        }
        self.commits.push(revision, concerned);
    }

    /// Makes room for new networks and hosts.
    fn make(&mut self, commit: &Commit, concerned: &mut Concerned) {
        // A network that is deleted and written by one commit is another network of the same name.
        for name in &commit.deleted {
            if let AnyName::Network(name) = name {
                self.remove_network(name, concerned);
            }
        }
        for resource in &commit.written {
            match resource {
                Resource::Network(network) => {
                    let made = || Network {
                        log: NetworkLog::new(commit.revision),
                        hosts: BTreeMap::new(),
                        left: BTreeMap::new(),
                    };
                    self.networks.entry(network.name.clone()).or_insert_with(made);
                }
                Resource::Host(host) => drop(self.hosts.entry(host.name.clone()).or_default()),
                _ => {}
            }
        }
    }

    /// The networks that a policy of the operator concerned before, or concerns after, and notes the latter.
    fn networks_of_policy(&mut self, commit: &Commit, name: &OperatorPolicyName) -> BTreeSet<NetworkName> {
        let before = self.policies.remove(name);
        let after = commit.written.iter().find_map(|resource| match resource {
            Resource::OperatorPolicy(policy) if policy.name == *name => Some(policy.networks.clone()),
            _ => None,
        });
        let named: BTreeSet<NetworkName> = before.iter().chain(&after).flatten().cloned().collect();
        let all = before.iter().chain(&after).any(BTreeSet::is_empty);
        if let Some(after) = after {
            self.policies.insert(name.clone(), after);
        }
        if all { self.networks.keys().cloned().collect() } else { named }
    }

    /// The names that the commit itself touches, by network. Ports are left to their moves.
    fn changes(&mut self, commit: &Commit, concerned: &mut Concerned) -> BTreeMap<NetworkName, Change> {
        let mut changes: BTreeMap<NetworkName, Change> = BTreeMap::new();
        let written = commit.written.iter().map(Resource::name);
        for name in written.chain(commit.deleted.iter().cloned()) {
            match &name {
                AnyName::Port(_) => {}
                // Which networks it is a place of depends on all of them; zones change rarely.
                AnyName::Zone(_) => {
                    for network in self.networks.keys() {
                        changes.entry(network.clone()).or_default().names.insert(name.clone());
                    }
                }
                AnyName::Tenant(tenant) => {
                    for network in self.networks.keys().filter(|network| network.tenant() == *tenant) {
                        changes.entry(network.clone()).or_default().names.insert(name.clone());
                    }
                }
                AnyName::OperatorPolicy(policy) => {
                    for network in self.networks_of_policy(commit, policy) {
                        changes.entry(network).or_default().names.insert(name.clone());
                    }
                }
                AnyName::Host(host) => {
                    for network in self.hosts.get(host).iter().flat_map(|host| host.networks.keys()) {
                        changes.entry(network.clone()).or_default().names.insert(name.clone());
                    }
                    concerned.add(None, [host]);
                }
                _ => {
                    if let Some(network) = name.network() {
                        changes.entry(network).or_default().names.insert(name);
                    }
                }
            }
        }
        for (network, number) in &commit.identities_removed {
            changes.entry(network.clone()).or_default().identities.insert(*number, None);
        }
        for (network, set) in &commit.identities {
            changes.entry(network.clone()).or_default().identities.insert(set.number, Some(set.clone()));
        }
        changes
    }

    /// Counts a port or subnet out of one host and into another. A host that enters or leaves the network is a change of its view.
    fn place(&mut self, moved: &Move, revision: u64, change: &mut Change) {
        if moved.from == moved.to {
            return;
        }
        let Some(network) = self.networks.get_mut(&moved.network) else { return };
        if let Some(from) = &moved.from {
            let left = count_down(&mut network.hosts, from);
            if let Some(networks) = self.hosts.get_mut(from).map(|host| &mut host.networks)
                && let Some(holding) = networks.get_mut(&moved.network)
            {
                let count = holding.count(&moved.moved);
                *count = count.saturating_sub(1);
                if holding.ports == 0 && holding.subnets == 0 {
                    networks.remove(&moved.network);
                }
            }
            if left {
                network.left.insert(from.clone(), revision);
                change.names.insert(from.clone().into());
            }
        }
        if let Some(to) = &moved.to {
            let count = network.hosts.entry(to.clone()).or_default();
            *count = count.saturating_add(1);
            if *count == 1 {
                network.left.remove(to);
                change.names.insert(to.clone().into());
            }
            let holding = self.hosts.entry(to.clone()).or_default().networks.entry(moved.network.clone()).or_default();
            let count = holding.count(&moved.moved);
            *count = count.saturating_add(1);
        }
    }

    fn remove_network(&mut self, name: &NetworkName, concerned: &mut Concerned) {
        let Some(network) = self.networks.remove(name) else { return };
        concerned.add(Some(name.tenant()), network.hosts.keys());
        for host in network.hosts.keys() {
            if let Some(host) = self.hosts.get_mut(host) {
                host.networks.remove(name);
            }
        }
    }

    /// The hosts that a commit concerned when it was made, each with the revision that it must have applied for that: of one tenant's
    /// networks, or of all. Without a revision, or with one of which it is not known any more: all hosts that there is something for.
    pub fn concerned(&self, tenant: Option<&TenantName>, revision: Option<u64>) -> BTreeMap<HostName, u64> {
        let most = revision.unwrap_or(u64::MAX);
        if let Some(concerned) = revision.and_then(|revision| self.commits.get(revision)) {
            return concerned.hosts(tenant).map(|host| (host.clone(), most)).collect();
        }
        let Some(tenant) = tenant else {
            let wanted = self.hosts.iter().map(|(name, host)| (name.clone(), (*host.wanted.borrow()).min(most)));
            return wanted.collect();
        };
        let mut found = BTreeMap::new();
        for (_, network) in self.networks.iter().filter(|(name, _)| name.tenant() == *tenant) {
            for host in network.hosts.keys() {
                let wanted: &mut u64 = found.entry(host.clone()).or_default();
                *wanted = (*wanted).max(network.log.head().min(most));
            }
        }
        found
    }

    /// Follows the last revision that concerns a host; none if there is no such host.
    pub fn follow(&self, host: &HostName) -> Option<watch::Receiver<u64>> {
        self.hosts.get(host).map(|host| host.wanted.subscribe())
    }

    /// The last revision that concerns a host, and how many ports are placed on it.
    pub fn wanted(&self, host: &HostName) -> (u64, usize) {
        self.hosts
            .get(host)
            .map(|host| (*host.wanted.borrow(), host.networks.values().map(|holding| holding.ports).sum()))
            .unwrap_or_default()
    }

    /// The networks that a host holds; none if there is no such host.
    pub fn held(&self, host: &HostName) -> Option<impl Iterator<Item = (&NetworkName, &NetworkLog)>> {
        let networks = &self.hosts.get(host)?.networks;
        Some(networks.keys().filter_map(|name| self.networks.get_key_value(name).map(|(name, it)| (name, &it.log))))
    }

    /// The other hosts of the networks that a host holds; and those that held one of them before, with the revision from which on they do
    /// not: who has not applied that still takes its packets.
    pub fn sharing(&self, host: &HostName) -> BTreeMap<HostName, Option<u64>> {
        let mut sharing = BTreeMap::new();
        let networks = self.hosts.get(host).into_iter().flat_map(|host| host.networks.keys());
        for network in networks.filter_map(|name| self.networks.get(name)) {
            sharing.extend(network.hosts.keys().map(|host| (host.clone(), None)));
            for (other, revision) in &network.left {
                // Who holds another of the networks is asked for more.
                let last = sharing.entry(other.clone()).or_insert(Some(*revision));
                *last = last.map(|last| last.max(*revision));
            }
        }
        sharing.remove(host);
        sharing
    }

    /// Does the host hold the network?
    pub fn holds(&self, host: &HostName, network: &NetworkName) -> bool {
        self.hosts.get(host).is_some_and(|host| host.networks.contains_key(network))
    }
}

/// Counts down; at zero the row goes, and the answer is yes.
fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) -> bool {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => {
            *count = count.saturating_sub(1);
            false
        }
        Some(_) => counts.remove(key).is_some(),
        None => false,
    }
}
