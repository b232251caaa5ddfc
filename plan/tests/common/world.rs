//! Random networks.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use andromede_model::{
    Action, Direction, Existing, Host, HostState, Labels, MacAddress, Network, NetworkView, OperatorPolicy,
    OperatorPolicyName, Port, PortName, PortRange, Prefix, PrefixList, PrefixListName, Protocol, Remote, Rule,
    SecurityGroup, SecurityGroupName, Subnet, Uid, Vni, Vtep,
};
use andromede_plan::{Attachment, Attachments, HostFacts};
use proptest::{prelude::*, sample::select};

use super::places::{Places, admitted, places};

pub(crate) const GROUPS: usize = 3;
pub(crate) const NETWORK: &str = "tenants/t/networks/n";

/// A port of the world: where it is and what it has.
#[derive(Clone, Debug)]
pub(crate) struct PortSpec {
    pub(crate) host: usize,
    pub(crate) attached: bool,
    pub(crate) groups: [bool; GROUPS],
    /// Which of the addresses of the pool it has, beside its own.
    pub(crate) extra: Option<u8>,
    pub(crate) mac: u8,
}

/// A network: six possible ports, three groups, three hosts, maybe a foreign endpoint.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) ports: Vec<Option<PortSpec>>,
    pub(crate) rules: [Vec<Rule>; GROUPS],
    /// Rules of the operator.
    pub(crate) operator: Vec<Rule>,
    /// Two prefix lists.
    pub(crate) lists: [Vec<&'static str>; 2],
    pub(crate) underlays: [u8; 3],
    pub(crate) vtep: Option<Vec<&'static str>>,
    pub(crate) places: Places,
}

const CIDRS: [&str; 10] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.10/32",
    "10.9.0.0/16",
    "::/0",
    "::/80",
    "fd00:10::/64",
    "fd00::/8",
    "fd00:10::b/128",
];

pub(crate) fn group_name(group: usize) -> SecurityGroupName {
    format!("{NETWORK}/securityGroups/g{group}").parse().unwrap()
}

pub(crate) fn port_name(port: usize) -> PortName {
    format!("{NETWORK}/ports/p{port}").parse().unwrap()
}

fn service() -> impl Strategy<Value = (Protocol, Vec<PortRange>, Option<u8>, Option<u8>)> {
    let ranges = prop::collection::vec((select(vec![0u16, 1, 22, 80, 81, 443, 1000, 65535]), 0u16..1200), 0..3);
    let ranges = ranges.prop_map(|ranges| {
        ranges.into_iter().filter_map(|(first, more)| PortRange::new(first, first.saturating_add(more))).collect()
    });
    let with_ports = select(vec![Protocol::TCP, Protocol::UDP, Protocol::SCTP]);
    prop_oneof![
        2 => Just((Protocol::Any, vec![], None, None)),
        5 => (with_ports, ranges).prop_map(|(protocol, ranges): (_, Vec<PortRange>)| (protocol, ranges, None, None)),
        1 => Just((Protocol::Number(47), vec![], None, None)),
        2 => (select(vec![Protocol::ICMP, Protocol::ICMPV6]), prop::option::of(select(vec![0u8, 3, 8, 128])), prop::option::of(0u8..3)).prop_map(
            |(protocol, kind, code)| (protocol, vec![], kind, code.filter(|_| kind.is_some()))
        ),
    ]
}

fn remote() -> impl Strategy<Value = Remote> {
    prop_oneof![
        Just(Remote::Any),
        select(CIDRS.to_vec()).prop_map(|cidr| Remote::Cidr(cidr.parse::<Prefix>().unwrap())),
        (0..2usize).prop_map(|list| Remote::PrefixList(list_name(list))),
        (0..GROUPS).prop_map(|group| Remote::Group(group_name(group))),
    ]
}

/// A rule of the operator.
fn operator_rule() -> impl Strategy<Value = Rule> {
    let remote = prop_oneof![
        Just(Remote::Any),
        select(CIDRS.to_vec()).prop_map(|cidr| Remote::Cidr(cidr.parse::<Prefix>().unwrap())),
    ];
    let action = select(vec![Action::Allow, Action::Deny, Action::Pass, Action::Pass]);
    (rule(), remote, action).prop_map(|(rule, remote, action)| Rule { remote, action, ..rule })
}

fn operator() -> impl Strategy<Value = Vec<Rule>> {
    prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(operator_rule(), 0..4).prop_map(|mut rules| {
            for (place, rule) in rules.iter_mut().enumerate() {
                rule.number = 2000 + place as u32;
            }
            rules
        }),
    ]
}

fn lists() -> impl Strategy<Value = [Vec<&'static str>; 2]> {
    let list = || prop::sample::subsequence(CIDRS.to_vec(), 0..4);
    [list(), list()]
}

pub(crate) fn list_name(list: usize) -> PrefixListName {
    format!("{NETWORK}/prefixLists/l{list}").parse().unwrap()
}

/// A rule; its number is that of its place.
fn rule() -> impl Strategy<Value = Rule> {
    let shape = (any::<bool>(), any::<bool>(), select(vec![10u16, 20, 30]), service(), remote());
    shape.prop_map(|(ingress, allow, priority, (protocol, ports, icmp_type, icmp_code), remote)| Rule {
        name: "r".parse().unwrap(),
        direction: if ingress { Direction::Ingress } else { Direction::Egress },
        action: if allow { Action::Allow } else { Action::Deny },
        priority,
        protocol,
        ports,
        icmp_type,
        icmp_code,
        remote,
        log: false,
        existing: Existing::Cut,
        number: 0,
    })
}

fn rules() -> impl Strategy<Value = [Vec<Rule>; GROUPS]> {
    prop::array::uniform3(prop::collection::vec(rule(), 0..6)).prop_map(|mut groups| {
        for (group, rules) in groups.iter_mut().enumerate() {
            for (place, rule) in rules.iter_mut().enumerate() {
                rule.number = (1024 + group * 100 + place) as u32;
            }
        }
        groups
    })
}

fn port() -> impl Strategy<Value = PortSpec> {
    let shape = (0..3usize, any::<bool>(), prop::array::uniform3(any::<bool>()), prop::option::of(0u8..3), 0u8..2);
    shape.prop_map(|(host, attached, groups, extra, mac)| PortSpec { host, attached, groups, extra, mac })
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    let vtep = select(vec![vec!["10.9.0.0/16"], vec!["10.0.0.0/24", "::/0"], vec!["10.9.0.0/16", "10.9.9.0/24"]]);
    let ports = prop::collection::vec(prop::option::weighted(0.8, port()), 6);
    let shape = (ports, rules(), operator(), lists(), prop::array::uniform3(0u8..2), prop::option::of(vtep), places());
    shape.prop_map(|(ports, rules, operator, lists, underlays, vtep, places)| World {
        ports,
        rules,
        operator,
        lists,
        underlays,
        vtep,
        places,
    })
}

/// A world that differs from another in a part only, as most changes do.
pub(crate) fn next_world(world: &World) -> impl Strategy<Value = World> + use<> {
    let [one, two, three, four, five, six, seven] = std::array::from_fn(|_| world.clone());
    prop_oneof![
        (0..6usize, prop::option::weighted(0.7, port())).prop_map(move |(place, port)| {
            let mut next = one.clone();
            next.ports[place] = port;
            next
        }),
        rules().prop_map(move |rules| World { rules, ..two.clone() }),
        operator().prop_map(move |operator| World { operator, ..four.clone() }),
        lists().prop_map(move |lists| World { lists, ..five.clone() }),
        places().prop_map(move |places| World { places, ..six.clone() }),
        // The law alone: hosts stay where they are.
        admitted().prop_map(move |admitted| {
            let mut next = seven.clone();
            next.places.admitted = admitted;
            next
        }),
        (super::world::world(), any::<[bool; 3]>()).prop_map(move |(other, take)| World {
            ports: if take[0] { other.ports } else { three.ports.clone() },
            rules: if take[1] { other.rules } else { three.rules.clone() },
            underlays: if take[2] { other.underlays } else { three.underlays },
            operator: other.operator,
            lists: other.lists,
            vtep: other.vtep,
            places: other.places,
        }),
    ]
}

impl World {
    /// The addresses of a port.
    pub(crate) fn addresses(&self, port: usize) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = vec![
            format!("10.0.0.{}", 10 + port).parse().unwrap(),
            format!("fd00:10::{:x}", 10 + port).parse().unwrap(),
        ];
        if let Some(extra) = self.ports[port].as_ref().and_then(|spec| spec.extra) {
            // The first port that wants an extra address has it: addresses are unique.
            let first = self.ports.iter().position(|spec| spec.as_ref().is_some_and(|spec| spec.extra == Some(extra)));
            if first == Some(port) {
                addresses.push(format!("10.9.9.{}", 10 + extra).parse().unwrap());
            }
        }
        addresses
    }

    pub(crate) fn underlay(&self, host: usize) -> Ipv4Addr {
        format!("192.0.2.{}", 1 + host * 10 + usize::from(self.underlays[host])).parse().unwrap()
    }

    fn host(&self, host: usize) -> Host {
        Host {
            name: format!("hosts/h{host}").parse().unwrap(),
            underlay: self.underlay(host),
            zone: None,
            zone_index: self.places.zones[host],
            state: HostState::Active,
            index: host as u32 + 1,
            revision: 1,
            labels: Labels::default(),
        }
    }

    pub(crate) fn identity(groups: [bool; GROUPS]) -> u32 {
        groups.iter().enumerate().map(|(group, has)| u32::from(*has) << group).sum()
    }

    pub(crate) fn groups(groups: [bool; GROUPS]) -> BTreeSet<SecurityGroupName> {
        groups.iter().enumerate().filter(|(_, has)| **has).map(|(group, _)| group_name(group)).collect()
    }

    fn prefix_lists(&self) -> BTreeMap<PrefixListName, PrefixList> {
        let list = |(place, prefixes): (usize, &Vec<&str>)| {
            let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
            (list_name(place), PrefixList { name: list_name(place), prefixes, revision: 1, labels: Labels::default() })
        };
        self.lists.iter().enumerate().map(list).collect()
    }

    fn operator_policies(&self) -> BTreeMap<OperatorPolicyName, OperatorPolicy> {
        let policy = OperatorPolicy {
            name: "operatorPolicies/o".parse().unwrap(),
            networks: BTreeSet::new(),
            rules: self.operator.clone(),
            revision: 1,
            labels: Labels::default(),
        };
        [(policy.name.clone(), policy)].into()
    }

    pub(crate) fn view(&self) -> NetworkView {
        let (mut ports, mut hosts, mut identities) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (place, spec) in self.ports.iter().enumerate() {
            let Some(spec) = spec else { continue };
            let identity = Self::identity(spec.groups);
            let host = self.host(spec.host).name;
            let port = Port {
                name: port_name(place),
                addresses: self.addresses(place),
                mac: MacAddress::new([2, 0, 0, spec.mac, 0, place as u8 + 1]).unwrap(),
                host: Some(host.clone()),
                groups: Self::groups(spec.groups),
                limits: andromede_model::PortLimits::default(),
                identity,
                revision: 1,
                uid: Uid::UNSET,
                labels: Labels::default(),
            };
            if identity != 0 {
                identities.insert(identity, port.groups.clone());
            }
            ports.insert(port.name.clone(), port);
            hosts.insert(host, self.host(spec.host));
        }
        let group = |(place, rules): (usize, &Vec<Rule>)| {
            let name = group_name(place);
            (name.clone(), SecurityGroup { name, rules: rules.clone(), revision: 1, labels: Labels::default() })
        };
        let subnet = |(id, cidr): (&str, &str)| {
            let name: andromede_model::SubnetName = format!("{NETWORK}/subnets/{id}").parse().unwrap();
            (name.clone(), Subnet { revision: 1, ..Subnet::new(name, cidr.parse().unwrap()) })
        };
        let vtep = self.vtep.iter().map(|prefixes| {
            let name: andromede_model::VtepName = format!("{NETWORK}/vteps/v").parse().unwrap();
            let vtep = Vtep {
                name: name.clone(),
                underlay: [192, 0, 2, 200].into(),
                mac: MacAddress::new([2, 9, 9, 9, 9, 9]).unwrap(),
                prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
                zone: None,
                zone_index: self.places.zones[3],
                index: 9,
                revision: 1,
                labels: Labels::default(),
            };
            (name, vtep)
        });
        NetworkView {
            network: network(),
            tenant: None,
            zones: self.places.admitted.clone(),
            subnets: [("a", "10.0.0.0/24"), ("b", "fd00:10::/64"), ("c", "10.9.9.0/24")].map(subnet).into(),
            ports,
            prefix_lists: self.prefix_lists(),
            operator_policies: self.operator_policies(),
            groups: self.rules.iter().enumerate().map(group).collect(),
            vteps: vtep.collect(),
            hosts,
            identities,
            revision: 1,
        }
    }

    /// The host under test is the first.
    pub(crate) fn facts(&self) -> HostFacts {
        HostFacts {
            host: 1,
            underlay: self.underlay(0),
            underlay_ifindex: 2,
            gateways: BTreeMap::new(),
            addresses: BTreeSet::new(),
            flow_rows: 131_072,
            meters: BTreeMap::new(),
        }
    }

    pub(crate) fn ifindex(port: usize) -> u32 {
        100 + port as u32
    }

    pub(crate) fn attachments(&self) -> Attachments {
        let attached = self
            .ports
            .iter()
            .enumerate()
            .filter(|(_, spec)| spec.as_ref().is_some_and(|spec| spec.attached && spec.host == 0));
        attached
            .map(|(port, _)| (port_name(port), Attachment { ifindex: Self::ifindex(port), ..Attachment::default() }))
            .collect()
    }
}

/// Addresses that packets go to and come from: those of ports, and others.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for port in 0..6 {
        all.push(format!("10.0.0.{}", 10 + port).parse().unwrap());
        all.push(format!("fd00:10::{:x}", 10 + port).parse().unwrap());
    }
    for other in [
        "10.9.9.1",
        "10.9.9.10",
        "10.9.9.11",
        "10.9.9.12",
        "10.9.1.1",
        "10.0.0.77",
        "8.8.8.8",
        "2001:db8::1",
        "fd00:10::77",
    ] {
        all.push(other.parse().unwrap());
    }
    all
}

/// The network that everything is in.
fn network() -> Network {
    Network {
        name: NETWORK.parse().unwrap(),
        vni: Vni::try_from(4096).unwrap(),
        mtu: None,
        timeouts: andromede_model::Timeouts::default(),
        residency: andromede_model::Residency::default(),
        tenant_index: 3,
        index: 7,
        revision: 1,
        labels: Labels::default(),
    }
}
