//! A small fabric to write into.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::str::FromStr;

use andromede_model::{
    Action, Commit, Direction, Existing, Host, HostState, Labels, MacAddress, Model, Network, OperatorPolicy, Port,
    PortLimits, PrefixList, Protocol, Remote, Residency, Resource, Rule, SecurityGroup, Subnet, Tenant, TenantLimits,
    TenantQuotas, Timeouts, Uid, Violation, Vni, Vtep, Zone,
};

pub(crate) fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

pub(crate) fn tenant(id: &str) -> Tenant {
    Tenant {
        name: name(&format!("tenants/{id}")),
        display_name: String::new(),
        index: 0,
        revision: 0,
        labels: Labels::default(),
        limits: TenantLimits::default(),
        quotas: TenantQuotas::default(),
        residency: Residency::default(),
    }
}

pub(crate) fn network(tenant: &str, id: &str) -> Network {
    Network {
        name: name(&format!("tenants/{tenant}/networks/{id}")),
        vni: Vni::UNSET,
        mtu: None,
        timeouts: Timeouts::default(),
        residency: Residency::default(),
        tenant_index: 0,
        index: 0,
        revision: 0,
        labels: Labels::default(),
    }
}

pub(crate) fn subnet(tenant: &str, id: &str, cidr: &str) -> Subnet {
    Subnet::new(name(&format!("tenants/{tenant}/networks/net/subnets/{id}")), name(cidr))
}

pub(crate) fn port(tenant: &str, id: &str, addresses: &[&str], host: Option<&str>, groups: &[&str]) -> Port {
    let group = |group: &&str| name(&format!("tenants/{tenant}/networks/net/securityGroups/{group}"));
    Port {
        name: name(&format!("tenants/{tenant}/networks/net/ports/{id}")),
        addresses: addresses.iter().map(|text| name(text)).collect(),
        mac: MacAddress::UNSET,
        host: host.map(|host| name(&format!("hosts/{host}"))),
        groups: groups.iter().map(group).collect(),
        limits: PortLimits::default(),
        identity: 0,
        revision: 0,
        uid: Uid::UNSET,
        labels: Labels::default(),
    }
}

pub(crate) fn rule(id: &str) -> Rule {
    Rule {
        name: name(id),
        direction: Direction::Ingress,
        action: Action::Allow,
        priority: 1000,
        protocol: Protocol::TCP,
        ports: vec![name("80")],
        icmp_type: None,
        icmp_code: None,
        remote: Remote::Any,
        log: false,
        existing: Existing::Cut,
        number: 0,
    }
}

pub(crate) fn group(tenant: &str, id: &str, rules: Vec<Rule>) -> SecurityGroup {
    SecurityGroup {
        name: name(&format!("tenants/{tenant}/networks/net/securityGroups/{id}")),
        rules,
        revision: 0,
        labels: Labels::default(),
    }
}

pub(crate) fn prefix_list(tenant: &str, id: &str, prefixes: &[&str]) -> PrefixList {
    PrefixList {
        name: name(&format!("tenants/{tenant}/networks/net/prefixLists/{id}")),
        prefixes: prefixes.iter().map(|text| name(text)).collect(),
        revision: 0,
        labels: Labels::default(),
    }
}

/// A policy for the networks of these tenants; none: for all.
pub(crate) fn operator_policy(id: &str, tenants: &[&str], rules: Vec<Rule>) -> OperatorPolicy {
    OperatorPolicy {
        name: name(&format!("operatorPolicies/{id}")),
        networks: tenants.iter().map(|tenant| name(&format!("tenants/{tenant}/networks/net"))).collect(),
        rules,
        revision: 0,
        labels: Labels::default(),
    }
}

pub(crate) fn host(id: &str, underlay: &str) -> Host {
    Host {
        name: name(&format!("hosts/{id}")),
        underlay: name(underlay),
        zone: None,
        zone_index: 0,
        state: HostState::Unset,
        index: 0,
        revision: 0,
        labels: Labels::default(),
    }
}

pub(crate) fn zone(id: &str, jurisdiction: &str, operator: &str) -> Zone {
    Zone {
        name: name(&format!("zones/{id}")),
        jurisdiction: name(jurisdiction),
        operator: name(operator),
        index: 0,
        revision: 0,
        labels: Labels::default(),
    }
}

/// A residency that names these jurisdictions and zones.
pub(crate) fn residency(jurisdictions: &[&str], zones: &[&str]) -> Residency {
    Residency {
        jurisdictions: jurisdictions.iter().map(|text| name(text)).collect(),
        zones: zones.iter().map(|zone| name(&format!("zones/{zone}"))).collect(),
        ..Residency::default()
    }
}

pub(crate) fn vtep(tenant: &str, id: &str, underlay: &str, prefixes: &[&str]) -> Vtep {
    Vtep {
        name: name(&format!("tenants/{tenant}/networks/net/vteps/{id}")),
        underlay: name(underlay),
        mac: name("02:00:00:00:00:99"),
        prefixes: prefixes.iter().map(|text| name(text)).collect(),
        zone: None,
        zone_index: 0,
        index: 0,
        revision: 0,
        labels: Labels::default(),
    }
}

/// Two tenants with the same addresses on three hosts.
pub(crate) fn fabric() -> Vec<Resource> {
    let mut fabric: Vec<Resource> = vec![
        host("h1", "192.0.2.1").into(),
        host("h2", "192.0.2.2").into(),
        host("h3", "192.0.2.3").into(),
        vtep("mairie", "foreign", "192.0.2.100", &["10.8.0.0/24"]).into(),
    ];
    for id in ["mairie", "hopital"] {
        let mut from_staff = rule("from-staff");
        from_staff.remote = Remote::Group(name(&format!("tenants/{id}/networks/net/securityGroups/staff")));
        fabric.extend([
            tenant(id).into(),
            network(id, "net").into(),
            subnet(id, "v4", "10.0.0.0/24").into(),
            subnet(id, "v6", "fd00:10::/64").into(),
            group(id, "web", vec![rule("http"), from_staff]).into(),
            group(id, "staff", vec![]).into(),
            port(id, "a", &["10.0.0.10", "fd00:10::a"], Some("h1"), &["web"]).into(),
            Resource::from(port(id, "b", &["10.0.0.20", "fd00:10::14"], Some("h2"), &["staff"])),
        ]);
    }
    fabric
}

pub(crate) fn write(model: &mut Model, resources: Vec<Resource>) -> Commit {
    let commit = model.prepare(resources, vec![]).unwrap();
    model.commit(&commit).unwrap();
    commit
}

pub(crate) fn violations(model: &Model, resources: Vec<Resource>) -> Vec<Violation> {
    model.prepare(resources, vec![]).unwrap_err()
}
