//! Whatever is written and deleted in whatever order: the model stays valid, and its log gives it again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::{
    Admitted, AnyName, Commit, Host, Model, Network, NetworkView, Remote, Reservation, Resource, ResourceKind, Subnet,
    Tenant, Vni, ZoneName,
};
use common::{
    group, host, name, network, operator_policy, port, prefix_list, residency, rule, subnet, tenant, vtep, zone,
};
use proptest::{prelude::*, sample::select};

const TENANTS: [&str; 2] = ["a", "b"];
const GROUPS: [&str; 3] = ["red", "green", "blue"];
const ZONES: [&str; 2] = ["z1", "z2"];
const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

fn a_tenant() -> impl Strategy<Value = &'static str> {
    select(TENANTS.to_vec())
}

/// A resource of a small world: often valid, sometimes not.
fn resource() -> impl Strategy<Value = Resource> {
    let addresses =
        prop::collection::vec(select(vec!["10.0.0.5", "10.0.0.6", "10.0.1.7", "fd00::5", "10.0.0.1"]), 0..3);
    let groups = prop::collection::btree_set(select(GROUPS.to_vec()), 0..3);
    let place = prop::option::of(select(HOSTS.to_vec()));
    let cidr = select(vec!["10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/16", "fd00::/64"]);
    let reserved = select(vec!["10.0.0.5/32", "10.0.0.0/25", "fd00::/120"]);
    let reservations = prop::collection::vec((reserved, prop::option::of(select(vec!["p", "q"]))), 0..2);
    let remotes: Vec<&'static str> = GROUPS.into_iter().chain(["list"]).collect();
    let rules = prop::collection::vec((select(vec!["x", "y", "z"]), prop::option::of(select(remotes))), 0..3);
    let named = prop::collection::btree_set(select(TENANTS.to_vec()), 0..2);
    let underlay = select(vec!["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "127.0.0.1"]);
    let zone_of = prop::option::of(select(ZONES.to_vec()));
    let laws = || prop::sample::subsequence(vec!["FR", "DE"], 0..2);
    let places = (laws(), prop::option::of(select(ZONES.to_vec())));
    let bound = places.prop_map(|(laws, zone)| residency(&laws, &zone.into_iter().collect::<Vec<_>>()));
    prop_oneof![
        1 => a_tenant().prop_map(|id| tenant(id).into()),
        2 => (a_tenant(), 0u32..3).prop_map(|(id, vni)| {
            let mut network = network(id, "net");
            network.vni = Vni::try_from(vni * 7).unwrap();
            network.into()
        }),
        3 => (a_tenant(), select(vec!["s1", "s2"]), cidr, reservations).prop_map(|(id, s, cidr, reservations)| {
            let reservation = |(reserved, port): (&str, Option<&str>)| Reservation {
                name: name(&format!("r{}", reserved.len())),
                cidr: name(reserved),
                port: port.map(|port| name(&format!("tenants/{id}/networks/net/ports/{port}"))),
                description: String::new(),
            };
            let reservations = reservations.into_iter().map(reservation).collect();
            Subnet { reservations, ..subnet(id, s, cidr) }.into()
        }),
        3 => (a_tenant(), select(GROUPS.to_vec()), rules).prop_map(|(id, name_of, rules)| {
            let rules = rules.into_iter().map(|(one, remote)| {
                let mut one = rule(one);
                if remote == Some("list") {
                    one.remote = Remote::PrefixList(name(&format!("tenants/{id}/networks/net/prefixLists/l")));
                } else if let Some(remote) = remote {
                    one.remote = Remote::Group(name(&format!("tenants/{id}/networks/net/securityGroups/{remote}")));
                }
                one
            });
            group(id, name_of, rules.collect()).into()
        }),
        5 => (a_tenant(), select(vec!["p", "q", "r"]), addresses, place, groups).prop_map(|(id, p, addresses, host, groups)| {
            port(id, p, &addresses, host, &groups.into_iter().collect::<Vec<_>>()).into()
        }),
        2 => (a_tenant(), any::<bool>()).prop_map(|(id, one)| {
            let prefixes: &[&str] = if one { &["10.7.0.0/16"] } else { &["10.7.0.0/16", "fd00::/8"] };
            prefix_list(id, "l", prefixes).into()
        }),
        1 => (select(vec!["o1", "o2"]), named).prop_map(|(id, named)| {
            operator_policy(id, &named.into_iter().collect::<Vec<_>>(), vec![rule("x")]).into()
        }),
        2 => (select(HOSTS.to_vec()), underlay.clone(), zone_of.clone()).prop_map(|(id, address, zone)| {
            let zone = zone.map(|zone| name(&format!("zones/{zone}")));
            Host { zone, ..host(id, address) }.into()
        }),
        1 => (a_tenant(), underlay, zone_of).prop_map(|(id, address, zone)| {
            let mut vtep = vtep(id, "v", address, &["10.7.0.0/16"]);
            vtep.zone = zone.map(|zone| name(&format!("zones/{zone}")));
            vtep.into()
        }),
        1 => (select(ZONES.to_vec()), select(vec!["FR", "DE"])).prop_map(|(id, law)| zone(id, law, "o").into()),
        1 => (a_tenant(), bound.clone()).prop_map(|(id, residency)| Tenant { residency, ..tenant(id) }.into()),
        1 => (a_tenant(), bound).prop_map(|(id, residency)| Network { residency, ..network(id, "net") }.into()),
    ]
}

/// Writes and deletions of one call.
fn call() -> impl Strategy<Value = (Vec<Resource>, Vec<prop::sample::Index>)> {
    (prop::collection::vec(resource(), 0..6), prop::collection::vec(any::<prop::sample::Index>(), 0..2))
}

/// What is there before the calls, so that most of them find what they refer to.
fn start() -> Model {
    let mut model = Model::default();
    let mut all: Vec<Resource> = vec![zone("z1", "FR", "o").into(), zone("z2", "DE", "o").into()];
    all.extend([host("h1", "192.0.2.1").into(), Resource::from(host("h2", "192.0.2.2"))]);
    for id in TENANTS {
        all.extend([tenant(id).into(), network(id, "net").into()]);
        all.extend([subnet(id, "s1", "10.0.0.0/24").into(), Resource::from(subnet(id, "s2", "fd00::/64"))]);
        all.extend(GROUPS.map(|name_of| Resource::from(group(id, name_of, vec![]))));
    }
    let commit = model.prepare(all, vec![]).unwrap();
    model.commit(&commit).unwrap();
    model
}

/// What holds of every model.
fn assert_valid(model: &Model) {
    let mut vnis = BTreeSet::new();
    let mut indexes = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    let mut rules = BTreeSet::new();
    let mut zones = BTreeSet::new();
    for resource in ResourceKind::ALL.into_iter().flat_map(|kind| model.all(kind)) {
        match resource {
            Resource::Network(network) => {
                assert!(network.vni != Vni::UNSET && vnis.insert(network.vni) && indexes.insert(network.index));
                let view = model.view(&network.name).unwrap();
                let mut addresses = BTreeSet::new();
                let mut macs = BTreeSet::new();
                for port in view.ports.values() {
                    assert!(port.addresses.iter().all(|address| addresses.insert(*address)));
                    assert!(!port.mac.is_unset() && macs.insert(port.mac));
                    let inside = |address| view.subnets.values().any(|subnet| subnet.cidr.contains(address));
                    assert!(port.addresses.iter().all(|address| inside(*address)));
                    let owners = view.subnets.keys().flat_map(|subnet| &model.subnet(subnet).unwrap().reservations);
                    let mut others = owners.filter(|it| it.port.as_ref().is_some_and(|owner| *owner != port.name));
                    assert!(others.all(|it| port.addresses.iter().all(|address| !it.cidr.contains(*address))));
                    assert!(port.groups.iter().all(|group| view.groups.contains_key(group)));
                    assert!(view.hosts.contains_key(port.host.as_ref().unwrap()));
                    match view.identities.get(&port.identity) {
                        Some(groups) => assert_eq!(*groups, port.groups),
                        None => assert!(port.identity == 0 && port.groups.is_empty()),
                    }
                }
                assert_in_place(model, &network, &view);
                let sets: BTreeSet<_> = view.identities.values().collect();
                assert_eq!(sets.len(), view.identities.len(), "one number for each set");
            }
            Resource::Host(host) => assert!(host.index != 0 && hosts.insert(host.index)),
            Resource::Vtep(vtep) => assert!(vtep.index != 0 && hosts.insert(vtep.index)),
            Resource::SecurityGroup(group) => {
                assert!(group.rules.iter().all(|rule| rule.number >= 1024 && rules.insert(rule.number)));
                let view = model.view(&group.name.network()).unwrap();
                assert!(group.rules.iter().all(|rule| match &rule.remote {
                    Remote::Group(name) => view.groups.contains_key(name),
                    Remote::PrefixList(name) => view.prefix_lists.contains_key(name),
                    Remote::Any | Remote::Cidr(_) => true,
                }));
            }
            Resource::OperatorPolicy(policy) => {
                assert!(policy.rules.iter().all(|rule| rule.number >= 1024 && rules.insert(rule.number)));
                assert!(policy.networks.iter().all(|network| model.network(network).is_some()));
                for network in model.networks() {
                    let view = model.view(network).unwrap();
                    assert_eq!(view.operator_policies.contains_key(&policy.name), policy.concerns(network));
                }
            }
            Resource::Zone(zone) => assert!((1..=127).contains(&zone.index) && zones.insert(zone.index)),
            Resource::Tenant(_) | Resource::Subnet(_) | Resource::PrefixList(_) | Resource::Port(_) => {}
        }
    }
}

/// Nothing of a network stands where its law, or its tenant's, does not let it be.
fn assert_in_place(model: &Model, network: &Network, view: &NetworkView) {
    let tenant = view.tenant.as_ref().unwrap();
    let admits = |zone: &Option<ZoneName>| {
        let zone = zone.as_ref().map(|zone| model.zone(zone).unwrap());
        [&tenant.residency, &network.residency].into_iter().all(|residency| match zone {
            Some(zone) => residency.admits(zone),
            None => !residency.is_bound(),
        })
    };
    for name in model.hosts_of(&network.name) {
        let host = model.host(&name).unwrap();
        assert!(admits(&host.zone), "{name} of {}", network.name);
        assert!(view.hosts.contains_key(&name));
        assert_eq!(host.zone_index, host.zone.as_ref().map_or(0, |zone| model.zone(zone).unwrap().index));
        assert!(match &view.zones {
            Admitted::Anywhere => true,
            Admitted::Zones(zones) => zones.contains(&host.zone_index),
        });
    }
    assert!(view.vteps.values().all(|vtep| admits(&vtep.zone)));
}

/// The numbers that a resource was given, with what they number.
fn numbers(resource: &Resource) -> Vec<(&'static str, u32, String)> {
    let name = resource.name().to_string();
    match resource {
        Resource::Network(network) => vec![("network", network.index, name)],
        Resource::Host(host) => vec![("host", host.index, name)],
        Resource::Vtep(vtep) => vec![("host", vtep.index, name)],
        Resource::SecurityGroup(group) => {
            group.rules.iter().map(|rule| ("rule", rule.number, format!("{name}/{}", rule.name))).collect()
        }
        Resource::OperatorPolicy(policy) => {
            policy.rules.iter().map(|rule| ("rule", rule.number, format!("{name}/{}", rule.name))).collect()
        }
        _ => vec![],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_model_stays_valid_and_its_log_gives_it_again(calls in prop::collection::vec(call(), 1..25)) {
        let first = start().snapshot();
        let mut model = start();
        let mut log: Vec<Commit> = vec![first];
        let mut given: BTreeMap<(&'static str, u32), (String, u64)> = BTreeMap::new();
        for (written, deleted) in calls {
            let there: Vec<AnyName> =
                ResourceKind::ALL.into_iter().flat_map(|kind| model.all(kind)).map(|one| one.name()).collect();
            let deleted: BTreeSet<AnyName> = deleted.iter().filter(|_| !there.is_empty()).map(|one| one.get(&there).clone()).collect();
            let Ok(commit) = model.prepare(written, deleted.into_iter().collect()) else { continue };
            let before = model.clone();
            model.commit(&commit).unwrap();
            assert_valid(&model);
            for resource in &commit.written {
                prop_assert_eq!(resource.revision(), commit.revision);
                let is_new = before.get(&resource.name()).is_none();
                for (kind, number, of) in numbers(resource) {
                    let first = given.entry((kind, number)).or_insert((of.clone(), commit.revision));
                    prop_assert_eq!(&first.0, &of, "a number has one meaning for ever");
                    prop_assert!(!is_new || first.1 == commit.revision, "what is made again gets a new number");
                }
            }
            // What a store keeps is the same commit.
            let kept = serde_json::to_vec(&commit).unwrap();
            log.push(serde_json::from_slice(&kept).unwrap());
        }
        let mut again = Model::default();
        for commit in &log {
            again.commit(commit).unwrap();
        }
        prop_assert_eq!(&again, &model);
        prop_assert_eq!(&Model::restore(&model.snapshot()).unwrap(), &model);
        for resource in model.all(ResourceKind::Network) {
            let view = model.view(&name(resource.name().as_str())).unwrap();
            prop_assert!(view.delta_to(&view).is_empty());
        }
    }

    #[test]
    fn deltas_lead_from_any_view_to_any_later_one(calls in prop::collection::vec(call(), 1..25)) {
        let mut model = start();
        let net = name("tenants/a/networks/net");
        let mut held = None;
        for (written, _) in calls {
            let Ok(commit) = model.prepare(written, vec![]) else { continue };
            model.commit(&commit).unwrap();
            let Some(view) = model.view(&net) else { continue };
            let mut led = held.take().unwrap_or_else(|| view.clone());
            let delta = led.delta_to(&view);
            led.apply(&delta, view.revision);
            prop_assert_eq!(&led, &view);
            held = Some(led);
        }
    }
}
