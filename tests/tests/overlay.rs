//! The overlay carries what it should, as RFC 7348 says, and nothing else leaves a host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use andromede_testkit::{
    Underlay,
    capture::{Capture, tshark, write_pcap},
    fabric::INTERFACE,
    packet::{ArpPacket, Ends, neighbor_solicitation},
    raw::RawSocket,
    traffic::{Outcome, Ping, Responder, Sink, ping, send_stream, tcp_probe, udp_probe},
    underlay::{MTU_DEFAULT, UPLINK, set_offloads},
};
use andromede_tests::{
    TwoTenants,
    scene::{BLUE_VNI, RED_VNI, both, v4, v6},
};

/// How long an answer is waited for that must not come.
const SHORT: Duration = Duration::from_millis(500);
/// And for one that must: it may be a busy machine.
const PATIENT: Duration = Duration::from_secs(5);

#[test]
fn both_families_cross_hosts_and_stay_within_one() {
    let scene = TwoTenants::start().unwrap();
    for (workload, last) in [(&scene.red_b, 12), (&scene.red_c, 13)] {
        let _responder = Responder::start(workload.namespace(), "it", &[80], &[53]).unwrap();
        let sink = Sink::start(workload.namespace(), 9000).unwrap();
        for to in both(last) {
            let many = Ping { count: 50, interval: Duration::from_millis(1), ..Ping::default() };
            let report = ping(scene.red_a.namespace(), to, many).unwrap();
            assert_eq!((report.received(), report.duplicates), (50, 0), "{to}: lost {:?}", report.lost);
            let at = |port: u16| SocketAddr::new(to, port);
            assert!(tcp_probe(scene.red_a.namespace(), at(80), PATIENT).unwrap().answered_by("it"), "{to}");
            assert!(udp_probe(scene.red_a.namespace(), at(53), PATIENT).unwrap().answered_by("it"), "{to}");
            let sent = send_stream(scene.red_a.namespace(), at(9000), 16 << 20).unwrap();
            assert!(sent.same_bytes(&sink.report().unwrap()), "{to}");
        }
    }
}

#[test]
fn the_largest_packet_passes_and_nothing_is_ever_fragmented() {
    let scene = TwoTenants::start().unwrap();
    let capture = Capture::start(scene.fabric.underlay().switch(), "port2").unwrap();
    let largest = (MTU_DEFAULT - 50) as usize;
    for (to, headers) in [(v4(12), 28), (v6(12), 48), (v4(13), 28), (v6(13), 48)] {
        let fits = Ping { size: largest - headers, dont_fragment: true, ..Ping::default() };
        assert!(ping(scene.red_a.namespace(), to, fits).unwrap().outcome().is_answered(), "{to}");
        let exceeds = Ping { size: largest - headers + 1, ..fits };
        if to.is_ipv4() {
            let outcome = ping(scene.red_a.namespace(), to, exceeds).unwrap().outcome();
            assert!(matches!(outcome, Outcome::Refused(_)), "{to}: {outcome:?}");
        }
    }
    let frames = capture.stop().unwrap();
    let path = scene.fabric.folder().join("frames.pcap");
    write_pcap(&path, &frames).unwrap();
    let fields = tshark(&path, "udp.dstport == 4789", &["ip.flags.df", "ip.flags.mf", "ip.len"]).unwrap();
    assert!(fields.len() >= 4, "{} tunnelled frames", fields.len());
    for line in &fields {
        let outer = |index: usize| line[index].split(',').next().unwrap().to_owned();
        assert!(["1", "True"].contains(&outer(0).as_str()), "DF is set: {line:?}");
        assert!(["0", "False"].contains(&outer(1).as_str()), "not fragmented: {line:?}");
        assert!(outer(2).parse::<u32>().unwrap() <= MTU_DEFAULT, "{line:?}");
    }
}

#[test]
fn address_resolution_is_answered_on_the_host_and_nothing_is_broadcast() {
    let scene = TwoTenants::start().unwrap();
    let capture = Capture::start(scene.fabric.underlay().switch(), "port2").unwrap();
    let mac = scene.red_a.mac().unwrap();
    let socket = RawSocket::open(scene.red_a.namespace(), INTERFACE, true).unwrap();
    let (IpAddr::V4(own), IpAddr::V6(own6)) = (v4(11), v6(11)) else { panic!("families") };
    let answered = |last: u8| {
        let (IpAddr::V4(target), IpAddr::V6(target6)) = (v4(last), v6(last)) else { panic!("families") };
        socket.send(&ArpPacket::request(mac, own, target).frame()).unwrap();
        let is_arp = |frame: &[u8]| frame.get(12..14) == Some(&[8, 6]) && frame.get(28..32) == Some(&target.octets());
        let arp = socket.receive_matching(SHORT, is_arp).unwrap();
        socket.send(&neighbor_solicitation(mac, own6, target6)).unwrap();
        let is_na = |frame: &[u8]| frame.get(54) == Some(&136) && frame.get(62..78) == Some(&target6.octets());
        let advertised = socket.receive_matching(SHORT, is_na).unwrap();
        (arp, advertised)
    };
    for last in [12, 13] {
        let (arp, advertised) = answered(last);
        let of = if last == 12 { &scene.red_b } else { &scene.red_c };
        assert_eq!(arp.unwrap().get(22..28), Some(&of.mac().unwrap()[..]), "10.0.0.{last}");
        assert_eq!(advertised.unwrap().get(80..86), Some(&of.mac().unwrap()[..]), "fd00:10::{last}");
    }
    assert_eq!(answered(99), (None, None), "nobody has .99");
    let (own_arp, own_advertised) = answered(11);
    assert_eq!((own_arp, own_advertised), (None, None), "one's own address is not taken by somebody else");
    // The gateway is the first address of each prefix.
    let (arp, advertised) = answered(1);
    assert!(arp.is_some() && advertised.is_some(), "the gateway: {arp:?} {advertised:?}");
    // Broadcast and multicast of a workload.
    for to in [IpAddr::from([255, 255, 255, 255]), IpAddr::from([10, 0, 0, 255]), IpAddr::from([224, 0, 0, 251])] {
        socket.send(&Ends::new((mac, v4(11)), ([0xff; 6], to)).udp(1, 5353, b"to everybody")).unwrap();
    }
    socket
        .send(
            &Ends::new((mac, v6(11)), ([0x33, 0x33, 0, 0, 0, 1], "ff02::1".parse::<IpAddr>().unwrap()))
                .udp(1, 5353, b"all"),
        )
        .unwrap();
    std::thread::sleep(SHORT);
    let frames = capture.stop().unwrap();
    let tunnelled = frames.iter().filter(|captured| captured.frame.get(36..38) == Some(&4789u16.to_be_bytes()));
    assert_eq!(tunnelled.count(), 0, "something left the host");
}

#[test]
fn the_wire_is_vxlan_with_the_right_vni_and_good_checksums() {
    let scene = TwoTenants::start().unwrap();
    // Without offloads every checksum must be in the frame.
    for number in [1, 2] {
        set_offloads(scene.fabric.agent(number).unwrap().namespace(), UPLINK, false).unwrap();
    }
    let capture = Capture::start(scene.fabric.underlay().switch(), "port2").unwrap();
    for (from, to) in [(&scene.red_a, &scene.red_b), (&scene.blue_a, &scene.blue_b)] {
        let _responder = Responder::start(to.namespace(), "it", &[80, 81, 82, 83], &[9_999]).unwrap();
        let sink = Sink::start(to.namespace(), 9000).unwrap();
        for address in both(12) {
            assert!(from.ping(address).unwrap().outcome().is_answered());
            for port in [80, 81, 82, 83] {
                assert!(tcp_probe(from.namespace(), SocketAddr::new(address, port), PATIENT).unwrap().is_answered());
            }
            assert!(udp_probe(from.namespace(), SocketAddr::new(address, 9_999), PATIENT).unwrap().is_answered());
            send_stream(from.namespace(), SocketAddr::new(address, 9000), 1 << 20).unwrap();
            sink.report().unwrap();
        }
    }
    let frames = capture.stop().unwrap();
    let path = scene.fabric.folder().join("frames.pcap");
    write_pcap(&path, &frames).unwrap();
    let on_wire = tshark(&path, "vxlan", &["vxlan.vni", "vxlan.flags", "ip.ttl", "udp.srcport"]).unwrap();
    let tunnelled = tshark(&path, "udp.port == 4789", &["frame.number"]).unwrap();
    assert!(on_wire.len() > 100 && on_wire.len() == tunnelled.len(), "every frame to the port is VXLAN");
    for vni in [RED_VNI, BLUE_VNI] {
        let with = |line: &&Vec<String>| line[0] == vni.to_string();
        assert!(on_wire.iter().filter(with).count() > 50, "frames of {vni}");
    }
    let known = |line: &Vec<String>| [RED_VNI.to_string(), BLUE_VNI.to_string()].contains(&line[0]);
    assert!(on_wire.iter().all(known), "no other VNI");
    let flags: Vec<&String> = on_wire.iter().map(|line| &line[1]).collect();
    assert!(
        flags.iter().all(|flags| ["0x0800", "0x00000800", "2048"].contains(&flags.as_str())),
        "{:?}",
        flags.first()
    );
    let mut ports: Vec<&str> = on_wire.iter().map(|line| line[3].split(',').next().unwrap()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() >= 8, "outer source ports follow the inner flows: {ports:?}");
    // Linux writes a sum of 0x0000 as 0xffff, which is the same number (RFC 1624, section 3); tshark takes it for wrong. And it takes noise
    // in a stream for protocols that it knows, which are malformed then.
    let bad = "ip.checksum.status == 0 || (tcp.checksum.status == 0 && tcp.checksum != 0xffff) || \
               icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || (_ws.malformed && !(tcp.len > 0)) || \
               (udp.checksum.status == 0 && udp.checksum != 0)";
    let bad = tshark(&path, bad, &["frame.number", "_ws.col.Info"]).unwrap();
    assert!(bad.is_empty(), "{} frames with bad checksums, the first {:?}", bad.len(), bad.first());
}

#[test]
fn a_plain_vxlan_device_is_a_tunnel_endpoint() {
    let mut scene = TwoTenants::start().unwrap();
    let foreign = scene.fabric.underlay_mut().join(99).unwrap();
    let vtep_mac = "02:00:00:00:00:99";
    foreign
        .ip(&format!(
            "link add vx0 address {vtep_mac} mtu 1500 type vxlan id {RED_VNI} dstport 4789 local 192.0.2.99 nolearning"
        ))
        .unwrap();
    foreign.ip("addr add 10.0.0.99/24 dev vx0").unwrap();
    foreign.ip("addr add fd00:10::99/64 dev vx0 nodad").unwrap();
    foreign.ip("link set vx0 up").unwrap();
    for (workload, last, host) in [(&scene.red_a, 11, 1), (&scene.red_b, 12, 2)] {
        let mac = andromede_testkit::packet::format_mac(workload.mac().unwrap());
        foreign.exec(&format!("bridge fdb append {mac} dev vx0 dst 192.0.2.{host}")).unwrap();
        for address in both(last) {
            foreign.ip(&format!("neigh replace {address} lladdr {mac} dev vx0")).unwrap();
        }
    }
    let before = Responder::start(scene.red_a.namespace(), "red a", &[80], &[53]).unwrap();
    let ask = |to: IpAddr| tcp_probe(&foreign, SocketAddr::new(to, 80), SHORT).unwrap();
    assert!(!ask(v4(11)).is_answered(), "before it is declared, it is a stranger");
    let vtep = format!(
        "kind: Vtep\nname: tenants/red/networks/net/vteps/foreign\nunderlayAddress: {}\nmac: '{vtep_mac}'\n\
         prefixes: [10.0.0.99/32, 'fd00:10::99/128']\n",
        Underlay::address(99)
    );
    scene.fabric.apply(TwoTenants::bundle(2).with(&vtep).text()).unwrap();
    let _there = Responder::start(&foreign, "foreign", &[80], &[53]).unwrap();
    let sink = Sink::start(&foreign, 9000).unwrap();
    let (near, far) =
        (Sink::start(scene.red_a.namespace(), 9000).unwrap(), Sink::start(scene.red_b.namespace(), 9000).unwrap());
    for (workload, last, own) in [(&scene.red_a, 11, &near), (&scene.red_b, 12, &far)] {
        for (address, foreign_address) in both(last).into_iter().zip(both(99)) {
            let out = ping(workload.namespace(), foreign_address, Ping { count: 3, ..Ping::default() }).unwrap();
            assert_eq!(out.received(), 3, "{address} pings {foreign_address}");
            let back = ping(&foreign, address, Ping { count: 3, ..Ping::default() }).unwrap();
            assert_eq!(back.received(), 3, "{foreign_address} pings {address}");
            let probe = tcp_probe(workload.namespace(), SocketAddr::new(foreign_address, 80), PATIENT).unwrap();
            assert!(probe.answered_by("foreign"), "{address}: {probe:?}");
            let sent = send_stream(workload.namespace(), SocketAddr::new(foreign_address, 9000), 8 << 20).unwrap();
            assert!(sent.same_bytes(&sink.report().unwrap()));
            let sent = send_stream(&foreign, SocketAddr::new(address, 9000), 8 << 20).unwrap();
            assert!(sent.same_bytes(&own.report().unwrap()));
        }
    }
    drop(before);
    // It may send from its own prefixes only, and into its own network only.
    foreign.ip("addr add 10.0.0.98/24 dev vx0").unwrap();
    let forged = ping_from(&foreign, "10.0.0.98", v4(11));
    assert!(!forged, "an address outside its prefixes passed");
}

/// Pings from one of several addresses.
fn ping_from(namespace: &andromede_testkit::Namespace, source: &str, to: IpAddr) -> bool {
    namespace.exec(&format!("ip route replace {to}/32 dev vx0 src {source}")).unwrap();
    ping(namespace, to, Ping::default()).unwrap().outcome().is_answered()
}

#[test]
fn a_workload_that_ignores_its_mtu_hurts_itself_only() {
    let scene = TwoTenants::start().unwrap();
    scene.red_a.namespace().ip("link set eth0 mtu 9000").unwrap();
    let capture = Capture::start(scene.fabric.underlay().switch(), "port2").unwrap();
    for to in [v4(12), v6(12), v4(13), v6(13)] {
        for size in [1600, 3000, 8000] {
            let big = Ping { size, dont_fragment: true, ..Ping::default() };
            assert!(!ping(scene.red_a.namespace(), to, big).unwrap().outcome().is_answered(), "{size} bytes to {to}");
        }
        assert!(scene.red_a.ping(to).unwrap().outcome().is_answered(), "{to}");
    }
    let frames = capture.stop().unwrap();
    let longest = frames.iter().map(|captured| captured.frame.len()).max().unwrap_or(0);
    assert!(longest <= MTU_DEFAULT as usize + 14, "a frame of {longest} bytes is on the underlay");
}
