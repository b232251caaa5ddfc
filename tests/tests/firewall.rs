//! Promise 2: closed until told; and security groups say what they say, to live connections as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    traffic::{BackgroundPing, BackgroundStream, Outcome, Responder, Sink, echo_requests, tcp_probe, udp_probe},
};
use andromede_tests::{
    Bundle,
    bundle::{ANYTHING_IN, group_name, port_name},
    dialogue::Dialogue,
    dropped, dropped_more,
    scene::{both, v4, v6},
};

/// How long an answer is waited for that must not come.
const SHORT: Duration = Duration::from_millis(400);
/// And for one that must: it may be a busy machine.
const PATIENT: Duration = Duration::from_secs(5);
const TCP: [u16; 5] = [80, 443, 8000, 8080, 9000];
const UDP: [u16; 2] = [53, 123];

/// A port `client` on h1 and a port `server` on the host given, in these groups; the bundle is the caller's.
struct Pair {
    client: Workload,
    server: Workload,
    _responder: Responder,
    fabric: Fabric,
}

/// The bundle of a pair: groups `client` and `server` with these rules.
fn bundle(server_host: u8, client_rules: &[&str], server_rules: &[&str]) -> Bundle {
    Bundle::hosts(2)
        .tenant("red", 4001)
        .group("red", "client", client_rules)
        .group("red", "server", server_rules)
        .port("red", "client", 1, 11, &["client"])
        .port("red", "server", server_host, 12, &["server"])
}

impl Pair {
    fn start(server_host: u8, bundle: &Bundle) -> Self {
        let fabric = Fabric::start(FabricOptions::default()).unwrap();
        fabric.apply(bundle.text()).unwrap();
        let client = fabric.attach(1, &port_name("red", "client")).unwrap();
        let server = fabric.attach(server_host, &port_name("red", "server")).unwrap();
        fabric.wait_in_force().unwrap();
        let responder = Responder::start(server.namespace(), "server", &TCP, &UDP).unwrap();
        Self { client, server, _responder: responder, fabric }
    }

    fn ask_tcp(&self, to: IpAddr, port: u16, limit: Duration) -> bool {
        let outcome = tcp_probe(self.client.namespace(), SocketAddr::new(to, port), limit).unwrap();
        assert!(!matches!(outcome, Outcome::Refused(_)), "a refusal is silent: {outcome:?}");
        outcome.answered_by("server")
    }

    fn ask_udp(&self, to: IpAddr, port: u16, limit: Duration) -> bool {
        udp_probe(self.client.namespace(), SocketAddr::new(to, port), limit).unwrap().answered_by("server")
    }

    fn tcp(&self, to: IpAddr, port: u16) -> bool {
        self.ask_tcp(to, port, PATIENT)
    }

    fn no_tcp(&self, to: IpAddr, port: u16) -> bool {
        !self.ask_tcp(to, port, SHORT)
    }

    fn udp(&self, to: IpAddr, port: u16) -> bool {
        self.ask_udp(to, port, PATIENT)
    }

    fn no_udp(&self, to: IpAddr, port: u16) -> bool {
        !self.ask_udp(to, port, SHORT)
    }

    fn ping(&self, to: IpAddr) -> bool {
        self.client.ping(to).unwrap().outcome().is_answered()
    }
}

#[test]
fn ingress_is_closed_and_egress_open_until_told() {
    for host in [1, 2] {
        let pair = Pair::start(host, &bundle(host, &[], &[]));
        for to in both(12) {
            let before = dropped(&pair.fabric, "ingress-rule").unwrap();
            assert!(pair.no_tcp(to, 80) && pair.no_udp(to, 53) && !pair.ping(to), "{to} on h{host}");
            dropped_more(&pair.fabric, "ingress-rule", before, 3).unwrap();
        }
        // The other way the same, and each drop names the default.
        assert!(!pair.server.ping(v4(11)).unwrap().outcome().is_answered());
        let drops = pair.fabric.control().json(&["drops"]).unwrap();
        let rules: Vec<&str> =
            drops["counts"].as_array().unwrap().iter().filter_map(|count| count["rule"].as_str()).collect();
        assert!(rules.contains(&"default-ingress"), "{drops}");
    }
}

#[test]
fn rules_decide_by_protocol_port_and_priority() {
    let rules = [
        "{name: web, direction: ingress, action: allow, protocol: tcp, ports: ['80', '8000-8080']}",
        "{name: not-8080, direction: ingress, action: deny, priority: 10, protocol: tcp, ports: ['8080']}",
        "{name: late-deny, direction: ingress, action: deny, priority: 2000, protocol: tcp, ports: ['80']}",
        "{name: tie-allow, direction: ingress, action: allow, priority: 500, protocol: udp, ports: ['53', '123']}",
        "{name: tie-deny, direction: ingress, action: deny, priority: 500, protocol: udp, ports: ['123']}",
        "{name: echo, direction: ingress, action: allow, protocol: icmp, icmpType: 8}",
        "{name: not-echo6, direction: ingress, action: allow, protocol: icmpv6, icmpType: 1}",
    ];
    let client = ["{name: no-443, direction: egress, action: deny, protocol: tcp, ports: ['9000']}"];
    for host in [1, 2] {
        let pair = Pair::start(host, &bundle(host, &client, &rules));
        for to in both(12) {
            assert!(pair.tcp(to, 80), "allowed before a later deny: {to} on h{host}");
            assert!(pair.tcp(to, 8000), "a range, its first port: {to} on h{host}");
            assert!(pair.no_tcp(to, 8080), "denied before the range allows: {to} on h{host}");
            assert!(pair.no_tcp(to, 443), "no rule: {to} on h{host}");
            assert!(pair.udp(to, 53), "{to} on h{host}");
            assert!(pair.no_udp(to, 123), "deny stands before allow at equal priority: {to} on h{host}");
            let before = dropped(&pair.fabric, "egress-rule").unwrap();
            assert!(pair.no_tcp(to, 9000), "the sender's own rule: {to} on h{host}");
            dropped_more(&pair.fabric, "egress-rule", before, 1).unwrap();
        }
        assert!(pair.ping(v4(12)), "the type of an echo request");
        assert!(!pair.ping(v6(12)), "another type");
    }
}

#[test]
fn remotes_are_groups_or_prefixes() {
    let friends = group_name("red", "client");
    let of_group = format!(
        "{{name: friends, direction: ingress, action: allow, protocol: tcp, ports: ['80'], remoteGroup: {friends}}}"
    );
    let rules = [
        of_group.as_str(),
        "{name: near, direction: ingress, action: allow, protocol: tcp, ports: ['443'], remoteCidr: 10.0.0.8/29}",
        "{name: near6, direction: ingress, action: allow, protocol: tcp, ports: ['443'], remoteCidr: 'fd00:10::10/124'}",
        "{name: not-client, direction: ingress, action: deny, priority: 10, protocol: tcp, ports: ['8080'], remoteCidr: 10.0.0.11/32}",
        "{name: all-8080, direction: ingress, action: allow, protocol: tcp, ports: ['8080']}",
    ];
    let bundle = bundle(2, &[], &rules).group("red", "others", &[]).port("red", "outsider", 1, 40, &["others"]);
    let pair = Pair::start(2, &bundle);
    let outsider = pair.fabric.attach(1, &port_name("red", "outsider")).unwrap();
    pair.fabric.wait_in_force().unwrap();
    let outside = |to: IpAddr, port: u16, limit: Duration| {
        tcp_probe(outsider.namespace(), SocketAddr::new(to, port), limit).unwrap().answered_by("server")
    };
    for to in both(12) {
        assert!(pair.tcp(to, 80) && !outside(to, 80, SHORT), "the group: {to}");
        assert!(pair.tcp(to, 443) && !outside(to, 443, SHORT), "the prefix: {to}");
        assert!(outside(to, 8080, PATIENT), "{to}");
    }
    assert!(pair.no_tcp(v4(12), 8080), "its address is denied");
    assert!(pair.tcp(v6(12), 8080), "its other address is not");
    // Whoever joins the group later is let in: the identity changes, not the rule.
    let joined = bundle_with_outsider_in_group(&rules);
    pair.fabric.apply(joined.text()).unwrap();
    assert!(outside(v4(12), 80, PATIENT) && outside(v6(12), 80, PATIENT), "the outsider has joined the group");
}

fn bundle_with_outsider_in_group(rules: &[&str]) -> Bundle {
    bundle(2, &[], rules).group("red", "others", &[]).port("red", "outsider", 1, 40, &["others", "client"])
}

const DOOR: &str = "{name: door, direction: ingress, action: allow, protocol: tcp, ports: ['5000-5001']}";
const OTHER: &str = "{name: other, direction: ingress, action: allow, protocol: tcp, ports: ['80']}";

#[test]
fn a_rule_change_cuts_live_connections_at_the_next_packet() {
    for host in [1, 2] {
        let pair = Pair::start(host, &bundle(host, &[], &[DOOR, OTHER]));
        let open = |to: IpAddr, port: u16| {
            Dialogue::tcp(pair.client.namespace(), pair.server.namespace(), SocketAddr::new(to, port))
        };
        let connections = [open(v4(12), 5000), open(v6(12), 5001)];
        for connection in &connections {
            assert!(connection.forward() && connection.backward(), "open at first (h{host})");
        }
        pair.fabric.apply(bundle(host, &[], &[OTHER]).text()).unwrap();
        for connection in &connections {
            // The answerer speaks first: its packet must be judged by who opened the connection, and cannot open it again.
            assert!(!connection.backward(), "the answerer goes on (h{host})");
            assert!(!connection.forward(), "the initiator goes on (h{host})");
            assert!(!connection.backward(), "the answerer has opened it again (h{host})");
        }
        assert!(pair.no_tcp(v4(12), 5000), "nor does a new one open (h{host})");
        assert!(pair.tcp(v4(12), 80), "what another rule allows goes on (h{host})");
        let cut = dropped(&pair.fabric, "connection-cut").unwrap();
        assert!(cut > 0, "the drops have the name of a cut connection (h{host})");
    }
}

#[test]
fn a_change_that_still_allows_leaves_connections_alone() {
    let pair = Pair::start(2, &bundle(2, &[], &[DOOR, OTHER]));
    let to = SocketAddr::new(v4(12), 5000);
    let connection = Dialogue::tcp(pair.client.namespace(), pair.server.namespace(), to);
    assert!(connection.forward() && connection.backward());
    for rules in [&[ANYTHING_IN][..], &[DOOR], &[OTHER, DOOR]] {
        pair.fabric.apply(bundle(2, &[], rules).text()).unwrap();
        assert!(connection.backward() && connection.forward(), "after {rules:?}");
    }
}

#[test]
fn an_answer_needs_no_rule_but_a_stray_segment_opens_nothing() {
    use andromede_testkit::{
        fabric::INTERFACE,
        packet::{Ends, Tcp, tcp_flag},
        raw::RawSocket,
    };
    let pair = Pair::start(2, &bundle(2, &[], &[OTHER]));
    assert!(pair.tcp(v4(12), 80), "the client admits nothing, and still gets its answer");
    let ends = Ends::new((pair.client.mac().unwrap(), v4(11)), (pair.server.mac().unwrap(), v4(12)));
    let before = ["no-connection", "unasked-syn-ack"].map(|reason| dropped(&pair.fabric, reason).unwrap());
    let ear = RawSocket::open(pair.server.namespace(), INTERFACE, true).unwrap();
    let mouth = RawSocket::open(pair.client.namespace(), INTERFACE, true).unwrap();
    for (flags, source) in [(tcp_flag::ACK, 1111), (tcp_flag::SYN | tcp_flag::ACK, 1112), (tcp_flag::RST, 1113)] {
        mouth.send(&ends.tcp(&Tcp::new(source, 80, flags), b"stray")).unwrap();
    }
    let stray = |frame: &[u8]| frame.windows(5).any(|window| window == b"stray");
    assert_eq!(ear.receive_matching(SHORT, stray).unwrap(), None);
    dropped_more(&pair.fabric, "no-connection", before[0], 2).unwrap();
    dropped_more(&pair.fabric, "unasked-syn-ack", before[1], 1).unwrap();
}

const ECHO: &str = "{name: echo, direction: ingress, action: allow, protocol: icmp}";
const ECHO6: &str = "{name: echo6, direction: ingress, action: allow, protocol: icmpv6}";

#[test]
fn changes_in_a_row_lose_nothing_of_what_stays_allowed() {
    let pair = Pair::start(2, &bundle(2, &[], &[DOOR, ECHO, ECHO6]));
    let sink = Sink::start(pair.server.namespace(), 5000).unwrap();
    let interval = Duration::from_millis(1);
    let allowed = both(12).map(|to| BackgroundPing::start(pair.client.namespace(), to, interval));
    let refused = both(11).map(|to| BackgroundPing::start(pair.server.namespace(), to, interval));
    let stream = BackgroundStream::start(pair.client.namespace(), SocketAddr::new(v4(12), 5000));
    let near = "{name: near, direction: ingress, action: allow, remoteCidr: 10.0.0.0/28}";
    let late = "{name: late, direction: ingress, action: deny, priority: 60000}";
    let variants: [&[&str]; 4] = [&[DOOR, ECHO, ECHO6, late], &[ECHO6, near], &[ANYTHING_IN], &[DOOR, ECHO, ECHO6]];
    for round in 0..3 {
        for (index, rules) in variants.iter().enumerate() {
            let mut changed = bundle(2, &[], rules);
            // Ports and groups come as well: several tables change together.
            if index % 2 == 0 {
                let last = 100 + round;
                changed = changed.group("red", "extra", &[OTHER]).port("red", "extra", 1, last, &["extra", "server"]);
            }
            pair.fabric.apply(changed.text()).unwrap();
        }
    }
    for ping in allowed {
        let report = ping.stop().unwrap();
        assert!(report.lost.is_empty() && report.sent > 500, "{:?} of {} lost", report.lost, report.sent);
    }
    for ping in refused {
        let report = ping.stop().unwrap();
        assert_eq!(report.received(), 0, "{} of {} passed although never allowed", report.received(), report.sent);
    }
    assert!(!stream.ended(), "the stream broke");
    assert!(stream.stop().unwrap().same_bytes(&sink.report().unwrap()));
}

#[test]
fn rules_are_in_force_before_the_first_packet() {
    let mute = "{name: mute, direction: egress, action: deny}";
    let text = bundle(2, &[ANYTHING_IN], &[]).group("red", "mute", &[mute]).port("red", "mute", 1, 40, &["mute"]);
    let fabric = Fabric::start(FabricOptions::default()).unwrap();
    fabric.apply(text.text()).unwrap();
    let client = fabric.attach(1, &port_name("red", "client")).unwrap();
    assert_eq!(echo_requests(client.namespace()).unwrap(), 0);
    let floods = both(12).map(|to| BackgroundPing::start(client.namespace(), to, Duration::from_micros(500)));
    for _ in 0..3 {
        let before = ["ingress-rule", "egress-rule"].map(|reason| (reason, dropped(&fabric, reason).unwrap()));
        // Attached under a flood from outside, with nothing let in.
        let server = fabric.attach(2, &port_name("red", "server")).unwrap();
        // Attached with a workload that sends as soon as it can, and may not.
        let mute = Workload::new(&port_name("red", "mute")).unwrap();
        let eager = both(11).map(|to| BackgroundPing::start(mute.namespace(), to, Duration::from_micros(500)));
        fabric.agent(1).unwrap().attach(&mute, fabric.control()).unwrap();
        // Both floods did reach the rules.
        for (reason, count) in before {
            dropped_more(&fabric, reason, count, 50).unwrap();
        }
        assert_eq!(echo_requests(server.namespace()).unwrap(), 0, "echo requests came in before the rules");
        assert_eq!(echo_requests(client.namespace()).unwrap(), 0, "echo requests went out before the rules");
        for ping in eager {
            assert_eq!(ping.stop().unwrap().received(), 0);
        }
        fabric.agent(2).unwrap().detach(&port_name("red", "server"), fabric.control()).unwrap();
        fabric.agent(1).unwrap().detach(&port_name("red", "mute"), fabric.control()).unwrap();
    }
    for flood in floods {
        assert_eq!(flood.stop().unwrap().received(), 0);
    }
}

/// A policy of the operator for all networks, with these rules.
fn policy(rules: &[&str]) -> String {
    format!("kind: OperatorPolicy\nname: operatorPolicies/law\nrules:\n  - {}\n", rules.join("\n  - "))
}

#[test]
fn the_operator_decides_before_the_tenant_and_may_leave_it_to_him() {
    let rules = [
        "{name: no-web, direction: ingress, action: deny, priority: 10, protocol: tcp, ports: [80]}",
        "{name: monitor, direction: ingress, action: allow, priority: 20, protocol: tcp, ports: [9000]}",
        "{name: dns, direction: ingress, action: pass, priority: 30, protocol: udp, ports: [53]}",
        "{name: no-udp, direction: ingress, action: deny, priority: 40, protocol: udp}",
    ];
    let no_monitor = "{name: none, direction: ingress, action: deny, priority: 1, protocol: tcp, ports: [9000]}";
    for host in [1, 2] {
        let pair = Pair::start(host, &bundle(host, &[], &[ANYTHING_IN, no_monitor]).with(&policy(&rules)));
        for to in both(12) {
            let before = dropped(&pair.fabric, "ingress-rule").unwrap();
            assert!(pair.no_tcp(to, 80), "{to} on h{host}: the operator denies it");
            dropped_more(&pair.fabric, "ingress-rule", before, 1).unwrap();
            assert!(pair.tcp(to, 9000), "{to} on h{host}: the operator allows it, whatever the tenant says");
            assert!(pair.tcp(to, 443), "{to} on h{host}: the operator says nothing");
            assert!(pair.udp(to, 53), "{to} on h{host}: the operator leaves it to the tenant");
            assert!(pair.no_udp(to, 123), "{to} on h{host}: a pass for one port is none for another");
        }
        let drops = pair.fabric.control().json(&["drops"]).unwrap().to_string();
        assert!(drops.contains("law/no-web"), "{drops}");
    }
}

#[test]
fn a_prefix_list_is_changed_for_all_rules_that_name_it() {
    let list = |prefixes: &str| {
        format!("kind: PrefixList\nname: tenants/red/networks/net/prefixLists/friends\nprefixes: [{prefixes}]\n")
    };
    let rule = "{name: friends, direction: ingress, action: allow, \
                remotePrefixList: tenants/red/networks/net/prefixLists/friends}";
    let pair = Pair::start(2, &bundle(2, &[], &[rule]).with(&list("10.0.0.8/30, 'fd00:10::/120'")));
    assert!(pair.tcp(v4(12), 80), "10.0.0.11 is a friend");
    assert!(pair.tcp(v6(12), 80), "and fd00:10::11");
    assert!(pair.udp(v4(12), 53), "over any protocol");
    pair.fabric.apply(&list("10.0.0.0/30, 'fd00:10::/120'")).unwrap();
    pair.fabric.wait_in_force().unwrap();
    assert!(pair.no_tcp(v4(12), 80), "10.0.0.11 is no friend any more");
    assert!(pair.tcp(v6(12), 80));
}
