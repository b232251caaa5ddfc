//! As much as there may be of everything is in force at a real workload, and one more is refused by the API, with the size, and changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use andromede_abi::maps;
use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    traffic::{Responder, tcp_probe},
};
use andromede_tests::{
    Bundle,
    bundle::{group_name, network_name, port_name},
    scene::{both, v4, v6},
    usage::tables,
};

const SHORT: Duration = Duration::from_millis(500);
/// The groups of the server let in a port each, from this one on.
const FIRST: u16 = 9_000;
const GROUPS: u16 = 64;
/// Rules of the first group, and prefixes of the list that the second one names.
const MANY: u32 = 10_000;

/// The group of this number: so many rules for others, each with a remote and a port of its own, and a last one that lets in the client at
/// the group's port.
fn many_rules(group: u16, count: u32) -> String {
    let mut text = format!("kind: SecurityGroup\nname: {}\nrules:\n", group_name("red", &format!("g{group}")));
    for rule in 0..count - 1 {
        let all = u32::from(group) * MANY + rule;
        let remote = format!("172.{}.{}.{}/32", 16 + (all >> 16), all >> 8 & 0xff, all & 0xff);
        let port = 1 + rule % 8_000;
        writeln!(text, "  - {{name: r{rule}, direction: ingress, action: allow, protocol: tcp, ports: ['{port}'], remoteCidr: {remote}}}")
            .unwrap();
    }
    let port = FIRST + group;
    writeln!(text, "  - {{name: last, direction: ingress, action: allow, protocol: tcp, ports: ['{port}'], remoteCidr: 10.0.0.11/32}}")
        .unwrap();
    text
}

/// A list of so many prefixes, the last of which are the client's addresses.
fn many_prefixes(count: u32) -> String {
    let mut text = format!("kind: PrefixList\nname: {}/prefixLists/many\nprefixes:\n", network_name("red"));
    for prefix in 0..count - 2 {
        writeln!(text, "  - 172.{}.{}.{}/32", 16 + (prefix >> 16), prefix >> 8 & 0xff, prefix & 0xff).unwrap();
    }
    text + "  - 10.0.0.11/32\n  - 'fd00:10::11/128'\n"
}

/// Rules that multiply: so many remotes, each with 64 ranges that cross those of others.
fn product(remotes: u32) -> String {
    let mut text = format!("kind: SecurityGroup\nname: {}\nrules:\n", group_name("red", "g2"));
    for rule in 0..remotes {
        let first = |range: u32| 1_000 + range * 1_000 + rule * (7 + range) % 900;
        let ranges: Vec<String> = (0..64).map(|range| format!("'{}-{}'", first(range), first(range) + 60)).collect();
        let (ranges, remote) = (ranges.join(", "), format!("172.31.{}.{}/32", rule >> 8, rule & 0xff));
        writeln!(text, "  - {{name: r{rule}, direction: ingress, action: allow, protocol: tcp, ports: [{ranges}], remoteCidr: {remote}}}")
            .unwrap();
    }
    text
}

fn server(groups: u16) -> Bundle {
    let names: Vec<String> = (0..groups).map(|number| format!("g{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Bundle::default().port("red", "server", 2, 13, &names)
}

struct Scene {
    client: Workload,
    outsider: Workload,
    _responder: Responder,
    fabric: Fabric,
}

impl Scene {
    fn start() -> Self {
        let list = format!("{}/prefixLists/many", network_name("red"));
        let of_list = format!(
            "{{name: many, direction: ingress, action: allow, protocol: tcp, ports: ['{}'], remotePrefixList: {list}}}",
            FIRST + 1
        );
        let mut bundle = Bundle::hosts(2)
            .tenant("red", 4001)
            .group("red", "client", &[])
            .with(&many_rules(0, MANY))
            .with(&many_prefixes(MANY));
        bundle = bundle.group("red", "g1", &[&of_list]);
        for number in 2..=GROUPS {
            let rule = format!(
                "{{name: own, direction: ingress, action: allow, protocol: tcp, ports: ['{}']}}",
                FIRST + number
            );
            bundle = bundle.group("red", &format!("g{number}"), &[&rule]);
        }
        let bundle = bundle.port("red", "client", 1, 11, &["client"]).port("red", "outsider", 1, 12, &["client"]);
        let fabric = Fabric::start(FabricOptions::default()).unwrap();
        fabric.apply(bundle.with(server(GROUPS).text().trim_start_matches("---\n")).text()).unwrap();
        let attach = |host: u8, port: &str| fabric.attach(host, &port_name("red", port)).unwrap();
        let (client, outsider, server) = (attach(1, "client"), attach(1, "outsider"), attach(2, "server"));
        fabric.wait_in_force().unwrap();
        let ports: Vec<u16> = (FIRST..=FIRST + GROUPS).collect();
        let responder = Responder::start(server.namespace(), "server", &ports, &[]).unwrap();
        Self { client, outsider, _responder: responder, fabric }
    }

    /// Every group lets in what its rules say, and nothing else passes.
    fn holds(&self) {
        let ask = |from: &Workload, to: IpAddr, port: u16, limit: Duration| {
            tcp_probe(from.namespace(), SocketAddr::new(to, port), limit).unwrap().answered_by("server")
        };
        let reaches = |from: &Workload, to: IpAddr, port: u16| ask(from, to, port, SHORT * 10);
        let fails = |from: &Workload, to: IpAddr, port: u16| !ask(from, to, port, SHORT);
        assert!(reaches(&self.client, v4(13), FIRST), "the last of {MANY} rules");
        assert!(fails(&self.client, v6(13), FIRST), "which is for one address");
        for to in both(13) {
            assert!(reaches(&self.client, to, FIRST + 1), "{to}: the last of {MANY} prefixes");
            assert!(fails(&self.outsider, to, FIRST) && fails(&self.outsider, to, FIRST + 1), "{to}: for others");
            for number in 2..GROUPS {
                assert!(reaches(&self.outsider, to, FIRST + number), "{to}: the group g{number}");
            }
            assert!(fails(&self.client, to, FIRST + GROUPS), "{to}: a group that the server has not");
        }
    }

    fn refuses(&self, bundle: &str, words: &[&str]) {
        let said = self.fabric.control().apply_refused(bundle).unwrap();
        for words in words {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

#[test]
fn as_much_as_there_may_be_is_in_force_and_one_more_is_refused() {
    let scene = Scene::start();
    scene.holds();
    scene.refuses(server(GROUPS + 1).text(), &["at most 64 security groups"]);
    scene.refuses(&many_rules(0, MANY + 1), &["at most 10000 rules"]);
    scene.refuses(&many_prefixes(MANY + 1), &["at most 10000 prefixes"]);
    let too_many = format!("at most {} rows of the table POLICY_CELLS", maps::POLICY_CELLS.rows / 8);
    // 10,000 rules and a list of 10,000 prefixes besides: an eighth of the cells of a host is not enough for their product.
    scene.refuses(&product(300), &[&too_many, "these take "]);
    scene.holds();
}

/// Ten ports of one host, each with a group of ten thousand rules.
#[test]
fn a_hundred_thousand_rules_are_in_force_on_a_host() {
    let mut bundle =
        Bundle::hosts(2).tenant("red", 4001).group("red", "client", &[]).port("red", "client", 2, 11, &["client"]);
    for number in 0..10 {
        bundle = bundle.group("red", &format!("g{number}"), &[]);
        bundle = bundle.port("red", &format!("s{number}"), 1, 20 + number, &[&format!("g{number}")]);
    }
    let fabric = Fabric::start(FabricOptions::default()).unwrap();
    fabric.apply(bundle.text()).unwrap();
    let client = fabric.attach(2, &port_name("red", "client")).unwrap();
    let servers: Vec<Workload> =
        (0..10).map(|number| fabric.attach(1, &port_name("red", &format!("s{number}"))).unwrap()).collect();
    for number in 0..10 {
        fabric.apply(&many_rules(number, MANY)).unwrap();
    }
    fabric.wait_in_force().unwrap();
    let cells = tables(&fabric, 1, |tables| tables.policy_cells.count()).unwrap().unwrap();
    assert!(cells >= 100_000, "{cells} rules in the kernel of h1");
    for (number, server) in (0..).zip(&servers) {
        let to = v4(20 + number as u8);
        let _responder = Responder::start(server.namespace(), "server", &[FIRST + number, FIRST + 100], &[]).unwrap();
        let reaches = |port| tcp_probe(client.namespace(), SocketAddr::new(to, port), SHORT).unwrap().is_answered();
        assert!(reaches(FIRST + number), "the last rule of the group g{number}");
        assert!(!reaches(FIRST + 100), "{to}: and nothing else");
    }
}
