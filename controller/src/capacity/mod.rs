//! May this be? Before a commit the rows are counted that every host concerned would need, and a write is refused after which some
//! table of some host would have more than it may be given: a host never overflows.
//!
//! The counts are kept up commit by commit: a port that is created changes the counts of its network and of its host, and no rule is
//! compiled for it. Rules are compiled, by the code that the agents use (`plan::SetCost`), when they or the groups of a port are new.
//! The counts are those of the rows that `plan` makes, or more: where two networks know the same host, or two sets happen to say
//! the same, the host needs less.

mod full;
mod network;
mod operator;
mod sets;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use andromede_abi::maps::{self, Table};
use andromede_model::{AnyName, Commit, HostName, Model, NetworkName, Resource, SecurityGroupName, Violation};
use andromede_plan::{Cost, TooLarge};

pub use full::{Full, Largest};

use self::{
    network::NetworkUse,
    operator::Policies,
    sets::{Groups, Touched},
};
use crate::change::WriteError;

/// One set of groups takes at most this part of a table: an eighth.
const SHARE: usize = 8;

/// What one host holds.
#[derive(Clone, Debug, Default)]
struct HostUse {
    /// Rows of its networks.
    networks: Cost,
    /// How many of its networks each set of the operator's policies concerns.
    policies: BTreeMap<Policies, usize>,
}

impl HostUse {
    fn policies(&mut self, policies: &Policies, up: bool) {
        let count = self.policies.entry(Arc::clone(policies)).or_default();
        *count = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
        if *count == 0 {
            self.policies.remove(policies);
        }
    }
}

/// How full every host is, as of one revision.
#[derive(Clone, Debug)]
pub struct Capacity {
    limits: Cost,
    networks: BTreeMap<NetworkName, NetworkUse>,
    hosts: BTreeMap<HostName, HostUse>,
    /// What the operator's policies cost, by those that concern a network together.
    operator: BTreeMap<Policies, Cost>,
    /// Hosts of the fabric.
    host_count: usize,
}

/// What a commit changes in a [`Capacity`].
#[derive(Debug)]
pub struct Staged {
    networks: BTreeMap<NetworkName, Option<NetworkUse>>,
    hosts: BTreeMap<HostName, HostUse>,
    operator: BTreeMap<Policies, Cost>,
    host_count: usize,
}

/// Rows of a host that holds something. It knows no more other hosts than there are in the fabric.
fn total(host: &HostUse, operator: &BTreeMap<Policies, Cost>, host_count: usize) -> Cost {
    let policies = host.policies.keys().filter_map(|policies| operator.get(policies));
    let mut cost = policies.fold(host.networks, |sum, cost| sum + *cost);
    let others = host_count.saturating_sub(1).saturating_add(cost.rows(&maps::HOSTS));
    let known = others.min(cost.rows(&maps::MEMBERS));
    cost.remove(&maps::HOSTS, usize::MAX);
    cost.add(&maps::HOSTS, known);
    // The first slot is given to nobody.
    cost.add(&maps::EPOCHS, 1);
    cost
}

impl Capacity {
    /// How full the hosts of a model are, where a host may be given so many rows.
    pub fn new(model: &Model, limits: Cost) -> Self {
        let mut all = Self {
            limits,
            networks: BTreeMap::new(),
            hosts: BTreeMap::new(),
            operator: BTreeMap::new(),
            host_count: model.host_count(),
        };
        for name in model.networks() {
            let mut network = NetworkUse::of(name, model);
            network.policies = operator::of_network(model, name);
            for host in network.hosts() {
                let of_host = all.hosts.entry(host.clone()).or_default();
                of_host.networks = of_host.networks + network.cost_on(host);
                of_host.policies(&network.policies, true);
            }
            all.networks.insert(name.clone(), network);
        }
        let sets: BTreeSet<Policies> = all.networks.values().map(|network| Arc::clone(&network.policies)).collect();
        // Policies that cannot be compiled were let in by an older controller; a host that they concern reports them.
        all.operator = operator::measure(model, sets).unwrap_or_default();
        all
    }

    /// Rows of a host.
    pub fn cost(&self, host: &HostName) -> Cost {
        self.hosts.get(host).map(|host| total(host, &self.operator, self.host_count)).unwrap_or_default()
    }

    /// The most rows that a host may be given.
    pub fn limits(&self) -> &Cost {
        &self.limits
    }

    /// What a commit would change, or why it may not be. `before` is the model as of this revision, `after` the same with the commit;
    /// `request` says how resources are called in the request.
    pub fn stage(
        &self,
        (before, after): (&Model, &Model),
        commit: &Commit,
        request: &[AnyName],
    ) -> Result<Staged, WriteError> {
        let mut staged = Staged {
            networks: BTreeMap::new(),
            hosts: BTreeMap::new(),
            operator: self.operator.clone(),
            host_count: after.host_count(),
        };
        let mut wrong = Vec::new();
        for name in commit.networks() {
            let old = self.networks.get(&name);
            let mut touched = Touched::default();
            let new = after.network(&name).is_some().then(|| {
                let mut new = old.cloned().unwrap_or_default();
                new.change(&name, (before, after), commit, &mut touched);
                if old.is_none() {
                    new.policies = operator::of_network(after, &name);
                }
                new
            });
            if let Some(new) = &new {
                wrong.extend(too_large(&name, new, &touched, commit, request));
            }
            self.move_hosts(old, new.as_ref(), touched.hosts, &mut staged);
            staged.networks.insert(name, new);
        }
        if !wrong.is_empty() {
            return Err(WriteError::Invalid(wrong));
        }
        self.operator(after, commit, &mut staged).map_err(|error| {
            let fix = "use fewer prefixes and port ranges";
            WriteError::Invalid(vec![Violation::new("operator_policy.rules", "", error.to_string(), fix)])
        })?;
        match self.fullest(&staged, commit, request) {
            Some(full) => Err(WriteError::Full(Box::new(full))),
            None => Ok(staged),
        }
    }

    /// Moves the rows of a network from what its hosts had to what they would have.
    fn move_hosts(
        &self,
        old: Option<&NetworkUse>,
        new: Option<&NetworkUse>,
        touched: BTreeSet<HostName>,
        staged: &mut Staged,
    ) {
        let common = |network: Option<&NetworkUse>| network.map(NetworkUse::common).unwrap_or_default();
        let mut concerned = touched;
        if common(old) != common(new) {
            concerned.extend(old.into_iter().chain(new).flat_map(NetworkUse::hosts).cloned());
        }
        for host in concerned {
            let cost = |network: Option<&NetworkUse>| network.map(|it| it.cost_on(&host)).unwrap_or_default();
            let (less, more) = (cost(old), cost(new));
            let present = self.hosts.get(&host);
            let of_host = staged.hosts.entry(host.clone()).or_insert_with(|| present.cloned().unwrap_or_default());
            of_host.networks = of_host.networks + more - less;
            for (network, up) in [(old, false), (new, true)] {
                if let Some(network) = network.filter(|network| network.holds(&host)) {
                    of_host.policies(&network.policies, up);
                }
            }
        }
    }

    /// Measures the operator's policies, if there are others than before or networks that others concern.
    fn operator(&self, after: &Model, commit: &Commit, staged: &mut Staged) -> Result<(), TooLarge> {
        if !operator::is_touched(commit) {
            let new = staged.networks.values().flatten().map(|network| Arc::clone(&network.policies));
            let unknown: BTreeSet<Policies> = new.filter(|policies| !self.operator.contains_key(policies)).collect();
            staged.operator.append(&mut operator::measure(after, unknown)?);
            return Ok(());
        }
        // Any network may be concerned: this happens rarely.
        for name in after.networks() {
            let now = operator::of_network(after, name);
            let network = match staged.networks.get(name) {
                Some(network) => network.as_ref(),
                None => self.networks.get(name),
            };
            let Some(mut network) = network.filter(|network| network.policies != now).cloned() else { continue };
            for host in network.hosts() {
                let present = self.hosts.get(host);
                let of_host = staged.hosts.entry(host.clone()).or_insert_with(|| present.cloned().unwrap_or_default());
                of_host.policies(&network.policies, false);
                of_host.policies(&now, true);
            }
            network.policies = now;
            staged.networks.insert(name.clone(), Some(network));
        }
        // All hosts may need other rows, though the policies that concern their networks are the same by name.
        for (host, of_host) in &self.hosts {
            staged.hosts.entry(host.clone()).or_insert_with(|| of_host.clone());
        }
        let sets = staged.hosts.values().flat_map(|host| host.policies.keys().cloned());
        staged.operator = operator::measure(after, sets.collect::<BTreeSet<Policies>>())?;
        Ok(())
    }

    /// The host that would be too full, if there is one: of several the one that has most more than it may. A host that was too full
    /// before may become less so.
    fn fullest(&self, staged: &Staged, commit: &Commit, request: &[AnyName]) -> Option<Full> {
        let mut over: Vec<(&HostName, Table, usize)> = Vec::new();
        for host in staged.hosts.keys() {
            let (before, after) = (self.cost(host), staged.cost(host));
            let rows = before.tables().zip(after.tables()).zip(self.limits.tables());
            let too_many = rows.filter(|(((_, before), (_, after)), (_, most))| after > most && after > before);
            over.extend(too_many.map(|((_, (table, after)), _)| (host, table, after)));
        }
        let permille = |(_, table, rows): &&(&HostName, Table, usize)| {
            rows.saturating_mul(1_000).checked_div(self.limits.rows(table)).unwrap_or(usize::MAX)
        };
        let (host, table, rows) = *over.iter().max_by_key(permille)?;
        let hosts: BTreeSet<&HostName> = over.iter().map(|(host, ..)| *host).collect();
        let port = commit.written.iter().find_map(|resource| match resource {
            Resource::Port(port) if port.host.as_ref() == Some(host) => Some(AnyName::from(port.name.clone())),
            _ => None,
        });
        Some(Full {
            field: Full::field(request, port.as_ref()),
            host: Some(host.clone()),
            table,
            rows,
            most: self.limits.rows(&table),
            largest: staged.largest(host, &table),
            others: hosts.len().saturating_sub(1),
        })
    }

    /// The commit was made.
    pub fn take(&mut self, staged: Staged) {
        for (name, network) in staged.networks {
            match network {
                Some(network) => drop(self.networks.insert(name, network)),
                None => drop(self.networks.remove(&name)),
            }
        }
        for (name, host) in staged.hosts {
            if host.networks == Cost::default() {
                self.hosts.remove(&name);
            } else {
                self.hosts.insert(name, host);
            }
        }
        self.operator = staged.operator;
        self.host_count = staged.host_count;
    }
}

impl Staged {
    /// Rows of a host that the commit concerns; none of another.
    fn cost(&self, host: &HostName) -> Cost {
        self.hosts.get(host).map(|host| total(host, &self.operator, self.host_count)).unwrap_or_default()
    }

    /// Rows before and after the commit, of the hosts for which it changes something.
    pub fn costs<'a>(&'a self, before: &'a Capacity) -> impl Iterator<Item = (&'a HostName, Cost, Cost)> + 'a {
        self.hosts.keys().map(|host| (host, before.cost(host), self.cost(host)))
    }

    /// What takes most rows of a table on a host, of the networks that the commit concerns.
    fn largest(&self, host: &HostName, table: &Table) -> (Largest, usize) {
        let networks = self.networks.iter().filter_map(|(name, network)| Some((name, network.as_ref()?)));
        let rows = networks.map(|(name, network)| (name, network, network.cost_on(host).rows(table)));
        let Some((name, network, rows)) = rows.max_by_key(|(.., rows)| *rows).filter(|(.., rows)| *rows > 0) else {
            let policies = self.operator.values().map(|cost| cost.rows(table)).max();
            return (Largest::Policies, policies.unwrap_or_default());
        };
        match network.sets().largest_on(host, table) {
            Some((groups, rows)) if rows > 0 => {
                let groups = groups.iter().map(|group| group.id().to_owned()).collect();
                (Largest::Groups(name.clone(), groups), rows)
            }
            _ => (Largest::Network(name.clone()), rows),
        }
    }
}

/// Sets of groups that cannot be compiled, or take more than their share of a table.
fn too_large(
    network: &NetworkName,
    after: &NetworkUse,
    touched: &Touched,
    commit: &Commit,
    request: &[AnyName],
) -> Vec<Violation> {
    let cannot = touched.too_large.iter().map(|(groups, error)| (groups, error.to_string()));
    let over = touched.grown.iter().filter(|groups| !touched.too_large.iter().any(|(other, _)| other == *groups));
    let over = over.filter_map(|groups| {
        let cost = after.sets().cost_of(groups);
        let (table, rows) = cost.tables().find(|(table, rows)| *rows > table.rows as usize / SHARE)?;
        let most = table.rows as usize / SHARE;
        let rule = format!(
            "the rules of the groups that a port has together take at most {most} rows of the table {}; these take {rows}",
            table.name
        );
        Some((groups, rule))
    });
    cannot.chain(over).map(|(groups, rule)| violation(network, commit, request, groups, rule)).collect()
}

/// Names the field by which the set came to be as it is: a group's rules, or a port's groups.
fn violation(network: &NetworkName, commit: &Commit, request: &[AnyName], groups: &Groups, rule: String) -> Violation {
    let is_written = |name: &AnyName| commit.written.iter().any(|resource| resource.name() == *name);
    let group = groups.iter().map(|group| AnyName::from(group.clone())).find(is_written);
    let list = || {
        let mut lists = commit.written.iter().map(Resource::name);
        lists.find(|name| matches!(name, AnyName::PrefixList(list) if list.network() == *network))
    };
    let port = || {
        commit.written.iter().find_map(|resource| match resource {
            Resource::Port(port) if groups.is_subset(&port.groups) => Some(AnyName::from(port.name.clone())),
            _ => None,
        })
    };
    let named = |name: AnyName, field: &'static str| (Some(name), field);
    let (name, field) = group
        .map(|name| named(name, "security_group.rules"))
        .or_else(|| port().map(|name| named(name, "port.security_groups")))
        .or_else(|| list().map(|name| named(name, "prefix_list.prefixes")))
        .unwrap_or((None, "port.security_groups"));
    let place = name.as_ref().and_then(|name| request.iter().position(|other| other == name));
    let path = match (place, name) {
        (Some(place), _) => format!("resources[{place}].{field}"),
        (None, Some(name)) => format!("{name}: {field}"),
        (None, None) => field.to_owned(),
    };
    let value = groups.iter().map(SecurityGroupName::id).collect::<Vec<_>>().join(", ");
    let fix = "use fewer prefixes, groups and port ranges, or spread the rules over groups that no port has together";
    Violation::new(path, value, rule, fix)
}
