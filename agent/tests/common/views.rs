//! What the played controller tells.
#![allow(clippy::unwrap_used, reason = "tests")]

use andromede_proto::{
    agent::v1::{Identity, NetworkDelta, NetworkView, Update},
    v1::{Action, Direction, Host, Network, Port, Resource, Rule, SecurityGroup, Subnet, resource::Kind},
};

/// The network that it tells of.
pub(crate) const NETWORK: &str = "tenants/t/networks/n";

pub(crate) fn port(name: &str, number: u8, host: &str) -> Port {
    Port {
        name: format!("{NETWORK}/ports/{name}"),
        addresses: vec![format!("10.0.0.{number}"), format!("fd00:10::{number}")],
        mac: format!("02:00:00:00:00:{number:02x}"),
        host: host.to_owned(),
        security_groups: vec![format!("{NETWORK}/securityGroups/g")],
        identity: 1,
        revision: 1,
        uid: "1-1".to_owned(),
        ..Port::default()
    }
}

pub(crate) fn rule(name: &str, protocol: &str, number: u32) -> Rule {
    Rule {
        name: name.to_owned(),
        direction: Direction::Ingress.into(),
        action: Action::Allow.into(),
        priority: 1000,
        protocol: protocol.to_owned(),
        number,
        ..Rule::default()
    }
}

/// Two ports on this host, each of which may ping the other.
pub(crate) fn snapshot(revision: u64) -> Update {
    let group = format!("{NETWORK}/securityGroups/g");
    let subnet = |name: &str, cidr: &str, gateway: &str| Subnet {
        name: format!("{NETWORK}/subnets/{name}"),
        cidr: cidr.to_owned(),
        gateway: gateway.to_owned(),
        host: String::new(),
        revision: 1,
        ..Subnet::default()
    };
    let view = NetworkView {
        network: Some(Network { name: NETWORK.to_owned(), vni: 100, index: 1, revision: 1, ..Network::default() }),
        subnets: vec![subnet("v4", "10.0.0.0/24", "10.0.0.1"), subnet("v6", "fd00:10::/64", "fd00:10::1")],
        ports: vec![port("a", 10, "hosts/h1"), port("b", 11, "hosts/h1")],
        security_groups: vec![SecurityGroup {
            name: group.clone(),
            rules: vec![rule("ping", "icmp", 1024), rule("ping6", "icmpv6", 1025)],
            revision: 1,
            ..SecurityGroup::default()
        }],
        hosts: vec![Host {
            name: "hosts/h1".to_owned(),
            underlay_address: "192.0.2.1".to_owned(),
            index: 3,
            revision: 1,
            ..Host::default()
        }],
        identities: vec![Identity { number: 1, security_groups: vec![group] }],
        ..NetworkView::default()
    };
    Update { revision, snapshots: vec![view], ..Update::default() }
}

/// Port `b` is no longer on this host.
pub(crate) fn without_b(revision: u64) -> Update {
    let moved = Resource { kind: Some(Kind::Port(port("b", 11, "hosts/h2"))) };
    let other = Host {
        name: "hosts/h2".to_owned(),
        underlay_address: "192.0.2.2".to_owned(),
        index: 4,
        revision: 2,
        ..Host::default()
    };
    let other = Resource { kind: Some(Kind::Host(other)) };
    let delta = NetworkDelta { network: NETWORK.to_owned(), written: vec![other, moved], ..NetworkDelta::default() };
    Update { revision, deltas: vec![delta], ..Update::default() }
}

/// The rules change in a way that concerns nobody, so that a pass has something to write.
pub(crate) fn other_rules(revision: u64) -> Update {
    let mut rules = vec![rule("ping", "icmp", 1024), rule("ping6", "icmpv6", 1025)];
    for number in 0..u32::try_from(revision % 7).unwrap() {
        let ports = vec![format!("{}", 1000 + number)];
        rules.push(Rule { ports, ..rule(&format!("tcp{number}"), "tcp", 1030 + number) });
    }
    let group =
        SecurityGroup { name: format!("{NETWORK}/securityGroups/g"), rules, revision, ..SecurityGroup::default() };
    let written = vec![Resource { kind: Some(Kind::SecurityGroup(group)) }];
    let delta = NetworkDelta { network: NETWORK.to_owned(), written, ..NetworkDelta::default() };
    Update { revision, deltas: vec![delta], ..Update::default() }
}
