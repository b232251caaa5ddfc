//! A host never overflows: whatever history of writes is accepted, the rows that agents compile of it fit; and what is refused changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use andromede_abi::maps;
use andromede_controller::{capacity::Capacity, change::WriteError};
use andromede_model::{
    Action, AnyName, Direction, Existing, Host, Labels, MacAddress, Model, Network, OperatorPolicy, Port, PortLimits,
    PortRange, Prefix, PrefixList, Protocol, Remote, Residency, Resource, Rule, SecurityGroup, Subnet, Tenant, Uid,
    Vni, Vtep,
};
use andromede_plan::{Cost, HostFacts, Memory, Rows, compile_with};
use andromede_proto::v1;
use proptest::{prelude::*, sample::select};
use support::{Controller, bundle};
use tonic_types::StatusExt as _;

const HOSTS: u8 = 3;
const NETWORKS: usize = 2;
const GROUPS: u8 = 4;

/// One write of the history.
#[derive(Clone, Debug)]
enum Write {
    /// A port: its number, host, groups and further addresses.
    Port(u8, Option<u8>, Vec<u8>, u8),
    Delete(AnyKind, u8),
    /// A group with rules: direction, service and remote of each.
    Group(u8, Vec<(bool, u8, u8)>),
    List(u8, u8),
    Policy(u8, bool, Vec<u8>),
    Vtep(u8, u8),
    Lease(u8, Option<u8>),
}

#[derive(Clone, Copy, Debug)]
enum AnyKind {
    Port,
    Group,
    Policy,
    Vtep,
    Lease,
}

fn network(number: usize) -> String {
    format!("tenants/t{number}/networks/n")
}

fn write() -> impl Strategy<Value = (usize, Write)> {
    let groups = || prop::collection::vec(0..GROUPS, 0..3);
    let rules = prop::collection::vec((any::<bool>(), 0..6_u8, 0..9_u8), 0..5);
    let kinds = select(vec![AnyKind::Port, AnyKind::Group, AnyKind::Policy, AnyKind::Vtep, AnyKind::Lease]);
    let one = prop_oneof![
        8 => (0..8_u8, prop::option::weighted(0.9, 0..HOSTS), groups(), 0..3_u8).prop_map(|(n, h, g, m)| Write::Port(n, h, g, m)),
        3 => (kinds, 0..8_u8).prop_map(|(kind, n)| Write::Delete(kind, n)),
        4 => (0..GROUPS, rules).prop_map(|(n, rules)| Write::Group(n, rules)),
        1 => (0..2_u8, 0..6_u8).prop_map(|(n, prefixes)| Write::List(n, prefixes)),
        1 => (0..3_u8, any::<bool>(), prop::collection::vec(0..6_u8, 0..3)).prop_map(|(n, all, rules)| Write::Policy(n, all, rules)),
        1 => (0..2_u8, 1..4_u8).prop_map(|(n, prefixes)| Write::Vtep(n, prefixes)),
        1 => (0..2_u8, prop::option::of(0..HOSTS)).prop_map(|(n, host)| Write::Lease(n, host)),
    ];
    (0..NETWORKS, one)
}

fn rule(place: usize, ingress: bool, service: u8, remote: Remote) -> Rule {
    let (protocol, ports) = match service {
        0 => (Protocol::Any, vec![]),
        1 => (Protocol::UDP, vec![]),
        _ => (Protocol::TCP, vec![PortRange::new(100 * u16::from(service), 120 * u16::from(service)).unwrap()]),
    };
    Rule {
        name: format!("r{place}").parse().unwrap(),
        direction: if ingress { Direction::Ingress } else { Direction::Egress },
        action: Action::Allow,
        priority: 1000,
        protocol,
        ports,
        icmp_type: None,
        icmp_code: None,
        remote,
        log: false,
        existing: Existing::Cut,
        number: 0,
    }
}

fn remote(network: &str, number: u8) -> Remote {
    match number {
        0 => Remote::Any,
        1..=3 => Remote::Cidr(["10.0.0.0/8", "10.0.0.10/32", "::/0"][usize::from(number) - 1].parse().unwrap()),
        4 => Remote::PrefixList(format!("{network}/prefixLists/l0").parse().unwrap()),
        _ => Remote::Group(format!("{network}/securityGroups/g{}", number - 5).parse().unwrap()),
    }
}

fn host(number: u8) -> Resource {
    let underlay_address = format!("192.0.2.{}", 1 + number);
    let host = v1::Host { name: format!("hosts/h{number}"), underlay_address, ..v1::Host::default() };
    Host::try_from(host).unwrap().into()
}

fn group(network: &str, number: u8, rules: &[(bool, u8, u8)]) -> Resource {
    let rules = rules.iter().enumerate();
    SecurityGroup {
        name: format!("{network}/securityGroups/g{number}").parse().unwrap(),
        rules: rules.map(|(place, rule_of)| rule(place, rule_of.0, rule_of.1, remote(network, rule_of.2))).collect(),
        revision: 0,
        labels: Labels::default(),
    }
    .into()
}

fn list(network: &str, number: u8, prefixes: u8) -> Resource {
    let name = format!("{network}/prefixLists/l{number}").parse().unwrap();
    let prefixes = (0..prefixes).map(|prefix| format!("172.16.{prefix}.0/24").parse().unwrap()).collect();
    PrefixList { name, prefixes, revision: 0, labels: Labels::default() }.into()
}

fn subnet(network: &str, id: &str, cidr: &str, host: Option<u8>) -> Resource {
    let cidr: Prefix = cidr.parse().unwrap();
    let host = host.map(|host| format!("hosts/h{host}").parse().unwrap());
    let name = format!("{network}/subnets/{id}").parse().unwrap();
    Subnet { host, ..Subnet::new(name, cidr) }.into()
}

/// Three hosts; two networks with groups, prefix lists and a subnet of each family.
fn beginning() -> Vec<Resource> {
    let mut all: Vec<Resource> = (0..HOSTS).map(host).collect();
    for number in 0..NETWORKS {
        let name = network(number);
        all.push(
            Tenant::try_from(v1::Tenant { name: format!("tenants/t{number}"), ..v1::Tenant::default() })
                .unwrap()
                .into(),
        );
        all.push(
            Network {
                name: name.parse().unwrap(),
                vni: Vni::UNSET,
                mtu: None,
                timeouts: andromede_model::Timeouts::default(),
                residency: Residency::default(),
                tenant_index: 0,
                index: 0,
                revision: 0,
                labels: Labels::default(),
            }
            .into(),
        );
        all.extend([subnet(&name, "a", "10.0.0.0/16", None), subnet(&name, "b", "fd00::/64", None)]);
        all.extend((0..GROUPS).map(|number| group(&name, number, &[])));
        all.extend((0..2).map(|number| list(&name, number, 1)));
    }
    all
}

fn port(network: &str, number: u8, host: Option<u8>, groups: &[u8], more: u8) -> Resource {
    let mut addresses: Vec<IpAddr> = vec![Ipv4Addr::new(10, 0, 0, 10 + number).into()];
    addresses.extend((0..more).map(|more| IpAddr::from(Ipv4Addr::new(10, 0, 1 + more, 10 + number))));
    addresses.push(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 10 + u16::from(number)).into());
    Port {
        name: format!("{network}/ports/p{number}").parse().unwrap(),
        addresses,
        mac: MacAddress::new([2, 0, 0, 0, 0, 1 + number]).unwrap(),
        host: host.map(|host| format!("hosts/h{host}").parse().unwrap()),
        groups: groups.iter().map(|group| format!("{network}/securityGroups/g{group}").parse().unwrap()).collect(),
        limits: PortLimits::default(),
        identity: 0,
        revision: 0,
        uid: Uid::UNSET,
        labels: Labels::default(),
    }
    .into()
}

fn policy(number: u8, networks: BTreeSet<andromede_model::NetworkName>, rules: &[u8]) -> Resource {
    let rules =
        rules.iter().enumerate().map(|(place, number)| rule(place, place == 0, *number, remote("", number % 4)));
    let name = format!("operatorPolicies/o{number}").parse().unwrap();
    OperatorPolicy { name, networks, rules: rules.collect(), revision: 0, labels: Labels::default() }.into()
}

fn vtep(network: &str, which: usize, number: u8, prefixes: u8) -> Resource {
    let prefixes = ["10.9.0.0/16", "::/0", "10.9.9.0/24"].into_iter().take(prefixes.into());
    let of_number = |prefix: &str| prefix.replace("10.9", &format!("10.{}", 20 + number));
    Vtep {
        name: format!("{network}/vteps/v{number}").parse().unwrap(),
        underlay: Ipv4Addr::new(192, 0, 2, 100 + 10 * u8::try_from(which).unwrap() + number),
        mac: MacAddress::new([2, 9, 9, 9, 9, number]).unwrap(),
        prefixes: prefixes.map(|prefix| of_number(prefix).parse().unwrap()).collect(),
        zone: None,
        zone_index: 0,
        index: 0,
        revision: 0,
        labels: Labels::default(),
    }
    .into()
}

/// What the write writes and deletes.
fn request(which: usize, write: &Write) -> (Vec<Resource>, Vec<AnyName>) {
    let network = network(which);
    let resource = match write {
        Write::Port(number, host, groups, more) => port(&network, *number, *host, groups, *more),
        Write::Group(number, rules) => group(&network, *number, rules),
        Write::List(number, prefixes) => list(&network, *number, *prefixes),
        Write::Policy(number, all, rules) => {
            let networks = if *all { BTreeSet::new() } else { BTreeSet::from([network.parse().unwrap()]) };
            policy(*number, networks, rules)
        }
        Write::Vtep(number, prefixes) => vtep(&network, which, *number, *prefixes),
        Write::Lease(number, host) => subnet(&network, &format!("l{number}"), &format!("10.1.{number}.0/24"), *host),
        Write::Delete(kind, number) => {
            let name = match kind {
                AnyKind::Port => format!("{network}/ports/p{number}"),
                AnyKind::Group => format!("{network}/securityGroups/g{}", number % GROUPS),
                AnyKind::Policy => format!("operatorPolicies/o{}", number % 3),
                AnyKind::Vtep => format!("{network}/vteps/v{}", number % 2),
                AnyKind::Lease => format!("{network}/subnets/l{}", number % 2),
            };
            return (Vec::new(), vec![name.parse().unwrap()]);
        }
    };
    (vec![resource], Vec::new())
}

/// Few rows, so that many writes are refused.
fn limits() -> Cost {
    let mut limits = Cost::default();
    for (table, rows) in [
        (maps::PORTS, 4),
        (maps::SOURCES, 8),
        (maps::LOCATIONS, 34),
        (maps::PREFIXES, 7),
        (maps::HOSTS, 4),
        (maps::MEMBERS, 5),
        (maps::NETWORKS, 2),
        (maps::EPOCHS, 20),
        (maps::POLICY_IDENTITIES, 8),
        (maps::POLICY_PREFIXES, 7),
        (maps::POLICY_SERVICES, 40),
        (maps::POLICY_CELLS, 14),
    ] {
        limits.add(&table, rows);
    }
    limits
}

/// What a host knows, and the rows that it has.
#[derive(Default)]
struct Agent {
    memory: Memory,
    found: Rows,
}

impl Agent {
    /// The rows after an update, and what had to be in each table of rules while it was carried out.
    fn update(&mut self, model: &Model, host: &Host) -> (Cost, usize) {
        let views: Vec<_> = model.networks_of(&host.name).iter().filter_map(|name| model.view(name)).collect();
        let here =
            views.iter().flat_map(|view| view.ports.values()).filter(|port| port.host.as_ref() == Some(&host.name));
        // Interfaces have the numbers of their ports, so that a port keeps its own.
        let index =
            |port: &Port| 100 + u32::from(port.mac.bytes()[5]) + 10 * u32::from(port.name.as_str().as_bytes()[9]);
        let attachments = here.map(|port| {
            (
                port.name.clone(),
                andromede_plan::Attachment { ifindex: index(port), ..andromede_plan::Attachment::default() },
            )
        });
        let facts = HostFacts {
            host: host.index,
            underlay: host.underlay,
            underlay_ifindex: 1,
            gateways: BTreeMap::new(),
            addresses: BTreeSet::new(),
            flow_rows: maps::FLOWS.rows,
            meters: BTreeMap::new(),
        };
        let wanted = compile_with(&mut self.memory, &views, &facts, &attachments.collect(), &self.found);
        assert!(wanted.refused.is_empty(), "{:?}", wanted.refused);
        let both = self.found.policy_cells.keys().chain(wanted.rows.policy_cells.keys()).collect::<BTreeSet<_>>().len();
        self.found = wanted.rows;
        (Cost::of(&self.found), both)
    }
}

fn check_hosts(model: &Model, capacity: &Capacity, agents: &mut [Agent]) -> Result<(), TestCaseError> {
    let fresh = Capacity::new(model, limits());
    for (number, agent) in agents.iter_mut().enumerate() {
        let host = model.host(&format!("hosts/h{number}").parse().unwrap()).unwrap().clone();
        let counted = capacity.cost(&host.name);
        prop_assert_eq!(counted, fresh.cost(&host.name), "kept up, and counted anew");
        let views: Vec<_> = model.networks_of(&host.name).iter().filter_map(|name| model.view(name)).collect();
        let compiled = Cost::of_host(&views, &host).unwrap();
        let (of_agent, both) = agent.update(model, &host);
        for (((table, counted), (_, compiled)), (_, most)) in
            counted.tables().zip(compiled.tables()).zip(limits().tables())
        {
            prop_assert!(compiled <= counted, "{} of h{number}: {compiled} rows, {counted} counted", table.name);
            prop_assert!(counted <= most, "{} of h{number}: {counted} rows, {most} at most", table.name);
            // Slots of what is gone are given out again later.
            prop_assert!(
                table == maps::EPOCHS || of_agent.rows(&table) <= most,
                "{} of h{number} after its history",
                table.name
            );
        }
        prop_assert!(both <= 2 * limits().rows(&maps::POLICY_CELLS), "old and new cells beside each other");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_fits_every_host(history in prop::collection::vec(write(), 1..60)) {
        let mut model = Model::default();
        let commit = model.prepare(beginning(), Vec::new()).unwrap();
        model.commit(&commit).unwrap();
        let mut capacity = Capacity::new(&model, limits());
        let mut agents: Vec<Agent> = (0..HOSTS).map(|_| Agent::default()).collect();
        for (which, write) in history {
            let (written, deleted) = request(which, &write);
            let names: Vec<AnyName> = written.iter().map(Resource::name).collect();
            let Ok(commit) = model.prepare(written, deleted) else { continue };
            let mut after = model.clone();
            after.commit(&commit).unwrap();
            match capacity.stage((&model, &after), &commit, &names) {
                Ok(staged) => {
                    capacity.take(staged);
                    model = after;
                }
                Err(WriteError::Full(full)) => {
                    // It is refused for a reason: the real rows, or what is counted on the safe side, do not fit.
                    prop_assert!(full.rows > full.most);
                    let without = Capacity::new(&after, limits()).cost(full.host.as_ref().unwrap());
                    prop_assert_eq!(without.rows(&full.table), full.rows);
                }
                Err(other) => panic!("{other}"),
            }
            check_hosts(&model, &capacity, &mut agents)?;
        }
    }
}

/// A port of a network with a /16, on the host.
fn crowd(ports: u32) -> Vec<v1::Resource> {
    let port = |number: u32| v1::Port {
        name: format!("tenants/red/networks/n/ports/p{number}"),
        addresses: vec![Ipv4Addr::from_bits(0x0a00_0010 + number).to_string()],
        host: "hosts/h1".to_owned(),
        ..v1::Port::default()
    };
    let port = |number| v1::Resource { kind: Some(v1::resource::Kind::Port(port(number))) };
    let rest =
        [bundle::tenant("red"), bundle::network("red"), bundle::subnet("red", "s", "10.0.0.0/16"), bundle::host(1)];
    rest.into_iter().chain((0..ports).map(port)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_would_be_too_full_is_named_with_its_figures() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let most = maps::PORTS.rows;
    let refused = controller.apply(crowd(most + 1)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("PORTS would need 8193 rows and may have 8192"), "{}", refused.message());
    let about = refused.get_details_error_info().unwrap();
    assert_eq!((about.reason.as_str(), about.metadata["host"].as_str()), ("HOST_TABLE_FULL", "hosts/h1"));
    assert_eq!((about.metadata["rows"].as_str(), about.metadata["limit"].as_str()), ("8193", "8192"));
    assert_eq!(about.metadata["largest"], "tenants/red/networks/n");
    assert_eq!(refused.get_details_quota_failure().unwrap().violations[0].subject, "hosts/h1");
    let mut fabric = controller.fabric().await;
    let status = fabric.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.revision, 0, "nothing of it was written");
    // One less fits, and the plan says how full it would be; then there is room for nobody, also after a restart.
    let request = v1::PlanRequest { resources: crowd(most), ..v1::PlanRequest::default() };
    let plan = fabric.plan(request).await.unwrap().into_inner();
    let ports = plan.tables.iter().find(|table| table.table == "PORTS").unwrap();
    assert_eq!((ports.host.as_str(), ports.before, ports.after, ports.limit), ("hosts/h1", 0, 8_192, 8_192));
    controller.apply(crowd(most)).await.unwrap();
    controller.stop().await;
    let controller = Controller::plaintext(folder.path()).await;
    let one_more = |number| vec![crowd(number + 1).pop().unwrap()];
    let refused = controller.apply(one_more(most)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "resources[0].port.host");
    controller.stop().await;
}
