//! Golden packets of datagrams in pieces, over IPv4 and IPv6. Each conversation is had in memory and in the kernel.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use andromede_abi::{DropReason, FRAGMENT_PLACES, rule, target};
use andromede_testkit::packet::{Ends, Ipv4, Ipv6, Tcp, ethernet, protocol, tcp_flag};
use andromede_tests::twin::{
    END_LOCAL_A as A, END_LOCAL_B as B, END_REMOTE as REMOTE, End, Met, SmallFabric, Twin, ifindex,
    talk::{VNI, conversation, drops, passes, received, sent, v4, v6},
};
use serde_json::json;

/// What both families are told by.
const FAMILIES: [fn(End, End) -> Ends; 2] = [v4, v6];

/// A datagram of 44 bytes: a UDP header and its data.
fn datagram(ends: &Ends, source: u16, destination: u16) -> Vec<u8> {
    let header = if ends.source.is_ipv4() { 34 } else { 54 };
    ends.udp(source, destination, &[0x5a; 36]).split_off(header)
}

fn udp_piece(ends: &Ends, id: u32, ports: (u16, u16), from: usize, to: usize) -> Vec<u8> {
    ends.piece(id, protocol::UDP, &datagram(ends, ports.0, ports.1), from..to)
}

/// Ingress of the first tenant's servers is these rules from now on.
fn servers(fabric: &mut SmallFabric, twin: &mut Twin, rules: &serde_json::Value) {
    fabric.set_rules("red", rules).unwrap();
    twin.write(fabric.rows()).unwrap();
}

fn allow_names(fabric: &mut SmallFabric, twin: &mut Twin) {
    let names = json!([
        {"name": "names", "direction": "ingress", "action": "allow", "protocol": "udp", "ports": ["53"]},
        {"name": "web", "direction": "ingress", "action": "allow", "protocol": "tcp", "ports": ["80"]},
    ]);
    servers(fabric, twin, &names);
}

#[test]
fn later_fragments_follow_their_first() {
    conversation(|fabric, twin| {
        allow_names(fabric, twin);
        for ends in FAMILIES {
            let piece = |id, from, to| udp_piece(&ends(A, B), id, (5_000, 53), from, to);
            let out = passes(twin, "the first is judged by its ports", &sent(A, piece(7, 0, 16)), target::DELIVER);
            assert!(out.record.rule >= rule::FIRST);
            let last = passes(twin, "the last may come next", &sent(A, piece(7, 32, 44)), target::DELIVER);
            assert_eq!((last.record.ifindex, last.record.rule), (ifindex(0, B), out.record.rule));
            passes(twin, "and the middle then", &sent(A, piece(7, 16, 32)), target::DELIVER);
            drops(twin, "another datagram's", &sent(A, piece(8, 16, 32)), DropReason::Fragment);
            let closed = udp_piece(&ends(A, B), 9, (5_000, 54), 0, 16);
            drops(twin, "a first that no rule allows", &sent(A, closed), DropReason::IngressRule);
            let after = udp_piece(&ends(A, B), 9, (5_000, 54), 16, 44);
            let refused = drops(twin, "takes the rest with it", &sent(A, after), DropReason::Fragment);
            assert_eq!(refused.record.rule, rule::DEFAULT_INGRESS);
        }
    });
}

#[test]
fn fragments_cross_the_underlay() {
    conversation(|fabric, twin| {
        allow_names(fabric, twin);
        for ends in FAMILIES {
            let out = |id, from, to| udp_piece(&ends(A, REMOTE), id, (5_000, 53), from, to);
            let first = passes(twin, "out, and not again in pieces", &sent(A, out(7, 0, 16)), target::ENCAP);
            let later = passes(twin, "the rest", &sent(A, out(7, 16, 44)), target::ENCAP);
            assert_eq!(later.record.outer_port, first.record.outer_port, "takes the same way through the underlay");
            let back = |id, from, to| udp_piece(&ends(REMOTE, A), id, (53, 5_000), from, to);
            let answer = |id, from, to| received(2, VNI[0], &back(id, from, to));
            passes(twin, "the answer needs no rule", &answer(70, 0, 16), target::DELIVER);
            passes(twin, "nor does its rest", &answer(70, 16, 44), target::DELIVER);
            let asked = |id, from, to| received(2, VNI[0], &udp_piece(&ends(REMOTE, B), id, (6_000, 53), from, to));
            drops(twin, "too early", &asked(71, 16, 44), DropReason::Fragment);
            passes(twin, "asked", &asked(71, 0, 16), target::DELIVER);
            passes(twin, "in time", &asked(71, 16, 44), target::DELIVER);
            let forged = received(9, VNI[0], &udp_piece(&ends(REMOTE, B), 71, (6_000, 53), 16, 44));
            drops(twin, "from a member that does not hold it", &forged, DropReason::SenderNotHolder);
        }
    });
}

#[test]
fn a_rule_change_reaches_later_fragments() {
    conversation(|fabric, twin| {
        for (id, ends) in (7..).zip(FAMILIES) {
            allow_names(fabric, twin);
            let piece = |from, to| sent(A, udp_piece(&ends(A, B), id, (5_000 + id as u16, 53), from, to));
            passes(twin, "the first", &piece(0, 16), target::DELIVER);
            passes(twin, "the second", &piece(16, 24), target::DELIVER);
            servers(
                fabric,
                twin,
                &json!([{"name": "no", "direction": "ingress", "action": "deny", "protocol": "udp"}]),
            );
            drops(twin, "the third finds the connection cut", &piece(24, 32), DropReason::ConnectionCut);
        }
    });
}

#[test]
fn in_any_order_where_a_rule_allows_the_protocol() {
    conversation(|fabric, twin| {
        let rules = json!([
            {"name": "no-telnet", "direction": "ingress", "action": "deny", "protocol": "udp", "ports": ["23"], "priority": 1},
            {"name": "datagrams", "direction": "ingress", "action": "allow", "protocol": "udp", "priority": 2},
        ]);
        servers(fabric, twin, &rules);
        for ends in FAMILIES {
            let to = |port| move |id, from, to| sent(A, udp_piece(&ends(A, B), id, (5_000, port), from, to));
            let piece = to(99);
            let early = passes(twin, "the last comes first", &piece(7, 32, 44), target::DELIVER);
            assert!(early.record.rule >= rule::FIRST, "by the rule for all ports");
            assert_eq!(early.record.claim, 0, "and opens nothing");
            passes(twin, "then the middle", &piece(7, 16, 32), target::DELIVER);
            passes(twin, "and the first, up to there", &piece(7, 0, 16), target::DELIVER);
            passes(twin, "early again", &piece(8, 16, 44), target::DELIVER);
            drops(twin, "a first that overlaps it", &piece(8, 0, 24), DropReason::FragmentOverlap);
            passes(twin, "early, for a port that is denied", &to(23)(9, 16, 44), target::DELIVER);
            drops(twin, "its first does not pass", &to(23)(9, 0, 16), DropReason::IngressRule);
            let tcp = sent(A, ends(A, B).loose_piece(10, protocol::TCP, 3, false, &[1; 8]));
            drops(twin, "another protocol", &tcp, DropReason::Fragment);
        }
        servers(
            fabric,
            twin,
            &json!([
                {"name": "no-datagrams", "direction": "ingress", "action": "deny", "protocol": "udp", "priority": 1},
                {"name": "rest", "direction": "ingress", "action": "allow", "priority": 2},
            ]),
        );
        let piece = |upper| sent(A, v4(A, B).loose_piece(11, upper, 3, false, &[1; 8]));
        drops(twin, "a rule that denies the protocol comes first", &piece(protocol::UDP), DropReason::Fragment);
        passes(twin, "a rule for every protocol is one too", &piece(protocol::TCP), target::DELIVER);
    });
}

#[test]
fn what_overlaps_and_what_repeats() {
    conversation(|fabric, twin| {
        allow_names(fabric, twin);
        for ends in FAMILIES {
            let piece = |id, from, to| sent(A, udp_piece(&ends(A, B), id, (5_000, 53), from, to));
            passes(twin, "24 bytes", &piece(7, 0, 24), target::DELIVER);
            drops(twin, "what begins at 16", &piece(7, 16, 32), DropReason::FragmentOverlap);
            drops(twin, "the first again", &piece(7, 0, 24), DropReason::FragmentOverlap);
            drops(twin, "another first", &piece(7, 0, 16), DropReason::FragmentOverlap);
            passes(twin, "the rest still belongs to it", &piece(7, 24, 44), target::DELIVER);
        }
    });
}

#[test]
fn tiny_fragments() {
    conversation(|fabric, twin| {
        allow_names(fabric, twin);
        for ends in FAMILIES {
            let header = if ends(A, B).source.is_ipv4() { 34 } else { 54 };
            let segment = ends(A, B).tcp(&Tcp::new(5_000, 80, tcp_flag::SYN), &[0; 24]).split_off(header);
            let piece = |id, from: usize, to: usize| ends(A, B).piece(id, protocol::TCP, &segment, from..to);
            drops(twin, "ports and no flags", &sent(A, piece(7, 0, 8)), DropReason::TinyFragment);
            drops(twin, "flags and no whole header", &sent(A, piece(7, 0, 16)), DropReason::TinyFragment);
            let mut padded = piece(7, 0, 16);
            padded.extend_from_slice(&segment[16..]);
            drops(twin, "what stands behind it is not of it", &sent(A, padded), DropReason::TinyFragment);
            drops(twin, "flags at offset 1 (RFC 3128)", &sent(A, piece(7, 8, 24)), DropReason::HeaderFragment);
            passes(twin, "the whole header", &sent(A, piece(7, 0, 24)), target::DELIVER);
            let mut options = segment.clone();
            options[12] = 0x80;
            let cut = ends(A, B).piece(8, protocol::TCP, &options, 0..24);
            drops(twin, "options beyond the fragment", &sent(A, cut), DropReason::TinyFragment);
            let echo = if header == 34 { protocol::ICMP } else { protocol::ICMPV6 };
            for upper in [protocol::TCP, protocol::UDP, 132, echo] {
                let one = ends(A, B).loose_piece(9, upper, 1, true, &[0; 8]);
                drops(twin, "offset 1", &sent(A, one), DropReason::HeaderFragment);
            }
        }
    });
}

#[test]
fn malformed_fragments() {
    conversation(|_, twin| {
        for ends in FAMILIES {
            let piece = |offset, more, length| {
                let payload = vec![0; length];
                sent(A, ends(A, B).loose_piece(7, protocol::UDP, offset, more, &payload))
            };
            drops(twin, "empty", &piece(3, false, 0), DropReason::BadFragment);
            drops(twin, "more follow, and it ends anywhere", &piece(3, true, 12), DropReason::BadFragment);
            drops(twin, "past the longest datagram", &piece(0x1fff, false, 16), DropReason::FragmentTooLong);
            drops(twin, "by its headers", &piece(0x1ffd, true, 24), DropReason::FragmentTooLong);
            let train = Met { gso_size: 1000, ..piece(3, true, 16) };
            drops(twin, "nobody hands over trains of fragments", &train, DropReason::BadFragment);
        }
    });
}

#[test]
fn messages_about_the_network_come_whole() {
    conversation(|_, twin| {
        let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &B.v6().octets()].concat();
        let forged = v6(A, B).piece(7, protocol::ICMPV6, &[solicitation, vec![0; 8]].concat(), 0..24);
        drops(twin, "neighbour discovery (RFC 6980)", &sent(A, forged), DropReason::FragmentedControl);
        for kind in [1, 2, 3, 4, 127] {
            let error = v6(A, B).loose_piece(7, protocol::ICMPV6, 0, true, &[kind, 0, 0, 0, 0, 0, 0, 0]);
            drops(twin, "an ICMPv6 error", &sent(A, error), DropReason::FragmentedControl);
        }
        for kind in [3, 5, 11, 12] {
            let error = v4(A, B).loose_piece(7, protocol::ICMP, 0, true, &[kind, 0, 0, 0, 0, 0, 0, 0]);
            drops(twin, "an ICMP error", &sent(A, error), DropReason::FragmentedControl);
        }
        for ends in FAMILIES {
            let upper = if ends(B, A).source.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
            let request = if upper == protocol::ICMP { 8 } else { 128 };
            let echo = [&[request, 0, 0, 0, 0, 9, 0, 1][..], &[7; 32]].concat();
            let piece = |from: usize, to: usize| sent(B, ends(B, A).piece(8, upper, &echo, from..to));
            passes(twin, "a long echo", &piece(0, 16), target::DELIVER);
            passes(twin, "and its rest", &piece(16, 40), target::DELIVER);
        }
    });
}

#[test]
fn fragment_headers_of_ipv6() {
    conversation(|fabric, twin| {
        allow_names(fabric, twin);
        let whole = datagram(&v6(A, B), 5_000, 53);
        let atomic = || sent(A, v6(A, B).piece(7, protocol::UDP, &whole, 0..whole.len()));
        passes(twin, "an atomic fragment is a whole packet (RFC 6946)", &atomic(), target::DELIVER);
        passes(twin, "as often as it comes", &atomic(), target::DELIVER);
        drops(twin, "and has no rest", &sent(A, udp_piece(&v6(A, B), 7, (5_000, 53), 16, 44)), DropReason::Fragment);
        let inside = |headers: &[u8]| {
            let packet = Ipv6::new(A.v6(), B.v6()).wrap(protocol::FRAGMENT, &[headers, &whole[..40]].concat());
            sent(A, ethernet(B.mac(), A.mac(), 0x86dd, &packet))
        };
        let options = inside(&[60, 0, 0, 1, 0, 0, 0, 7, 17, 0, 1, 4, 0, 0, 0, 0]);
        drops(twin, "options inside the pieces", &options, DropReason::ExtensionHeaders);
        let twice = inside(&[44, 0, 0, 1, 0, 0, 0, 7, 17, 0, 0, 1, 0, 0, 0, 8]);
        drops(twin, "pieces of pieces", &twice, DropReason::ExtensionHeaders);
        let other = v6(A, B).loose_piece(8, protocol::TCP, 2, false, &[0; 8]);
        passes(twin, "the first", &sent(A, udp_piece(&v6(A, B), 8, (5_000, 53), 0, 16)), target::DELIVER);
        let late = passes(twin, "the protocol of a later one means nothing", &sent(A, other), target::DELIVER);
        assert!(late.record.rule >= rule::FIRST);
    });
}

#[test]
fn options_of_ipv4_are_of_the_header() {
    conversation(|fabric, twin| {
        allow_names(fabric, twin);
        let whole = datagram(&v4(A, B), 5_000, 53);
        let piece = |offset: u16, more: bool, payload: &[u8]| {
            let mut header = Ipv4::new(A.v4(), B.v4());
            (header.dont_fragment, header.more_fragments) = (false, more);
            (header.fragment_offset, header.options) = (offset, vec![1; 8]);
            sent(A, v4(A, B).ipv4(&header, protocol::UDP, payload))
        };
        passes(twin, "16 bytes behind the options", &piece(0, true, &whole[..16]), target::DELIVER);
        drops(twin, "counted from there", &piece(1, true, &whole[8..16]), DropReason::HeaderFragment);
        passes(twin, "and so on", &piece(2, false, &whole[16..]), target::DELIVER);
    });
}

#[test]
fn a_flood_of_firsts_pushes_out_those_of_its_own_port() {
    conversation(|fabric, twin| {
        allow_names(fabric, twin);
        let piece = |from: End, id, part: (usize, usize)| {
            let ports = (5_000, 53);
            sent(from, udp_piece(&v4(from, REMOTE), id, ports, part.0, part.1))
        };
        let (first, rest) = ((0, 16), (16, 44));
        let denied = json!([{"name": "none", "direction": "egress", "action": "deny", "protocol": "udp", "ports": ["1"]},
            {"name": "names", "direction": "egress", "action": "allow", "protocol": "udp", "ports": ["53"], "priority": 1},
            {"name": "nothing", "direction": "egress", "action": "deny", "priority": 2}]);
        servers(fabric, twin, &denied);
        passes(twin, "one of another port", &piece(A, 7, first), target::ENCAP);
        for id in 0..=u32::from(FRAGMENT_PLACES) {
            passes(twin, "a flood", &piece(B, 100 + id, first), target::ENCAP);
        }
        drops(twin, "the oldest was pushed out", &piece(B, 100, rest), DropReason::Fragment);
        passes(twin, "the second is there", &piece(B, 101, rest), target::ENCAP);
        passes(twin, "and the other port's", &piece(A, 7, rest), target::ENCAP);
    });
}
