//! Every byte arrives as it was sent: a gigabyte over TCP and a hundred megabytes of segmented UDP, with the
//! underlay's offloads and without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::SocketAddr;

use andromede_testkit::{
    traffic::{Sink, send_segments, send_stream},
    underlay::{UPLINK, set_offloads},
};
use andromede_tests::{
    TwoTenants,
    scene::{both, v4, v6},
};

const GIBIBYTE: u64 = 1 << 30;
const HUNDRED_MEGABYTES: u64 = 100_000_000;

fn with_offloads(on: bool) {
    let scene = TwoTenants::start().unwrap();
    for number in [1, 2] {
        set_offloads(scene.fabric.agent(number).unwrap().namespace(), UPLINK, on).unwrap();
    }
    let (a, b, c) = (scene.red_a.namespace(), scene.red_b.namespace(), scene.red_c.namespace());
    let sink = Sink::start(b, 9000).unwrap();
    for (to, bytes) in [(v4(12), GIBIBYTE), (v6(12), GIBIBYTE / 4)] {
        let sent = send_stream(a, SocketAddr::new(to, 9000), bytes).unwrap();
        assert!(sent.same_bytes(&sink.report().unwrap()), "TCP to {to}, offloads {on}");
    }
    for to in both(12) {
        let (sent, read) = send_segments(a, b, SocketAddr::new(to, 9001), 1200, HUNDRED_MEGABYTES).unwrap();
        assert!(sent.same_bytes(&read), "UDP_SEGMENT to {to}, offloads {on}");
    }
    for to in both(13) {
        let (sent, read) = send_segments(a, c, SocketAddr::new(to, 9001), 1200, HUNDRED_MEGABYTES / 10).unwrap();
        assert!(sent.same_bytes(&read), "UDP_SEGMENT within the host to {to}, offloads {on}");
    }
}

#[test]
fn payloads_arrive_whole_with_offloads() {
    with_offloads(true);
}

#[test]
fn payloads_arrive_whole_without_offloads() {
    with_offloads(false);
}
