//! Rules count what they decide, and report it if they say `log`: the same in the kernel and in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{cell::Cell, rc::Rc};

use andromede_abi::{
    Action, DropReason, RULE_EVENTS_OF_PORT, RuleEvent, TENANT_USAGE, Usage, UsageRow, rule_direction, target,
};
use andromede_testkit::packet::{Tcp, format_mac, tcp_flag};
use andromede_tests::{
    chance::Chance,
    twin::{
        END_LOCAL_A as CLIENT, END_LOCAL_B as SERVER, END_REMOTE as REMOTE, End, SmallFabric, Twin,
        talk::{VNI, conversation, drops, passes, received, sent, v4},
    },
};
use serde_json::{Value, json};

/// The server's rules: one lets port 80 in and one refuses port 81, both of them reporting; one lets port 82 in silently.
fn rules(fabric: &mut SmallFabric, twin: &mut Twin, rules: &Value) {
    fabric.set_rules("red", rules).unwrap();
    fabric.set_client_rules("red", &json!([{"name": "out", "direction": "egress", "action": "allow"}])).unwrap();
    twin.write(fabric.rows()).unwrap();
}

fn usual() -> Value {
    json!([
        {"name": "web", "direction": "ingress", "action": "allow", "protocol": "tcp", "ports": ["80"], "log": true},
        {"name": "not", "direction": "ingress", "action": "deny", "protocol": "tcp", "ports": ["81"], "log": true},
        {"name": "quiet", "direction": "ingress", "action": "allow", "protocol": "tcp", "ports": ["82"]},
    ])
}

fn segment(source: u16, port: u16, flags: u8) -> Vec<u8> {
    v4(CLIENT, SERVER).tcp(&Tcp::new(source, port, flags), b"")
}

fn hits(twin: &Twin, fabric: &SmallFabric, group: &str, rule: &str) -> u64 {
    let number = fabric.rule_number("red", group, rule).unwrap();
    twin.hits().unwrap().get(&number).copied().unwrap()
}

/// Events as rule, direction, action, and port of the destination.
fn told(events: &[RuleEvent]) -> Vec<(u32, u8, u8, u16)> {
    events.iter().map(|it| (it.rule, it.direction, it.action, u16::from_be(it.destination_port))).collect()
}

#[test]
fn a_new_connection_is_a_hit_of_each_rule_that_let_it_be_and_its_packets_are_none() {
    conversation(|fabric, twin| {
        rules(fabric, twin, &usual());
        passes(twin, "the connection opens", &sent(CLIENT, segment(40_000, 80, tcp_flag::SYN)), target::DELIVER);
        let answer = v4(SERVER, CLIENT).tcp(&Tcp::new(80, 40_000, tcp_flag::SYN | tcp_flag::ACK), b"");
        passes(twin, "it is answered", &sent(SERVER, answer), target::DELIVER);
        for _ in 0..5 {
            let met = sent(CLIENT, segment(40_000, 80, tcp_flag::ACK));
            let outcome = passes(twin, "it goes on", &met, target::DELIVER);
            assert_eq!(outcome.record.logged, 0);
        }
        assert_eq!(hits(twin, fabric, "servers", "web"), 1);
        assert_eq!(hits(twin, fabric, "clients", "out"), 1);
        let web = fabric.rule_number("red", "servers", "web").unwrap();
        let events = twin.rule_events().unwrap();
        assert_eq!(told(&events), [(web, rule_direction::INGRESS, Action::Allow as u8, 80)]);
        assert_eq!((events[0].connection, events[0].protocol), (1, 6), "it has the number of a connection");
        assert_eq!(events[0].source, CLIENT.v4().into());
        assert_eq!(events[0].destination, SERVER.v4().into());
    });
}

#[test]
fn each_refused_packet_is_a_hit_and_only_rules_that_say_log_report() {
    conversation(|fabric, twin| {
        rules(fabric, twin, &usual());
        for source in 40_000..40_003 {
            let met = sent(CLIENT, segment(source, 81, tcp_flag::SYN));
            let outcome = drops(twin, "it is refused", &met, DropReason::IngressRule);
            assert_eq!(outcome.record.logged, rule_direction::INGRESS);
        }
        passes(twin, "silently", &sent(CLIENT, segment(40_000, 82, tcp_flag::SYN)), target::DELIVER);
        drops(twin, "by default", &sent(CLIENT, segment(40_000, 83, tcp_flag::SYN)), DropReason::IngressRule);
        assert_eq!((hits(twin, fabric, "servers", "not"), hits(twin, fabric, "servers", "quiet")), (3, 1));
        assert_eq!(hits(twin, fabric, "clients", "out"), 1, "what the other side refused it has not let out");
        let not = fabric.rule_number("red", "servers", "not").unwrap();
        let events = twin.rule_events().unwrap();
        assert_eq!(told(&events), [(not, rule_direction::INGRESS, Action::Deny as u8, 81); 3]);
        assert!(events.iter().all(|event| event.connection == 0));
    });
}

#[test]
fn both_sides_report_what_both_let_be_and_only_the_refusing_one_what_it_refuses() {
    conversation(|fabric, twin| {
        fabric.set_rules("red", &usual()).unwrap();
        let out = json!([{"name": "out", "direction": "egress", "action": "allow", "log": true}]);
        fabric.set_client_rules("red", &out).unwrap();
        twin.write(fabric.rows()).unwrap();
        let number = |group, rule| fabric.rule_number("red", group, rule).unwrap();
        let (out, web, not) = (number("clients", "out"), number("servers", "web"), number("servers", "not"));
        let (allow, deny) = (Action::Allow as u8, Action::Deny as u8);
        passes(twin, "both let it be", &sent(CLIENT, segment(40_000, 80, tcp_flag::SYN)), target::DELIVER);
        let events = twin.rule_events().unwrap();
        let expected = [(out, rule_direction::EGRESS, allow, 80), (web, rule_direction::INGRESS, allow, 80)];
        assert_eq!(told(&events), expected);
        let port = |end: End| fabric.rows().ports.values().find(|row| row.network == 2 && row.mac == end.mac());
        let slots = [CLIENT, SERVER].map(|end| port(end).unwrap().slot);
        assert_eq!([events[0].port, events[1].port], slots, "each is told at the port whose rule it is");
        drops(twin, "one refuses", &sent(CLIENT, segment(1, 81, tcp_flag::SYN)), DropReason::IngressRule);
        assert_eq!(told(&twin.rule_events().unwrap()), [(not, rule_direction::INGRESS, deny, 81)]);
        // Towards another host only the sender's side is judged here; from there only the receiver's.
        let away = v4(CLIENT, REMOTE).tcp(&Tcp::new(40_000, 80, tcp_flag::SYN), b"");
        passes(twin, "away", &sent(CLIENT, away), target::ENCAP);
        assert_eq!(told(&twin.rule_events().unwrap()), [(out, rule_direction::EGRESS, allow, 80)]);
        let here = v4(REMOTE, SERVER).tcp(&Tcp::new(40_000, 80, tcp_flag::SYN), b"");
        passes(twin, "here", &received(2, VNI[0], &here), target::DELIVER);
        assert_eq!(told(&twin.rule_events().unwrap()), [(web, rule_direction::INGRESS, allow, 80)]);
    });
}

#[test]
fn a_cut_is_reported_once_and_each_packet_that_it_stops_is_a_hit() {
    conversation(|fabric, twin| {
        rules(fabric, twin, &usual());
        let open = sent(CLIENT, segment(40_000, 80, tcp_flag::SYN));
        passes(twin, "the connection opens", &open, target::DELIVER);
        twin.rule_events().unwrap();
        rules(
            fabric,
            twin,
            &json!([
                {"name": "web", "direction": "ingress", "action": "allow", "protocol": "tcp", "ports": ["80"]},
                {"name": "shut", "direction": "ingress", "action": "deny", "priority": 1, "log": true},
            ]),
        );
        drops(twin, "the rule cuts", &open, DropReason::ConnectionCut);
        for _ in 0..2 {
            drops(twin, "it is cut", &sent(CLIENT, segment(40_000, 80, tcp_flag::ACK)), DropReason::ConnectionCut);
        }
        assert_eq!((hits(twin, fabric, "servers", "shut"), hits(twin, fabric, "servers", "web")), (3, 1));
        let shut = fabric.rule_number("red", "servers", "shut").unwrap();
        let events = twin.rule_events().unwrap();
        assert_eq!(told(&events), [(shut, rule_direction::INGRESS, Action::Deny as u8, 80)]);
    });
}

#[test]
fn a_live_connection_that_is_judged_again_is_no_new_one() {
    conversation(|fabric, twin| {
        rules(fabric, twin, &usual());
        let open = sent(CLIENT, segment(40_000, 80, tcp_flag::SYN));
        passes(twin, "the connection opens", &open, target::DELIVER);
        twin.rule_events().unwrap();
        let mut more = usual();
        more.as_array_mut().unwrap().push(json!(
            {"name": "all", "direction": "ingress", "action": "allow", "priority": 1, "log": true}));
        rules(fabric, twin, &more);
        let outcome = passes(twin, "judged again", &open, target::DELIVER);
        assert_eq!(outcome.record.rule, fabric.rule_number("red", "servers", "all").unwrap());
        assert_eq!((hits(twin, fabric, "servers", "all"), hits(twin, fabric, "servers", "web")), (0, 1));
        assert!(twin.rule_events().unwrap().is_empty());
    });
}

#[test]
fn what_a_rule_allows_and_a_budget_refuses_is_neither_counted_nor_reported() {
    conversation(|fabric, twin| {
        rules(fabric, twin, &usual());
        let network = "tenants/red/networks/n";
        fabric
            .set(vec![json!({"kind": "Port", "name": format!("{network}/ports/p{}", SERVER.0), "host": "hosts/h1",
                "addresses": [SERVER.v4().to_string(), SERVER.v6().to_string()], "mac": format_mac(SERVER.mac()),
                "securityGroups": [format!("{network}/securityGroups/servers")], "limits": {"flowsInbound": 1}})])
            .unwrap();
        twin.write(fabric.rows()).unwrap();
        passes(twin, "the first", &sent(CLIENT, segment(40_000, 80, tcp_flag::SYN)), target::DELIVER);
        twin.rule_events().unwrap();
        let met = sent(CLIENT, segment(40_001, 80, tcp_flag::SYN));
        let outcome = drops(twin, "no place is left", &met, DropReason::FlowsInbound);
        assert_eq!((outcome.record.rule, outcome.record.logged), (0, 0));
        assert_eq!((hits(twin, fabric, "servers", "web"), hits(twin, fabric, "clients", "out")), (1, 1));
        assert!(twin.rule_events().unwrap().is_empty());
    });
}

#[test]
fn the_operators_rules_count_and_report_too() {
    conversation(|fabric, twin| {
        fabric
            .set(vec![json!({"kind": "OperatorPolicy", "name": "operatorPolicies/law", "rules": [
                {"name": "no-smtp", "direction": "egress", "action": "deny", "protocol": "tcp", "ports": ["25"], "log": true},
            ]})])
            .unwrap();
        twin.write(fabric.rows()).unwrap();
        drops(twin, "by law", &sent(CLIENT, segment(40_000, 25, tcp_flag::SYN)), DropReason::EgressRule);
        let events = twin.rule_events().unwrap();
        let [event] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((event.direction, event.action), (rule_direction::EGRESS, Action::Deny as u8));
        assert_eq!(twin.hits().unwrap().get(&event.rule), Some(&1));
    });
}

#[test]
fn a_flood_sends_what_its_port_may_and_the_rest_is_counted() {
    const FLOOD: u64 = 500;
    conversation(|fabric, twin| {
        rules(fabric, twin, &usual());
        for number in 0..FLOOD {
            let met = sent(CLIENT, segment(10_000 + number as u16, 81, tcp_flag::SYN));
            drops(twin, "refused", &met, DropReason::IngressRule);
        }
        // How many tokens come back meanwhile depends on the clock: in each world the sum is exact.
        let port = fabric.rows().ports.values().find(|row| row.network == 2 && row.mac == SERVER.mac()).unwrap();
        let lost = twin.memory().usage.borrow()[&port.slot].get().get(Usage::RuleEventsLost);
        let in_kernel = twin.kernel().tables.usage.get(&port.slot).unwrap().unwrap().get(Usage::RuleEventsLost);
        for lost in [lost, in_kernel] {
            assert!(lost > 0 && FLOOD - lost >= RULE_EVENTS_OF_PORT, "{lost}");
        }
        assert_eq!(hits(twin, fabric, "servers", "not"), FLOOD, "each is counted");
        // The other port of the tenant has its own share.
        let back = v4(SERVER, CLIENT).tcp(&Tcp::new(1, 23, tcp_flag::SYN), b"");
        fabric
            .set_client_rules("red", &json!([{"name": "in", "direction": "ingress", "action": "allow", "log": true}]))
            .unwrap();
        twin.write(fabric.rows()).unwrap();
        let outcome = passes(twin, "the other port reports", &sent(SERVER, back), target::DELIVER);
        assert_eq!(outcome.record.logged, rule_direction::INGRESS);
        let told = twin.memory().usage.borrow().values().map(|row| row.get().get(Usage::RuleEventsLost)).sum::<u64>();
        assert_eq!(told, lost, "nothing more is lost");
    });
}

#[test]
fn a_tenant_whose_ports_have_told_too_much_tells_nothing_for_a_while() {
    conversation(|fabric, twin| {
        rules(fabric, twin, &usual());
        let port = *fabric.rows().ports.values().find(|row| row.network == 2 && row.mac == SERVER.mac()).unwrap();
        // As if its other ports had: the bucket is a time, which is long after now.
        let mut usage = UsageRow::NONE;
        usage.words[Usage::RuleEvents as usize] = u64::MAX / 2;
        let tenant = port.tenant | TENANT_USAGE;
        twin.kernel().tables.usage.insert(&tenant, &usage).unwrap();
        twin.memory().usage.borrow_mut().insert(tenant, Rc::new(Cell::new(usage)));
        drops(twin, "refused", &sent(CLIENT, segment(1, 81, tcp_flag::SYN)), DropReason::IngressRule);
        assert!(twin.rule_events().unwrap().is_empty());
        assert_eq!(hits(twin, fabric, "servers", "not"), 1, "it is counted all the same");
        let lost = twin.memory().usage.borrow()[&port.slot].get().get(Usage::RuleEventsLost);
        let in_kernel = twin.kernel().tables.usage.get(&port.slot).unwrap().unwrap().get(Usage::RuleEventsLost);
        assert_eq!((lost, in_kernel), (1, 1), "and at its port it is said to be missing");
    });
}

/// A rule of the server's for TCP, as the test scans it.
struct Scanned {
    name: String,
    priority: usize,
    allow: bool,
    ports: (usize, usize),
    from_client: bool,
    log: bool,
}

impl Scanned {
    fn by_chance(chance: &mut Chance, name: String) -> Self {
        let low = 80 + chance.below(20);
        Self {
            name,
            priority: 1 + chance.below(4),
            allow: chance.one_in(2),
            ports: (low, low + chance.below(10)),
            from_client: chance.one_in(3),
            log: chance.one_in(2),
        }
    }

    fn json(&self) -> Value {
        let mut rule = json!({"name": self.name, "direction": "ingress", "protocol": "tcp", "priority": self.priority,
            "action": if self.allow { "allow" } else { "deny" }, "ports": [format!("{}-{}", self.ports.0, self.ports.1)],
            "log": self.log});
        if self.from_client {
            rule["remoteCidr"] = json!(format!("{}/32", CLIENT.v4()));
        }
        rule
    }

    fn matches(&self, is_client: bool, port: usize) -> bool {
        (self.ports.0..=self.ports.1).contains(&port) && (is_client || !self.from_client)
    }
}

/// New connections to one port under rules by chance: the hits of each rule, and which packets are reported, are those of a scan of the
/// rules in the order in which they decide.
#[test]
fn hits_are_those_of_a_scan_of_the_rules() {
    const PACKETS: u16 = 300;
    for seed in 1..=6 {
        conversation(|fabric, twin| {
            let mut chance = Chance::new(seed);
            let scanned: Vec<Scanned> = (0..30).map(|it| Scanned::by_chance(&mut chance, format!("r{it}"))).collect();
            rules(fabric, twin, &Value::Array(scanned.iter().map(Scanned::json).collect()));
            let mut hits = vec![0_u64; scanned.len()];
            for packet in 0..PACKETS {
                let (is_client, port) = (chance.one_in(2), 75 + chance.below(35));
                let tcp = Tcp::new(10_000 + packet, port as u16, tcp_flag::SYN);
                let met = if is_client {
                    sent(CLIENT, v4(CLIENT, SERVER).tcp(&tcp, b""))
                } else {
                    received(2, VNI[0], &v4(REMOTE, SERVER).tcp(&tcp, b""))
                };
                let matching = scanned.iter().enumerate().filter(|(_, rule)| rule.matches(is_client, port));
                let decides = matching.min_by_key(|(place, rule)| (rule.priority, rule.allow, *place));
                let outcome = twin.compare(&met).unwrap();
                let passed = outcome.record.target == target::DELIVER;
                assert_eq!(passed, decides.is_some_and(|(_, rule)| rule.allow), "seed {seed}: {:?}", outcome.record);
                let reported = decides.is_some_and(|(_, rule)| rule.log);
                assert_eq!(outcome.record.logged, if reported { rule_direction::INGRESS } else { 0 });
                if let Some((place, _)) = decides {
                    hits[place] += 1;
                }
            }
            let counted = twin.hits().unwrap();
            for (rule, expected) in scanned.iter().zip(hits) {
                let number = fabric.rule_number("red", "servers", &rule.name).unwrap();
                // A rule that others stand before wherever it matches is in no compiled set.
                let found = counted.get(&number).copied().unwrap_or_default();
                assert_eq!(found, expected, "seed {seed}: {}", rule.name);
            }
        });
    }
}
