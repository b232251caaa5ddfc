//! The tools see what is there: traffic passes an underlay, and is lost where a link is down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use andromede_testkit::{
    Namespace, Underlay,
    capture::Capture,
    packet::{ArpPacket, ether_type},
    raw::RawSocket,
    requires,
    traffic::{
        BackgroundPing, BackgroundStream, Outcome, Ping, Responder, Sink, ping, send_segments, send_stream, tcp_probe,
        udp_probe,
    },
    underlay::{MTU_DEFAULT, UPLINK, set_offloads},
};

const SHORT: Duration = Duration::from_millis(300);

fn two_hosts() -> (Underlay, Namespace, Namespace) {
    requires::require(&["ip", "ethtool"]).unwrap();
    let mut underlay = Underlay::new(MTU_DEFAULT).unwrap();
    let (a, b) = (underlay.join(1).unwrap(), underlay.join(2).unwrap());
    a.ip(&format!("addr add fd00::1/64 dev {UPLINK} nodad")).unwrap();
    b.ip(&format!("addr add fd00::2/64 dev {UPLINK} nodad")).unwrap();
    (underlay, a, b)
}

fn of_b() -> [IpAddr; 2] {
    ["192.0.2.2".parse().unwrap(), "fd00::2".parse().unwrap()]
}

#[test]
fn pings_count_what_is_answered_and_what_is_lost() {
    let (_underlay, a, b) = two_hosts();
    for to in of_b() {
        let report = ping(&a, to, Ping { count: 20, interval: Duration::from_millis(1), ..Ping::default() }).unwrap();
        assert_eq!((report.sent, report.received(), report.duplicates), (20, 20, 0), "{to}");
        assert!(report.lost.is_empty());
    }
    let running = BackgroundPing::start(&a, of_b()[0], Duration::from_millis(1));
    std::thread::sleep(SHORT);
    b.ip(&format!("link set {UPLINK} down")).unwrap();
    std::thread::sleep(SHORT);
    b.ip(&format!("link set {UPLINK} up")).unwrap();
    std::thread::sleep(SHORT);
    let report = running.stop().unwrap();
    assert!(report.lost.len() > 20 && report.received() > 20, "{} lost of {}", report.lost.len(), report.sent);
    let big = Ping { size: 3000, dont_fragment: true, ..Ping::default() };
    assert!(matches!(ping(&a, of_b()[0], big).unwrap().outcome(), Outcome::Refused(_)));
}

#[test]
fn responders_say_who_they_are() {
    let (_underlay, a, b) = two_hosts();
    let _b = Responder::start(&b, "b", &[80], &[53]).unwrap();
    for to in of_b() {
        assert!(tcp_probe(&a, SocketAddr::new(to, 80), SHORT).unwrap().answered_by("b"));
        assert!(udp_probe(&a, SocketAddr::new(to, 53), SHORT).unwrap().answered_by("b"));
        assert!(matches!(tcp_probe(&a, SocketAddr::new(to, 81), SHORT).unwrap(), Outcome::Refused(_)));
    }
    b.ip(&format!("link set {UPLINK} down")).unwrap();
    assert!(!tcp_probe(&a, SocketAddr::new(of_b()[0], 80), SHORT).unwrap().is_answered());
    assert!(!udp_probe(&a, SocketAddr::new(of_b()[0], 53), SHORT).unwrap().is_answered());
}

#[test]
fn streams_arrive_whole_with_offloads_and_without() {
    let (_underlay, a, b) = two_hosts();
    let sink = Sink::start(&b, 9000).unwrap();
    for on in [true, false] {
        set_offloads(&a, UPLINK, on).unwrap();
        set_offloads(&b, UPLINK, on).unwrap();
        for to in of_b() {
            let sent = send_stream(&a, SocketAddr::new(to, 9000), 4 << 20).unwrap();
            assert!(sent.same_bytes(&sink.report().unwrap()));
            let (sent, read) = send_segments(&a, &b, SocketAddr::new(to, 9001), 1200, 1 << 20).unwrap();
            assert!(sent.same_bytes(&read));
        }
    }
    let running = BackgroundStream::start(&a, SocketAddr::new(of_b()[0], 9000));
    std::thread::sleep(SHORT);
    assert!(sink.received() > 0 && !running.ended());
    assert!(running.stop().unwrap().same_bytes(&sink.report().unwrap()));
}

#[test]
fn raw_frames_arrive_as_they_were_sent_and_captures_hold_them() {
    let (underlay, a, b) = two_hosts();
    let capture = Capture::start(underlay.switch(), "port1").unwrap();
    let (from, to) = (RawSocket::open(&a, UPLINK, true).unwrap(), RawSocket::open(&b, UPLINK, true).unwrap());
    let arp = ArpPacket::request([2, 0, 0, 0, 0, 9], Underlay::address(9), Underlay::address(2)).frame();
    from.send(&arp).unwrap();
    let seen = to.receive_matching(SHORT, |frame| frame.get(6..12) == Some(&[2, 0, 0, 0, 0, 9])).unwrap();
    assert_eq!(seen.unwrap(), arp);
    let answered =
        |frame: &[u8]| frame.get(12..14) == Some(&ether_type::ARP.to_be_bytes()) && frame.get(21) == Some(&2);
    assert!(from.receive_matching(SHORT, answered).unwrap().is_some(), "the kernel answers ARP");
    let frames = capture.stop().unwrap();
    assert!(frames.iter().any(|captured| captured.frame == arp));
}
