//! Promise 4 on several processors at once: whoever opens, judges again, cuts and removes the same connections at the same moment,
//! what is counted afterwards is what is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use andromede_abi::{FlowKey, PortLimits, TENANT_USAGE, Usage, flow_hold};
use andromede_dataplane::{Dataplane, FrameContext, Kernel, Sizes};
use andromede_plan::Rows;
use andromede_testkit::packet::{Tcp, tcp_flag};
use andromede_tests::{
    chance::Chance,
    twin::{END_LOCAL_A, END_LOCAL_B, END_REMOTE, Met, SmallFabric, talk, write_rows},
    usage::{Counts, counts, recount},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde_json::json;

/// Source ports of the connections: so few that processors meet on them.
const CLIENTS: usize = 4;
/// Runs of a program on one frame in one system call, and how often a request to remove connections names the same one: so often do two
/// processors come to a row at the same moment.
const TIMES: u32 = 16;
/// What a port may have: fewer than there are connections to open, so that refusals give back what they took.
const LIMITS: PortLimits = PortLimits {
    flows_inbound: 9,
    flows_outbound: 10,
    half_open: 6,
    new_flows_per_second: 0,
    transmit_packets: 0,
    transmit_kilobits: 0,
    receive_packets: 0,
    receive_kilobits: 0,
};
/// What the tenant may have.
const TENANT_FLOWS: u32 = 13;
/// Rounds; in each, everything happens at once for a while, and then everything is counted.
const ROUNDS: u32 = 8;
const ROUND: Duration = Duration::from_millis(400);

/// A packet of one of the connections, in an order that no end would send.
fn packet(chance: &mut Chance) -> Met {
    let client = 40_000 + chance.below(CLIENTS) as u16;
    let flags = chance.pick(&[
        tcp_flag::SYN,
        tcp_flag::SYN,
        tcp_flag::SYN | tcp_flag::ACK,
        tcp_flag::ACK,
        tcp_flag::ACK,
        tcp_flag::FIN | tcp_flag::ACK,
        tcp_flag::RST,
    ]);
    let segment = Tcp::new(client, 80, flags);
    let (from, to) = chance.pick(&[(END_LOCAL_A, END_LOCAL_B), (END_LOCAL_A, END_REMOTE), (END_REMOTE, END_LOCAL_B)]);
    let ends = talk::v4(from, to);
    let back = chance.one_in(3);
    let ends = if back { ends.reversed() } else { ends };
    let frame = match (chance.one_in(3), back) {
        (true, false) => ends.udp(client, 53, b"question"),
        (true, true) => ends.udp(53, client, b"answer"),
        (false, false) => ends.tcp(&segment, b""),
        (false, true) => ends.tcp(&Tcp { source: 80, destination: client, ..segment }, b""),
    };
    let sender = if back { to } else { from };
    if sender == END_REMOTE { talk::received(2, talk::VNI[0], &frame) } else { talk::sent(sender, frame) }
}

fn stay_on(cpu: usize) {
    let mut one = CpuSet::new();
    one.set(cpu).unwrap();
    // On a machine with fewer processors it stays where it is.
    let _ = sched_setaffinity(Pid::from_raw(0), &one);
}

/// Sends packets until told to stop; how many.
fn send(kernel: &Dataplane, cpu: usize, seed: u64, stop: &AtomicBool) -> u64 {
    stay_on(cpu);
    let bench = kernel.test_bench().unwrap();
    let mut chance = Chance::new(seed);
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let met = packet(&mut chance);
        let context = FrameContext { ifindex: met.ifindex, ..FrameContext::default() };
        bench.repeat(met.hook, &met.frame, context, TIMES).unwrap();
        sent += u64::from(TIMES);
    }
    sent
}

/// Removes connections, those that live too, until told to stop; how many.
fn remove(kernel: &Dataplane, cpu: usize, seed: u64, stop: &AtomicBool) -> usize {
    stay_on(cpu);
    let reaper = kernel.reaper().unwrap();
    let mut chance = Chance::new(seed);
    let mut removed = 0;
    while !stop.load(Ordering::Relaxed) {
        let keys: Vec<FlowKey> = kernel.tables.flows.all().unwrap().into_iter().map(|(key, _)| key).collect();
        removed += reaper.reap(&keys).unwrap();
        for _ in 0..keys.len() * 8 {
            removed += reaper.evict(&[chance.pick(&keys); TIMES as usize]).unwrap();
        }
    }
    removed
}

/// The rows of a host, with small budgets.
fn rows(fabric: &SmallFabric) -> Rows {
    let mut rows = fabric.rows().clone();
    rows.ports.values_mut().for_each(|port| port.limits = LIMITS);
    rows.networks.values_mut().for_each(|network| network.tenant_flows = TENANT_FLOWS);
    rows
}

fn race(kernel: &Dataplane, fabric: &mut SmallFabric) {
    let rule = |action: &str| {
        json!([
            {"name": "web", "direction": "ingress", "action": action, "protocol": "tcp", "ports": ["80"]},
            {"name": "dns", "direction": "ingress", "action": "allow", "protocol": "udp", "ports": ["53"]},
        ])
    };
    let timeouts = json!({"tcpTransitorySeconds": 10, "tcpClosedSeconds": 1, "udpOneWaySeconds": 5});
    fabric.set_timeouts("red", &timeouts).unwrap();
    let (sent, removed) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut kept, mut changes) = (0, 0);
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let (stop, sent, removed) = (&stop, &sent, &removed);
            for cpu in 0..4_usize {
                let seed = u64::from(round) * 10 + cpu as u64 + 1;
                scope.spawn(move || match cpu % 2 {
                    0 => sent.fetch_add(send(kernel, cpu, seed, stop), Ordering::Relaxed),
                    _ => removed.fetch_add(remove(kernel, cpu, seed, stop) as u64, Ordering::Relaxed),
                });
            }
            let begin = Instant::now();
            while begin.elapsed() < ROUND {
                changes += 1;
                fabric.set_rules("red", &rule(if changes % 2 == 0 { "allow" } else { "deny" })).unwrap();
                write_rows(kernel, &rows(fabric)).unwrap();
                thread::sleep(Duration::from_millis(3));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let flows = kernel.tables.flows.all().unwrap();
        kept += flows.len();
        let locked: Vec<_> = flows.iter().filter(|(_, row)| row.hold & flow_hold::LOCKED != 0).collect();
        assert!(locked.is_empty(), "locks stay behind: {locked:?}");
        assert_eq!(counts(&kernel.tables).unwrap(), recount(&flows), "round {round}: {flows:?}");
        let most = |key: u32, usage: Usage| if key & TENANT_USAGE != 0 { TENANT_FLOWS } else { limit(usage) };
        for ((key, word), count) in counts(&kernel.tables).unwrap() {
            let usage = Usage::COUNTS[word];
            assert!(count <= u64::from(most(key, usage)), "{usage:?} of {key:#x} is {count}");
        }
    }
    let (sent, removed) = (sent.into_inner(), removed.into_inner());
    println!(
        "{sent} packets, {removed} connections removed, {changes} changes of the rules, {kept} connections counted"
    );
    assert!(sent > 10_000 && removed > 100 && changes > 20 && kept > 0, "it was no race");

    let keys: Vec<FlowKey> = kernel.tables.flows.all().unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(kernel.reaper().unwrap().evict(&keys).unwrap(), keys.len());
    assert_eq!((kernel.tables.flows.count().unwrap(), counts(&kernel.tables).unwrap()), (0, Counts::new()));
}

/// One connection, opened on one processor without end, and removed on the others.
fn duel(kernel: &Dataplane) {
    let met = talk::sent(END_LOCAL_A, talk::v4(END_LOCAL_A, END_LOCAL_B).udp(40_000, 53, b"question"));
    let context = FrameContext { ifindex: met.ifindex, ..FrameContext::default() };
    kernel.test_bench().unwrap().run(met.hook, &met.frame, context).unwrap();
    let flows = kernel.tables.flows.all().unwrap();
    let key = flows.first().expect("the datagram opens a connection").0;
    let (stop, removed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let (stop, removed) = (&stop, &removed);
        scope.spawn(move || {
            stay_on(0);
            let bench = kernel.test_bench().unwrap();
            while !stop.load(Ordering::Relaxed) {
                bench.repeat(met.hook, &met.frame, context, 1_000).unwrap();
            }
        });
        for cpu in 1..4 {
            scope.spawn(move || {
                stay_on(cpu);
                let reaper = kernel.reaper().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    removed.fetch_add(reaper.evict(&[key; 256]).unwrap() as u64, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(ROUND * 4);
        stop.store(true, Ordering::Relaxed);
    });
    println!("one connection was removed {} times", removed.load(Ordering::Relaxed));
    assert!(removed.into_inner() > 1_000, "it was no race");
    assert_eq!(counts(&kernel.tables).unwrap(), recount(&kernel.tables.flows.all().unwrap()));
    kernel.reaper().unwrap().evict(&[key]).unwrap();
    assert_eq!((kernel.tables.flows.count().unwrap(), counts(&kernel.tables).unwrap()), (0, Counts::new()));
}

const fn limit(usage: Usage) -> u32 {
    match usage {
        Usage::Inbound => LIMITS.flows_inbound,
        Usage::Outbound => LIMITS.flows_outbound,
        _ => LIMITS.half_open,
    }
}

/// Does it with a packet path that no host has.
fn with_kernel(test: impl FnOnce(&Dataplane, &mut SmallFabric) + Send) {
    andromede_testkit::requires::require(&["ip"]).unwrap();
    let namespace = SmallFabric::namespace().unwrap();
    let inside = || {
        let mut fabric = SmallFabric::new().unwrap();
        let host = andromede_abi::HostConfig { features: Kernel::probe().features(), ..fabric.host_config() };
        let kernel = Dataplane::load(None, &host, &Sizes::small()).unwrap();
        write_rows(&kernel, &rows(&fabric)).unwrap();
        test(&kernel, &mut fabric);
    };
    namespace.run(inside).unwrap();
}

#[test]
fn what_is_counted_is_what_is_there_on_several_processors() {
    with_kernel(race);
}

#[test]
fn a_connection_gives_back_once_whoever_removes_it() {
    with_kernel(|kernel, _| duel(kernel));
}
