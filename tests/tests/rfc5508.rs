//! RFC 5508 (NAT behavioural requirements for ICMP), as far as it speaks of filters, in the kernel and in memory at once: queries
//! are connections, and errors belong to the connection of the packet that they quote.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{net::IpAddr, time::Duration};

use andromede_abi::{DropReason, target};
use andromede_testkit::packet::{
    Ends, Tcp,
    tcp_flag::{ACK, SYN},
};
use andromede_tests::twin::{
    END_LOCAL_A as A, END_LOCAL_B as B, END_REMOTE as REMOTE, END_VTEP as FOREIGN, End, Met, ifindex,
    talk::{VNI, conversation, drops, passes, received, sent, v4, v6},
};
use serde_json::json;

/// Host unreachable, and time exceeded in transit (RFC 792).
const UNREACHABLE: (u8, u8) = (3, 1);
const EXCEEDED: (u8, u8) = (11, 0);
/// Packet too big (RFC 4443).
const V6_TOO_BIG: (u8, u8) = (2, 0);

/// What the first tenant's remote end sends.
fn from_remote(frame: &[u8]) -> Met {
    received(2, VNI[0], frame)
}

fn syn(from: End, to: End) -> Vec<u8> {
    v4(from, to).tcp(&Tcp::new(40_000, 80, SYN), b"")
}

#[test]
fn req_1_a_query_is_remembered_for_a_minute() {
    conversation(|_, twin| {
        passes(twin, "asked", &sent(A, v4(A, REMOTE).echo(true, 7, 1, b"")), target::ENCAP);
        let answer = || from_remote(&v4(REMOTE, A).echo(false, 7, 1, b""));
        twin.rest(Duration::from_secs(59)).unwrap();
        passes(twin, "answered after 59 s", &answer(), target::DELIVER);
        twin.rest(Duration::from_secs(62)).unwrap();
        drops(twin, "and not after another 62", &answer(), DropReason::NoConnection);
    });
}

#[test]
fn req_4_an_error_passes_to_who_sent_what_it_quotes() {
    conversation(|_, twin| {
        let asked = syn(A, REMOTE);
        let error = from_remote(&v4(REMOTE, A).icmp_error(UNREACHABLE, &asked));
        drops(twin, "before anything was sent", &error, DropReason::UnrelatedIcmpError);
        passes(twin, "a SYN", &sent(A, asked.clone()), target::ENCAP);
        let out = passes(twin, "its receiver", &error, target::DELIVER);
        assert_eq!(out.record.ifindex, ifindex(0, A));
        let hop = received(9, VNI[0], &v4(FOREIGN, A).icmp_error(EXCEEDED, &asked));
        passes(twin, "and whoever stands on the way may tell", &hop, target::DELIVER);
        let neighbor = sent(B, v4(B, A).icmp_error(EXCEEDED, &asked));
        drops(twin, "but a port, which forwards nothing, may not", &neighbor, DropReason::UnrelatedIcmpError);
        let stolen = received(9, VNI[0], &v4(REMOTE, A).icmp_error(EXCEEDED, &asked));
        drops(twin, "under an address of his own", &stolen, DropReason::SenderNotHolder);
        let to_b = from_remote(&v4(REMOTE, B).icmp_error(UNREACHABLE, &asked));
        drops(twin, "nobody else hears of it", &to_b, DropReason::UnrelatedIcmpError);
        let about_nothing = v4(A, REMOTE).tcp(&Tcp::new(40_001, 80, SYN), b"");
        let unrelated = from_remote(&v4(REMOTE, A).icmp_error(UNREACHABLE, &about_nothing));
        drops(twin, "of other ports there is nothing to tell", &unrelated, DropReason::UnrelatedIcmpError);
        let other_network = received(2, VNI[1], &v4(REMOTE, A).icmp_error(UNREACHABLE, &asked));
        drops(twin, "the other network has no such connection", &other_network, DropReason::UnrelatedIcmpError);
    });
}

#[test]
fn errors_of_a_workload_go_where_they_belong() {
    conversation(|_, twin| {
        let asked = v4(REMOTE, B).tcp(&Tcp::new(40_000, 80, SYN), b"");
        passes(twin, "a connection comes in", &from_remote(&asked), target::DELIVER);
        let error = sent(B, v4(B, REMOTE).icmp_error((3, 3), &asked));
        let out = passes(twin, "its receiver refuses it", &error, target::ENCAP);
        assert_eq!(out.frame[30..34], [192, 0, 2, 2], "towards the host that asked");
        let near = v6(A, B).udp(5_000, 8_000, b"x");
        let closed = sent(B, v6(B, A).icmp_error((1, 4), &near));
        drops(twin, "what was never let in is not answered", &closed, DropReason::UnrelatedIcmpError);
    });
}

#[test]
fn queries_and_ipv6_and_other_protocols_have_errors_too() {
    conversation(|_, twin| {
        let ping = v4(A, REMOTE).echo(true, 7, 1, b"payload");
        passes(twin, "an echo", &sent(A, ping.clone()), target::ENCAP);
        passes(twin, "that expires", &from_remote(&v4(REMOTE, A).icmp_error(EXCEEDED, &ping)), target::DELIVER);
        let large = v6(A, REMOTE).udp(5_000, 53, &[0; 64]);
        passes(twin, "a datagram", &sent(A, large.clone()), target::ENCAP);
        let too_big = from_remote(&v6(REMOTE, A).icmp_error(V6_TOO_BIG, &large));
        passes(twin, "that was too big", &too_big, target::DELIVER);
        let tunnel = v4(A, REMOTE).ip(47, &[0; 16]);
        passes(twin, "a protocol without ports", &sent(A, tunnel.clone()), target::ENCAP);
        passes(twin, "is told by addresses", &from_remote(&v4(REMOTE, A).icmp_error((3, 2), &tunnel)), target::DELIVER);
    });
}

#[test]
fn req_10_an_error_neither_ends_nor_keeps_a_connection() {
    conversation(|_, twin| {
        let asked = syn(A, REMOTE);
        passes(twin, "a SYN", &sent(A, asked.clone()), target::ENCAP);
        passes(
            twin,
            "answered",
            &from_remote(&v4(REMOTE, A).tcp(&Tcp::new(80, 40_000, SYN | ACK), b"")),
            target::DELIVER,
        );
        passes(twin, "acknowledged", &sent(A, v4(A, REMOTE).tcp(&Tcp::new(40_000, 80, ACK), b"")), target::ENCAP);
        let before = twin.flow().unwrap();
        twin.rest(Duration::from_mins(10)).unwrap();
        let error = from_remote(&v4(REMOTE, A).icmp_error(UNREACHABLE, &asked));
        passes(twin, "an error", &error, target::DELIVER);
        let after = twin.flow().unwrap();
        assert_eq!((after.state, after.lifetime), (before.state, before.lifetime), "the connection is as before");
        assert!(after.seen < before.seen, "and as old");
        twin.rest(Duration::from_hours(2)).unwrap();
        drops(twin, "of what is over there are no errors", &error, DropReason::UnrelatedIcmpError);
    });
}

#[test]
fn an_error_follows_the_rules_of_its_connection() {
    conversation(|fabric, twin| {
        let asked = v4(A, B).udp(5_000, 53, b"?");
        passes(twin, "asked", &sent(A, asked.clone()), target::DELIVER);
        let error = sent(B, v4(B, A).icmp_error((3, 3), &asked));
        passes(twin, "nobody listens; no rule for ICMP is needed", &error, target::DELIVER);
        let closed = json!([{"name": "no-names", "direction": "ingress", "action": "deny", "protocol": "udp"}]);
        fabric.set_rules("red", &closed).unwrap();
        twin.write(fabric.rows()).unwrap();
        drops(twin, "the rules have changed: first the connection is judged", &error, DropReason::UnrelatedIcmpError);
        drops(twin, "which is cut", &sent(A, asked.clone()), DropReason::ConnectionCut);
        drops(twin, "and stays silent", &error, DropReason::UnrelatedIcmpError);
    });
}

#[test]
fn what_is_no_error_is_dropped() {
    conversation(|_, twin| {
        let asked = syn(A, REMOTE);
        passes(twin, "a SYN", &sent(A, asked.clone()), target::ENCAP);
        let ends = v4(REMOTE, A);
        let bad = |frame: &[u8], says: &str| drops(twin, says, &from_remote(frame), DropReason::BadIcmpError);
        bad(&ends.icmp_error(UNREACHABLE, &asked[..14]), "nothing is quoted");
        bad(&ends.icmp_error(UNREACHABLE, &asked[..14 + 20 + 3]), "the ports are cut off");
        let mut fragment = asked.clone();
        fragment[14 + 7] = 1;
        bad(&ends.icmp_error(UNREACHABLE, &fragment), "a later fragment is quoted");
        let mut other_family = asked.clone();
        other_family[14] = 0x60;
        bad(&ends.icmp_error(UNREACHABLE, &other_family), "another family is quoted");
        let error = v4(A, REMOTE).icmp_error(UNREACHABLE, &syn(REMOTE, A));
        bad(&ends.icmp_error(UNREACHABLE, &error), "an error about an error");
        let long: Vec<u8> = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &asked[14..], &[0; 1_280]].concat();
        bad(&Ends { source: IpAddr::V4(REMOTE.v4()), ..ends }.ip(1, &long), "it brings more than an error does");
    });
}

#[test]
fn a_quote_may_have_options_and_extension_headers() {
    conversation(|_, twin| {
        let asked = v4(A, REMOTE).udp(5_000, 53, b"name");
        passes(twin, "a datagram", &sent(A, asked.clone()), target::ENCAP);
        let mut options = asked;
        options[14] = 0x46;
        options.splice(34..34, [1, 1, 1, 0]);
        passes(twin, "options", &from_remote(&v4(REMOTE, A).icmp_error(EXCEEDED, &options)), target::DELIVER);
        let asked = v6(A, REMOTE).udp(5_000, 53, b"name");
        passes(twin, "a datagram", &sent(A, asked.clone()), target::ENCAP);
        let mut extended = asked;
        extended[14 + 6] = 60;
        extended.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
        passes(twin, "an extension", &from_remote(&v6(REMOTE, A).icmp_error((3, 0), &extended)), target::DELIVER);
    });
}
