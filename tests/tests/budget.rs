//! Promise 4: no neighbour's noise. A tenant that fills all it may hurts only itself, and what it took comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use andromede_testkit::{
    Namespace, Workload,
    fabric::INTERFACE,
    packet::{Ends, Tcp, tcp_flag},
    raw::RawSocket,
    traffic::{BackgroundStream, Sink},
    wait,
};
use andromede_tests::{
    Bundle, TwoTenants,
    bundle::{network_name, port_name},
    dropped, dropped_more,
    scene::{RED_VNI, v4},
    starved,
    usage::{counted, tables},
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Connections that a port of `red` may open on h1: there are two tenants, and `red` has two ports (docs/budgets.md).
const OUTBOUND: u16 = 8_192;
/// How many of them may be half-open.
const HALF_OPEN: u16 = OUTBOUND / 4;

fn socket(workload: &Workload) -> RawSocket {
    RawSocket::open(workload.namespace(), INTERFACE, true).unwrap()
}

/// Opens connections one after another until it is told to stop; how many succeeded, and how many failed.
fn connects(from: Namespace, to: SocketAddr, stop: Arc<AtomicBool>) -> thread::JoinHandle<(u32, u32)> {
    thread::spawn(move || {
        let (mut opened, mut failed) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            match from.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(2))).unwrap() {
                Ok(_) => opened += 1,
                Err(_) => failed += 1,
            }
            thread::sleep(Duration::from_millis(5));
        }
        (opened, failed)
    })
}

/// The connections to a TCP port, by host and number: one that was evicted and opened again has another.
fn rows(scene: &TwoTenants, port: u16) -> BTreeSet<(u8, u64)> {
    let of_host = |host: u8| {
        let flows = tables(&scene.fabric, host, |tables| tables.flows.all()).unwrap().unwrap();
        let of_port = flows.into_iter().filter(move |(key, _)| [key.low_port, key.high_port].contains(&port.to_be()));
        of_port.map(move |(_, row)| (host, row.connection))
    };
    [1, 2].into_iter().flat_map(of_host).collect()
}

/// SYNs from every source port, and datagrams from as many, each answered: all that `red/a` may have, several times.
fn flood(scene: &TwoTenants) {
    let (a, c) = (socket(&scene.red_a), socket(&scene.red_c));
    let ends = Ends::new((scene.red_a.mac().unwrap(), v4(11)), (scene.red_c.mac().unwrap(), v4(13)));
    for port in [80, 81] {
        for source in 1024..u16::MAX {
            a.send(&ends.tcp(&Tcp::new(source, port, tcp_flag::SYN), b"")).unwrap();
        }
    }
    for source in 1024..30_000 {
        a.send(&ends.udp(source, 53, b"question")).unwrap();
        c.send(&ends.reversed().udp(53, source, b"answer")).unwrap();
    }
}

#[test]
fn a_tenant_that_fills_all_it_may_hurts_only_itself() {
    let scene = TwoTenants::start().unwrap();
    let sink = Sink::start(scene.blue_b.namespace(), 9000).unwrap();
    let stream = BackgroundStream::start(scene.blue_a.namespace(), SocketAddr::new(v4(12), 9000));
    let listener = scene.blue_b.namespace().run(|| TcpListener::bind("0.0.0.0:7000")).unwrap().unwrap();
    let accepted = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&accepted);
    thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let to = SocketAddr::new(v4(12), 7000);
    let connecting = connects(scene.blue_a.namespace().clone(), to, Arc::clone(&stop));
    thread::sleep(Duration::from_millis(300));
    let (before, rows) = (sink.received(), rows(&scene, 9000));
    assert_eq!(rows.len(), 2, "the stream has a row on each host");

    flood(&scene);

    // Its peer resets what it is sent, which ends that it is half-open: so both shares are filled.
    dropped_more(&scene.fabric, "flows-outbound", 0, 50_000).unwrap();
    dropped_more(&scene.fabric, "half-open", 0, 1_000).unwrap();
    let listed = scene.fabric.control().json(&["flows", "--port", &port_name("red", "a"), "--limit", "10000"]).unwrap();
    let listed = listed.get("flows").and_then(Value::as_array).cloned().unwrap_or_default();
    let opened = |flow: &&Value| flow.get("initiator").and_then(Value::as_str) == Some("10.0.0.11");
    let flows = listed.iter().filter(opened).count();
    assert!(flows <= usize::from(OUTBOUND) && flows > usize::from(OUTBOUND / 2), "{flows} connections");

    thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    let (opened, failed) = connecting.join().unwrap();
    assert!(opened > 50, "{opened} connections were opened beside the flood");
    assert_eq!(failed, 0, "connections of the other tenant that failed, of {opened}");
    assert_eq!(accepted.load(Ordering::Relaxed), opened);
    assert!(sink.received() > before && !stream.ended(), "the other tenant's live connection goes on");
    // The flood has used this port too.
    assert!(self::rows(&scene, 9000).is_superset(&rows), "the stream has the rows that it had: they were not evicted");
    let sent = stream.stop().unwrap();
    assert!(sent.same_bytes(&sink.report().unwrap()), "every byte arrived");
    assert_eq!(starved(&scene.fabric, "blue").unwrap(), Vec::<Value>::new());
    assert_ne!(starved(&scene.fabric, "red").unwrap(), Vec::<Value>::new());
}

/// Does a new datagram get from `red/a` to `red/c`?
fn passes(scene: &TwoTenants, source: u16) -> bool {
    let (a, c) = (socket(&scene.red_a), socket(&scene.red_c));
    let ends = Ends::new((scene.red_a.mac().unwrap(), v4(11)), (scene.red_c.mac().unwrap(), v4(13)));
    let frame = ends.udp(source, 99, b"is there a place for this?");
    a.send(&frame).unwrap();
    c.receive_matching(Duration::from_millis(500), |seen| seen == frame).unwrap().is_some()
}

/// Fills the half-open share of `red/a`, whose connections live for five seconds without an answer.
fn fill(scene: &TwoTenants) {
    let a = socket(&scene.red_a);
    let ends = Ends::new((scene.red_a.mac().unwrap(), v4(11)), (scene.red_c.mac().unwrap(), v4(13)));
    for source in 1024..1024 + HALF_OPEN * 2 {
        a.send(&ends.udp(source, 98, b"nobody answers")).unwrap();
    }
}

fn recovers(scene: &TwoTenants, limit: Duration) -> Duration {
    let begun = Instant::now();
    for source in 40_000.. {
        if passes(scene, source) {
            break;
        }
        assert!(begun.elapsed() < limit, "the budget did not come back within {limit:?}");
    }
    begun.elapsed()
}

#[test]
fn what_was_taken_comes_back_with_and_without_an_agent() {
    let mut scene = TwoTenants::start().unwrap();
    let network = network_name("red");
    let short = format!("kind: Network\nname: {network}\nvni: {RED_VNI}\ntimeouts: {{udpOneWaySeconds: 5}}\n");
    scene.fabric.apply(&short).unwrap();
    scene.fabric.wait_in_force().unwrap();

    fill(&scene);
    assert!(!passes(&scene, 39_000), "the half-open share is full");
    let with = recovers(&scene, Duration::from_secs(15));

    fill(&scene);
    assert!(!passes(&scene, 39_001), "the half-open share is full again");
    scene.fabric.agent_mut(1).unwrap().stop(Signal::SIGKILL).unwrap();
    let without = recovers(&scene, Duration::from_secs(30));
    println!("the share came back after {with:?} with an agent, after {without:?} without one");

    // The next agent finds counts that are right: it corrects none, and the budget goes on working.
    scene.fabric.resume_agent(1).unwrap();
    scene.fabric.wait_in_force().unwrap();
    let before = dropped(&scene.fabric, "half-open").unwrap();
    fill(&scene);
    assert!(!passes(&scene, 39_002));
    dropped_more(&scene.fabric, "half-open", before, u64::from(HALF_OPEN / 2)).unwrap();
    thread::sleep(Duration::from_secs(12));
    let log = scene.fabric.agent(1).unwrap().log();
    assert!(!log.contains("counted what is not there"), "{log}");
}

/// Datagrams of new connections from one workload of `red` to another, from so many ports. Nobody answers.
fn ask(from: (&Workload, u8), to: (&Workload, u8), ports: std::ops::Range<u16>) {
    let socket = RawSocket::open_to_send(from.0.namespace(), INTERFACE).unwrap();
    let ends = Ends::new((from.0.mac().unwrap(), v4(from.1)), (to.0.mac().unwrap(), v4(to.1)));
    for port in ports {
        socket.send(&ends.udp(port, 97, b"nobody answers")).unwrap();
    }
}

/// Each budget by itself, in force while traffic flows: a change of it holds from the next new connection on. What it refuses has its reason, no
/// other tenant feels it, and when the connections are over nothing is counted any more.
#[test]
fn each_budget_refuses_by_its_reason_and_all_of_it_comes_back() {
    let scene = TwoTenants::start().unwrap();
    let network = format!("kind: Network\nname: {}\nvni: {RED_VNI}\n", network_name("red"));
    let limited = |port: &str, host: u8, last: u8, limits: &str| {
        let bundle = Bundle::default().port("red", port, host, last, &["open"]).and(&format!("limits: {{{limits}}}"));
        scene.fabric.apply(bundle.text()).unwrap();
    };
    scene.fabric.apply(&(network + "timeouts: {udpOneWaySeconds: 5, otherSeconds: 5, tcpClosedSeconds: 1}\n")).unwrap();
    let sink = Sink::start(scene.blue_b.namespace(), 9000).unwrap();
    let stream = BackgroundStream::start(scene.blue_a.namespace(), SocketAddr::new(v4(12), 9000));
    let (a, b, c) = ((&scene.red_a, 11), (&scene.red_b, 12), (&scene.red_c, 13));
    let refused = |reason: &str, least: u64| dropped_more(&scene.fabric, reason, 0, least).unwrap();

    limited("c", 1, 13, "flowsInbound: 100");
    ask(a, c, 1_000..1_400);
    refused("flows-inbound", 300);
    limited("c", 1, 13, "flowsOutbound: 50");
    ask(c, b, 1_000..1_400);
    refused("flows-outbound", 350);
    // Only what is not answered yet counts here, of each direction by itself.
    limited("b", 2, 12, "halfOpenFlows: 20");
    ask(a, b, 2_000..2_400);
    refused("half-open", 380);
    limited("a", 1, 11, "newFlowsPerSecond: 100");
    ask(a, c, 3_000..3_400);
    refused("new-flow-rate", 200);
    // A port's share is a part of what its tenant has: only a port that is given more can meet the tenant's bound.
    limited("a", 1, 11, "flowsOutbound: 5000, halfOpenFlows: 5000");
    let described = |limits: &str| {
        scene.fabric.apply(&format!("kind: Tenant\nname: tenants/red\nlimits: {{{limits}}}\n")).unwrap();
        scene.fabric.control().ctl(&["describe", "tenant", "red"]).unwrap()
    };
    let told = described("flowsPerHost: 30");
    assert!(told.contains("connections on each host: 30"), "{told}");
    ask(a, b, 4_000..4_400);
    refused("tenant-flows", 300);

    let before = sink.received();
    wait::until("no connection of red counts any more", Duration::from_secs(30), || {
        let of_red = counted(&scene.fabric, 1).unwrap();
        // What is left is of blue: its one stream, at its port and its tenant.
        (of_red.values().all(|count| *count <= 1) && of_red.len() <= 2).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error:#}: {:?}", counted(&scene.fabric, 1)));
    let told = described("");
    assert!(told.contains("connections on each host: the share"), "{told}");
    assert!(passes(&scene, 39_900), "a new connection passes again");
    assert!(sink.received() > before && !stream.ended(), "the other tenant's live connection goes on");
    assert!(stream.stop().unwrap().same_bytes(&sink.report().unwrap()), "every byte arrived");
    assert_eq!(starved(&scene.fabric, "blue").unwrap(), Vec::<Value>::new());
    let out_of_range = "kind: Tenant\nname: tenants/red\nlimits: {flowsPerHost: 2000000}\n";
    let said = scene.fabric.control().apply_refused(out_of_range).unwrap();
    assert!(said.contains("limits.flows_per_host") || said.contains("limits.flowsPerHost"), "{said}");
}
