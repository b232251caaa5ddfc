//! The packet path itself, walked over compiled rows, lets pass what a scan of all rules lets pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::net::IpAddr;

use andromede_abi::{DropReason, HostConfig, bytes_of, from_bytes, hook};
use andromede_model::{Action, Direction, NetworkView};
use andromede_pipeline::{
    Context, Scratch, TargetKind, Tunnel, decide,
    memory::{Bytes, Tables},
};
use andromede_plan::{Rows, Wanted, compile};
use andromede_testkit::packet::{Ends, Tcp, tcp_flag};
use common::{
    lookup::Service,
    oracle::oracle,
    world::{PortSpec, World, addresses, packet, world},
};
use proptest::{prelude::*, sample::select};

fn tables(rows: Rows) -> Tables {
    Tables {
        ports: rows.ports,
        sources: rows.sources,
        locations: rows.locations,
        prefixes: rows.prefixes,
        hosts: rows.hosts,
        members: rows.members,
        epochs: rows.epochs,
        policy_identities: rows.policy_identities,
        policy_prefixes: rows.policy_prefixes,
        policy_services: rows.policy_services,
        policy_cells: rows.policy_cells,
        ..Tables::default()
    }
}

/// A frame that opens a connection to this service.
fn frame(ends: &Ends, service: Service) -> Vec<u8> {
    let [high, low] = service.port.to_be_bytes();
    match service.protocol {
        6 => ends.tcp(&Tcp::new(40_000, service.port, tcp_flag::SYN), &[]),
        17 => ends.udp(40_000, service.port, b"payload"),
        1 | 58 => ends.echo(true, 7, 1, b"payload"),
        132 => ends.ip(132, &[0x9c, 0x40, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4]),
        other => ends.ip(other, b"something else"),
    }
}

/// What the path says of a frame from a local port: passes, or why not and by which rule.
fn walk(tables: &Tables, ifindex: u32, frame: Vec<u8>) -> Result<(), (DropReason, u32)> {
    let blank: HostConfig = from_bytes(&vec![0; size_of::<HostConfig>()]).unwrap();
    let host = HostConfig { host: 1, underlay_mtu: 1_500, vxlan_port: 4789u16.to_be(), ..blank };
    assert_eq!(bytes_of(&host).len(), size_of::<HostConfig>());
    let context = Context {
        hook: hook::FROM_WORKLOAD,
        ifindex,
        gso_size: 0,
        now: 1,
        tunnel: Tunnel::NONE,
        own_delivery: false,
        tagged: false,
        host: &host,
    };
    let mut scratch = Scratch::EMPTY;
    let verdict = decide(&Bytes(frame), &context, tables, &mut scratch);
    match (verdict.target.kind, verdict.reason) {
        (TargetKind::Drop, Some(reason)) => Err((reason, verdict.rule)),
        (TargetKind::Deliver | TargetKind::Encap, None) => Ok(()),
        other => panic!("{other:?}"),
    }
}

/// The place of the port that has an address.
fn owner(world: &World, address: IpAddr) -> Option<usize> {
    (0..6).find(|port| world.ports[*port].is_some() && world.addresses(*port).contains(&address))
}

/// The same, said without tables: where the address is, and a scan of all rules.
fn expected(
    world: &World,
    view: &NetworkView,
    from: usize,
    to: IpAddr,
    service: Service,
) -> Result<(), (DropReason, u32)> {
    let port = world.ports[from].as_ref().unwrap();
    let source = *world.addresses(from).iter().find(|address| address.is_ipv4() == to.is_ipv4()).unwrap();
    if view.subnets.values().any(|subnet| subnet.gateway == to) {
        return Err((DropReason::NoService, 0));
    }
    let peer = owner(world, to);
    let identity = peer.and_then(|peer| world.ports[peer].as_ref()).map_or(0, |peer| World::identity(peer.groups));
    let foreign = view.vteps.values().flat_map(|vtep| &vtep.prefixes).any(|prefix| prefix.contains(to));
    if peer.is_none() && !foreign {
        return Err((DropReason::UnknownDestination, 0));
    }
    let local = peer.and_then(|peer| world.ports[peer].as_ref()).filter(|peer| peer.host == 0);
    if local.is_some_and(|peer| !peer.attached) {
        return Err((DropReason::NotAttached, 0));
    }
    match oracle(view, &World::groups(port.groups), Direction::Egress, identity, to, service) {
        Some(rule) if rule.action == Action::Deny => return Err((DropReason::EgressRule, rule.number)),
        _ => {}
    }
    let Some(local) = local else { return Ok(()) };
    let own = World::identity(port.groups);
    match oracle(view, &World::groups(local.groups), Direction::Ingress, own, source, service) {
        Some(rule) if rule.action == Action::Allow => Ok(()),
        Some(rule) => Err((DropReason::IngressRule, rule.number)),
        None => Err((DropReason::IngressRule, andromede_abi::rule::DEFAULT_INGRESS)),
    }
}

/// A world in which three ports are here and attached.
fn crowded_world() -> impl Strategy<Value = World> {
    world().prop_map(|mut world| {
        for port in &mut world.ports[..3] {
            let spec = port.get_or_insert(PortSpec {
                host: 0,
                attached: true,
                groups: [true, false, true],
                extra: None,
                mac: 0,
            });
            (spec.host, spec.attached) = (0, true);
        }
        world
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_walk_agrees_with_a_scan(
        world in crowded_world(),
        packets in prop::collection::vec((0usize..3, select(addresses()), packet()), 40),
    ) {
        let view = world.view();
        let Wanted { rows, .. } =
            compile(std::slice::from_ref(&view), &world.facts(), &world.attachments(), &Rows::default()).unwrap();
        let tables = tables(rows);
        for (from, to, mut service) in packets {
            let source = *world.addresses(from).iter().find(|address| address.is_ipv4() == to.is_ipv4()).unwrap();
            if source == to {
                continue;
            }
            // An echo request of the family, whatever the type that was drawn.
            if matches!(service.protocol, 1 | 58) {
                service = if to.is_ipv4() { Service { protocol: 1, port: 8 << 8 } } else { Service { protocol: 58, port: 128 << 8 } };
            }
            let mac = view.ports[&common::world::port_name(from)].mac.bytes();
            let frame = frame(&Ends::new((mac, source), ([2, 0, 0x5e, 0, 0, 1], to)), service);
            let found = walk(&tables, World::ifindex(from), frame);
            prop_assert_eq!(found, expected(&world, &view, from, to, service), "{} {} {:?}", from, to, service);
        }
    }
}
