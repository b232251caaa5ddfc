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
