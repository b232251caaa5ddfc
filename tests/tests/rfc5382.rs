//! RFC 5382 (NAT behavioural requirements for TCP), as far as it speaks of filters: by its requirements, in the kernel and in memory
//! at once. What it leaves open is said in docs/connections.md.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use andromede_abi::{
    DropReason,
    flow_state::{self, ESTABLISHED, REPLIED},
    target,
};
use andromede_testkit::packet::{
    Tcp,
    tcp_flag::{ACK, FIN, RST, SYN},
};
use andromede_tests::twin::{
    END_LOCAL_A as A, END_LOCAL_B as B, END_REMOTE as REMOTE, Met, Twin,
    talk::{VNI, conversation, drops, passes, received, sent, v4},
};
use serde_json::json;

/// What A sends to the remote server.
fn out(flags: u8) -> Met {
    sent(A, v4(A, REMOTE).tcp(&Tcp::new(40_000, 80, flags), b""))
}

/// What the server sends back.
fn back(flags: u8) -> Met {
    received(2, VNI[0], &v4(REMOTE, A).tcp(&Tcp::new(80, 40_000, flags), b""))
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

fn open(twin: &Twin) {
    passes(twin, "the SYN", &out(SYN), target::ENCAP);
    passes(twin, "its answer", &back(SYN | ACK), target::DELIVER);
    passes(twin, "and the acknowledgement", &out(ACK), target::ENCAP);
    assert_eq!(twin.flow().unwrap().state, REPLIED | ESTABLISHED);
}

#[test]
fn req_2_every_valid_sequence_opens_a_connection() {
    conversation(|_, twin| {
        passes(
            twin,
            "a SYN with data (RFC 7413)",
            &sent(A, v4(A, REMOTE).tcp(&Tcp::new(40_000, 80, SYN), b"GET")),
            target::ENCAP,
        );
        passes(twin, "a retransmission of it", &out(SYN), target::ENCAP);
        assert_eq!(twin.flow().unwrap().state, 0, "half-open");
        passes(twin, "the answer", &back(SYN | ACK), target::DELIVER);
        passes(twin, "a retransmission of that", &back(SYN | ACK), target::DELIVER);
        passes(twin, "the server's data before the last acknowledgement (RFC 7413)", &back(ACK), target::DELIVER);
        assert_eq!(twin.flow().unwrap().state, REPLIED, "still half-open");
        passes(twin, "the acknowledgement", &out(ACK), target::ENCAP);
        assert_eq!(twin.flow().unwrap().state, REPLIED | ESTABLISHED);
        passes(twin, "whose loss makes the answer come again", &back(SYN | ACK), target::DELIVER);
    });
}

#[test]
fn req_2a_both_sides_may_open_at_once() {
    conversation(|_, twin| {
        passes(twin, "one SYN", &out(SYN), target::ENCAP);
        passes(twin, "meets the other", &back(SYN), target::DELIVER);
        passes(twin, "one answers", &out(SYN | ACK), target::ENCAP);
        passes(twin, "and the other", &back(SYN | ACK), target::DELIVER);
        passes(twin, "data", &out(ACK), target::ENCAP);
        passes(twin, "both ways", &back(ACK), target::DELIVER);
        assert_eq!(twin.flow().unwrap().state & ESTABLISHED, ESTABLISHED);
    });
}

#[test]
fn req_4_an_unsolicited_syn_is_not_answered() {
    conversation(|_, twin| {
        drops(twin, "no reset, no error: silence", &back(SYN), DropReason::IngressRule);
        drops(twin, "nor for what answers nothing", &back(SYN | ACK), DropReason::UnaskedSynAck);
        drops(twin, "nor for what belongs to nothing", &back(ACK), DropReason::NoConnection);
        drops(twin, "not even a reset", &back(RST), DropReason::NoConnection);
        assert!(twin.flows().unwrap().is_empty());
    });
}

#[test]
fn req_5_an_established_connection_lives_for_2_hours_4_minutes_without_a_packet() {
    conversation(|_, twin| {
        open(twin);
        twin.rest(minutes(2 * 60 + 3)).unwrap();
        passes(twin, "a keepalive after 2 h 3 min", &back(ACK), target::DELIVER);
        twin.rest(minutes(2 * 60 + 3)).unwrap();
        passes(twin, "which kept it alive", &out(ACK), target::ENCAP);
        twin.rest(minutes(2 * 60 + 5)).unwrap();
        drops(twin, "after 2 h 5 min it is over", &back(ACK), DropReason::NoConnection);
    });
}

#[test]
fn req_5_a_half_open_or_half_closed_connection_lives_for_4_minutes() {
    conversation(|_, twin| {
        passes(twin, "a SYN", &out(SYN), target::ENCAP);
        twin.rest(minutes(3)).unwrap();
        passes(twin, "its retransmission", &out(SYN), target::ENCAP);
        twin.rest(Duration::from_secs(61)).unwrap();
        drops(twin, "does not keep it alive: nobody answered", &back(SYN | ACK), DropReason::UnaskedSynAck);
    });
    conversation(|fabric, twin| {
        passes(twin, "a SYN", &out(SYN), target::ENCAP);
        twin.rest(minutes(3)).unwrap();
        let rules = json!([{"name": "all", "direction": "egress", "action": "allow"}]);
        fabric.set_client_rules("red", &rules).unwrap();
        twin.write(fabric.rows()).unwrap();
        passes(twin, "its retransmission, judged again by other rules", &out(SYN), target::ENCAP);
        twin.rest(Duration::from_secs(61)).unwrap();
        drops(twin, "does not keep it alive either", &back(SYN | ACK), DropReason::UnaskedSynAck);
    });
    conversation(|_, twin| {
        open(twin);
        passes(twin, "one side ends", &out(FIN | ACK), target::ENCAP);
        twin.rest(minutes(3)).unwrap();
        passes(twin, "the other may go on", &back(ACK), target::DELIVER);
        twin.rest(minutes(5)).unwrap();
        drops(twin, "until nothing comes for 4 minutes", &back(ACK), DropReason::NoConnection);
    });
}

#[test]
fn a_closed_connection_is_opened_anew_by_a_syn_and_judged_as_new() {
    conversation(|fabric, twin| {
        open(twin);
        let first = twin.flow().unwrap();
        passes(twin, "both", &out(FIN | ACK), target::ENCAP);
        passes(twin, "end it", &back(FIN | ACK), target::DELIVER);
        passes(twin, "the last acknowledgement", &out(ACK), target::ENCAP);
        assert_eq!(twin.flow().unwrap().lifetime, 10, "only late segments are waited for");
        std::thread::sleep(Duration::from_millis(5));
        passes(twin, "the same ports again, at once", &out(SYN), target::ENCAP);
        let second = twin.flow().unwrap();
        assert_eq!(second.state, 0, "it begins from the beginning");
        assert_ne!(second.connection, first.connection, "and has a number of its own");
        passes(twin, "it is answered", &back(SYN | ACK), target::DELIVER);
        passes(twin, "the server resets it", &back(RST), target::DELIVER);
        fabric.set_client_rules("red", &json!([{"name": "none", "direction": "egress", "action": "deny"}])).unwrap();
        twin.write(fabric.rows()).unwrap();
        drops(twin, "a new one is judged by the rules of now", &out(SYN), DropReason::EgressRule);
    });
}

#[test]
fn the_answerer_of_a_closed_connection_opens_by_its_own_right_only() {
    conversation(|_, twin| {
        open(twin);
        passes(twin, "the connection ends", &out(RST), target::ENCAP);
        drops(twin, "its answerer may not open another", &back(SYN), DropReason::IngressRule);
    });
}

#[test]
fn a_syn_changes_nothing_of_an_established_connection() {
    conversation(|_, twin| {
        open(twin);
        let before = twin.flow().unwrap();
        twin.rest(minutes(1)).unwrap();
        passes(twin, "the server challenges it (RFC 5961)", &out(SYN), target::ENCAP);
        let after = twin.flow().unwrap();
        assert_eq!((after.state, after.lifetime), (before.state, before.lifetime));
        assert!(after.seen < before.seen, "it keeps nothing alive");
        passes(twin, "the challenge", &back(ACK), target::DELIVER);
        passes(twin, "is answered by a reset: the client has forgotten", &out(RST), target::ENCAP);
        passes(twin, "and its next SYN opens anew", &out(SYN), target::ENCAP);
        assert_eq!(twin.flow().unwrap().state, 0);
    });
    conversation(|_, twin| {
        open(twin);
        drops(twin, "the side that answers does not open", &back(SYN), DropReason::UnexpectedOpen);
        passes(twin, "and harms nothing by trying", &out(ACK), target::ENCAP);
    });
}

#[test]
fn a_challenge_reaches_a_client_that_was_forgotten_here() {
    conversation(|_, twin| {
        passes(twin, "a client begins; the server remembers an older connection", &out(SYN), target::ENCAP);
        passes(twin, "and challenges it (RFC 5961, section 4)", &back(ACK), target::DELIVER);
        assert_eq!(twin.flow().unwrap().state, 0, "which answers nothing");
        passes(twin, "the client resets the older one", &out(RST), target::ENCAP);
        passes(twin, "and begins again", &out(SYN), target::ENCAP);
        passes(twin, "successfully", &back(SYN | ACK), target::DELIVER);
    });
}

#[test]
fn a_forged_reset_does_not_end_a_connection_for_good() {
    conversation(|_, twin| {
        open(twin);
        passes(twin, "a reset in the name of the server", &back(RST), target::DELIVER);
        assert_eq!(twin.flow().unwrap().lifetime, 10);
        passes(twin, "the client goes on, for its stack found the reset out of window", &out(ACK), target::ENCAP);
        assert!(flow_state::is_closed(twin.flow().unwrap().state), "which proves nothing of the server");
        passes(twin, "but the server does too", &back(ACK), target::DELIVER);
        let row = twin.flow().unwrap();
        assert_eq!((row.state, row.lifetime), (REPLIED | ESTABLISHED, 7_440), "so the reset was not its own");
    });
}

#[test]
fn what_fits_no_state_is_dropped_for_its_own_reason() {
    conversation(|_, twin| {
        drops(twin, "no SYN", &out(ACK), DropReason::NoConnection);
        drops(twin, "an answer to nothing", &out(SYN | ACK), DropReason::UnaskedSynAck);
        drops(twin, "FIN alone", &out(FIN), DropReason::BadTransport);
        drops(twin, "SYN and reset", &out(SYN | RST), DropReason::BadTransport);
        passes(twin, "a SYN", &out(SYN), target::ENCAP);
        drops(twin, "data before the answer", &out(ACK), DropReason::NotAnswered);
        drops(twin, "an end before the answer", &out(FIN | ACK), DropReason::NotAnswered);
        drops(twin, "the server's end before its answer", &back(FIN | ACK), DropReason::NotAnswered);
        drops(twin, "an answer of the client", &out(SYN | ACK), DropReason::UnaskedSynAck);
        passes(twin, "the answer", &back(SYN | ACK), target::DELIVER);
        drops(twin, "a SYN behind the answer", &back(SYN), DropReason::UnexpectedOpen);
        drops(twin, "still no answer of the client", &out(SYN | ACK), DropReason::UnaskedSynAck);
        passes(twin, "what fits goes on", &out(ACK), target::ENCAP);
    });
}

#[test]
fn timeouts_are_those_of_the_network() {
    conversation(|fabric, twin| {
        let timeouts = json!({"tcpEstablishedSeconds": 60, "tcpTransitorySeconds": 20, "tcpClosedSeconds": 1});
        fabric.set_timeouts("red", &timeouts).unwrap();
        twin.write(fabric.rows()).unwrap();
        passes(twin, "a SYN", &sent(A, v4(A, B).tcp(&Tcp::new(40_000, 80, SYN), b"")), target::DELIVER);
        assert_eq!(twin.flow().unwrap().lifetime, 20);
        passes(twin, "an answer", &sent(B, v4(B, A).tcp(&Tcp::new(80, 40_000, SYN | ACK), b"")), target::DELIVER);
        passes(twin, "data", &sent(A, v4(A, B).tcp(&Tcp::new(40_000, 80, ACK), b"")), target::DELIVER);
        assert_eq!(twin.flow().unwrap().lifetime, 60);
        twin.rest(Duration::from_secs(61)).unwrap();
        let late = sent(B, v4(B, A).tcp(&Tcp::new(80, 40_000, ACK), b"late"));
        drops(twin, "after a minute it is over", &late, DropReason::NoConnection);
    });
}
