//! RFC 4787 (NAT behavioural requirements for UDP), as far as it speaks of filters: by its requirements, in the kernel and in memory
//! at once. What it leaves open is said in docs/connections.md.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use andromede_abi::{DropReason, target};
use andromede_tests::twin::{
    END_LOCAL_A as A, END_LOCAL_B as B, END_REMOTE as REMOTE, END_VTEP as FOREIGN, Met,
    talk::{VNI, conversation, drops, passes, received, sent, v4},
};
use serde_json::json;

/// A asks the remote server.
fn asks() -> Met {
    sent(A, v4(A, REMOTE).udp(5_000, 53, b"?"))
}

/// The server answers.
fn answers() -> Met {
    received(2, VNI[0], &v4(REMOTE, A).udp(53, 5_000, b"!"))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn req_5_one_way_lives_for_2_minutes_and_both_ways_for_5() {
    conversation(|_, twin| {
        passes(twin, "asked", &asks(), target::ENCAP);
        assert_eq!(twin.flow().unwrap().lifetime, 120);
        twin.rest(seconds(119)).unwrap();
        passes(twin, "answered after 119 s", &answers(), target::DELIVER);
        assert_eq!(twin.flow().unwrap().lifetime, 300);
        twin.rest(seconds(299)).unwrap();
        passes(twin, "after another 299", &answers(), target::DELIVER);
        twin.rest(seconds(302)).unwrap();
        drops(twin, "and not after 302", &answers(), DropReason::IngressRule);
    });
}

#[test]
fn req_5_the_time_is_a_setting() {
    conversation(|fabric, twin| {
        fabric.set_timeouts("red", &json!({"udpOneWaySeconds": 5, "udpRepliedSeconds": 600})).unwrap();
        twin.write(fabric.rows()).unwrap();
        passes(twin, "asked", &asks(), target::ENCAP);
        assert_eq!(twin.flow().unwrap().lifetime, 5);
        passes(twin, "answered", &answers(), target::DELIVER);
        assert_eq!(twin.flow().unwrap().lifetime, 600);
    });
}

#[test]
fn req_6_outbound_packets_keep_it_and_inbound_ones_too() {
    for kept_by in [asks, answers] {
        conversation(|_, twin| {
            passes(twin, "asked", &asks(), target::ENCAP);
            passes(twin, "answered", &answers(), target::DELIVER);
            for _ in 0..3 {
                twin.rest(seconds(200)).unwrap();
                let met = kept_by();
                assert_eq!(twin.compare(&met).unwrap().record.reason, 0, "kept by {met:?}");
            }
        });
    }
}

#[test]
fn req_8_only_the_end_that_was_asked_may_answer() {
    conversation(|_, twin| {
        passes(twin, "asked", &asks(), target::ENCAP);
        let port = received(2, VNI[0], &v4(REMOTE, A).udp(54, 5_000, b"!"));
        drops(twin, "not from another port", &port, DropReason::IngressRule);
        let address = received(9, VNI[0], &v4(FOREIGN, A).udp(53, 5_000, b"!"));
        drops(twin, "nor from another address", &address, DropReason::IngressRule);
        let to = received(2, VNI[0], &v4(REMOTE, A).udp(53, 5_001, b"!"));
        drops(twin, "nor to another port", &to, DropReason::IngressRule);
        passes(twin, "but from there", &answers(), target::DELIVER);
    });
}

#[test]
fn an_answer_that_comes_too_late_is_a_packet_of_its_own() {
    conversation(|fabric, twin| {
        let asks = || sent(A, v4(A, B).udp(5_000, 53, b"?"));
        let answers = || sent(B, v4(B, A).udp(53, 5_000, b"!"));
        passes(twin, "asked", &asks(), target::DELIVER);
        twin.rest(seconds(121)).unwrap();
        drops(twin, "A's rules do not let B open anything", &answers(), DropReason::IngressRule);
        assert!(twin.flow().unwrap().state == 0, "and nothing is opened");
        let rules = json!([{"name": "from-dns", "direction": "ingress", "action": "allow", "protocol": "udp", "ports": ["5000"]}]);
        fabric.set_client_rules("red", &rules).unwrap();
        twin.write(fabric.rows()).unwrap();
        passes(twin, "where they let it, B is the one who opens", &answers(), target::DELIVER);
        passes(twin, "and A answers", &asks(), target::DELIVER);
        let closed = json!([{"name": "none", "direction": "egress", "action": "deny"}]);
        fabric.set_rules("red", &closed).unwrap();
        twin.write(fabric.rows()).unwrap();
        drops(twin, "which ends with B's right to open it", &asks(), DropReason::ConnectionCut);
    });
}
