//! Resources as a user writes them.

use andromede_proto::v1::{self, Resource, resource::Kind};

fn resource(kind: Kind) -> Resource {
    Resource { kind: Some(kind) }
}

pub fn tenant(tenant: &str) -> Resource {
    resource(Kind::Tenant(v1::Tenant { name: format!("tenants/{tenant}"), ..v1::Tenant::default() }))
}

pub fn network(tenant: &str) -> Resource {
    resource(Kind::Network(v1::Network { name: format!("tenants/{tenant}/networks/n"), ..v1::Network::default() }))
}

pub fn subnet(tenant: &str, subnet: &str, cidr: &str) -> Resource {
    let name = format!("tenants/{tenant}/networks/n/subnets/{subnet}");
    resource(Kind::Subnet(v1::Subnet { name, cidr: cidr.to_owned(), ..v1::Subnet::default() }))
}

pub fn leased_subnet(tenant: &str, id: &str, cidr: &str, host: &str) -> Resource {
    let Some(Kind::Subnet(subnet)) = subnet(tenant, id, cidr).kind else { unreachable!() };
    resource(Kind::Subnet(v1::Subnet { host: host.to_owned(), ..subnet }))
}

pub fn group_name(tenant: &str, group: &str) -> String {
    format!("tenants/{tenant}/networks/n/securityGroups/{group}")
}

pub fn group(tenant: &str, group: &str, ports: &[&str]) -> Resource {
    let rule = |port: &&str| v1::Rule {
        name: format!("port-{port}"),
        direction: v1::Direction::Ingress.into(),
        action: v1::Action::Allow.into(),
        protocol: "tcp".to_owned(),
        ports: vec![(*port).to_owned()],
        ..v1::Rule::default()
    };
    let rules = ports.iter().map(rule).collect();
    resource(Kind::SecurityGroup(v1::SecurityGroup {
        name: group_name(tenant, group),
        rules,
        ..v1::SecurityGroup::default()
    }))
}

pub fn host(number: u8) -> Resource {
    let underlay_address = format!("192.0.2.{number}");
    resource(Kind::Host(v1::Host { name: format!("hosts/h{number}"), underlay_address, ..v1::Host::default() }))
}

pub fn port_message(tenant: &str, number: u8, host: Option<u8>) -> v1::Port {
    v1::Port {
        name: format!("tenants/{tenant}/networks/n/ports/p{number}"),
        addresses: vec![format!("10.0.0.{number}")],
        host: host.map(|host| format!("hosts/h{host}")).unwrap_or_default(),
        ..v1::Port::default()
    }
}

pub fn port(tenant: &str, number: u8, host: Option<u8>) -> Resource {
    resource(Kind::Port(port_message(tenant, number, host)))
}

/// A tenant with one network and one subnet, and nothing in it.
pub fn empty_tenant(name: &str) -> Vec<Resource> {
    vec![tenant(name), network(name), subnet(name, "s", "10.0.0.0/24"), group(name, "web", &["80", "443"])]
}

/// A tenant with all that a host is told of a network.
pub fn everything() -> Vec<v1::Resource> {
    let network = "tenants/a/networks/n";
    let rule = |name: &str, remote| v1::Rule {
        name: name.to_owned(),
        direction: v1::Direction::Egress.into(),
        action: v1::Action::Deny.into(),
        protocol: "udp".to_owned(),
        ports: vec!["53".to_owned(), "8000-8080".to_owned()],
        priority: 7,
        log: true,
        existing: v1::Existing::Keep.into(),
        remote,
        ..v1::Rule::default()
    };
    let list = format!("{network}/prefixLists/l");
    let icmp = v1::Rule {
        protocol: "icmp".to_owned(),
        ports: vec![],
        icmp_type: Some(8),
        icmp_code: Some(0),
        ..rule("i", None)
    };
    let rules = vec![
        rule("c", Some(v1::rule::Remote::RemoteCidr("2001:db8::/32".to_owned()))),
        rule("g", Some(v1::rule::Remote::RemoteGroup(group_name("a", "web")))),
        rule("l", Some(v1::rule::Remote::RemotePrefixList(list.clone()))),
        icmp,
    ];
    let pass = v1::Rule {
        action: v1::Action::Pass.into(),
        log: false,
        existing: v1::Existing::Unspecified.into(),
        ..rule("p", None)
    };
    let policy = v1::OperatorPolicy { name: "operatorPolicies/o".to_owned(), rules: vec![pass], ..Default::default() };
    let vtep = v1::Vtep {
        name: format!("{network}/vteps/v"),
        underlay_address: "192.0.2.99".to_owned(),
        mac: "02:00:00:00:00:99".to_owned(),
        prefixes: vec!["10.9.0.0/16".to_owned()],
        ..v1::Vtep::default()
    };
    let group = v1::SecurityGroup { name: group_name("a", "all"), rules, ..v1::SecurityGroup::default() };
    let list = v1::PrefixList { name: list, prefixes: vec!["198.51.100.0/24".to_owned()], ..v1::PrefixList::default() };
    let security_groups = vec![group_name("a", "all"), group_name("a", "web")];
    let full = v1::Port { security_groups, ..port_message("a", 11, Some(1)) };
    let mut bundle = vec![host(1), host(2), full.into(), port("a", 12, Some(2)), policy.into()];
    bundle.extend([vtep.into(), group.into(), list.into(), leased_subnet("a", "pods", "10.0.1.0/24", "hosts/h1")]);
    bundle.extend(empty_tenant("a"));
    bundle
}
