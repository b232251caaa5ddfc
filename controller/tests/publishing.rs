//! Whatever is written, and however long hosts sleep between: what they are told adds up to exactly what they must know.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use andromede_controller::publish::{Cursor, HostUpdate, Index, Move, Publisher};
use andromede_model::{AnyName, HostName, HostState, Model, NetworkName, NetworkView, Resource};
use andromede_proto::v1;
use proptest::prelude::*;
use support::bundle::{self, empty_tenant, group_name};

const TENANTS: [&str; 2] = ["a", "b"];
const HOSTS: u8 = 3;
const PORTS: u8 = 5;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A port is placed, moved or taken off its host, with these of two groups.
    Port {
        tenant: usize,
        port: u8,
        host: Option<u8>,
        groups: u8,
    },
    /// A group gets this many rules.
    Group {
        tenant: usize,
        group: usize,
        rules: u8,
    },
    /// A host gets another underlay address.
    Host {
        host: u8,
        address: u8,
    },
    /// A host is out for good.
    Fence {
        host: u8,
    },
    DeletePort {
        tenant: usize,
        port: u8,
    },
    DeleteHost {
        host: u8,
    },
    /// A tenant may have so many connections on a host.
    Limit {
        tenant: usize,
        flows: u32,
    },
    /// A zone gets this law, and the host stands there, or in no zone.
    Zone {
        host: u8,
        french: Option<bool>,
    },
    /// A tenant may be in France only, or anywhere.
    Law {
        tenant: usize,
        bound: bool,
    },
    /// All of a tenant goes, and comes back empty.
    Renew {
        tenant: usize,
    },
    /// The host hears what it has yet to hear.
    Hear {
        host: u8,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let tenant = 0..TENANTS.len();
    let port = 1..=PORTS;
    let host = 1..=HOSTS;
    prop_oneof![
        6 => (tenant.clone(), port.clone(), proptest::option::weighted(0.8, host.clone()), 0..4_u8)
            .prop_map(|(tenant, port, host, groups)| Event::Port { tenant, port, host, groups }),
        2 => (tenant.clone(), 0..2_usize, 0..3_u8).prop_map(|(tenant, group, rules)| Event::Group { tenant, group, rules }),
        1 => (host.clone(), 1..9_u8).prop_map(|(host, address)| Event::Host { host, address }),
        2 => (tenant.clone(), port).prop_map(|(tenant, port)| Event::DeletePort { tenant, port }),
        1 => host.clone().prop_map(|host| Event::Fence { host }),
        1 => host.clone().prop_map(|host| Event::DeleteHost { host }),
        1 => (tenant.clone(), 0..3_u32).prop_map(|(tenant, flows)| Event::Limit { tenant, flows }),
        2 => (host.clone(), any::<Option<bool>>()).prop_map(|(host, french)| Event::Zone { host, french }),
        2 => (tenant.clone(), any::<bool>()).prop_map(|(tenant, bound)| Event::Law { tenant, bound }),
        1 => tenant.prop_map(|tenant| Event::Renew { tenant }),
        5 => host.prop_map(|host| Event::Hear { host }),
    ]
}

const GROUPS: [&str; 2] = ["web", "db"];

fn resources(messages: Vec<v1::Resource>) -> Vec<Resource> {
    messages.into_iter().map(|message| message.try_into().unwrap()).collect()
}

fn host_name(host: u8) -> HostName {
    format!("hosts/h{host}").parse().unwrap()
}

fn tenant_whole(tenant: &str) -> Vec<v1::Resource> {
    let mut all = empty_tenant(tenant);
    all.push(bundle::group(tenant, "db", &["5432"]));
    all
}

/// The controller's state, and what each host has made of what it was told.
struct World {
    publisher: Publisher,
    hosts: BTreeMap<u8, (Cursor, BTreeMap<NetworkName, NetworkView>)>,
    snapshots: usize,
}

impl World {
    fn new() -> Self {
        let publisher = Publisher::new(Model::default(), Index::default());
        let mut world = Self { publisher, hosts: BTreeMap::new(), snapshots: 0 };
        let everything = (1..=HOSTS).map(bundle::host).chain(TENANTS.into_iter().flat_map(tenant_whole));
        assert!(world.write(everything.collect(), Vec::new()));
        world
    }

    /// False if the write breaks a rule; then nothing happens.
    fn write(&mut self, written: Vec<v1::Resource>, deleted: Vec<AnyName>) -> bool {
        let mut model = Model::clone(&self.publisher.model());
        let Ok(commit) = model.prepare(resources(written), deleted) else { return false };
        if !commit.is_empty() {
            let moves = Move::all(&model, &commit);
            model.commit(&commit).unwrap();
            self.publisher.publish(&[(commit, moves)], model);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        let port_name = |tenant: usize, port: u8| format!("tenants/{}/networks/n/ports/p{port}", TENANTS[tenant]);
        match event {
            Event::Port { tenant, port, host, groups } => {
                let mut message = bundle::port_message(TENANTS[tenant], port + 10, host);
                message.name = port_name(tenant, port);
                let chosen = GROUPS.iter().enumerate().filter(|(bit, _)| groups & (1 << bit) != 0);
                message.security_groups = chosen.map(|(_, group)| group_name(TENANTS[tenant], group)).collect();
                self.write(vec![v1::Resource { kind: Some(v1::resource::Kind::Port(message)) }], Vec::new());
            }
            Event::Group { tenant, group, rules } => {
                let ports: Vec<_> = (1..=rules).map(|port| port.to_string()).collect();
                let ports: Vec<_> = ports.iter().map(String::as_str).collect();
                self.write(vec![bundle::group(TENANTS[tenant], GROUPS[group], &ports)], Vec::new());
            }
            Event::Host { host, address } => {
                let underlay_address = format!("192.0.3.{}", host * 10 + address);
                let message = v1::Host { name: host_name(host).to_string(), underlay_address, ..v1::Host::default() };
                self.write(vec![v1::Resource { kind: Some(v1::resource::Kind::Host(message)) }], Vec::new());
            }
            Event::Limit { tenant, flows } => {
                let limits = Some(v1::TenantLimits { flows_per_host: flows });
                let message =
                    v1::Tenant { name: format!("tenants/{}", TENANTS[tenant]), limits, ..v1::Tenant::default() };
                self.write(vec![v1::Resource { kind: Some(v1::resource::Kind::Tenant(message)) }], Vec::new());
            }
            Event::Zone { host, french } => {
                let name = format!("zones/z{}", host % 2);
                let jurisdiction = if french == Some(true) { "FR" } else { "DE" }.to_owned();
                let zone = v1::Zone { name: name.clone(), jurisdiction, operator: "o".into(), ..v1::Zone::default() };
                self.write(vec![v1::Resource { kind: Some(v1::resource::Kind::Zone(zone)) }], Vec::new());
                if let Some(found) = self.publisher.model().host(&host_name(host)).cloned() {
                    let zone = french.map(|_| name.parse().unwrap());
                    let moved = andromede_model::Host { zone, ..found };
                    self.write(vec![andromede_model::Resource::from(moved).into()], Vec::new());
                }
            }
            Event::Law { tenant, bound } => {
                let residency = v1::Residency { jurisdictions: vec!["FR".into()], ..v1::Residency::default() };
                let name = format!("tenants/{}", TENANTS[tenant]);
                let message = v1::Tenant { name, residency: bound.then_some(residency), ..v1::Tenant::default() };
                self.write(vec![v1::Resource { kind: Some(v1::resource::Kind::Tenant(message)) }], Vec::new());
            }
            Event::DeletePort { tenant, port } => {
                self.write(Vec::new(), vec![port_name(tenant, port).parse().unwrap()]);
            }
            Event::Fence { host } => {
                if let Some(host) = self.publisher.model().host(&host_name(host)).cloned() {
                    let fenced = andromede_model::Host { state: HostState::Fenced, ..host };
                    self.write(vec![andromede_model::Resource::from(fenced).into()], Vec::new());
                }
            }
            Event::DeleteHost { host } => {
                self.write(Vec::new(), vec![host_name(host).into()]);
            }
            Event::Renew { tenant } => {
                let model = self.publisher.model();
                let root = format!("tenants/{}", TENANTS[tenant]);
                let names = andromede_model::ResourceKind::ALL.into_iter().flat_map(|kind| model.all(kind));
                let inside = names.map(|resource| resource.name()).filter(|name| name.as_str().starts_with(&root));
                assert!(self.write(Vec::new(), inside.collect()));
                assert!(self.write(tenant_whole(TENANTS[tenant]), Vec::new()));
            }
            Event::Hear { host } => self.hear(host),
        }
    }

    /// The host hears the rest, and must then know exactly what the model says it must.
    fn hear(&mut self, number: u8) {
        let name = host_name(number);
        let model = self.publisher.model();
        let (cursor, views) = self.hosts.entry(number).or_default();
        let Some(update) = self.publisher.next(&name, cursor) else {
            assert!(model.host(&name).is_none_or(andromede_model::Host::is_fenced));
            self.hosts.remove(&number);
            return;
        };
        assert_eq!(update.revision, model.revision());
        self.snapshots += update.snapshots.len();
        learn(views, update);
        let wanted: BTreeMap<_, _> = model
            .networks_of(&name)
            .into_iter()
            .map(|network| (network.clone(), model.view(&network).unwrap()))
            .collect();
        assert_eq!(*views, wanted);
        let again = self.publisher.next(&name, cursor).unwrap();
        assert!(again.is_empty(), "told twice: {again:?}");
    }
}

fn learn(views: &mut BTreeMap<NetworkName, NetworkView>, update: HostUpdate) {
    for name in update.left {
        views.remove(&name).expect("the host leaves a network that it knew");
    }
    for snapshot in update.snapshots {
        let view = snapshot.view().unwrap();
        views.insert(view.network.name.clone(), view);
    }
    for delta in update.deltas {
        assert!(!delta.is_empty());
        views.get_mut(&delta.network).expect("a delta to something known").apply(&delta, update.revision);
    }
    for view in views.values_mut() {
        view.revision = update.revision;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn deltas_add_up_to_the_view(events in proptest::collection::vec(event(), 1..60)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        for host in 1..=HOSTS {
            world.hear(host);
        }
    }
}

#[test]
fn a_host_that_follows_gets_one_snapshot_and_then_deltas() {
    let mut world = World::new();
    world.happen(Event::Port { tenant: 0, port: 1, host: Some(1), groups: 0 });
    world.hear(1);
    for round in 0..2_000_u16 {
        world.happen(Event::Port { tenant: 0, port: 2, host: Some(1 + (round % 3) as u8), groups: (round % 4) as u8 });
        if round % 100 == 0 {
            world.hear(1);
        }
    }
    world.hear(1);
    assert_eq!(world.snapshots, 1);
}

#[test]
fn a_host_that_slept_too_long_gets_a_snapshot_again() {
    let mut world = World::new();
    world.happen(Event::Port { tenant: 0, port: 1, host: Some(1), groups: 0 });
    world.hear(1);
    for round in 0..10_000_u16 {
        world.happen(Event::Port { tenant: 0, port: 2, host: Some(2), groups: (round % 4) as u8 });
    }
    world.hear(1);
    assert_eq!(world.snapshots, 2);
}
