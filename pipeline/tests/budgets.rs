//! Budgets count what is in the flow table, whatever happens in whatever order, and no limit is passed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{collections::BTreeMap, net::Ipv4Addr};

use andromede_abi::{
    Address, DropReason, FlowKey, FlowRow, HostConfig, HostRow, LocationKey, LocationRow, NetworkRow, Pod, PortLimits,
    PortRow, TENANT_USAGE, Timeouts, Usage, flow_hold, from_bytes, hook, location_flag, location_kind, port_flag,
};
use andromede_pipeline::{
    Context, Scratch, Tables as _, TargetKind, Verdict, carry_out, decide,
    memory::{Bytes, Tables},
    reap,
};
use proptest::prelude::*;

const NETWORK: u32 = 1;
const TENANT: u32 = 7;
const SECOND: u64 = 1_000_000_000;
const LIMITS: PortLimits = PortLimits {
    flows_inbound: 5,
    flows_outbound: 6,
    half_open: 3,
    new_flows_per_second: 0,
    transmit_packets: 0,
    transmit_kilobits: 0,
    receive_packets: 0,
    receive_kilobits: 0,
};
const TENANT_FLOWS: u32 = 9;
const TABLE: usize = 10;

fn zeroed<T: Pod>() -> T {
    from_bytes(&vec![0; size_of::<T>()]).unwrap()
}

const fn address(end: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, end)
}

const fn mac(end: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, end]
}

fn port(end: u8, limits: PortLimits) -> PortRow {
    PortRow {
        owner: PortRow::owner_of(u32::from(end), NETWORK),
        network: NETWORK,
        vni: 4096,
        slot: u32::from(end),
        network_slot: 100,
        ifindex: u32::from(end),
        mac: mac(end),
        flags: port_flag::EGRESS_DEFAULT_ALLOW | port_flag::INGRESS_DEFAULT_ALLOW,
        v4: Address::from(address(end)).v4_word(),
        limits,
        ..zeroed()
    }
}

fn locate(tables: &mut Tables, end: u8, local: bool) {
    let key = LocationKey { address: address(end).into(), network: NETWORK };
    let row = LocationRow {
        owner: LocationRow::owner_of(&key),
        slot: u32::from(end),
        kind: location_kind::PORT,
        flags: if local { location_flag::LOCAL } else { 0 },
        host: if local { 1 } else { 2 },
        ifindex: if local { u32::from(end) } else { 0 },
        mac: mac(end),
        ..zeroed()
    };
    let old = tables.locations.insert(key, row);
    if old.is_some_and(|old| old.flags != row.flags) {
        *tables.epochs.entry(u32::from(end)).or_default() += 1;
        let epoch = tables.epochs.get(&u32::from(end)).copied().unwrap();
        tables.locations.get_mut(&key).unwrap().epoch = epoch;
        if let Some(port) = tables.ports.get_mut(&u32::from(end)) {
            port.epoch = epoch;
        }
    }
}

/// Ports 1 and 2 are here, 3 is elsewhere.
fn tables(limits: PortLimits) -> Tables {
    let mut tables = Tables { flows_max: TABLE, ..Tables::default() };
    for end in [1, 2] {
        tables.ports.insert(u32::from(end), port(end, limits));
        locate(&mut tables, end, true);
    }
    locate(&mut tables, 3, false);
    let underlay = Address::from(Ipv4Addr::new(192, 0, 2, 2));
    tables
        .hosts
        .insert(2, HostRow { owner: HostRow::owner_of(2), underlay, gateway: underlay, ifindex: 9, ..zeroed() });
    let owner = NetworkRow::owner_of(NETWORK);
    let network =
        NetworkRow { owner, tenant: TENANT, timeouts: Timeouts::DEFAULT, tenant_flows: TENANT_FLOWS, ..zeroed() };
    tables.networks.insert(NETWORK, network);
    tables
}

fn frame(from: u8, to: u8, protocol: u8, source_port: u16, port: u16, flags: u8) -> Bytes {
    let mut bytes = [mac(to), mac(from)].concat();
    bytes.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(address(from).octets());
    bytes.extend(address(to).octets());
    bytes.extend(source_port.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    match protocol {
        6 => bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]),
        _ => bytes.extend([0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    }
    Bytes(bytes)
}

/// What a workload of this host sends.
fn send(tables: &Tables, frame: &Bytes, from: u8, now: u64) -> Verdict {
    send_after(tables, frame, from, now, &mut { Scratch::EMPTY })
}

/// The same, on a processor whose last packet left this scratch space.
fn send_after(tables: &Tables, frame: &Bytes, from: u8, now: u64, scratch: &mut Scratch) -> Verdict {
    let host: HostConfig = HostConfig { underlay_mtu: 1_600, ..zeroed() };
    let context = Context::at(hook::FROM_WORKLOAD, u32::from(from), now, &host);
    decide(frame, &context, tables, scratch);
    carry_out(tables, context.now, scratch);
    scratch.verdict
}

fn usage(tables: &Tables, key: u32, usage: Usage) -> u64 {
    tables.usage.borrow().get(&key).map_or(0, |row| row.get().get(usage))
}

/// What the rows say that should be counted.
fn recount(tables: &Tables) -> BTreeMap<(u32, usize), u64> {
    let mut counts = BTreeMap::new();
    let mut add = |key: u32, usage: Usage| {
        if key != 0 {
            *counts.entry((key, usage as usize)).or_default() += 1;
        }
    };
    for row in tables.flows.borrow().values() {
        let row = row.get();
        assert_eq!(row.hold & flow_hold::LOCKED, 0, "a lock stays behind");
        add(row.initiator_budget, Usage::Outbound);
        add(row.answerer_budget, Usage::Inbound);
        if row.hold & flow_hold::HALF_OPEN != 0 {
            add(row.initiator_budget, Usage::OutboundHalfOpen);
            add(row.answerer_budget, Usage::InboundHalfOpen);
        }
        add(row.tenant | TENANT_USAGE, Usage::Inbound);
    }
    counts
}

fn check(tables: &Tables) {
    let expected = recount(tables);
    for key in [1, 2, 3, TENANT | TENANT_USAGE] {
        for word in Usage::COUNTS {
            let wanted = expected.get(&(key, word as usize)).copied().unwrap_or(0);
            assert_eq!(usage(tables, key, word), wanted, "{word:?} of {key:#x}");
        }
    }
    for key in [1, 2] {
        assert!(usage(tables, key, Usage::Inbound) <= u64::from(LIMITS.flows_inbound));
        assert!(usage(tables, key, Usage::Outbound) <= u64::from(LIMITS.flows_outbound));
    }
    assert!(usage(tables, TENANT | TENANT_USAGE, Usage::Inbound) <= u64::from(TENANT_FLOWS));
}

#[derive(Clone, Debug)]
enum Event {
    Packet { from: u8, to: u8, protocol: u8, source_port: u16, port: u16, flags: u8 },
    Wait(u64),
    Reap(usize, bool),
    Epoch(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let tcp_flags = prop::sample::select(vec![0x02_u8, 0x12, 0x10, 0x04, 0x11]);
    let ends = prop::sample::select(vec![(1_u8, 2_u8), (2, 1), (1, 3), (2, 3)]);
    let ports =
        prop::sample::select(vec![(80_u16, 1000_u16), (1000, 80), (80, 1001), (1001, 80), (80, 1002), (1002, 80)]);
    let packet = (ends, prop::bool::ANY, ports, tcp_flags).prop_map(|((from, to), tcp, (source_port, port), flags)| {
        Event::Packet { from, to, protocol: if tcp { 6 } else { 17 }, source_port, port, flags }
    });
    prop_oneof![
        12 => packet,
        1 => prop::sample::select(vec![1_u64, 60, 130, 250]).prop_map(Event::Wait),
        2 => (0..TABLE, prop::bool::weighted(0.2)).prop_map(|(index, live)| Event::Reap(index, live)),
        1 => (1..3_u8).prop_map(Event::Epoch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn what_is_counted_is_what_is_there(events in prop::collection::vec(event(), 1..120)) {
        let mut tables = tables(LIMITS);
        let mut now = 1_000 * SECOND;
        for event in events {
            match event {
                Event::Packet { from, to, protocol, source_port, port, flags } => {
                    let verdict = send(&tables, &frame(from, to, protocol, source_port, port, flags), from, now);
                    prop_assert!(verdict.target.kind == TargetKind::Drop || verdict.reason.is_none());
                }
                Event::Wait(seconds) => now += seconds * SECOND,
                Event::Reap(index, even_live) => {
                    let key: Option<FlowKey> = tables.flows.borrow().keys().nth(index).copied();
                    if let Some(key) = key {
                        let flow = tables.flow(&key).unwrap();
                        let over = tables.flows.borrow().get(&key).unwrap().get().is_over(now);
                        prop_assert_eq!(reap(&tables, &key, &flow, even_live, now), over || even_live);
                    }
                }
                // Every flow of the port is judged again at its next packet.
                Event::Epoch(end) => {
                    let epoch = tables.epochs.entry(u32::from(end)).or_default();
                    *epoch += 1;
                    let epoch = *epoch;
                    tables.ports.get_mut(&u32::from(end)).unwrap().epoch = epoch;
                    let key = LocationKey { address: address(end).into(), network: NETWORK };
                    tables.locations.get_mut(&key).unwrap().epoch = epoch;
                }
            }
            check(&tables);
        }
    }
}

/// The reason for which the `count`th of several new connections is refused.
fn refused(tables: &Tables, count: u16, from: u8, to: u8, now: u64) -> (u16, Option<DropReason>, u32) {
    for number in 0..count {
        let verdict = send(tables, &frame(from, to, 6, 2000 + number, 80, 2), from, now);
        if verdict.reason.is_some() {
            return (number, verdict.reason, verdict.port);
        }
    }
    (count, None, 0)
}

#[test]
fn each_limit_has_its_reason_and_names_its_port() {
    let with = |limits: PortLimits, tenant_flows: u32| {
        let mut tables = tables(limits);
        tables.flows_max = 1000;
        tables.networks.get_mut(&NETWORK).unwrap().tenant_flows = tenant_flows;
        tables
    };
    let none = PortLimits::default();
    let cases = [
        (PortLimits { flows_inbound: 4, ..none }, 0, (4, Some(DropReason::FlowsInbound), 2)),
        (PortLimits { flows_outbound: 5, ..none }, 0, (5, Some(DropReason::FlowsOutbound), 1)),
        (PortLimits { half_open: 3, ..none }, 0, (3, Some(DropReason::HalfOpen), 1)),
        (none, 6, (6, Some(DropReason::TenantFlows), 1)),
        (none, 0, (50, None, 0)),
    ];
    for (limits, tenant_flows, expected) in cases {
        let tables = with(limits, tenant_flows);
        assert_eq!(refused(&tables, 50, 1, 2, SECOND), expected, "{limits:?}");
    }
    // What the bucket holds passes at once, and then what the rate gives.
    let tables = with(PortLimits { new_flows_per_second: 10, ..none }, 0);
    let (passed, reason, port) = refused(&tables, 50, 1, 2, 100 * SECOND);
    assert!((10..=12).contains(&passed), "{passed}");
    assert_eq!((reason, port), (Some(DropReason::NewFlowRate), 1));
}

#[test]
fn a_half_open_share_full_of_dead_syns_recovers_by_expiry() {
    let tables = tables(LIMITS);
    assert_eq!(refused(&tables, 50, 1, 2, SECOND), (3, Some(DropReason::HalfOpen), 1));
    let later = SECOND + 241 * SECOND;
    // Another connection is refused until somebody reaps: the rows are still there.
    let keys: Vec<FlowKey> = tables.flows.borrow().keys().copied().collect();
    for key in keys {
        assert!(reap(&tables, &key, &tables.flow(&key).unwrap(), false, later));
    }
    assert_eq!(refused(&tables, 1, 1, 2, later), (1, None, 0));
    check(&tables);
}

#[test]
fn an_answered_connection_leaves_the_half_open_share() {
    let tables = tables(LIMITS);
    for number in 0..4 {
        for (from, to, flags) in [(1, 2, 0x02), (2, 1, 0x12), (1, 2, 0x10)] {
            let (source_port, port) = if from == 1 { (3000 + number, 80) } else { (80, 3000 + number) };
            assert_eq!(send(&tables, &frame(from, to, 6, source_port, port, flags), from, SECOND).reason, None);
        }
        check(&tables);
    }
    assert_eq!(usage(&tables, 1, Usage::OutboundHalfOpen), 0);
    assert_eq!(usage(&tables, 1, Usage::Outbound), 4);
}

#[test]
fn a_live_connection_that_is_judged_again_is_never_refused() {
    let mut tables = tables(LIMITS);
    for number in 0..3 {
        assert_eq!(send(&tables, &frame(1, 2, 6, 3000 + number, 80, 2), 1, SECOND).reason, None);
    }
    // The limit is lowered under what is there, and every flow is stale.
    tables.ports.insert(1, PortRow { epoch: 1, ..port(1, PortLimits { flows_outbound: 1, ..LIMITS }) });
    tables.epochs.insert(1, 1);
    let key = LocationKey { address: address(1).into(), network: NETWORK };
    tables.locations.get_mut(&key).unwrap().epoch = 1;
    for number in 0..3 {
        assert_eq!(send(&tables, &frame(2, 1, 6, 80, 3000 + number, 0x12), 2, SECOND).reason, None);
    }
    assert_eq!(send(&tables, &frame(1, 2, 6, 4000, 80, 2), 1, SECOND).reason, Some(DropReason::FlowsOutbound));
    check(&tables);
}

#[test]
fn a_port_that_moved_away_no_longer_counts_here() {
    let mut tables = tables(LIMITS);
    assert_eq!(send(&tables, &frame(2, 1, 6, 3000, 80, 2), 2, SECOND).reason, None);
    assert_eq!(usage(&tables, 1, Usage::Inbound), 1);
    locate(&mut tables, 1, false);
    assert_eq!(send(&tables, &frame(2, 1, 6, 3000, 80, 2), 2, SECOND).reason, None);
    assert_eq!((usage(&tables, 1, Usage::Inbound), usage(&tables, 2, Usage::Outbound)), (0, 1));
    check(&tables);
}

#[test]
fn rates_are_policed_both_ways_with_the_stated_burst() {
    let none = PortLimits::default();
    let cases = [
        (PortLimits { transmit_packets: 100, ..none }, 1, DropReason::TransmitPackets, 10),
        // 54 bytes are 432 bits: a tenth of a second of 43,200 bits holds ten.
        (PortLimits { transmit_kilobits: 43, ..none }, 1, DropReason::TransmitBits, 10),
        (PortLimits { receive_packets: 100, ..none }, 2, DropReason::ReceivePackets, 10),
        (PortLimits { receive_kilobits: 43, ..none }, 2, DropReason::ReceiveBits, 10),
    ];
    for (limits, blamed, reason, burst) in cases {
        let mut tables = tables(none);
        let flags = port_flag::TRANSMIT_POLICED | port_flag::RECEIVE_POLICED;
        let policed = port(blamed, limits);
        tables.ports.insert(u32::from(blamed), PortRow { flags: policed.flags | flags, ..policed });
        let sent = |now: u64| {
            let passed = (0..100).take_while(|_| {
                let verdict = send(&tables, &frame(1, 2, 17, 5000, 80, 0), 1, now);
                assert!(
                    verdict.reason.is_none() || (verdict.reason, verdict.port) == (Some(reason), u32::from(blamed))
                );
                verdict.reason.is_none()
            });
            passed.count()
        };
        let at_once = sent(10 * SECOND);
        assert!((burst..=burst + 2).contains(&at_once), "{reason:?}: {at_once}");
        let then = sent(10 * SECOND + SECOND / 20);
        assert!((4..=6).contains(&then), "{reason:?}: {then} in a twentieth of a second");
    }
}

#[test]
fn connections_that_come_in_leave_the_port_its_own() {
    let tables = tables(PortLimits { new_flows_per_second: 2, ..PortLimits::default() });
    let (count, reason, port) = refused(&tables, 5, 1, 2, SECOND);
    assert_eq!((reason, port), (Some(DropReason::NewFlowRate), 1), "after {count}");
    assert_eq!(refused(&tables, 1, 2, 3, SECOND), (1, None, 0), "what the other end opens is of another bucket");
}

#[test]
fn who_meets_another_processor_at_a_row_is_refused_at_its_own_port() {
    let tables = tables(PortLimits { flows_outbound: 1, ..PortLimits::default() });
    let syn = frame(1, 3, 6, 2_000, 80, 2);
    assert_eq!(send(&tables, &syn, 1, SECOND).reason, None);
    for row in tables.flows.borrow().values() {
        row.set(FlowRow { hold: row.get().hold | flow_hold::LOCKED, ..row.get() });
    }
    let (over, mut scratch) = (SECOND * 3_600, Scratch::EMPTY);
    let mut of_another = |source| send_after(&tables, &frame(2, 3, 6, source, 80, 2), 2, over, &mut scratch);
    assert_eq!(of_another(1).reason, None);
    assert_eq!((of_another(2).reason, of_another(3).port), (Some(DropReason::FlowsOutbound), 2));
    let verdict = send_after(&tables, &syn, 1, over, &mut scratch);
    assert_eq!((verdict.reason, verdict.port), (Some(DropReason::ConnectionChanging), 1));
}
