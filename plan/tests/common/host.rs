//! One host with all ports of one network.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use andromede_abi::maps;
use andromede_model::{
    Action, Direction, Existing, Host, HostState, Labels, MacAddress, Network, NetworkView, Port, Protocol, Remote,
    Rule, SecurityGroup, Vni,
};
use andromede_plan::{Attachment, Attachments, HostFacts};

pub(crate) const NETWORK: &str = "tenants/t/networks/n";

pub(crate) fn host() -> Host {
    Host {
        name: "hosts/h".parse().unwrap(),
        underlay: Ipv4Addr::new(192, 0, 2, 1),
        zone: None,
        zone_index: 0,
        state: HostState::Active,
        index: 1,
        revision: 1,
        labels: Labels::default(),
    }
}

pub(crate) fn rule(number: u32, remote: Remote, port: &str) -> Rule {
    Rule {
        name: format!("r{number}").parse().unwrap(),
        direction: Direction::Ingress,
        action: Action::Allow,
        priority: 1000,
        protocol: Protocol::TCP,
        ports: vec![port.parse().unwrap()],
        icmp_type: None,
        icmp_code: None,
        remote,
        log: false,
        existing: Existing::Cut,
        number: 1024 + number,
    }
}

/// A network with ports on the host, each with a group of its own or all with the same.
pub(crate) fn view(ports: u32, groups: &[Vec<Rule>]) -> NetworkView {
    let group_name = |group: usize| format!("{NETWORK}/securityGroups/g{group}").parse().unwrap();
    let network = Network {
        name: NETWORK.parse().unwrap(),
        vni: Vni::try_from(4096).unwrap(),
        mtu: None,
        timeouts: andromede_model::Timeouts::default(),
        residency: andromede_model::Residency::default(),
        tenant_index: 3,
        index: 1,
        revision: 1,
        labels: Labels::default(),
    };
    let mut view = NetworkView { hosts: [(host().name, host())].into(), ..NetworkView::empty(network) };
    for (place, rules) in groups.iter().enumerate() {
        let name: andromede_model::SecurityGroupName = group_name(place);
        view.identities.insert(place as u32 + 1, [name.clone()].into());
        view.groups
            .insert(name.clone(), SecurityGroup { name, rules: rules.clone(), revision: 1, labels: Labels::default() });
    }
    for place in 0..ports {
        let group = place as usize % groups.len();
        let [a, b, c, d] = place.to_be_bytes();
        let port = Port {
            name: format!("{NETWORK}/ports/p{place}").parse().unwrap(),
            addresses: vec![Ipv4Addr::from_bits(0x0a00_000a + place).into()],
            mac: MacAddress::new([2, 1, a, b, c, d]).unwrap(),
            host: Some(host().name),
            groups: [group_name(group)].into(),
            limits: andromede_model::PortLimits::default(),
            identity: group as u32 + 1,
            revision: 1,
            uid: andromede_model::Uid::UNSET,
            labels: Labels::default(),
        };
        view.ports.insert(port.name.clone(), port);
    }
    view
}

pub(crate) fn facts() -> HostFacts {
    HostFacts {
        host: 1,
        underlay: host().underlay,
        underlay_ifindex: 2,
        gateways: BTreeMap::new(),
        addresses: BTreeSet::new(),
        flow_rows: maps::FLOWS.rows,
        meters: BTreeMap::new(),
    }
}

pub(crate) fn attachments(view: &NetworkView) -> Attachments {
    (10..)
        .zip(view.ports.keys())
        .map(|(ifindex, port)| (port.clone(), Attachment { ifindex, ..Attachment::default() }))
        .collect()
}
