//! What becomes of live connections when the rules change: `existing: cut | keep`, in the kernel and in memory at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use andromede_abi::{DropReason, flow_flag, target};
use andromede_testkit::packet::{
    Tcp,
    tcp_flag::{ACK, SYN},
};
use andromede_tests::twin::{
    END_LOCAL_A as A, END_LOCAL_B as B, Met, SmallFabric, Twin,
    talk::{conversation, drops, passes, sent, v4},
};
use serde_json::{Value, json};

fn segment(flags: u8) -> Met {
    sent(A, v4(A, B).tcp(&Tcp::new(40_000, 80, flags), b""))
}

fn answer(flags: u8) -> Met {
    sent(B, v4(B, A).tcp(&Tcp::new(80, 40_000, flags), b""))
}

/// Ingress rules for the server.
fn set(fabric: &mut SmallFabric, twin: &mut Twin, rules: &Value) {
    fabric.set_rules("red", rules).unwrap();
    twin.write(fabric.rows()).unwrap();
}

/// A rule about the server's port; one whose name ends in "-keep" spares what lives.
fn rule(name: &str, action: &str) -> Value {
    let existing = if name.ends_with("-keep") { "keep" } else { "cut" };
    let mut rule =
        json!({"name": name, "direction": "ingress", "action": action, "protocol": "tcp", "existing": existing});
    if action == "deny" {
        rule["priority"] = json!(1);
    } else {
        rule["ports"] = json!(["80"]);
    }
    rule
}

fn allow(name: &str) -> Value {
    rule(name, "allow")
}

fn deny(name: &str) -> Value {
    rule(name, "deny")
}

fn open(twin: &Twin) {
    passes(twin, "the SYN", &segment(SYN), target::DELIVER);
    passes(twin, "its answer", &answer(SYN | ACK), target::DELIVER);
    passes(twin, "data", &segment(ACK), target::DELIVER);
}

fn lives(twin: &Twin, says: &str) {
    passes(twin, says, &answer(ACK), target::DELIVER);
    passes(twin, says, &segment(ACK), target::DELIVER);
}

fn is_cut(twin: &Twin, says: &str) {
    drops(twin, says, &answer(ACK), DropReason::ConnectionCut);
    drops(twin, says, &segment(ACK), DropReason::ConnectionCut);
}

#[test]
fn an_allow_that_keeps_outlives_itself() {
    conversation(|fabric, twin| {
        set(fabric, twin, &json!([allow("web-keep")]));
        open(twin);
        assert_eq!(twin.flow().unwrap().flags & flow_flag::INGRESS_KEEPS, flow_flag::INGRESS_KEEPS);
        let rule = twin.flow().unwrap().ingress_rule;
        set(fabric, twin, &json!([]));
        lives(twin, "no rule denies it");
        assert_eq!(twin.flow().unwrap().ingress_rule, rule, "it goes by the rule that let it in");
        let fresh = sent(A, v4(A, B).tcp(&Tcp::new(40_001, 80, SYN), b""));
        drops(twin, "but none is let in any more", &fresh, DropReason::IngressRule);
        set(fabric, twin, &json!([deny("spare-keep")]));
        lives(twin, "a denial that spares what lives spares it");
        set(fabric, twin, &json!([deny("none")]));
        is_cut(twin, "an explicit denial cuts it");
        set(fabric, twin, &json!([]));
        is_cut(twin, "for good");
    });
}

#[test]
fn an_allow_that_does_not_keep_takes_its_connections_along() {
    conversation(|fabric, twin| {
        set(fabric, twin, &json!([allow("web")]));
        open(twin);
        assert_eq!(twin.flow().unwrap().flags & flow_flag::INGRESS_KEEPS, 0);
        set(fabric, twin, &json!([allow("web"), allow("other-keep")]));
        lives(twin, "a rule that keeps comes beside it");
        set(fabric, twin, &json!([]));
        is_cut(twin, "and keeps nothing that it has not let in");
    });
}

#[test]
fn a_deny_that_spares_what_lives_spares_all_of_it() {
    conversation(|fabric, twin| {
        set(fabric, twin, &json!([allow("web")]));
        open(twin);
        set(fabric, twin, &json!([allow("web"), deny("later-keep")]));
        lives(twin, "though nothing says that it is kept");
        let fresh = sent(A, v4(A, B).tcp(&Tcp::new(40_001, 80, SYN), b""));
        drops(twin, "new ones are refused", &fresh, DropReason::IngressRule);
        set(fabric, twin, &json!([deny("later-keep")]));
        lives(twin, "even when what let it in is gone");
        set(fabric, twin, &json!([]));
        is_cut(twin, "until no rule is left that spares it");
    });
}

#[test]
fn each_side_keeps_for_itself() {
    conversation(|fabric, twin| {
        set(fabric, twin, &json!([allow("web-keep")]));
        open(twin);
        let egress =
            json!([{"name": "no-web", "direction": "egress", "action": "deny", "protocol": "tcp", "ports": ["80"]}]);
        fabric.set_client_rules("red", &egress).unwrap();
        twin.write(fabric.rows()).unwrap();
        is_cut(twin, "what the server's rule keeps, the client's denial cuts");
    });
}

#[test]
fn a_kept_connection_that_ends_is_not_kept_for_the_next() {
    conversation(|fabric, twin| {
        set(fabric, twin, &json!([allow("web-keep")]));
        open(twin);
        set(fabric, twin, &json!([]));
        lives(twin, "kept");
        passes(twin, "reset", &segment(4), target::DELIVER);
        drops(twin, "its ports again are a connection of their own", &segment(SYN), DropReason::IngressRule);
    });
}

/// The address of the server comes to another port, which has other rules.
fn moved(fabric: &SmallFabric, twin: &mut Twin) {
    let mut rows = fabric.rows().clone();
    for row in rows.locations.values_mut().filter(|row| row.mac == B.mac()) {
        (row.mac, row.epoch) = ([2, 0, 0, 0, 0, 0x77], 99);
        rows.epochs.insert(row.slot, 99);
    }
    twin.write(&rows).unwrap();
}

#[test]
fn what_one_port_keeps_the_next_port_of_its_address_does_not() {
    conversation(|fabric, twin| {
        set(fabric, twin, &json!([allow("web-keep")]));
        open(twin);
        set(fabric, twin, &json!([]));
        lives(twin, "kept");
        moved(fabric, twin);
        drops(twin, "another port", &segment(ACK), DropReason::ConnectionCut);
    });
    conversation(|fabric, twin| {
        set(fabric, twin, &json!([allow("web")]));
        open(twin);
        set(fabric, twin, &json!([deny("later-keep")]));
        lives(twin, "spared");
        moved(fabric, twin);
        drops(twin, "another port", &segment(ACK), DropReason::ConnectionCut);
    });
}
