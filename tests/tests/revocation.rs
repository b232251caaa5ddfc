//! What a change of rules means for connections of real workloads: a permission that is taken away cuts at the next packet, from either
//! side and for good; `existing: keep` keeps; and a new permission lets in no connection that was half-seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    fabric::INTERFACE,
    packet::{Ends, Tcp, tcp_flag},
    raw::RawSocket,
};
use andromede_tests::{
    Bundle,
    bundle::{ANYTHING_IN, port_name},
    dialogue::Dialogue,
    dropped, dropped_more,
    scene::{v4, v6},
};

const SHORT: Duration = Duration::from_millis(500);

/// What the server lets in at the ports of the dialogues, and what a change of the rules may say of them.
const DOOR: &str = "{name: door, direction: ingress, action: allow, ports: ['5000-5003'], protocol: ";
const DENY: &str = "{name: not, direction: ingress, action: deny, priority: 1, existing: ";

/// The door for TCP and UDP, with these further words.
fn door(further: &str) -> [String; 2] {
    ["tcp", "udp"]
        .map(|protocol| format!("{DOOR}{protocol}{further}}}").replacen("door", &format!("door-{protocol}"), 1))
}

/// A client that admits everything, on h1, and a server on the host given.
struct Pair {
    server_host: u8,
    client: Workload,
    server: Workload,
    fabric: Fabric,
}

impl Pair {
    fn start(server_host: u8, rules: &[String]) -> Self {
        let fabric = Fabric::start(FabricOptions::default()).unwrap();
        fabric.apply(bundle(server_host, rules).text()).unwrap();
        let client = fabric.attach(1, &port_name("red", "client")).unwrap();
        let server = fabric.attach(server_host, &port_name("red", "server")).unwrap();
        fabric.wait_in_force().unwrap();
        Self { server_host, client, server, fabric }
    }

    /// The server's rules are these from now on.
    fn set(&self, rules: &[String]) {
        self.fabric.apply(bundle(self.server_host, rules).text()).unwrap();
        self.fabric.wait_in_force().unwrap();
    }

    /// A dialogue by TCP, and one by UDP, over both families.
    fn talk(&self) -> [(&'static str, Dialogue); 2] {
        let (from, to) = (self.client.namespace(), self.server.namespace());
        let (source, destination) = (SocketAddr::new(v6(11), 6_001), SocketAddr::new(v6(12), 5_001));
        let talk = [
            ("TCP", Dialogue::tcp(from, to, SocketAddr::new(v4(12), 5_000))),
            ("UDP", Dialogue::udp(from, source, to, destination)),
        ];
        for (says, dialogue) in &talk {
            assert!(dialogue.backward() && dialogue.forward(), "{says} to h{}", self.server_host);
        }
        talk
    }
}

fn bundle(server_host: u8, rules: &[String]) -> Bundle {
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    Bundle::hosts(2)
        .tenant("red", 4001)
        .group("red", "client", &[ANYTHING_IN])
        .group("red", "server", &rules)
        .port("red", "client", 1, 11, &["client"])
        .port("red", "server", server_host, 12, &["server"])
}

/// The operator's rule for all networks.
fn operator(rule: &str) -> String {
    format!("kind: OperatorPolicy\nname: operatorPolicies/law\nrules: [{rule}]\n")
}

fn lives(talk: &[(&str, Dialogue)], why: &str) {
    for (says, dialogue) in talk {
        assert!(dialogue.backward() && dialogue.forward(), "{says} goes on: {why}");
    }
}

/// Neither side is heard. The answerer speaks first and last: the client would admit it, had it not been cut.
fn is_cut(talk: &[(&str, Dialogue)], why: &str) {
    for (says, dialogue) in talk {
        assert!(!dialogue.backward(), "{says}, the answerer: {why}");
        assert!(!dialogue.forward(), "{says}, the initiator: {why}");
        assert!(!dialogue.backward(), "{says}, the answerer again: {why}");
    }
}

#[test]
fn what_is_cut_stays_cut_from_either_side() {
    for host in [1, 2] {
        let pair = Pair::start(host, &door(""));
        let talk = pair.talk();
        let before = dropped(&pair.fabric, "connection-cut").unwrap();
        pair.set(&[]);
        is_cut(&talk, "no rule permits it any more");
        dropped_more(&pair.fabric, "connection-cut", before, 6).unwrap();
    }
}

#[test]
fn keep_keeps_until_a_rule_cuts() {
    for host in [1, 2] {
        let pair = Pair::start(host, &door(", existing: keep"));
        let talk = pair.talk();
        pair.set(&[]);
        lives(&talk, "the rule that let it in keeps it");
        pair.set(&[format!("{DENY}keep}}")]);
        lives(&talk, "a denial that spares what lives");
        let before = dropped(&pair.fabric, "ingress-rule").unwrap();
        let fresh = RawSocket::open(pair.client.namespace(), INTERFACE, true).unwrap();
        let ends = Ends::new((pair.client.mac().unwrap(), v4(11)), (pair.server.mac().unwrap(), v4(12)));
        fresh.send(&ends.tcp(&Tcp::new(1_234, 5_000, tcp_flag::SYN), b"")).unwrap();
        dropped_more(&pair.fabric, "ingress-rule", before, 1).unwrap();
        pair.set(&[format!("{DENY}cut}}")]);
        is_cut(&talk, "a denial that cuts");
        pair.set(&[]);
        is_cut(&talk, "and what it cut stays cut");
    }
}

#[test]
fn the_operators_cut_is_stronger_than_a_keep() {
    let pair = Pair::start(2, &door(", existing: keep"));
    let talk = pair.talk();
    pair.fabric.apply(&operator("{name: spare, direction: ingress, action: deny, existing: keep}")).unwrap();
    pair.fabric.wait_in_force().unwrap();
    lives(&talk, "the operator spares what lives");
    pair.fabric.apply(&operator("{name: no, direction: ingress, action: deny}")).unwrap();
    pair.fabric.wait_in_force().unwrap();
    is_cut(&talk, "the operator cuts");
}

#[test]
fn a_new_permission_lets_no_half_seen_connection_in() {
    for host in [1, 2] {
        let pair = Pair::start(host, &[]);
        let ends = Ends::new((pair.client.mac().unwrap(), v4(11)), (pair.server.mac().unwrap(), v4(12)));
        let mouth = RawSocket::open(pair.client.namespace(), INTERFACE, true).unwrap();
        let ear = RawSocket::open(pair.server.namespace(), INTERFACE, true).unwrap();
        let says = |source: u16, flags: u8| {
            let frame = ends.tcp(&Tcp::new(source, 5_000, flags), b"half-seen");
            mouth.send(&frame).unwrap();
            ear.receive_matching(SHORT, |seen| seen == frame).unwrap().is_some()
        };
        assert!(!says(1_111, tcp_flag::SYN), "it is not permitted yet (h{host})");
        pair.set(&door(""));
        // Across hosts the client's own has let the SYN go, and waits for its answer.
        let reason = if host == 1 { "no-connection" } else { "not-answered" };
        let before = dropped(&pair.fabric, reason).unwrap();
        assert!(!says(1_111, tcp_flag::ACK), "its beginning was refused (h{host})");
        dropped_more(&pair.fabric, reason, before, 1).unwrap();
        // One that was cut in the middle.
        let talk = pair.talk();
        pair.set(&[]);
        is_cut(&talk[..1], "the permission is gone");
        pair.set(&door(""));
        is_cut(&talk[..1], "the permission that came back is for new ones");
        assert!(says(1_112, tcp_flag::SYN), "which it lets in (h{host})");
    }
}
