//! Promise 3 over an upgrade that changes the layout of the flow table: live connections go on, and count on their budgets again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{fs, net::SocketAddr, path::Path, thread, time::Duration};

use andromede_abi::{FlowKey, FlowRow, FlowRow1, bytes_of, flow_flag, maps};
use andromede_testkit::{
    traffic::{BackgroundStream, Sink},
    wait,
};
use andromede_tests::{
    TwoTenants,
    scene::v4,
    usage::{Counts, counted, recount, tables},
};
use aya::maps::{HashMap, MapData};
use nix::sys::signal::Signal;

/// Keys and rows of layout 1 as bytes: aya wants types of its own crate.
type Older = HashMap<MapData, [u8; size_of::<FlowKey>()], [u8; size_of::<FlowRow1>()]>;

/// TCP ports of the two streams.
const ACROSS: u16 = 9_000;
const WITHIN: u16 = 9_001;

/// The row as layout 1 had it.
const fn older(row: &FlowRow) -> FlowRow1 {
    FlowRow1 {
        owner: row.owner,
        connection: row.connection,
        low: row.low,
        high: row.high,
        seen: row.seen,
        state: row.state,
        flags: row.flags & flow_flag::HIGH_INITIATED,
        low_kind: row.low_kind,
        high_kind: row.high_kind,
        egress_rule: row.egress_rule,
        ingress_rule: row.ingress_rule,
        low_ifindex: row.low_ifindex,
        high_ifindex: row.high_ifindex,
        low_mac: row.low_mac,
        high_mac: row.high_mac,
        cut_rule: row.cut_rule,
        next_hop: row.next_hop,
        reserved: [0; 16],
    }
}

/// Leaves behind what an agent of layout 1 would: a flow table of that layout, and none of the tables that came with the next. The programs
/// go on with the tables that they have, whose pins are gone.
fn turn_back(pins: &Path, flows: &[(FlowKey, FlowRow)]) {
    let mut table = Older::create(maps::FLOWS.rows, 0).unwrap();
    for (key, row) in flows {
        let key: [u8; size_of::<FlowKey>()] = bytes_of(key).try_into().unwrap();
        let row: [u8; size_of::<FlowRow1>()] = bytes_of(&older(row)).try_into().unwrap();
        table.insert(key, row, 0).unwrap();
    }
    table.pin(pins.join("FLOWS@1")).unwrap();
    for gone in [maps::FLOWS, maps::USAGE, maps::REAPER, maps::FRAGMENTS] {
        fs::remove_file(pins.join(format!("{}@{}", gone.name, gone.layout))).unwrap();
    }
}

/// Numbers of the connections to a TCP port, on h1.
fn connections(scene: &TwoTenants, port: u16) -> Vec<u64> {
    let flows = tables(&scene.fabric, 1, |tables| tables.flows.all()).unwrap().unwrap();
    let of_port = flows.into_iter().filter(|(key, _)| [key.low_port, key.high_port].contains(&port.to_be()));
    of_port.map(|(_, row)| row.connection).collect()
}

#[test]
fn live_connections_outlive_a_change_of_the_layout_of_their_table() {
    let mut scene = TwoTenants::start().unwrap();
    let sinks =
        [Sink::start(scene.red_b.namespace(), ACROSS).unwrap(), Sink::start(scene.red_c.namespace(), WITHIN).unwrap()];
    let streams = [(12, ACROSS), (13, WITHIN)]
        .map(|(last, port)| BackgroundStream::start(scene.red_a.namespace(), SocketAddr::new(v4(last), port)));
    thread::sleep(Duration::from_millis(500));
    let before = [connections(&scene, ACROSS), connections(&scene, WITHIN)];
    assert!(before.iter().all(|numbers| numbers.len() == 1), "{before:?}");

    scene.fabric.agent_mut(1).unwrap().stop(Signal::SIGTERM).unwrap();
    let place = scene.fabric.agent(1).unwrap().place().clone();
    let mount = place.pins.as_ref().unwrap();
    let flows = tables(&scene.fabric, 1, |tables| tables.flows.all()).unwrap().unwrap();
    let pins = mount.folder().join("andromede").join(&place.instance);
    mount.run(|| turn_back(&pins, &flows)).unwrap();
    let received = sinks.each_ref().map(Sink::received);
    scene.fabric.resume_agent(1).unwrap();
    scene.fabric.wait_in_force().unwrap();
    thread::sleep(Duration::from_secs(1));

    let left = mount.run(|| pins.join("FLOWS@1").exists()).unwrap();
    assert!(!left, "the table of the layout before is gone");
    let log = scene.fabric.agent(1).unwrap().log();
    assert!(log.contains("connections of an older layout") && log.contains("lost=0"), "{log}");
    assert_eq!([connections(&scene, ACROSS), connections(&scene, WITHIN)], before, "the rows are those from before");
    for ((sink, stream), received) in sinks.iter().zip(&streams).zip(received) {
        assert!(sink.received() > received && !stream.ended(), "the stream goes on");
    }
    // Each stream is judged again at its next packet, and counts from then on.
    let counts = wait::until("the streams count on their budgets", Duration::from_secs(10), || {
        let counts = counted(&scene.fabric, 1).unwrap();
        (counts.values().sum::<u64>() >= 2 + 1 + 2).then_some(counts)
    })
    .unwrap_or_else(|error| panic!("{error:#}: {:?}", counted(&scene.fabric, 1)));
    let settled = wait::until("what is counted is what is there", Duration::from_secs(10), || {
        let rows: Counts = recount(&tables(&scene.fabric, 1, |tables| tables.flows.all()).unwrap().unwrap());
        (counted(&scene.fabric, 1).unwrap() == rows).then_some(())
    });
    assert!(settled.is_ok(), "{counts:?}");
    for (stream, sink) in streams.into_iter().zip(sinks) {
        assert!(stream.stop().unwrap().same_bytes(&sink.report().unwrap()), "every byte arrived");
    }
    let log = scene.fabric.agent(1).unwrap().log();
    assert!(!log.contains("counted what is not there"), "{log}");
}
