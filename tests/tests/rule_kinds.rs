//! Every kind of rule says what it says: one table of packets, sent between real workloads on one host and on two, and walked in
//! memory and in the kernel. A client is held by egress rules and known to ingress rules; an outsider is neither.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use andromede_abi::{DropReason, rule, target};
use andromede_model::{AnyName, Resource};
use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    fabric::INTERFACE,
    packet::{Ends, Tcp, tcp_flag},
    raw::RawSocket,
};
use andromede_tests::{
    Bundle,
    bundle::{network_name, port_name},
    dropped_more,
    twin::{
        END_LOCAL_A as CLIENT, END_LOCAL_B as SERVER, END_REMOTE as REMOTE, SmallFabric, Twin,
        talk::{VNI, conversation, received, sent, v4, v6},
    },
};
use serde_json::{Value, json};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passes,
    /// Refused where it goes to, by this rule; "" is the default.
    In(&'static str),
    /// Refused where it comes from, by this rule.
    Out(&'static str),
}
use Fate::{In, Out, Passes};

/// What a packet carries.
#[derive(Clone, Copy, Debug)]
enum Carried {
    Tcp(u16),
    Udp(u16),
    Sctp(u16),
    /// Type and code, over IPv4 only.
    Icmp(u8, u8),
    /// Type and code, over IPv6 only.
    Icmp6(u8, u8),
    Protocol(u8),
}
use Carried::{Icmp, Icmp6, Protocol, Sctp, Udp};

/// A packet to the server, and its fate if the client sends it, and if the outsider does.
type Case = (Carried, Fate, Fate);

const CASES: &[Case] = &[
    // Protocols, ranges and their edges.
    (Carried::Tcp(80), Passes, Passes),
    (Carried::Tcp(8000), Passes, Passes),
    (Carried::Tcp(8010), Passes, Passes),
    (Carried::Tcp(7999), In(""), In("")),
    (Carried::Tcp(8011), In(""), In("")),
    (Udp(53), Passes, Passes),
    (Udp(80), In(""), In("")),
    (Sctp(36412), Passes, Passes),
    (Sctp(53), In(""), In("")),
    (Icmp(13, 0), Passes, Passes),
    (Icmp(15, 2), Passes, Passes),
    (Icmp(15, 3), In(""), In("")),
    (Icmp6(139, 0), Passes, Passes),
    (Icmp6(150, 2), Passes, Passes),
    (Icmp6(150, 3), In(""), In("")),
    (Protocol(47), Passes, Passes),
    (Protocol(50), In(""), In("")),
    // Remotes.
    (Carried::Tcp(1000), Passes, In("")),
    (Carried::Tcp(1001), Passes, In("")),
    (Carried::Tcp(1002), Passes, In("")),
    (Carried::Tcp(1003), Passes, Passes),
    // Priorities.
    (Carried::Tcp(1004), In("not-1004"), In("not-1004")),
    (Carried::Tcp(1005), Passes, Passes),
    (Carried::Tcp(1006), In("not-1006"), In("not-1006")),
    // The operator's tier above the tenant's.
    (Carried::Tcp(1007), In("law-not-1007"), In("law-not-1007")),
    (Carried::Tcp(1008), Passes, Passes),
    (Carried::Tcp(1009), Passes, Passes),
    (Carried::Tcp(1010), In(""), In("")),
    // Egress: the server lets all of these in.
    (Carried::Tcp(1100), Out("not-1100"), Passes),
    (Udp(1101), Out("not-1101"), Passes),
    (Sctp(1102), Out("not-1102"), Passes),
    (Carried::Tcp(1103), Out("not-group"), Passes),
    (Carried::Tcp(1104), Out("not-list"), Passes),
    (Carried::Tcp(1105), Passes, Passes),
    (Carried::Tcp(1106), Out("law-not-1106"), Out("law-not-1106")),
    (Carried::Tcp(1107), Passes, Passes),
    (Icmp(17, 0), Out("not-icmp"), Passes),
    (Icmp6(151, 0), Out("not-icmp6"), Passes),
    (Protocol(51), Out("not-51"), Passes),
];

/// A rule: its name, direction and action, and what else it says.
fn of(name: &str, direction: &str, action: &str, more: &Value) -> Value {
    let mut rule = json!({"name": name, "direction": direction, "action": action});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

fn tcp(port: &str) -> Value {
    json!({"protocol": "tcp", "ports": [port]})
}

fn with(mut rule: Value, key: &str, value: impl Into<Value>) -> Value {
    rule[key] = value.into();
    rule
}

/// Who lets what in.
fn ingress(network: &str, client: [IpAddr; 2]) -> Vec<Value> {
    let group = |name: &str| format!("{network}/securityGroups/{name}");
    let allow = |name: &str, more: &Value| of(name, "ingress", "allow", more);
    let deny = |name: &str, more: &Value| of(name, "ingress", "deny", more);
    let host = |address: IpAddr| format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
    vec![
        allow("web", &json!({"protocol": "tcp", "ports": ["80", "8000-8010"]})),
        allow("dns", &json!({"protocol": "udp", "ports": ["53", "1101"]})),
        allow("s1", &json!({"protocol": "sctp", "ports": ["36412", "1102"]})),
        allow("timestamp", &json!({"protocol": "icmp", "icmpType": 13})),
        allow("mask", &json!({"protocol": "icmp", "icmpType": 17})),
        allow("code", &json!({"protocol": "icmp", "icmpType": 15, "icmpCode": 2})),
        allow("query6", &json!({"protocol": "icmpv6", "icmpType": 139})),
        allow("code6", &json!({"protocol": "icmpv6", "icmpType": 150, "icmpCode": 2})),
        allow("other6", &json!({"protocol": "icmpv6", "icmpType": 151})),
        allow("gre", &json!({"protocol": "47"})),
        allow("ah", &json!({"protocol": "51"})),
        allow("cidr4", &with(tcp("1000"), "remoteCidr", host(client[0]))),
        allow("cidr6", &with(tcp("1000"), "remoteCidr", host(client[1]))),
        allow("list", &with(tcp("1001"), "remotePrefixList", format!("{network}/prefixLists/clients"))),
        allow("group", &with(tcp("1002"), "remoteGroup", group("client"))),
        allow("any", &tcp("1003")),
        allow("late-1004", &tcp("1004")),
        deny("not-1004", &with(tcp("1004"), "priority", 10)),
        allow("early-1005", &with(tcp("1005"), "priority", 10)),
        deny("not-1005", &with(tcp("1005"), "priority", 20)),
        allow("tie-1006", &with(tcp("1006"), "priority", 20)),
        deny("not-1006", &with(tcp("1006"), "priority", 20)),
        allow("even-1007", &with(tcp("1007"), "priority", 1)),
        deny("not-1008", &with(tcp("1008"), "priority", 1)),
        allow("left-1009", &tcp("1009")),
        allow("egress", &tcp("1100-1110")),
    ]
}

/// What the client does not send.
fn egress(network: &str) -> Vec<Value> {
    let deny = |name: &str, more: &Value| of(name, "egress", "deny", more);
    let group = format!("{network}/securityGroups/server");
    vec![
        deny("not-1100", &tcp("1100")),
        deny("not-1101", &with(json!({"protocol": "udp", "ports": ["1101"]}), "remoteCidr", "10.0.0.0/24")),
        deny("not-1101-6", &with(json!({"protocol": "udp", "ports": ["1101"]}), "remoteCidr", "fd00:10::/64")),
        deny("not-1102", &json!({"protocol": "sctp", "ports": ["1102"]})),
        deny("not-group", &with(tcp("1103"), "remoteGroup", group)),
        deny("not-list", &with(tcp("1104"), "remotePrefixList", format!("{network}/prefixLists/servers"))),
        deny("not-1105", &tcp("1105")),
        of("early-1105", "egress", "allow", &with(tcp("1105"), "priority", 10)),
        deny("not-1107", &with(tcp("1107"), "priority", 1)),
        deny("not-icmp", &json!({"protocol": "icmp", "icmpType": 17})),
        deny("not-icmp6", &json!({"protocol": "icmpv6", "icmpType": 151})),
        deny("not-51", &json!({"protocol": "51"})),
    ]
}

/// Groups, lists and the operator's policy of a network in which the client has these addresses.
fn documents(network: &str, client: [IpAddr; 2], servers: &[IpAddr]) -> Vec<Value> {
    let group = |name: &str, rules: Vec<Value>| json!({"kind": "SecurityGroup", "name": format!("{network}/securityGroups/{name}"), "rules": rules});
    let list = |name: &str, addresses: &[IpAddr]| {
        let prefixes: Vec<String> =
            addresses.iter().map(|it| format!("{it}/{}", if it.is_ipv4() { 32 } else { 128 })).collect();
        json!({"kind": "PrefixList", "name": format!("{network}/prefixLists/{name}"), "prefixes": prefixes})
    };
    let law = |name: &str, direction: &str, action: &str, port: &str| of(name, direction, action, &tcp(port));
    vec![
        list("clients", &client),
        list("servers", servers),
        group("outsider", Vec::new()),
        group("client", egress(network)),
        group("server", ingress(network, client)),
        json!({"kind": "OperatorPolicy", "name": "operatorPolicies/law", "rules": [
            law("law-not-1007", "ingress", "deny", "1007"),
            law("law-1008", "ingress", "allow", "1008"),
            law("law-pass", "ingress", "pass", "1009-1010"),
            law("law-not-1106", "egress", "deny", "1106"),
            law("law-1107", "egress", "allow", "1107"),
        ]}),
    ]
}

impl Carried {
    /// Is there such a packet between these ends?
    fn goes(self, ends: &Ends) -> bool {
        match self {
            Icmp(..) => ends.v4().is_some(),
            Icmp6(..) => ends.v4().is_none(),
            _ => true,
        }
    }

    fn frame(self, ends: &Ends) -> Vec<u8> {
        match self {
            Self::Tcp(port) => ends.tcp(&Tcp::new(40_000, port, tcp_flag::SYN), b""),
            Udp(port) => ends.udp(40_000, port, b"payload"),
            Sctp(port) => ends.sctp(40_000, port, 0, 1),
            Icmp(kind, code) => ends.ip(1, &[kind, code, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0]),
            Icmp6(kind, code) => ends.ip(58, &[kind, code, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0]),
            Protocol(number) => ends.ip(number, &[0x5a; 24]),
        }
    }
}

/// The number of a rule, by its name; that of the default for "".
fn number(fabric: &SmallFabric, name: &str) -> u32 {
    if name.is_empty() {
        return rule::DEFAULT_INGRESS;
    }
    let owners =
        ["securityGroups/client", "securityGroups/server"].map(|owner| format!("tenants/red/networks/n/{owner}"));
    let owners = owners.into_iter().chain(["operatorPolicies/law".to_owned()]);
    let rules = owners.flat_map(|owner| match fabric.model().get(&owner.parse::<AnyName>().unwrap()) {
        Some(Resource::SecurityGroup(group)) => group.rules,
        Some(Resource::OperatorPolicy(policy)) => policy.rules,
        other => panic!("{owner}: {other:?}"),
    });
    rules.into_iter().find(|rule| rule.name.to_string() == name).expect(name).number
}

/// Walks a packet in memory and in the kernel.
fn meets(twin: &Twin, fabric: &SmallFabric, met: &andromede_tests::twin::Met, fate: Fate, passed: u8, says: &str) {
    let outcome = twin.compare(met).unwrap_or_else(|error| panic!("{says}: {error:#}"));
    let (target, reason, by) = match fate {
        Passes => (passed, None, None),
        In(rule) => (target::DROP, Some(DropReason::IngressRule), Some(rule)),
        Out(rule) => (target::DROP, Some(DropReason::EgressRule), Some(rule)),
    };
    let record = &outcome.record;
    assert_eq!((record.target, DropReason::from_number(record.reason)), (target, reason), "{says}: {record:?}");
    if let Some(by) = by {
        let numbers = [by.to_owned(), format!("{by}-6")];
        let known = numbers.iter().filter(|name| *name == by || by == "not-1101");
        let known: Vec<u32> = known.map(|name| number(fabric, name)).collect();
        assert!(known.contains(&record.rule), "{says}: decided by {by}, not by {}", record.rule);
    }
}

#[test]
fn every_kind_of_rule_holds_in_memory_and_in_the_kernel() {
    conversation(|fabric, twin| {
        let network = "tenants/red/networks/n";
        let servers: [IpAddr; 4] = [SERVER.v4().into(), SERVER.v6().into(), REMOTE.v4().into(), REMOTE.v6().into()];
        fabric.set(documents(network, [CLIENT.v4().into(), CLIENT.v6().into()], &servers)).unwrap();
        let of = |end: andromede_tests::twin::End, host: &str, groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|group| format!("{network}/securityGroups/{group}")).collect();
            json!({"kind": "Port", "name": format!("{network}/ports/p{}", end.0), "host": host, "securityGroups": groups})
        };
        let ports = [of(CLIENT, "hosts/h1", &["client"]), of(SERVER, "hosts/h1", &["server"])];
        fabric.set(ports.into_iter().chain([of(REMOTE, "hosts/h2", &["outsider", "server"])]).collect()).unwrap();
        twin.write(fabric.rows()).unwrap();
        for (carried, client, outsider) in CASES {
            for (near, far, back) in [
                (v4(CLIENT, SERVER), v4(CLIENT, REMOTE), v4(REMOTE, SERVER)),
                (v6(CLIENT, SERVER), v6(CLIENT, REMOTE), v6(REMOTE, SERVER)),
            ] {
                if !carried.goes(&near) {
                    continue;
                }
                let says = format!("{carried:?} from {}", near.source);
                meets(
                    twin,
                    fabric,
                    &sent(CLIENT, carried.frame(&near)),
                    *client,
                    target::DELIVER,
                    &format!("{says} here"),
                );
                // Here only the client's own rules are asked, and there only the server's.
                let leaves = if matches!(client, Out(_)) { *client } else { Passes };
                meets(twin, fabric, &sent(CLIENT, carried.frame(&far)), leaves, target::ENCAP, &format!("{says} away"));
                let arrives = if matches!(outsider, In(_)) { *outsider } else { Passes };
                let met = received(2, VNI[0], &carried.frame(&back));
                meets(twin, fabric, &met, arrives, target::DELIVER, &format!("{carried:?} from {}", back.source));
            }
        }
    });
}

/// Sends everything from one workload to another, and gives the cases of which a packet arrived.
fn arrivals(from: (&Workload, u8), to: (&Workload, u8), column: fn(&Case) -> Fate) {
    let address = |last: u8| {
        [format!("10.0.0.{last}").parse::<IpAddr>().unwrap(), format!("fd00:10::{last}").parse::<IpAddr>().unwrap()]
    };
    let ear = RawSocket::open(to.0.namespace(), INTERFACE, true).unwrap();
    let mouth = RawSocket::open(from.0.namespace(), INTERFACE, true).unwrap();
    let (source_mac, target_mac) = (from.0.mac().unwrap(), to.0.mac().unwrap());
    let mut frames = Vec::new();
    for (source, target) in address(from.1).into_iter().zip(address(to.1)) {
        let ends = Ends::new((source_mac, source), (target_mac, target));
        frames.extend(
            CASES.iter().filter(|case| case.0.goes(&ends)).map(|case| (case, ends.v4().is_some(), case.0.frame(&ends))),
        );
    }
    for (.., frame) in &frames {
        mouth.send(frame).unwrap();
    }
    let mut arrived = BTreeSet::new();
    let until = Instant::now() + Duration::from_secs(10);
    let expected = frames.iter().filter(|(case, ..)| column(case) == Passes).count();
    // All that should come, and then whatever else comes within a short time.
    while Instant::now() < until {
        let patience = if arrived.len() < expected { Duration::from_secs(5) } else { Duration::from_millis(300) };
        let sent = |frame: &[u8]| frames.iter().any(|(.., sent)| frame[14..] == sent[14..]);
        let Some(frame) = ear.receive_matching(patience, sent).unwrap() else { break };
        arrived.insert(frames.iter().position(|(.., sent)| frame[14..] == sent[14..]).unwrap());
    }
    for (place, (case, is_v4, _)) in frames.iter().enumerate() {
        let passed = arrived.contains(&place);
        assert_eq!(passed, column(case) == Passes, "{case:?}, IPv4: {is_v4}, from .{} to .{}", from.1, to.1);
    }
}

#[test]
fn every_kind_of_rule_holds_between_workloads() {
    let network = network_name("red");
    let servers: Vec<IpAddr> =
        ["10.0.0.12", "10.0.0.13", "fd00:10::12", "fd00:10::13"].iter().map(|it| it.parse().unwrap()).collect();
    let client = ["10.0.0.11", "fd00:10::11"].map(|it| it.parse().unwrap());
    let mut bundle = Bundle::hosts(2).tenant("red", 4001);
    for document in documents(&network, client, &servers) {
        bundle = bundle.with(&format!("{document}\n"));
    }
    let bundle = bundle
        .port("red", "client", 1, 11, &["client"])
        .port("red", "near", 1, 12, &["server"])
        .port("red", "far", 2, 13, &["server"])
        .port("red", "outsider", 1, 40, &["outsider"]);
    let fabric = Fabric::start(FabricOptions::default()).unwrap();
    fabric.apply(bundle.text()).unwrap();
    let attach = |host: u8, port: &str| fabric.attach(host, &port_name("red", port)).unwrap();
    let (client, outsider, near, far) =
        (attach(1, "client"), attach(1, "outsider"), attach(1, "near"), attach(2, "far"));
    fabric.wait_in_force().unwrap();
    for to in [(&near, 12), (&far, 13)] {
        arrivals((&client, 11), to, |case| case.1);
        arrivals((&outsider, 40), to, |case| case.2);
    }
    // Each refusal is counted under the rule that decided.
    let refusals = |of: fn(&Fate) -> bool| CASES.iter().filter(|case| of(&case.1) || of(&case.2)).count() as u64;
    dropped_more(&fabric, "ingress-rule", 0, refusals(|fate| matches!(fate, In(_)))).unwrap();
    dropped_more(&fabric, "egress-rule", 0, refusals(|fate| matches!(fate, Out(_)))).unwrap();
    let counts = fabric.control().json(&["drops"]).unwrap();
    let named: BTreeSet<String> = counts["counts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|count| count["rule"].as_str().map(str::to_owned))
        .collect();
    for rule in CASES.iter().flat_map(|case| [case.1, case.2]) {
        let (In(name) | Out(name)) = rule else { continue };
        let name = if name.is_empty() { "default-ingress" } else { name };
        assert!(named.iter().any(|named| named.contains(name)), "{name} is not among {named:?}");
    }
}
