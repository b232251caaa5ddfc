//! Messages and model types: every field is checked, and nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use andromede_model::{
    Action, Admitted, Direction, Existing, Host, HostState, IdentitySet, Labels, MacAddress, Network, NetworkView,
    OperatorPolicy, Port, PortLimits, PortRange, Prefix, PrefixList, Protocol, RateLimits, Remote, Reservation,
    Residency, Resource, Rule, SecurityGroup, Subnet, Tenant, TenantLimits, TenantQuotas, Timeouts, Uid, ViewDelta,
    Violation, Vni, Vtep, Zone, limits,
};
use andromede_proto::{agent, convert, v1};
use proptest::{prelude::*, sample::select};

fn fields(violations: Vec<Violation>) -> Vec<String> {
    violations.into_iter().map(|violation| violation.field).collect()
}

/// The fields that are refused in a rule with this change.
fn refused_rule(change: impl Fn(&mut v1::Rule)) -> Vec<String> {
    let mut rule = v1::Rule {
        name: "r".into(),
        direction: v1::Direction::Ingress.into(),
        action: v1::Action::Allow.into(),
        ..v1::Rule::default()
    };
    assert!(Rule::try_from(rule.clone()).is_ok());
    change(&mut rule);
    fields(Rule::try_from(rule).unwrap_err())
}

#[test]
fn every_field_of_a_rule_is_checked() {
    assert_eq!(refused_rule(|rule| rule.name = "R".into()), ["name"]);
    assert_eq!(refused_rule(|rule| rule.name.clear()), ["name"]);
    assert_eq!(refused_rule(|rule| rule.direction = 0), ["direction"]);
    assert_eq!(refused_rule(|rule| rule.direction = 3), ["direction"]);
    assert_eq!(refused_rule(|rule| rule.action = 0), ["action"]);
    assert_eq!(refused_rule(|rule| rule.action = -7), ["action"]);
    assert_eq!(refused_rule(|rule| rule.priority = 65_536), ["priority"]);
    assert_eq!(refused_rule(|rule| rule.protocol = "TCP".into()), ["protocol"]);
    assert_eq!(refused_rule(|rule| rule.protocol = "256".into()), ["protocol"]);
    assert_eq!(refused_rule(|rule| rule.protocol = "+6".into()), ["protocol"]);
    assert_eq!(refused_rule(|rule| rule.ports = vec!["80".into(), "90-80".into()]), ["ports[1]"]);
    assert_eq!(refused_rule(|rule| rule.ports = vec!["65536".into()]), ["ports[0]"]);
    assert_eq!(refused_rule(|rule| rule.icmp_type = Some(256)), ["icmp_type"]);
    assert_eq!(refused_rule(|rule| rule.icmp_code = Some(256)), ["icmp_code"]);
    let cidr = |text: &str| Some(v1::rule::Remote::RemoteCidr(text.into()));
    for bad in
        ["10.0.0.0", "10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/255.0.0.0", "::ffff:10.0.0.0/104", ""]
    {
        assert_eq!(refused_rule(|rule| rule.remote = cidr(bad)), ["remote_cidr"], "{bad}");
    }
    let group = Some(v1::rule::Remote::RemoteGroup("web".into()));
    assert_eq!(refused_rule(|rule| rule.remote.clone_from(&group)), ["remote_group"]);
}

#[test]
fn networks_and_hosts_are_checked() {
    let network = |vni, mtu| {
        let name = "tenants/t/networks/n".into();
        Network::try_from(v1::Network { name, vni, mtu, ..v1::Network::default() }).map_err(fields)
    };
    assert_eq!(network(1 << 24, 0).unwrap_err(), ["vni"]);
    assert_eq!(network(0, limits::MTU_LEAST - 1).unwrap_err(), ["mtu"]);
    assert_eq!(network(0, limits::MTU_MOST + 1).unwrap_err(), ["mtu"]);
    assert!(network(Vni::MAX, limits::MTU_MOST).is_ok());
    let host = v1::Host { name: "hosts/h".into(), underlay_address: "fd00::1".into(), ..v1::Host::default() };
    assert_eq!(fields(Host::try_from(host).unwrap_err()), ["underlay_address"]);
    let host = v1::Host {
        zone: "par1".into(),
        underlay_address: "192.0.2.1".into(),
        name: "hosts/h".into(),
        ..v1::Host::default()
    };
    assert_eq!(fields(Host::try_from(host).unwrap_err()), ["zone"]);
    let zone = v1::Zone { name: "zones/z".into(), jurisdiction: "fr".into(), ..v1::Zone::default() };
    assert_eq!(fields(Zone::try_from(zone).unwrap_err()), ["jurisdiction", "operator"]);
    let residency = v1::Residency {
        jurisdictions: vec!["FR".into(), "France".into()],
        operators: vec!["O".into()],
        zones: vec!["z".into()],
    };
    let bound =
        v1::Network { name: "tenants/t/networks/n".into(), residency: Some(residency), ..v1::Network::default() };
    let wrong = ["residency.jurisdictions[1]", "residency.operators[0]", "residency.zones[0]"];
    assert_eq!(fields(Network::try_from(bound).unwrap_err()), wrong);
    assert_eq!(fields(Resource::try_from(v1::Resource { kind: None }).unwrap_err()), ["kind"]);
    let identity = agent::v1::Identity { number: 0, security_groups: vec![] };
    assert_eq!(fields(IdentitySet::try_from(identity).unwrap_err()), ["number"]);
    let view = agent::v1::NetworkView::default();
    assert_eq!(fields(NetworkView::try_from(view).unwrap_err()), ["network"]);
    let many = vec![v1::Resource::default(); limits::RESOURCES_PER_WRITE + 1];
    assert_eq!(fields(convert::resources(many).unwrap_err()), ["resources"]);
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let v4 = (any::<u32>(), 0u8..=32).prop_map(|(bits, length)| {
        let bits = bits & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        Prefix::new(std::net::Ipv4Addr::from_bits(bits).into(), length).unwrap()
    });
    let v6 = (any::<u128>(), 0u8..=128).prop_map(|(bits, length)| {
        let bits = (bits | 1 << 127) & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Prefix::new(std::net::Ipv6Addr::from_bits(bits).into(), length).unwrap()
    });
    prop_oneof![v4, v6]
}

fn rule() -> impl Strategy<Value = Rule> {
    let remote = prop_oneof![
        Just(Remote::Any),
        prefix().prop_map(Remote::Cidr),
        "[a-z][a-z0-9-]{0,20}"
            .prop_map(|id| Remote::Group(format!("tenants/t/networks/n/securityGroups/{id}").parse().unwrap())),
        "[a-z][a-z0-9-]{0,20}"
            .prop_map(|id| Remote::PrefixList(format!("tenants/t/networks/n/prefixLists/{id}").parse().unwrap())),
    ];
    let protocol = prop_oneof![Just(Protocol::Any), any::<u8>().prop_map(Protocol::Number)];
    let range = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap());
    let shape = (
        "[a-z0-9-]{1,63}",
        (any::<bool>(), select(vec![Action::Allow, Action::Deny, Action::Pass]), any::<(bool, bool)>()),
        1u16..,
        protocol,
        prop::collection::vec(range, 0..4),
        any::<(Option<u8>, Option<u8>)>(),
        remote,
        any::<u32>(),
    );
    shape.prop_map(
        |(name, (ingress, action, (log, keep)), priority, protocol, ports, (icmp_type, icmp_code), remote, number)| {
            Rule {
                name: name.parse().unwrap(),
                direction: if ingress { Direction::Ingress } else { Direction::Egress },
                action,
                priority,
                protocol,
                ports,
                icmp_type,
                icmp_code,
                remote,
                log,
                existing: if keep { Existing::Keep } else { Existing::Cut },
                number,
            }
        },
    )
}

fn states() -> impl Strategy<Value = HostState> {
    let states = [HostState::Unset, HostState::Active, HostState::Draining, HostState::Fenced];
    proptest::sample::select(states.to_vec())
}

/// Rules, and what they name.
fn resource_of_rules() -> impl Strategy<Value = Resource> {
    let net = "tenants/t/networks/n";
    prop_oneof![
        prop::collection::vec(rule(), 0..5).prop_map(move |rules| {
            let name = format!("{net}/securityGroups/g").parse().unwrap();
            SecurityGroup { name, rules, revision: 4, labels: Labels::default() }.into()
        }),
        prop::collection::vec(prefix(), 0..5).prop_map(move |prefixes| {
            let name = format!("{net}/prefixLists/l").parse().unwrap();
            PrefixList { name, prefixes, revision: 4, labels: Labels::default() }.into()
        }),
        (prop::collection::vec(rule(), 0..5), any::<bool>()).prop_map(move |(rules, all)| {
            let networks = (!all).then(|| net.parse().unwrap()).into_iter().collect();
            let name = "operatorPolicies/o".parse().unwrap();
            OperatorPolicy { name, networks, rules, revision: 4, labels: Labels::default() }.into()
        }),
    ]
}

/// What stands somewhere.
fn resource_of_places() -> impl Strategy<Value = Resource> {
    let net = "tenants/t/networks/n";
    prop_oneof![
        (any::<u32>(), any::<u32>(), states()).prop_map(|(underlay, index, state)| {
            let (name, underlay) = ("hosts/h".parse().unwrap(), underlay.into());
            let (zone, zone_index) = ("zones/z".parse().ok(), index % 127);
            Host { name, underlay, zone, zone_index, state, index, revision: 1, labels: Labels::default() }.into()
        }),
        (any::<u32>(), prop::collection::vec(prefix(), 0..4)).prop_map(move |(underlay, prefixes)| {
            let name = format!("{net}/vteps/v").parse().unwrap();
            let mac = MacAddress::new([2, 0, 0, 0, 0, 1]).unwrap();
            let (zone, labels) = (None, Labels::default());
            Vtep { name, underlay: underlay.into(), mac, prefixes, zone, zone_index: 0, index: 5, revision: 2, labels }
                .into()
        }),
        any::<u32>().prop_map(|index| {
            let (name, labels) = ("zones/z".parse().unwrap(), Labels::default());
            let (jurisdiction, operator) = ("FR".parse().unwrap(), "o".parse().unwrap());
            Zone { name, jurisdiction, operator, index, revision: 3, labels }.into()
        }),
    ]
}

/// Some of what there is.
fn residency(bits: u8) -> Residency {
    let some = |bit: u8, text: &'static str| (bits >> bit & 1 == 1).then_some(text);
    Residency {
        jurisdictions: some(0, "FR").into_iter().chain(some(1, "DE")).map(|it| it.parse().unwrap()).collect(),
        operators: some(2, "o").map(|it| it.parse().unwrap()).into_iter().collect(),
        zones: some(3, "zones/z").map(|it| it.parse().unwrap()).into_iter().collect(),
    }
}

fn resource() -> impl Strategy<Value = Resource> {
    let net = "tenants/t/networks/n";
    prop_oneof![
        ("[a-z][a-z0-9-]{0,62}", ".{0,256}", any::<u64>()).prop_map(|(id, display_name, revision)| {
            Tenant {
                name: format!("tenants/{id}").parse().unwrap(),
                display_name,
                index: 2,
                revision,
                labels: Labels::default(),
                limits: TenantLimits { flows_per_host: (revision % 1_048_577) as u32 },
                quotas: TenantQuotas { ports: revision as u32, rules: 7, ..TenantQuotas::default() },
                residency: residency(revision as u8),
            }
            .into()
        }),
        (0..=Vni::MAX, prop::option::of(limits::MTU_LEAST..=limits::MTU_MOST), any::<(u32, u64)>()).prop_map(
            move |(vni, mtu, (index, revision))| {
                let vni = Vni::try_from(vni).unwrap();
                let timeouts = Timeouts { udp_replied: 10 + index % 80_000, ..Timeouts::default() };
                let name = net.parse().unwrap();
                let (residency, labels) = (residency(index as u8), Labels::default());
                Network { name, vni, mtu, timeouts, residency, tenant_index: 2, index, revision, labels }.into()
            }
        ),
        prefix().prop_map(move |cidr| {
            let gateway = Subnet::default_gateway(cidr);
            Subnet {
                name: format!("{net}/subnets/s").parse().unwrap(),
                cidr,
                gateway,
                host: Some("hosts/h1".parse().unwrap()),
                reservations: vec![Reservation {
                    name: "vips".parse().unwrap(),
                    cidr,
                    port: cidr.is_ipv4().then(|| format!("{net}/ports/p").parse().unwrap()),
                    description: "for \"people\"".to_owned(),
                }],
                revision: 3,
                labels: Labels::default(),
            }
            .into()
        }),
        (prop::collection::vec(prefix().prop_map(Prefix::address), 0..4), any::<[u8; 5]>(), any::<(u32, bool)>())
            .prop_map(move |(addresses, [a, b, c, d, e], (identity, placed))| {
                Port {
                    name: format!("{net}/ports/p").parse().unwrap(),
                    addresses,
                    mac: MacAddress::new([2, a, b, c, d, e]).unwrap(),
                    host: placed.then(|| "hosts/h".parse().unwrap()),
                    groups: [format!("{net}/securityGroups/g").parse().unwrap()].into(),
                    limits: PortLimits {
                        flows_inbound: identity % 1_048_576,
                        receive: RateLimits { packets_per_second: 0, bits_per_second: 64_000 + u64::from(identity) },
                        ..PortLimits::default()
                    },
                    identity,
                    revision: 9,
                    uid: Uid { epoch: 1, revision: u64::from(identity) + 1 },
                    labels: Labels::default(),
                }
                .into()
            }),
        resource_of_rules(),
        resource_of_places(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_resource_survives_the_message(resource in resource()) {
        let message = v1::Resource::from(resource.clone());
        prop_assert_eq!(Resource::try_from(message).unwrap(), resource);
    }

    #[test]
    fn a_delta_survives_the_message(written in prop::collection::vec(resource(), 0..4), removed in any::<Vec<u32>>()) {
        let by_law = |it: &Resource| matches!(it, Resource::Tenant(_) | Resource::Network(_));
        let delta = ViewDelta {
            network: "tenants/t/networks/n".parse().unwrap(),
            // What is not said of a law that is written is that there is none.
            zones: match removed.first() {
                Some(first) if first % 2 == 0 => Some(Admitted::Zones(removed.iter().copied().collect())),
                _ => written.iter().any(by_law).then_some(Admitted::Anywhere),
            },
            deleted: written.iter().map(Resource::name).collect(),
            written,
            identities: vec![IdentitySet {
                number: 7,
                groups: ["tenants/t/networks/n/securityGroups/g".parse().unwrap()].into(),
            }],
            identities_removed: removed,
        };
        let message = agent::v1::NetworkDelta::from(delta.clone());
        prop_assert_eq!(ViewDelta::try_from(message).unwrap(), delta);
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}", number in any::<i32>()) {
        let port = v1::Port {
            name: text.clone(),
            addresses: vec![text.clone()],
            mac: text.clone(),
            host: text.clone(),
            security_groups: vec![text.clone()],
            ..v1::Port::default()
        };
        let _ = Port::try_from(port);
        let rule = v1::Rule { direction: number, action: number, protocol: text.clone(), ports: vec![text.clone()], ..v1::Rule::default() };
        let _ = Rule::try_from(rule);
        let _ = text.parse::<andromede_model::AnyName>();
        let _ = text.parse::<Prefix>();
    }
}
