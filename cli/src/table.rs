//! Columns of each kind of resource.

use andromede_proto::v1::{Direction, Host, Residency, Resource, Rule, Zone, resource};

use crate::{
    kind::Kind,
    scope::{last, network_of},
    terminal,
};

/// A table of resources of one kind.
pub(crate) fn of(kind: Kind, resources: &[Resource], wide: bool) -> String {
    if resources.is_empty() {
        return format!("no {}s\n", kind.singular());
    }
    let (narrow, more) = header(kind);
    let width = if wide { narrow.len() + more.len() } else { narrow.len() };
    let titles: Vec<&str> = narrow.iter().chain(more).copied().take(width).collect();
    let rows = resources.iter().map(|resource| row(resource).into_iter().take(width).collect()).collect();
    terminal::table(&titles, rows)
}

/// Titles of the table and those that only the wide one has.
fn header(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::Zone => (&["NAME", "JURISDICTION", "OPERATOR"], &["INDEX", "REVISION"]),
        Kind::Tenant => (&["NAME", "DISPLAY NAME", "RESIDENCY"], &["REVISION"]),
        Kind::Network => (&["TENANT", "NAME", "VNI", "MTU", "RESIDENCY"], &["INDEX", "REVISION"]),
        Kind::Subnet => (&["NETWORK", "NAME", "CIDR", "GATEWAY", "HOST"], &["RESERVATIONS", "REVISION"]),
        Kind::SecurityGroup => (&["NETWORK", "NAME", "INGRESS", "EGRESS"], &["REVISION"]),
        Kind::PrefixList => (&["NETWORK", "NAME", "PREFIXES"], &["REVISION"]),
        Kind::OperatorPolicy => (&["NAME", "NETWORKS", "INGRESS", "EGRESS"], &["REVISION"]),
        Kind::Vtep => (&["NETWORK", "NAME", "UNDERLAY", "PREFIXES", "ZONE"], &["MAC", "INDEX", "REVISION"]),
        Kind::Host => (&["NAME", "UNDERLAY", "ZONE"], &["INDEX", "REVISION"]),
        Kind::Port => (&["NETWORK", "NAME", "ADDRESSES", "HOST", "GROUPS"], &["MAC", "IDENTITY", "REVISION"]),
    }
}

/// Cells in the order of the titles.
fn row(resource: &Resource) -> Vec<String> {
    let Some(kind) = &resource.kind else { return vec!["?".to_owned()] };
    match kind {
        resource::Kind::Zone(it) => zone(it),
        resource::Kind::Tenant(it) => {
            let residency = residency(it.residency.as_ref());
            vec![last(&it.name).to_owned(), it.display_name.clone(), residency, it.revision.to_string()]
        }
        resource::Kind::Network(it) => vec![
            it.name.split('/').nth(1).unwrap_or_default().to_owned(),
            last(&it.name).to_owned(),
            it.vni.to_string(),
            if it.mtu == 0 { "auto".to_owned() } else { it.mtu.to_string() },
            residency(it.residency.as_ref()),
            it.index.to_string(),
            it.revision.to_string(),
        ],
        resource::Kind::Subnet(it) => vec![
            network_of(&it.name),
            last(&it.name).to_owned(),
            it.cidr.clone(),
            it.gateway.clone(),
            last(&it.host).to_owned(),
            it.reservations.len().to_string(),
            it.revision.to_string(),
        ],
        resource::Kind::SecurityGroup(it) => vec![
            network_of(&it.name),
            last(&it.name).to_owned(),
            rules(&it.rules, Direction::Ingress),
            rules(&it.rules, Direction::Egress),
            it.revision.to_string(),
        ],
        resource::Kind::PrefixList(it) => vec![
            network_of(&it.name),
            last(&it.name).to_owned(),
            it.prefixes.len().to_string(),
            it.revision.to_string(),
        ],
        resource::Kind::OperatorPolicy(it) => vec![
            last(&it.name).to_owned(),
            if it.networks.is_empty() { "all".to_owned() } else { it.networks.len().to_string() },
            rules(&it.rules, Direction::Ingress),
            rules(&it.rules, Direction::Egress),
            it.revision.to_string(),
        ],
        resource::Kind::Vtep(it) => vec![
            network_of(&it.name),
            last(&it.name).to_owned(),
            it.underlay_address.clone(),
            it.prefixes.join(","),
            last(&it.zone).to_owned(),
            it.mac.clone(),
            it.index.to_string(),
            it.revision.to_string(),
        ],
        resource::Kind::Host(it) => host(it),
        resource::Kind::Port(it) => vec![
            network_of(&it.name),
            last(&it.name).to_owned(),
            it.addresses.join(","),
            last(&it.host).to_owned(),
            it.security_groups.iter().map(|group| last(group)).collect::<Vec<_>>().join(","),
            it.mac.clone(),
            it.identity.to_string(),
            it.revision.to_string(),
        ],
    }
}

fn zone(it: &Zone) -> Vec<String> {
    let (index, revision) = (it.index.to_string(), it.revision.to_string());
    vec![last(&it.name).to_owned(), it.jurisdiction.clone(), it.operator.clone(), index, revision]
}

fn host(it: &Host) -> Vec<String> {
    let (index, revision) = (it.index.to_string(), it.revision.to_string());
    vec![last(&it.name).to_owned(), it.underlay_address.clone(), last(&it.zone).to_owned(), index, revision]
}

/// Where something may be.
pub(crate) fn residency(residency: Option<&Residency>) -> String {
    let Some(Residency { jurisdictions, operators, zones }) = residency else { return "anywhere".to_owned() };
    let zones: Vec<String> = zones.iter().map(|zone| last(zone).to_owned()).collect();
    let lists = [jurisdictions, operators, &zones].map(|list| list.join("|"));
    lists.into_iter().filter(|list| !list.is_empty()).collect::<Vec<_>>().join(" & ")
}

fn rules(rules: &[Rule], direction: Direction) -> String {
    match rules.iter().filter(|rule| rule.direction() == direction).count() {
        0 => "default".to_owned(),
        1 => "1 rule".to_owned(),
        many => format!("{many} rules"),
    }
}

#[cfg(test)]
mod tests {
    use andromede_proto::v1::{self, resource};

    use super::*;

    #[test]
    fn every_kind_has_as_many_cells_as_titles() {
        let resources = [
            resource::Kind::Zone(v1::Zone::default()),
            resource::Kind::Tenant(v1::Tenant::default()),
            resource::Kind::Network(v1::Network::default()),
            resource::Kind::Subnet(v1::Subnet::default()),
            resource::Kind::Port(v1::Port::default()),
            resource::Kind::SecurityGroup(v1::SecurityGroup::default()),
            resource::Kind::Host(v1::Host::default()),
            resource::Kind::Vtep(v1::Vtep::default()),
            resource::Kind::PrefixList(v1::PrefixList::default()),
            resource::Kind::OperatorPolicy(v1::OperatorPolicy::default()),
        ]
        .map(|kind| Resource { kind: Some(kind) });
        for resource in &resources {
            let (narrow, more) = Kind::of(resource).map(header).unwrap_or_default();
            assert_eq!(row(resource).len(), narrow.len() + more.len(), "{resource:?}");
        }
    }
}
