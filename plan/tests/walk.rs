//! The packet path itself, walked over compiled rows, lets pass what a scan of all rules lets pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::net::IpAddr;

use andromede_abi::{DropReason, HostConfig, bytes_of, from_bytes, hook};
use andromede_model::{Action, Direction, NetworkView};
use andromede_pipeline::{
    Context, Scratch, TargetKind, carry_out, decide,
    memory::{Bytes, Tables},
};
use andromede_plan::{Rows, Wanted, changes, compile};
use andromede_testkit::packet::{Ends, Tcp, tcp_flag};
use common::{
    lookup::{Service, packet},
    oracle::oracle,
    places::Places,
    world::{PortSpec, World, addresses, next_world, port_name, world},
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
        networks: rows.networks,
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

/// What the path says of a frame from a local port: passes, or why not and by which rule. Flows are opened, and cut.
fn walk(tables: &Tables, ifindex: u32, frame: Vec<u8>) -> Result<(), (DropReason, u32)> {
    let blank: HostConfig = from_bytes(&vec![0; size_of::<HostConfig>()]).unwrap();
    let host = HostConfig { host: 1, underlay_mtu: 1_500, vxlan_port: 4789u16.to_be(), ..blank };
    assert_eq!(bytes_of(&host).len(), size_of::<HostConfig>());
    let context = Context::at(hook::FROM_WORKLOAD, ifindex, 1, &host);
    let mut scratch = Scratch::EMPTY;
    decide(&Bytes(frame), &context, tables, &mut scratch);
    carry_out(tables, context.now, &mut scratch);
    let verdict = scratch.verdict;
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
    let place = peer.and_then(|peer| world.ports[peer].as_ref()).map_or(Places::ENDPOINT, |peer| peer.host);
    if local.is_none() && !world.places.admit(place) {
        return Err((DropReason::ForbiddenZone, 0));
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
    world().prop_map(crowded)
}

fn crowded(mut world: World) -> World {
    for port in &mut world.ports[..3] {
        let spec =
            port.get_or_insert(PortSpec { host: 0, attached: true, groups: [true, false, true], extra: None, mac: 0 });
        (spec.host, spec.attached) = (0, true);
    }
    world
}

/// A TCP connection from a local port.
#[derive(Clone, Copy, Debug)]
struct Connection {
    from: usize,
    source: IpAddr,
    to: IpAddr,
    port: u16,
}

impl Connection {
    fn segment(&self, view: &NetworkView, flags: u8) -> Vec<u8> {
        let mac = view.ports[&port_name(self.from)].mac.bytes();
        let ends = Ends::new((mac, self.source), ([2, 0, 0x5e, 0, 0, 1], self.to));
        ends.tcp(&Tcp::new(40_000 + self.port % 7, self.port, flags), &[])
    }
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
            let mac = view.ports[&port_name(from)].mac.bytes();
            let frame = frame(&Ends::new((mac, source), ([2, 0, 0x5e, 0, 0, 1], to)), service);
            tables.flows.borrow_mut().clear();
            let found = walk(&tables, World::ifindex(from), frame);
            prop_assert_eq!(found, expected(&world, &view, from, to, service), "{} {} {:?}", from, to, service);
        }
    }

    #[test]
    fn a_change_cuts_no_connection_that_the_old_and_the_new_rules_permit(
        (old, new) in crowded_world().prop_flat_map(|old| {
            let new = next_world(&old).prop_map(crowded);
            (Just(old), new)
        }),
        tries in prop::collection::vec((0usize..3, select(addresses()), select(vec![22u16, 80, 443, 1000])), 30),
    ) {
        let found = compile(&[old.view()], &old.facts(), &old.attachments(), &Rows::default()).unwrap().rows;
        let wanted = compile(&[new.view()], &new.facts(), &new.attachments(), &found).unwrap();
        let (old_view, new_view) = (old.view(), new.view());
        let mut now = tables(found.clone());
        let last = tables(wanted.rows.clone());
        let mut connections = Vec::new();
        for (from, to, port) in tries {
            let own = old.addresses(from);
            let source = *own.iter().find(|address| address.is_ipv4() == to.is_ipv4()).unwrap();
            let one = Connection { from, source, to, port };
            let same_mac = old_view.ports[&port_name(from)].mac == new_view.ports[&port_name(from)].mac;
            let ifindex = World::ifindex(from);
            let permitted = same_mac
                && source != to
                && walk(&now, ifindex, one.segment(&old_view, tcp_flag::SYN)).is_ok()
                && walk(&last, ifindex, one.segment(&new_view, tcp_flag::SYN)).is_ok();
            if permitted {
                connections.push(one);
            }
        }
        let mut rows = found.clone();
        let steps = changes(&found, &wanted);
        for (place, step) in steps.iter().enumerate() {
            rows.apply(step);
            now = Tables { flows: now.flows, ..tables(rows.clone()) };
            for one in &connections {
                let passes = walk(&now, World::ifindex(one.from), one.segment(&old_view, tcp_flag::ACK));
                // A segment may be lost while the network is changing, or its address moves: its sender tries again.
                let cut = matches!(
                    passes,
                    Err((DropReason::ConnectionCut | DropReason::EgressRule | DropReason::IngressRule, _))
                );
                prop_assert!(!cut, "{one:?}: {passes:?} after step {place} of {steps:#?}");
            }
        }
    }
}
