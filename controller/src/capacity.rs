//! May these rules be? Before a commit, every set of groups that it makes or changes is measured: a host compiles each to
//! rows of tables that all tenants of the host share, and a set that took too much of them would hurt its neighbours.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::maps::{self, Table};
use andromede_model::{
    AnyName, Commit, Direction, HostName, Model, NetworkName, NetworkView, Remote, Resource, ResourceKind,
    SecurityGroupName, Violation,
};
use andromede_plan::{Attachment, Attachments, HostFacts, Rows, compile};

/// One set of groups takes at most this part of a table: an eighth.
const SHARE: usize = 8;

/// The rows that one set of groups may have in a table.
const fn most(table: &Table) -> usize {
    table.rows as usize / SHARE
}

type Groups = BTreeSet<SecurityGroupName>;

/// Checks all that a commit makes or changes. `before` is the model to which it will be added; `request` says how resources
/// are called in the request.
pub fn check(before: &Model, commit: &Commit, request: &[AnyName]) -> Result<(), Vec<Violation>> {
    let mut touched: BTreeMap<NetworkName, BTreeSet<AnyName>> = BTreeMap::new();
    for resource in &commit.written {
        if let (ResourceKind::SecurityGroup, Some(network)) = (resource.kind(), resource.network()) {
            touched.entry(network).or_default().insert(resource.name());
        }
    }
    for (network, _) in &commit.identities {
        touched.entry(network.clone()).or_default();
    }
    if touched.is_empty() {
        return Ok(());
    }
    let mut after = before.clone();
    if after.commit(commit).is_err() {
        // Whoever adds it will be told.
        return Ok(());
    }
    let mut wrong = Vec::new();
    for (network, changed) in touched {
        let Some(view) = after.view(&network) else { continue };
        let new: BTreeSet<u32> =
            commit.identities.iter().filter(|(name, _)| *name == network).map(|(_, set)| set.number).collect();
        for (number, groups) in &view.identities {
            let written = groups.iter().find(|group| changed.contains(&AnyName::from((*group).clone())));
            if (new.contains(number) || written.is_some())
                && let Err(rule) = measure(&view, *number, groups)
            {
                wrong.push(violation(commit, request, *number, groups, written, rule));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Names the field by which the set came to be as it is: a group's rules, or a port's groups.
fn violation(
    commit: &Commit,
    request: &[AnyName],
    identity: u32,
    groups: &Groups,
    written: Option<&SecurityGroupName>,
    rule: String,
) -> Violation {
    let port = commit.written.iter().find_map(|resource| match resource {
        Resource::Port(port) if port.identity == identity => Some(AnyName::from(port.name.clone())),
        _ => None,
    });
    let (name, field) = match written {
        Some(group) => (Some(AnyName::from(group.clone())), "security_group.rules"),
        None => (port, "port.security_groups"),
    };
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

/// Measures one set of groups: by a bound if that is small enough, else by compiling it.
fn measure(view: &NetworkView, identity: u32, groups: &Groups) -> Result<(), String> {
    let bound = [Direction::Ingress, Direction::Egress].map(|direction| combinations(view, groups, direction));
    let bound = bound.into_iter().max().unwrap_or_default();
    if bound <= most(&maps::POLICY_CELLS) {
        return Ok(());
    }
    let rows = compiled(view, identity).map_err(|error| error.to_string())?;
    let tables = [
        (maps::POLICY_IDENTITIES, rows.policy_identities.len()),
        (maps::POLICY_PREFIXES, rows.policy_prefixes.len()),
        (maps::POLICY_SERVICES, rows.policy_services.len()),
        (maps::POLICY_CELLS, rows.policy_cells.len()),
    ];
    match tables.into_iter().find(|(table, rows)| *rows > most(table)) {
        Some((table, rows)) => Err(format!(
            "the rules of the groups that a port has together take at most {} rows of the table {}; these take {rows}",
            most(&table),
            table.name
        )),
        None => Ok(()),
    }
}

/// An upper bound of the cells of one direction: each remote with each service. Nested ranges make at most twice as many
/// services as there are ranges.
fn combinations(view: &NetworkView, groups: &Groups, direction: Direction) -> usize {
    let mut remotes: BTreeSet<&Remote> = BTreeSet::new();
    let mut services = BTreeSet::new();
    let rules = groups.iter().filter_map(|group| view.groups.get(group)).flat_map(|group| &group.rules);
    for rule in rules.filter(|rule| rule.direction == direction) {
        remotes.insert(&rule.remote);
        let protocol = rule.protocol.to_string();
        let icmp = (rule.icmp_type, rule.icmp_code);
        if rule.ports.is_empty() {
            services.insert((protocol, None, icmp));
        } else {
            let ranges = rule.ports.iter().map(|range| (range.first(), range.last()));
            services.extend(ranges.map(|range| (protocol.clone(), Some(range), icmp)));
        }
    }
    let services = services.len().saturating_mul(2).saturating_add(1);
    remotes.len().saturating_add(1).saturating_mul(services)
}

/// The rows of a host that holds one port with this set of groups, and nothing else.
fn compiled(view: &NetworkView, identity: u32) -> Result<Rows, andromede_plan::TooLarge> {
    let mut view = view.clone();
    let host: Option<HostName> = view.hosts.keys().next().cloned();
    let port = view.ports.values().find(|port| port.identity == identity).cloned();
    let (Some(host), Some(mut port)) = (host, port) else { return Ok(Rows::default()) };
    let Some(record) = view.hosts.get(&host).cloned() else { return Ok(Rows::default()) };
    port.host = Some(host);
    let attachments = Attachments::from([(port.name.clone(), Attachment { ifindex: 1, tap: false })]);
    view.ports = BTreeMap::from([(port.name.clone(), port)]);
    let facts = HostFacts {
        host: record.index,
        underlay: record.underlay,
        underlay_ifindex: 1,
        gateways: BTreeMap::new(),
        flow_rows: maps::FLOWS.rows,
    };
    Ok(compile(&[view], &facts, &attachments, &Rows::default())?.rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use andromede_proto::v1;

    use super::*;
    use crate::fixtures::{host, network, port, resource, subnet, tenant};

    /// Ranges that begin at these ports, apart from each other.
    fn apart(from: u32) -> String {
        from.to_string()
    }

    /// Each within the one before.
    fn nested(from: u32) -> String {
        format!("{from}-{}", 65_535 - from)
    }

    /// Each across all others.
    fn crossing(from: u32) -> String {
        format!("{from}-{}", 2_000 + from)
    }

    /// A group of rules with their own remotes; each has these many ranges of ports.
    fn group(name: &str, rules: u32, ranges: u32, range: fn(u32) -> String) -> Resource {
        let rule = |number: u32| v1::Rule {
            name: format!("r{number}"),
            direction: v1::Direction::Ingress.into(),
            action: v1::Action::Allow.into(),
            protocol: "tcp".to_owned(),
            ports: (0..ranges).map(|range| (number * ranges + range) % 30_000 + 1).map(range).collect(),
            remote: Some(v1::rule::Remote::RemoteCidr(format!("10.{}.{}.0/24", number / 250, number % 250))),
            ..v1::Rule::default()
        };
        resource(v1::resource::Kind::SecurityGroup(v1::SecurityGroup {
            name: format!("tenants/a/networks/n/securityGroups/{name}"),
            rules: (0..rules).map(rule).collect(),
            ..v1::SecurityGroup::default()
        }))
    }

    fn checked(groups: Vec<Resource>, of_port: &[&str]) -> Result<(), Vec<Violation>> {
        let model = Model::default();
        let mut written = vec![tenant("a"), network("a"), subnet("a"), host(1, 2), port("a", 2, Some(1), of_port)];
        written.extend(groups);
        let request: Vec<_> = written.iter().map(Resource::name).collect();
        let commit = model.prepare(written, Vec::new()).unwrap();
        check(&model, &commit, &request)
    }

    #[test]
    fn many_rules_are_allowed_where_they_take_few_rows() {
        checked(vec![group("g", 1_000, 1, apart)], &["g"]).unwrap();
        checked(vec![group("g", 300, 3, apart)], &["g"]).unwrap();
    }

    #[test]
    fn what_would_fill_the_tables_of_a_host_is_refused_with_its_size() {
        let refused = checked(vec![group("g", 1_000, 64, nested)], &["g"]).unwrap_err();
        assert_eq!(refused[0].field, "resources[5].security_group.rules");
        assert!(refused[0].rule.contains("mentions of rules"), "{}", refused[0]);
        let refused = checked(vec![group("g", 900, 1, crossing), group("h", 1, 1, apart)], &["g", "h"]).unwrap_err();
        assert_eq!((refused.len(), refused[0].value.as_str()), (1, "g, h"));
        assert!(refused[0].rule.contains("POLICY_CELLS"), "{}", refused[0]);
        // No port has it: no host compiles it.
        checked(vec![group("g", 1_000, 64, nested)], &[]).unwrap();
    }
}
