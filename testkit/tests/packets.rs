//! What the builders make is what tshark reads, and its checksums are right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{net::IpAddr, time::Duration};

use andromede_testkit::{
    capture::{Captured, tshark, write_pcap},
    packet::{
        ArpPacket, Ends, Ipv4, Mac, Tcp, Udp, format_mac, neighbor_advertisement, neighbor_solicitation, parse_mac,
        protocol, tcp_flag, vxlan,
    },
    requires,
};
use proptest::prelude::{ProptestConfig, any, proptest};

const A: Mac = [2, 0, 0, 0, 0, 1];
const B: Mac = [2, 0, 0, 0, 0, 2];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn dissect(frames: &[Vec<u8>], filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    requires::require(&["tshark"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.pcap");
    let captured: Vec<Captured> =
        frames.iter().map(|frame| Captured { time: Duration::from_secs(1), frame: frame.clone() }).collect();
    write_pcap(&path, &captured).unwrap();
    tshark(&path, filter, fields).unwrap()
}

const BAD: &str = "ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 || \
                   icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || _ws.malformed";

#[test]
fn every_kind_of_packet_is_well_formed() {
    let v4 = Ends::new((A, ip("10.0.0.1")), (B, ip("10.0.0.2")));
    let v6 = Ends::new((A, ip("fd00::1")), (B, ip("fd00::2")));
    let outer = Ends::new((B, ip("192.0.2.1")), (A, ip("192.0.2.2")));
    let (v4_source, v4_target) = v4.v4().unwrap();
    let mut frames = Vec::new();
    for ends in [v4, v6] {
        for payload in [&b""[..], b"odd", b"even"] {
            frames.push(ends.tcp(&Tcp::new(40_000, 80, tcp_flag::SYN), payload));
            frames.push(ends.udp(40_000, 9_999, payload));
            frames.push(ends.echo(true, 7, 1, payload));
            frames.push(ends.reversed().echo(false, 7, 1, payload));
        }
        frames.push(vxlan(&outer, 50_000, 0x00ab_cdef, &ends.echo(true, 7, 1, b"inner")));
    }
    frames.push(ArpPacket::request(A, v4_source, v4_target).frame());
    let (IpAddr::V6(from), IpAddr::V6(to)) = (v6.source, v6.destination) else { panic!("IPv6") };
    frames.push(neighbor_solicitation(A, from, to));
    frames.push(neighbor_advertisement(A, B, to, from, to, B));
    let optioned = Ipv4 { options: vec![0x94, 4, 0, 0], ..Ipv4::new(v4_source, v4_target) };
    frames.push(v4.ipv4(
        &optioned,
        protocol::UDP,
        &Udp { source: 9_998, destination: 9_999 }.wrap(v4.source, v4.destination, b"x"),
    ));
    assert_eq!(dissect(&frames, BAD, &["frame.number", "_ws.col.Info"]), Vec::<Vec<String>>::new());
    assert_eq!(dissect(&frames, "frame", &["frame.number"]).len(), frames.len());
    let tunnelled = dissect(&frames, "vxlan", &["vxlan.vni", "icmp.seq"]);
    assert_eq!(tunnelled.first().map(|fields| fields[0].as_str()), Some("11259375"));
    let kinds = dissect(&frames, "arp || icmpv6.type == 135 || icmpv6.type == 136 || ip.opt.type", &["frame.number"]);
    assert_eq!(kinds.len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn ethernet_addresses_come_back(mac in any::<[u8; 6]>()) {
        assert_eq!(parse_mac(&format_mac(mac)).unwrap(), mac);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,40}") {
        let _ = parse_mac(&text);
    }
}
