//! What several unit tests begin with.
#![allow(clippy::unwrap_used, reason = "tests")]

use andromede_model::{Commit, Model, Resource};
use andromede_proto::v1;

/// A resource out of a message.
pub(crate) fn resource(kind: v1::resource::Kind) -> Resource {
    v1::Resource { kind: Some(kind) }.try_into().unwrap()
}

pub(crate) fn tenant(tenant: &str) -> Resource {
    let name = format!("tenants/{tenant}");
    resource(v1::resource::Kind::Tenant(v1::Tenant { name, ..v1::Tenant::default() }))
}

pub(crate) fn network(tenant: &str) -> Resource {
    let name = format!("tenants/{tenant}/networks/n");
    resource(v1::resource::Kind::Network(v1::Network { name, ..v1::Network::default() }))
}

pub(crate) fn subnet(tenant: &str) -> Resource {
    let name = format!("tenants/{tenant}/networks/n/subnets/s");
    resource(v1::resource::Kind::Subnet(v1::Subnet { name, cidr: "10.0.0.0/24".to_owned(), ..v1::Subnet::default() }))
}

pub(crate) fn group(tenant: &str, group: &str, rules: u32) -> Resource {
    let rule = |number: u32| v1::Rule {
        name: format!("r{number}"),
        direction: v1::Direction::Ingress.into(),
        action: v1::Action::Allow.into(),
        protocol: "tcp".to_owned(),
        ports: vec![(number + 1).to_string()],
        ..v1::Rule::default()
    };
    resource(v1::resource::Kind::SecurityGroup(v1::SecurityGroup {
        name: group_name(tenant, group),
        rules: (0..rules).map(rule).collect(),
        ..v1::SecurityGroup::default()
    }))
}

fn group_name(tenant: &str, group: &str) -> String {
    format!("tenants/{tenant}/networks/n/securityGroups/{group}")
}

pub(crate) fn host(number: u8, third: u8) -> Resource {
    resource(v1::resource::Kind::Host(v1::Host {
        name: format!("hosts/h{number}"),
        underlay_address: format!("192.0.{third}.{number}"),
        ..v1::Host::default()
    }))
}

pub(crate) fn port(tenant: &str, number: u8, host: Option<u8>, groups: &[&str]) -> Resource {
    resource(v1::resource::Kind::Port(v1::Port {
        name: format!("tenants/{tenant}/networks/n/ports/p{number}"),
        addresses: vec![format!("10.0.0.{number}")],
        host: host.map(|host| format!("hosts/h{host}")).unwrap_or_default(),
        security_groups: groups.iter().map(|group| group_name(tenant, group)).collect(),
        ..v1::Port::default()
    }))
}

/// The commits of a small history: two tenants with the same addresses, changes, a deletion.
pub(crate) fn two_networks() -> Vec<Commit> {
    let mut model = Model::default();
    let mut commits = Vec::new();
    let mut write = |written: Vec<Resource>, deleted: &[&str]| {
        let deleted = deleted.iter().map(|name| name.parse().unwrap()).collect();
        let commit = model.prepare(written, deleted).unwrap();
        model.commit(&commit).unwrap();
        commits.push(commit);
    };
    write(vec![host(1, 2), host(2, 2)], &[]);
    for name in ["a", "b"] {
        write(vec![tenant(name), network(name), subnet(name), group(name, "g", 2)], &[]);
        write(vec![port(name, 11, Some(1), &["g"]), port(name, 12, Some(2), &[]), port(name, 13, None, &["g"])], &[]);
    }
    write(vec![group("a", "g", 1), port("a", 11, Some(2), &[])], &[]);
    write(vec![], &["tenants/b/networks/n/ports/p12"]);
    commits
}
