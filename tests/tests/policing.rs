//! Promise 4: bandwidth has budgets. Packets and bits a second, of what a port sends and of what it receives, within a host and across.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{net::SocketAddr, thread, time::Duration};

use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    traffic::{Offer, Offered, offer, throughput},
};
use andromede_tests::{
    Bundle,
    bundle::{ANYTHING_IN, port_name},
    dropped_more,
    scene::v4,
};

/// Bytes of a datagram, and of the headers that rates count with it: Ethernet 14, IPv4 20, UDP 8.
const PAYLOAD: usize = 1_000;
const FRAME: u64 = PAYLOAD as u64 + 42;
/// How long something is offered.
const TIME: Duration = Duration::from_secs(3);
/// UDP port of the receivers.
const PORT: u16 = 9_000;

/// Two senders on h1; the receiver of the first is on h1 too, that of the second on h2.
struct Scene {
    senders: [Workload; 2],
    receivers: [Workload; 2],
    fabric: Fabric,
}

/// Who is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limited {
    Senders,
    Receivers,
}

/// The bundle, with limits of the senders or of the receivers in YAML's flow style.
fn bundle(limited: Limited, limits: &str) -> Bundle {
    let limits = format!("limits: {{{limits}}}");
    let (senders, receivers) = if limited == Limited::Senders { (limits.as_str(), "") } else { ("", limits.as_str()) };
    Bundle::hosts(2)
        .tenant("red", 4001)
        .group("red", "open", &[ANYTHING_IN])
        .port("red", "s1", 1, 11, &["open"])
        .and(senders)
        .port("red", "s2", 1, 12, &["open"])
        .and(senders)
        .port("red", "r1", 1, 21, &["open"])
        .and(receivers)
        .port("red", "r2", 2, 22, &["open"])
        .and(receivers)
}

impl Scene {
    fn start() -> Self {
        let fabric = Fabric::start(FabricOptions::default()).unwrap();
        fabric.apply(bundle(Limited::Senders, "").text()).unwrap();
        let attach = |host: u8, port: &str| fabric.attach(host, &port_name("red", port)).unwrap();
        let senders = [attach(1, "s1"), attach(1, "s2")];
        let receivers = [attach(1, "r1"), attach(2, "r2")];
        fabric.wait_in_force().unwrap();
        Self { senders, receivers, fabric }
    }

    /// Sets these limits, and lets a bucket fill.
    fn limit(&self, limited: Limited, limits: &str) {
        self.fabric.apply(bundle(limited, limits).text()).unwrap();
        thread::sleep(Duration::from_millis(300));
    }

    /// Offers the same within the host and across, at the same time.
    fn offer(&self, what: Offer) -> [Offered; 2] {
        thread::scope(|scope| {
            let both = [0, 1].map(|pair| {
                let (from, to) = (self.senders[pair].namespace(), self.receivers[pair].namespace());
                let address = SocketAddr::new(v4(21 + pair as u8), PORT);
                scope.spawn(move || offer(from, to, address, what).unwrap())
            });
            both.map(|pair| pair.join().unwrap())
        })
    }
}

/// Datagrams by themselves.
const fn single(per_second: u32) -> Offer {
    Offer { payload: PAYLOAD, segments: 1, per_second, time: TIME }
}

/// Did as much arrive as this limit of datagrams a second gives, and was it the limit?
fn gives(what: &str, offered: [Offered; 2], per_second: u64) {
    for (place, Offered { sent, received }) in ["within the host", "across"].into_iter().zip(offered) {
        let rate = received / TIME.as_secs();
        assert!(sent > received * 3 / 2, "{what}, {place}: {sent} datagrams sent, {received} arrived: it was no limit");
        let bounds = per_second * 8 / 10..=per_second * 12 / 10;
        assert!(bounds.contains(&rate), "{what}, {place}: {rate} datagrams a second, of {per_second}");
    }
}

#[test]
fn bits_and_packets_are_policed_both_ways() {
    let scene = Scene::start();
    let free = scene.offer(single(5_000));
    for Offered { sent, received } in free {
        assert!(received > sent * 9 / 10, "without limits {received} of {sent} arrive");
    }
    for (limited, field, words) in
        [(Limited::Senders, "transmit", "transmit"), (Limited::Receivers, "receive", "receive")]
    {
        // 10 Mbit/s of frames of 1,042 bytes are 1,199 a second.
        scene.limit(limited, &format!("{field}: {{bitsPerSecond: 10000000}}"));
        gives(&format!("bits, {field}"), scene.offer(single(5_000)), 10_000_000 / 8 / FRAME);
        dropped_more(&scene.fabric, &format!("{words}-bits"), 0, 1_000).unwrap();
        scene.limit(limited, &format!("{field}: {{packetsPerSecond: 1000}}"));
        gives(&format!("packets, {field}"), scene.offer(single(4_000)), 1_000);
        dropped_more(&scene.fabric, &format!("{words}-packets"), 0, 1_000).unwrap();
    }
}

#[test]
fn segments_of_one_frame_count_one_by_one() {
    let scene = Scene::start();
    let pieces = Offer { segments: 20, ..single(8_000) };
    for limited in [Limited::Senders, Limited::Receivers] {
        let field = if limited == Limited::Senders { "transmit" } else { "receive" };
        // A large frame may overdraw the bucket, and what follows waits for longer: the mean is the rate.
        scene.limit(limited, &format!("{field}: {{packetsPerSecond: 1000}}"));
        gives(&format!("segments, {field}"), scene.offer(pieces), 1_000);
        scene.limit(limited, &format!("{field}: {{bitsPerSecond: 10000000}}"));
        gives(&format!("bits of segments, {field}"), scene.offer(pieces), 10_000_000 / 8 / FRAME);
    }
    // A stream adapts to what is dropped, and never gets more than the rate.
    scene.limit(Limited::Senders, "transmit: {bitsPerSecond: 50000000}");
    for pair in [0, 1] {
        let (from, to) = (scene.senders[pair].namespace(), scene.receivers[pair].namespace());
        let rate = throughput(from, to, SocketAddr::new(v4(21 + pair as u8), 9_001), TIME).unwrap();
        assert!((0.005..0.055).contains(&rate), "a stream carries {rate} Gbit/s of 0.05");
    }
}

/// A bucket holds what the rate gives in a tenth of a second: so many come at once after a quiet time, and no more.
#[test]
fn a_burst_is_a_tenth_of_a_second() {
    let scene = Scene::start();
    scene.limit(Limited::Senders, "transmit: {packetsPerSecond: 1000}");
    // The first datagrams resolve addresses; then the bucket fills again.
    scene.offer(Offer { time: Duration::from_millis(20), ..single(100) });
    thread::sleep(Duration::from_millis(300));
    let burst = Duration::from_millis(30);
    for (place, Offered { sent, received }) in
        ["within the host", "across"].into_iter().zip(scene.offer(Offer { time: burst, ..single(1_000_000) }))
    {
        // A thread that waits for its processor sends for longer than asked: what the rate gives meanwhile comes too.
        assert!(sent > 300, "{place}: {sent} were sent");
        assert!((95..=200).contains(&received), "{place}: {received} of {sent} came at once");
    }
}
