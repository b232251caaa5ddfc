//! What a write would do: resources field by field, hosts and ports that it concerns, and how full tables become.

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::{AnyName, Commit, Host, HostName, Model, NetworkName, Port, Resource, Resting};
use andromede_proto::{
    difference,
    v1::{PlanResponse, PlannedChange, TableUse, resource_change::Kind},
};

use crate::{
    capacity::{Capacity, Staged},
    change::{Change, WriteError},
    fence,
};

/// Plans a write on a state. `capacity` is that of the same state, `resting` what is given to nobody yet, `behind` says who has yet to apply the fence of a host.
pub fn plan(
    before: &Model,
    capacity: &Capacity,
    change: &Change,
    resting: &dyn Resting,
    behind: &dyn Fn(&Host) -> Vec<HostName>,
) -> Result<PlanResponse, WriteError> {
    let names: Vec<_> = change.written.iter().map(Resource::name).collect();
    let commit = before.prepare_with(change.written.clone(), change.deleted.clone(), resting);
    let commit = commit.map_err(WriteError::Invalid)?;
    fence::check(before, &commit, behind)?;
    let mut after = before.clone();
    if !commit.is_empty() {
        after.commit(&commit)?;
    }
    let staged = capacity.stage((before, &after), &commit, &names)?;
    let changes = changes(before, &after, &commit);
    let unchanged = names.len().saturating_add(change.deleted.len()).saturating_sub(changes.len());
    let hosts = hosts(before, &after, &commit);
    let tables = tables(capacity, &staged);
    Ok(PlanResponse {
        revision: before.revision(),
        unchanged: u32::try_from(unchanged).unwrap_or(u32::MAX),
        ports: u32::try_from(ports(before, &after, &commit).len()).unwrap_or(u32::MAX),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        changes,
        tables,
    })
}

/// What is different between two states of a resource.
pub fn planned(name: &AnyName, before: Option<Resource>, after: Option<Resource>) -> PlannedChange {
    let kind = match (&before, &after) {
        (None, _) => Kind::Created,
        (_, None) => Kind::Deleted,
        _ => Kind::Updated,
    };
    let fields = match (before, after) {
        // The schema has every resource, so that nothing can go wrong here; without it there is nothing to tell.
        (Some(before), Some(after)) => difference::fields(&before.into(), &after.into()).unwrap_or_default(),
        _ => Vec::new(),
    };
    PlannedChange { kind: kind.into(), name: name.to_string(), fields }
}

fn changes(before: &Model, after: &Model, commit: &Commit) -> Vec<PlannedChange> {
    let names: BTreeSet<AnyName> =
        commit.written.iter().map(Resource::name).chain(commit.deleted.iter().cloned()).collect();
    names.into_iter().map(|name| planned(&name, before.get(&name), after.get(&name))).collect()
}

/// The hosts that will be told: those of the networks that change, before and after, and those that change themselves.
fn hosts(before: &Model, after: &Model, commit: &Commit) -> BTreeSet<HostName> {
    let mut hosts = BTreeSet::new();
    for network in commit.networks() {
        hosts.extend(before.hosts_of(&network));
        hosts.extend(after.hosts_of(&network));
    }
    hosts.extend(commit.written.iter().filter_map(|resource| match resource {
        Resource::Host(host) => Some(host.name.clone()),
        _ => None,
    }));
    hosts
}

/// The ports that are written or deleted, or whose groups are.
fn ports(before: &Model, after: &Model, commit: &Commit) -> BTreeSet<AnyName> {
    let mut ports = BTreeSet::new();
    let mut groups = BTreeSet::new();
    let mut whole = BTreeSet::new();
    for name in commit.written.iter().map(Resource::name).chain(commit.deleted.iter().cloned()) {
        match name {
            AnyName::Port(_) => drop(ports.insert(name)),
            AnyName::SecurityGroup(group) => drop(groups.insert(group)),
            AnyName::Network(network) => drop(whole.insert(network)),
            AnyName::Subnet(subnet) => drop(whole.insert(subnet.network())),
            AnyName::PrefixList(list) => drop(whole.insert(list.network())),
            _ => {}
        }
    }
    let concerned = |port: &Port, network: &NetworkName| {
        whole.contains(network) || port.groups.iter().any(|group| groups.contains(group))
    };
    for network in commit.networks() {
        for view in [before.view(&network), after.view(&network)].into_iter().flatten() {
            let of_view = view.ports.values().filter(|port| concerned(port, &network));
            ports.extend(of_view.map(|port| AnyName::from(port.name.clone())));
        }
    }
    ports
}

/// For each table the host that it fills most, of those for which something changes.
fn tables(capacity: &Capacity, staged: &Staged) -> Vec<TableUse> {
    let mut fullest: BTreeMap<&'static str, TableUse> = BTreeMap::new();
    for (host, before, after) in staged.costs(capacity) {
        for ((table, before), (_, after)) in before.tables().zip(after.tables()) {
            let used = TableUse {
                table: table.name.to_owned(),
                host: host.to_string(),
                before: before as u64,
                after: after as u64,
                limit: capacity.limits().rows(&table) as u64,
            };
            if fullest.get(table.name).is_none_or(|other| other.after < used.after) {
                fullest.insert(table.name, used);
            }
        }
    }
    fullest.into_values().collect()
}
