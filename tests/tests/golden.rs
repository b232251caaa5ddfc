//! Golden packets: what goes in, what comes out, and one sentence that says why. Each conversation is had with the packet path
//! in memory and with the one in the kernel, and both must give the same bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::Ipv4Addr;

use andromede_abi::{DropReason, rule, target};
use andromede_dataplane::Hook;
use andromede_testkit::packet::{
    Ends, Ipv6, Tcp, checksum, ethernet, neighbor_solicitation, tcp_flag, transport_checksum,
};
use andromede_tests::twin::{
    END_LOCAL_A as A, END_LOCAL_B as B, END_REMOTE as REMOTE, END_VTEP as FOREIGN, End, Met, UNDERLAY_IFINDEX, ifindex,
    talk::{GATEWAY_MAC, VNI, conversation, drops, outer_ends, passes, received, sent, tcp, v4, v6},
};
use serde_json::json;

#[test]
fn to_another_host_and_back() {
    conversation(|_, twin| {
        let syn = v4(A, REMOTE).tcp(&tcp(tcp_flag::SYN), b"");
        let out = passes(twin, "a SYN to another host is encapsulated", &sent(A, syn.clone()), target::ENCAP);
        let (header, inner) = out.frame.split_at(50);
        assert_eq!(inner, syn, "the inner frame goes as it came");
        assert_eq!(header[12..14], [8, 0]);
        assert_eq!(header[14..16], [0x45, 0], "IPv4, no options");
        assert_eq!(usize::from(u16::from_be_bytes([header[16], header[17]])), out.frame.len() - 14, "total length");
        assert_eq!(header[20..22], [0x40, 0], "DF is set, and this is no fragment");
        assert_eq!(header[22..24], [64, 17]);
        assert_eq!(andromede_testkit::packet::checksum(&[&header[14..34]]), 0, "the outer header checksum is right");
        assert_eq!(header[26..34], [192, 0, 2, 1, 192, 0, 2, 2]);
        assert!(u16::from_be_bytes([header[34], header[35]]) >= 49_152, "the source port is of RFC 7348's range");
        assert_eq!(header[36..38], 4789_u16.to_be_bytes());
        assert_eq!(header[40..42], [0, 0], "no outer UDP checksum");
        assert_eq!(header[42..46], [8, 0, 0, 0], "the I flag");
        assert_eq!(header[46..50], (VNI[0] << 8).to_be_bytes());

        let syn_ack = v4(REMOTE, A).tcp(&Tcp::new(80, 40_000, tcp_flag::SYN | tcp_flag::ACK), b"");
        let back = passes(twin, "its answer needs no rule", &received(2, VNI[0], &syn_ack), target::DELIVER);
        assert_eq!((back.record.ifindex, back.frame), (ifindex(0, A), syn_ack));
        passes(twin, "and the next segment follows", &sent(A, v4(A, REMOTE).tcp(&tcp(16), b"x")), target::ENCAP);
    });
}

#[test]
fn to_a_neighbour_on_the_same_host() {
    conversation(|_, twin| {
        let mut wrong = v4(A, B);
        wrong.destination_mac = GATEWAY_MAC;
        let says = "a group may reach the web servers, and a stale Ethernet destination is put right";
        let out = passes(twin, says, &sent(A, wrong.tcp(&tcp(tcp_flag::SYN), b"")), target::DELIVER);
        assert_eq!(out.record.ifindex, ifindex(0, B));
        assert_eq!(out.frame[..6], B.mac());
        assert!(out.record.rule >= rule::FIRST, "a rule let it in: {:?}", out.record);
        let other = v4(A, B).tcp(&Tcp::new(40_000, 81, tcp_flag::SYN), b"");
        let refused = drops(twin, "what no rule allows in is closed", &sent(A, other), DropReason::IngressRule);
        assert_eq!(refused.record.rule, rule::DEFAULT_INGRESS);
        let telnet = v4(A, B).tcp(&Tcp::new(40_000, 23, tcp_flag::SYN), b"");
        let refused = drops(twin, "a rule of the sender denies", &sent(A, telnet), DropReason::EgressRule);
        assert!(refused.record.rule >= rule::FIRST);
        drops(
            twin,
            "a segment without SYN opens nothing",
            &sent(A, v4(A, B).tcp(&Tcp::new(1, 80, 16), b"x")),
            DropReason::NoConnection,
        );
        drops(twin, "nor does an echo reply", &sent(A, v4(A, B).echo(false, 9, 1, b"")), DropReason::NoConnection);
        drops(twin, "nobody talks to himself", &sent(A, v4(A, A).udp(1, 2, b"")), DropReason::Loop);
    });
}

#[test]
fn ports_ranges_prefixes_and_priorities() {
    conversation(|_, twin| {
        let from_remote =
            |port: u16| received(2, VNI[0], &v4(REMOTE, B).tcp(&Tcp::new(1_000 + port, port, tcp_flag::SYN), b""));
        passes(twin, "8000 is in the range 8000-8080", &from_remote(8000), target::DELIVER);
        passes(twin, "and so is 8080", &from_remote(8080), target::DELIVER);
        drops(twin, "8081 is not", &from_remote(8081), DropReason::IngressRule);
        drops(
            twin,
            "8040 is denied to this address before the group is allowed",
            &from_remote(8040),
            DropReason::IngressRule,
        );
        drops(twin, "up to 8050", &from_remote(8050), DropReason::IngressRule);
        passes(twin, "but 8051 is not", &from_remote(8051), target::DELIVER);
        passes(twin, "a prefix may ask for names", &sent(A, v4(A, B).udp(5_000, 53, b"")), target::DELIVER);
        drops(twin, "over IPv4 only", &sent(A, v6(A, B).udp(5_000, 53, b"")), DropReason::IngressRule);
        let anything = received(9, VNI[0], &v4(FOREIGN, B).udp(1, 9_999, b""));
        passes(twin, "what is behind the foreign endpoint may come in", &anything, target::DELIVER);
        passes(twin, "an echo is told by its type", &sent(B, v4(B, A).echo(true, 7, 1, b"hello")), target::DELIVER);
        let timestamp = v4(B, A).ip(1, &[13, 0, 0, 0, 0, 1, 0, 1]);
        drops(twin, "another type is another thing", &sent(B, timestamp), DropReason::IngressRule);
    });
}

#[test]
fn icmp_messages_do_not_ride_on_an_echo() {
    conversation(|_, twin| {
        passes(twin, "an echo may be asked for", &sent(B, v4(B, A).echo(true, 0, 1, b"")), target::DELIVER);
        passes(twin, "and is answered", &sent(A, v4(A, B).echo(false, 0, 1, b"")), target::DELIVER);
        let redirect = v4(B, A).ip(1, &[5, 1, 0, 0, 10, 0, 0, 3]);
        drops(
            twin,
            "a redirect is no part of it, although neither has ports",
            &sent(B, redirect),
            DropReason::IngressRule,
        );
        let away = received(9, VNI[0], &v4(FOREIGN, A).echo(true, 7, 1, b""));
        passes(twin, "whoever may ask is let in", &away, target::DELIVER);
        passes(
            twin,
            "the other way is a connection of its own",
            &sent(A, v4(A, B).echo(true, 0, 1, b"")),
            target::DELIVER,
        );
        let forged = received(2, VNI[0], &neighbor_solicitation(REMOTE.mac(), REMOTE.v6(), A.v6()));
        drops(twin, "neighbour discovery does not come over the underlay", &forged, DropReason::NeighborIgnored);
    });
}

#[test]
fn forged_sources_of_workloads() {
    conversation(|_, twin| {
        let mut ends = v4(A, B);
        ends.source_mac = B.mac();
        drops(twin, "another's Ethernet address", &sent(A, ends.tcp(&tcp(2), b"")), DropReason::SpoofedMac);
        let mut ends = v4(A, REMOTE);
        ends.source = B.v4().into();
        drops(twin, "another's IPv4 address", &sent(A, ends.tcp(&tcp(2), b"")), DropReason::SpoofedSource);
        let mut ends = v6(A, REMOTE);
        ends.source = B.v6().into();
        drops(twin, "another's IPv6 address", &sent(A, ends.tcp(&tcp(2), b"")), DropReason::SpoofedSource);
        let mut ends = v6(A, B);
        ends.source = "fe80::1".parse().unwrap();
        drops(twin, "link-local traffic", &sent(A, ends.udp(1, 2, b"")), DropReason::LinkLocal);
        let mut ends = v4(A, B);
        ends.destination = Ipv4Addr::BROADCAST.into();
        drops(twin, "broadcast", &sent(A, ends.udp(68, 67, b"")), DropReason::Group);
        let mut ends = v6(A, B);
        ends.destination = "ff02::fb".parse().unwrap();
        drops(twin, "multicast", &sent(A, ends.udp(5353, 5353, b"")), DropReason::Group);
        drops(twin, "nobody has the address", &sent(A, v4(A, End(77)).udp(1, 2, b"")), DropReason::UnknownDestination);
        drops(twin, "the router offers nothing", &sent(A, v4(A, End(254)).udp(1, 2, b"")), DropReason::NoService);
        let from_node = Met::new(Hook::FromHost, ifindex(0, A), v4(B, A).udp(1, 2, b""));
        drops(twin, "the node itself is not admitted", &from_node, DropReason::HostNotAdmitted);
    });
}

#[test]
fn senders_on_the_underlay() {
    conversation(|_, twin| {
        let syn = v4(REMOTE, B).tcp(&tcp(2), b"");
        passes(twin, "the host that holds the source", &received(2, VNI[0], &syn), target::DELIVER);
        drops(twin, "a stranger", &received(7, VNI[0], &syn), DropReason::UnknownSender);
        drops(twin, "a network that is not there", &received(2, 99, &syn), DropReason::UnknownSender);
        drops(
            twin,
            "a member of the network that does not hold the source",
            &received(9, VNI[0], &syn),
            DropReason::SenderNotHolder,
        );
        let stolen = v4(A, B).tcp(&tcp(2), b"");
        drops(twin, "a source that is here", &received(2, VNI[0], &stolen), DropReason::SenderNotHolder);
        drops(
            twin,
            "an established flow, from another member",
            &received(9, VNI[0], &v4(REMOTE, B).tcp(&tcp(16), b"")),
            DropReason::SenderNotHolder,
        );
        let past = v4(REMOTE, FOREIGN).udp(1, 2, b"");
        drops(twin, "what is not for this host", &received(2, VNI[0], &past), DropReason::NotHere);
        let own = Ends { source: REMOTE.v4().into(), ..v4(REMOTE, B) }.tcp(&Tcp::new(7, 80, 2), b"");
        passes(twin, "the same addresses in the other network are others", &received(2, VNI[1], &own), target::DELIVER);
    });
}

#[test]
fn outer_headers() {
    conversation(|_, twin| {
        let good = received(2, VNI[0], &v4(REMOTE, B).tcp(&tcp(2), b""));
        let change = |what: &dyn Fn(&mut Vec<u8>)| {
            let mut met = good.clone();
            what(&mut met.frame);
            met
        };
        drops(twin, "no I flag", &change(&|frame| frame[42] = 0), DropReason::BadVxlan);
        drops(twin, "more fragments", &change(&|frame| frame[20] = 0x20), DropReason::OuterFragment);
        let options = change(&|frame| {
            frame[14] = 0x46;
            frame.splice(34..34, [1, 1, 1, 0]);
        });
        drops(twin, "IP options", &options, DropReason::OuterOptions);
        let later = change(&|frame| frame[21] = 1);
        passes(twin, "a later fragment has no ports: without its first it becomes nothing", &later, target::HOST);
        passes(twin, "another port", &change(&|frame| frame[36] = 0), target::HOST);
        passes(twin, "another address", &change(&|frame| frame[33] = 9), target::HOST);
        let ssh = outer_ends(7).tcp(&Tcp::new(1, 22, 2), b"");
        passes(twin, "what the host itself is for", &Met::new(Hook::FromUnderlay, UNDERLAY_IFINDEX, ssh), target::HOST);
        let train = Met { gso_size: 1000, ..received(2, VNI[0], &v4(REMOTE, B).udp(1, 2, &[0; 64])) };
        passes(twin, "a datagram train is the kernel's to decapsulate", &train, target::OVERLAY_DEVICE);
    });
}

#[test]
fn broken_packets() {
    conversation(|_, twin| {
        let good = v4(A, B).tcp(&tcp(2), b"payload");
        let change = |what: &dyn Fn(&mut Vec<u8>)| {
            let mut frame = good.clone();
            what(&mut frame);
            sent(A, frame)
        };
        drops(twin, "cut within the TCP header", &change(&|frame| frame.truncate(14 + 20 + 8)), DropReason::Truncated);
        drops(twin, "longer than it is", &change(&|frame| frame[16] = 9), DropReason::Truncated);
        drops(
            twin,
            "shorter than its own header",
            &change(&|frame| (frame[16], frame[17]) = (0, 19)),
            DropReason::BadIpHeader,
        );
        drops(twin, "no such version", &change(&|frame| frame[14] = 0x55), DropReason::BadIpHeader);
        drops(twin, "a header of 16 bytes", &change(&|frame| frame[14] = 0x44), DropReason::BadIpHeader);
        drops(twin, "a TCP header of four words", &change(&|frame| frame[46] = 0x40), DropReason::BadTransport);
        drops(twin, "SYN and FIN", &change(&|frame| frame[47] = 3), DropReason::BadTransport);
        drops(twin, "no flags", &change(&|frame| frame[47] = 0), DropReason::BadTransport);
        drops(twin, "a VLAN tag", &change(&|frame| (frame[12], frame[13]) = (0x81, 0)), DropReason::BadEthernet);
        drops(
            twin,
            "no protocol of ours",
            &change(&|frame| (frame[12], frame[13]) = (0x88, 0xcc)),
            DropReason::UnknownEtherType,
        );
        let mapped: std::net::Ipv6Addr = A.v4().to_ipv6_mapped();
        let disguised = ethernet(B.mac(), A.mac(), 0x86dd, &Ipv6::new(mapped, B.v6()).wrap(17, &[0; 8]));
        drops(twin, "an IPv4 address in IPv6 clothes", &sent(A, disguised), DropReason::BadIpHeader);
        let wrong_family = v4(A, B).ip(58, &[128, 0, 0, 0, 0, 1, 0, 1]);
        drops(twin, "ICMPv6 in IPv4", &sent(A, wrong_family), DropReason::BadTransport);
    });
}

#[test]
fn extension_headers() {
    conversation(|_, twin| {
        let chain = |headers: &[u8]| {
            let mut payload = v6(A, REMOTE).udp(5_000, 53, b"name").split_off(14 + 40);
            let mut next = 17;
            for kind in headers.iter().rev() {
                let options = if *kind == 44 { [0; 2] } else { [1, 4] };
                payload.splice(..0, [next, 0].into_iter().chain(options).chain([0; 4]));
                next = *kind;
            }
            sent(A, ethernet(REMOTE.mac(), A.mac(), 0x86dd, &Ipv6::new(A.v6(), REMOTE.v6()).wrap(next, &payload)))
        };
        passes(twin, "options are looked past", &chain(&[0, 60]), target::ENCAP);
        passes(twin, "four of them", &chain(&[0, 60, 60, 60]), target::ENCAP);
        drops(twin, "not five", &chain(&[0, 60, 60, 60, 60]), DropReason::ExtensionHeaders);
        drops(twin, "a routing header steers around guards", &chain(&[43]), DropReason::ExtensionHeaders);
        passes(twin, "a fragment header of the whole is one more", &chain(&[0, 60, 60, 44]), target::ENCAP);
        drops(twin, "and counts", &chain(&[0, 60, 60, 60, 44]), DropReason::ExtensionHeaders);
    });
}

#[test]
fn a_rule_change_cuts_at_the_next_packet() {
    conversation(|fabric, twin| {
        let datagram = || sent(A, v4(A, B).udp(5_000, 53, b"?"));
        let answer = || sent(B, v4(B, A).udp(53, 5_000, b"!"));
        passes(twin, "asked", &datagram(), target::DELIVER);
        passes(twin, "answered", &answer(), target::DELIVER);
        let closed = json!([{"name": "no-names", "direction": "ingress", "action": "deny", "protocol": "udp"}]);
        fabric.set_rules("red", &closed).unwrap();
        twin.write(fabric.rows()).unwrap();
        let cut =
            drops(twin, "the answerer's next packet finds the connection cut", &answer(), DropReason::ConnectionCut);
        assert!(cut.record.rule >= rule::FIRST, "by the rule that denies it now");
        drops(twin, "and cannot open it again", &answer(), DropReason::ConnectionCut);
        drops(twin, "the initiator is judged anew", &datagram(), DropReason::IngressRule);
        fabric
            .set_rules("red", &json!([{"name": "names", "direction": "ingress", "action": "allow", "protocol": "udp"}]))
            .unwrap();
        twin.write(fabric.rows()).unwrap();
        drops(twin, "a new permission does not revive it for the answerer", &answer(), DropReason::ConnectionCut);
        passes(twin, "but the initiator opens it anew", &datagram(), target::DELIVER);
        passes(twin, "and is answered", &answer(), target::DELIVER);
    });
}

#[test]
fn a_cut_tcp_connection_begins_again_by_syn_only() {
    conversation(|fabric, twin| {
        passes(twin, "opened", &sent(A, v4(A, B).tcp(&tcp(2), b"")), target::DELIVER);
        let answer = || sent(B, v4(B, A).tcp(&Tcp::new(80, 40_000, 18), b""));
        passes(twin, "answered", &answer(), target::DELIVER);
        fabric.set_rules("red", &json!([])).unwrap();
        twin.write(fabric.rows()).unwrap();
        drops(twin, "the permission is gone", &sent(A, v4(A, B).tcp(&tcp(16), b"x")), DropReason::ConnectionCut);
        fabric.set_rules("red", &json!([{"name": "all", "direction": "ingress", "action": "allow"}])).unwrap();
        twin.write(fabric.rows()).unwrap();
        drops(
            twin,
            "no half-seen connection comes back",
            &sent(A, v4(A, B).tcp(&tcp(16), b"x")),
            DropReason::ConnectionCut,
        );
        drops(twin, "nor from the other side", &answer(), DropReason::ConnectionCut);
        passes(twin, "a SYN begins it again", &sent(A, v4(A, B).tcp(&tcp(2), b"")), target::DELIVER);
        passes(twin, "and it is answered", &answer(), target::DELIVER);
    });
}

#[test]
fn what_the_underlay_cannot_carry_is_dropped() {
    conversation(|_, twin| {
        let of = |length: usize| sent(A, v4(A, REMOTE).udp(1, 2, &vec![0; length - 28]));
        passes(twin, "1500 bytes fit into an underlay of 1550", &of(1500), target::ENCAP);
        let large = of(1501);
        let told = twin.compare(&large).unwrap();
        let says = "1501 do not, and nothing is fragmented: the sender is told how much does (RFC 1191)";
        assert_eq!((told.record.target, told.record.reason), (target::REPLY, DropReason::TooBig as u16), "{says}");
        assert_eq!(told.frame[..12], [A.mac(), REMOTE.mac()].concat()[..], "back to it");
        assert_eq!(told.frame[14..16], [0x45, 0]);
        assert_eq!(checksum(&[&told.frame[14..34]]), 0, "the header checksum is right");
        assert_eq!(told.frame[23], 1, "ICMP");
        assert_eq!(told.frame[26..34], [REMOTE.v4().octets(), A.v4().octets()].concat()[..]);
        assert_eq!(told.frame[34..36], [3, 4], "fragmentation needed");
        assert_eq!(checksum(&[&told.frame[34..]]), 0, "and so is that of ICMP");
        assert_eq!(told.frame[38..42], 1500_u32.to_be_bytes());
        assert_eq!(told.frame[42..], large.frame[14..42], "the headers are quoted");
        let later = sent(A, v4(A, REMOTE).loose_piece(7, 17, 100, true, &[0; 1496]));
        drops(twin, "a later fragment is not answered", &later, DropReason::TooBig);
    });
}

#[test]
fn what_the_underlay_cannot_carry_of_ipv6_is_told_too() {
    conversation(|_, twin| {
        let large = sent(A, v6(A, REMOTE).tcp(&tcp(2), &vec![0; 1441]));
        let told = twin.compare(&large).unwrap();
        assert_eq!((told.record.target, told.record.reason), (target::REPLY, DropReason::TooBig as u16));
        assert_eq!(told.frame[14..18], [0x60, 0, 0, 0]);
        assert_eq!(told.frame[20], 58, "ICMPv6");
        assert_eq!(told.frame[22..54], [REMOTE.v6().octets(), A.v6().octets()].concat()[..]);
        assert_eq!(told.frame[54..56], [2, 0], "packet too big (RFC 4443)");
        assert_eq!(told.frame[58..62], 1500_u32.to_be_bytes());
        assert_eq!(told.frame[62..], large.frame[14..62], "the headers are quoted");
        let sum = transport_checksum(REMOTE.v6().into(), A.v6().into(), 58, &told.frame[54..]);
        assert_eq!(sum, 0, "the checksum is right");
    });
}
