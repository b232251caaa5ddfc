//! A network with many rules and many ports, before and after ports join the group that the rules name.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use andromede_abi::maps;
use andromede_model::{
    Action, Direction, Existing, Host, HostState, Labels, MacAddress, Network, NetworkView, Port, PortLimits, Protocol,
    Remote, Rule, SecurityGroup, SecurityGroupName, Timeouts, Uid, Vni,
};
use andromede_plan::{Attachment, Attachments, HostFacts};
use anyhow::{Context as _, Result};

const NETWORK: &str = "tenants/t/networks/n";

/// The identity of the ports that have the group with the rules.
const GUARDED: u32 = 1;
/// The identity of the ports that have the group named in the rules.
const NAMED: u32 = 2;

fn group_name(name: &str) -> Result<SecurityGroupName> {
    Ok(format!("{NETWORK}/securityGroups/{name}").parse()?)
}

/// Every rule lets the named group in, each to a port of its own.
fn rule(number: u32) -> Result<Rule> {
    Ok(Rule {
        name: format!("r{number}").parse()?,
        direction: Direction::Ingress,
        action: Action::Allow,
        priority: 1000,
        protocol: Protocol::TCP,
        ports: vec![(1 + number % 60_000).to_string().parse()?],
        icmp_type: None,
        icmp_code: None,
        remote: Remote::Group(group_name("named")?),
        log: false,
        existing: Existing::Cut,
        number: 1024 + number,
    })
}

fn group(name: &str, rules: Vec<Rule>) -> Result<SecurityGroup> {
    Ok(SecurityGroup { name: group_name(name)?, rules, revision: 1, labels: Labels::default() })
}

fn host() -> Result<Host> {
    Ok(Host {
        name: "hosts/h".parse()?,
        underlay: Ipv4Addr::new(192, 0, 2, 1),
        state: HostState::Active,
        zone: None,
        zone_index: 0,
        index: 1,
        revision: 1,
        labels: Labels::default(),
    })
}

/// Ports take turns: one that the rules guard, one that they name.
fn port(place: u32) -> Result<Port> {
    let [a, b, c, d] = place.to_be_bytes();
    let (group, identity) = if place.is_multiple_of(2) { ("guarded", GUARDED) } else { ("named", NAMED) };
    Ok(Port {
        name: format!("{NETWORK}/ports/p{place}").parse()?,
        addresses: vec![Ipv4Addr::from_bits(0x0a00_000a + place).into()],
        mac: MacAddress::new([2, 1, a, b, c, d])?,
        host: Some(host()?.name),
        groups: [group_name(group)?].into(),
        limits: PortLimits::default(),
        identity,
        revision: 1,
        uid: Uid::UNSET,
        labels: Labels::default(),
    })
}

/// A network with so many rules and ports, all on one host.
pub(super) fn network(rules: u32, ports: u32) -> Result<NetworkView> {
    let network = Network {
        name: NETWORK.parse()?,
        vni: Vni::try_from(4096)?,
        mtu: None,
        timeouts: Timeouts::default(),
        tenant_index: 3,
        index: 1,
        residency: andromede_model::Residency::default(),
        revision: 1,
        labels: Labels::default(),
    };
    let mut view = NetworkView { hosts: [(host()?.name, host()?)].into(), ..NetworkView::empty(network) };
    let rules = (0..rules).map(rule).collect::<Result<Vec<Rule>>>()?;
    for (identity, group) in [(GUARDED, group("guarded", rules)?), (NAMED, group("named", Vec::new())?)] {
        view.identities.insert(identity, [group.name.clone()].into());
        view.groups.insert(group.name.clone(), group);
    }
    for port in (0..ports).map(port) {
        let port = port?;
        view.ports.insert(port.name.clone(), port);
    }
    Ok(view)
}

/// The same after so many of the guarded ports joined the named group instead, each with a group of its own beside it: sets of
/// groups that nobody had.
pub(super) fn joined(before: &NetworkView, joining: u32) -> Result<NetworkView> {
    let mut after = before.clone();
    for number in 0..joining {
        let own = group(&format!("own{number}"), Vec::new())?;
        let name = format!("{NETWORK}/ports/p{}", 2 * number).parse()?;
        let port = after.ports.get_mut(&name).context("a port for each that joins")?;
        port.groups = [group_name("named")?, own.name.clone()].into();
        port.identity = NAMED + 1 + number;
        after.identities.insert(port.identity, port.groups.clone());
        after.groups.insert(own.name.clone(), own);
    }
    Ok(after)
}

/// The host that compiles.
pub(super) fn facts() -> Result<HostFacts> {
    Ok(HostFacts {
        host: 1,
        underlay: host()?.underlay,
        underlay_ifindex: 2,
        gateways: BTreeMap::new(),
        addresses: BTreeSet::new(),
        flow_rows: maps::FLOWS.rows,
        meters: BTreeMap::new(),
    })
}

/// An interface for each port.
pub(super) fn attachments(view: &NetworkView) -> Attachments {
    (10..)
        .zip(view.ports.keys())
        .map(|(ifindex, port)| (port.clone(), Attachment { ifindex, ..Attachment::default() }))
        .collect()
}
