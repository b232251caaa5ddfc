//! Promise 5: every drop has a name, and is counted; what is malformed is dropped with its reason, never passed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use andromede_testkit::{
    Workload,
    fabric::INTERFACE,
    packet::{Ends, Ipv4, Ipv6, Mac, Tcp, Udp, ether_type, ethernet, protocol, tcp_flag},
    raw::RawSocket,
};
use andromede_tests::{
    TwoTenants, dropped, dropped_more,
    scene::{v4, v6},
};

const SHORT: Duration = Duration::from_millis(300);
const MARK: &[u8] = b"andromede-mark-of-a-bad-frame";

fn socket(workload: &Workload) -> RawSocket {
    RawSocket::open(workload.namespace(), INTERFACE, true).unwrap()
}

/// A frame, and the reason for which it must be dropped.
struct Bad {
    what: &'static str,
    frame: Vec<u8>,
    reason: &'static str,
}

/// Frames of every kind that the parser refuses, from `a` to `b`; each carries the mark, where it has room for it.
fn bad_frames(a: Mac, b: Mac) -> Vec<Bad> {
    let (four, six) = (Ends::new((a, v4(11)), (b, v4(12))), Ends::new((a, v6(11)), (b, v6(12))));
    let (from, to) = four.v4().unwrap();
    let (IpAddr::V6(from6), IpAddr::V6(to6)) = (six.source, six.destination) else { panic!("IPv6") };
    let udp = Udp { source: 1, destination: 2 };
    let datagram = udp.wrap(four.source, four.destination, MARK);
    let datagram6 = udp.wrap(six.source, six.destination, MARK);
    // A good frame with some bytes changed.
    let changed = |frame: Vec<u8>, at: usize, bytes: &[u8]| {
        let mut frame = frame;
        frame.splice(at..at + bytes.len(), bytes.iter().copied());
        frame
    };
    let good = four.udp(1, 2, MARK);
    let good6 = six.udp(1, 2, MARK);
    let tcp = four.tcp(&Tcp::new(1, 2, tcp_flag::SYN), MARK);
    let fragment = Ipv4 { more_fragments: true, dont_fragment: false, ..Ipv4::new(from, to) };
    let six_header = Ipv6::new(from6, to6);
    let extension = |next: u8| [&[next, 0, 1, 4, 0, 0, 0, 0][..]].concat();
    let many: Vec<u8> =
        (0..6).flat_map(|_| extension(60)).chain(extension(protocol::UDP)).chain(datagram6.clone()).collect();
    let fragment6: Vec<u8> = [&[protocol::UDP, 0, 0, 1, 0, 0, 0, 7][..], &datagram6].concat();
    let of6 = |next: u8, payload: &[u8]| ethernet(b, a, ether_type::IPV6, &six_header.wrap(next, payload));
    let bad = |what, frame, reason| Bad { what, frame, reason };
    vec![
        bad("version 5", changed(good.clone(), 14, &[0x55]), "bad-ip-header"),
        bad("header of 16 bytes", changed(good.clone(), 14, &[0x44]), "bad-ip-header"),
        bad("total length below the header's", changed(good.clone(), 16, &[0, 10]), "bad-ip-header"),
        bad("total length beyond the frame", changed(good.clone(), 16, &[0x40, 0]), "truncated"),
        bad("IPv6 version 7", changed(good6.clone(), 14, &[0x70]), "bad-ip-header"),
        bad("IPv6 payload beyond the frame", changed(good6, 18, &[0x40, 0]), "truncated"),
        bad("a first fragment of uneven length", four.ipv4(&fragment, protocol::UDP, &datagram), "bad-fragment"),
        bad("the same of IPv6", of6(44, &fragment6), "bad-fragment"),
        bad("too many extension headers", of6(60, &many), "extension-headers"),
        bad("TCP header of 8 bytes", changed(tcp, 46, &[0x20]), "bad-transport"),
        bad("half a UDP header", four.ipv4(&Ipv4::new(from, to), protocol::UDP, &[0, 1, 0, 2]), "bad-transport"),
        bad("not IP", ethernet(b, a, 0x88b5, MARK), "unknown-ethertype"),
        bad("a VLAN tag behind the first", changed(good, 12, &0x88a8_u16.to_be_bytes()), "bad-ethernet"),
    ]
}

#[test]
fn malformed_frames_are_dropped_with_their_reason() {
    let scene = TwoTenants::start().unwrap();
    let a = scene.red_a.mac().unwrap();
    let mouth = socket(&scene.red_a);
    // Both across hosts and within one.
    for (ear, mac) in [(&scene.red_b, scene.red_b.mac().unwrap()), (&scene.red_c, scene.red_c.mac().unwrap())] {
        let ear = socket(ear);
        for Bad { what, frame, reason } in bad_frames(a, mac) {
            let before = dropped(&scene.fabric, reason).unwrap();
            mouth.send(&frame).unwrap();
            let arrived = ear.receive_matching(SHORT, |seen| seen.windows(MARK.len()).any(|window| window == MARK));
            assert_eq!(arrived.unwrap(), None, "{what} arrived");
            let counted = dropped_more(&scene.fabric, reason, before, 1);
            assert!(counted.is_ok(), "{what}: {:#}", counted.unwrap_err());
        }
    }
    assert!(scene.red_a.ping(v4(12)).unwrap().outcome().is_answered(), "the port is none the worse");
}

#[test]
fn a_flood_is_counted_to_the_last_packet_and_reported_within_its_budget() {
    const FLOOD: u64 = 30_000;
    let scene = TwoTenants::start().unwrap();
    let mac = scene.red_a.mac().unwrap();
    let forged = Ends::new((mac, v4(66)), (scene.red_b.mac().unwrap(), v4(12))).udp(1, 2, MARK);
    let mouth = socket(&scene.red_a);
    let before = dropped(&scene.fabric, "spoofed-source").unwrap();
    let begin = Instant::now();
    for _ in 0..FLOOD {
        mouth.send(&forged).unwrap();
    }
    let took = begin.elapsed();
    dropped_more(&scene.fabric, "spoofed-source", before, FLOOD).unwrap();
    let after = dropped(&scene.fabric, "spoofed-source").unwrap();
    assert!(after - before < FLOOD + 10, "{} counted for {FLOOD} sent", after - before);
    let drops = scene.fabric.control().json(&["drops"]).unwrap();
    let recent = drops["recent"].as_array().unwrap().len();
    assert!(recent > 0, "some are told one by one");
    assert!(recent < 10_000, "{recent} events kept, after {took:?}");
    // The flood costs the other ports nothing but time.
    assert!(scene.red_c.ping(v4(12)).unwrap().outcome().is_answered());
    let event = &drops["recent"].as_array().unwrap().iter().find(|event| event["reason"] == "spoofed-source").unwrap();
    assert_eq!(event["source"], "10.0.0.66");
    assert_eq!(event["destination"], "10.0.0.12");
    assert!(event["port"].as_str().unwrap().ends_with("/ports/a"), "{event}");
    assert_eq!(event["host"], "hosts/h1");
}
