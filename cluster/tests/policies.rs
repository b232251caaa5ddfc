//! `NetworkPolicies` say in the packet path what Kubernetes says that they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use andromede_cluster::{Compiled, Fault, ObjectName, PENDING, compile};
use andromede_model::limits;
use common::{
    cases,
    fabric::{Fabric, Fate, network},
    oracle::{self, Opening},
    random,
    scene::{Scene, labels, policy},
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Protocol and port.
type Service = (u8, u16);
const TCP_80: Service = (6, 80);
const SERVICES: [Service; 9] = [TCP_80, (6, 81), (6, 8080), (6, 53), (17, 53), (17, 80), (132, 80), (132, 81), (47, 0)];

fn compiled(scene: &Scene) -> Compiled {
    let (cluster, violations) = scene.cluster();
    assert_eq!(violations, [], "{:#?}", scene.policies);
    let compiled = compile(&network(), "test", &cluster).unwrap();
    assert_eq!(compiled.faults, [], "{:#?}", scene.policies);
    compiled
}

/// Compares every pair of pods with the oracle.
fn agrees_with_the_oracle(scene: &Scene, services: &[Service]) {
    let fabric = Fabric::new(scene, &compiled(scene));
    for (from, to) in pairs(scene) {
        for (protocol, port) in services.iter().copied() {
            for v6 in [false, true] {
                let opening = Opening { from, to, v6, protocol, port };
                let expected = match oracle::verdict(scene, opening) {
                    (false, _) => Fate::Out,
                    (true, false) => Fate::In,
                    (true, true) => Fate::Passes,
                };
                assert_eq!(fabric.fate(scene, opening), expected, "{opening:?} {scene:#?}");
            }
        }
    }
}

/// All pairs of pods; what a pod sends to itself never leaves it.
fn pairs(scene: &Scene) -> impl Iterator<Item = (usize, usize)> {
    let number = scene.pods.len();
    (0..number).flat_map(move |from| (0..number).filter(move |to| *to != from).map(move |to| (from, to)))
}

/// A policy for the pod x/a.
fn on_a(spec: Value) -> Value {
    let mut spec = spec;
    spec["podSelector"] = json!({"matchLabels": {"pod": "a"}});
    policy("x", "on-a", spec)
}

/// What becomes of connections between nine pods: a row for each sender, x/a to z/c, a column for each receiver. "." passes, "o" is
/// refused where it comes from, "i" where it goes to. `others` is the row of senders that are not named.
struct Table {
    of: &'static str,
    policies: Vec<Value>,
    service: Service,
    others: &'static str,
    rows: Vec<(&'static str, &'static str)>,
}

impl Table {
    fn new(of: &'static str, policies: Vec<Value>, service: Service, others: &'static str) -> Self {
        Self { of, policies, service, others, rows: Vec::new() }
    }

    fn row(mut self, senders: &[&'static str], row: &'static str) -> Self {
        self.rows.extend(senders.iter().map(|sender| (*sender, row)));
        self
    }

    fn check(self) {
        let scene = Scene::nine(self.policies);
        let fabric = Fabric::new(&scene, &compiled(&scene));
        for (from, to) in pairs(&scene) {
            let row =
                self.rows.iter().find(|(sender, _)| scene.place(sender) == from).map_or(self.others, |(_, row)| row);
            let expected = match row.as_bytes()[to] {
                b'.' => Fate::Passes,
                b'o' => Fate::Out,
                b'i' => Fate::In,
                other => panic!("{other}"),
            };
            let (protocol, port) = self.service;
            let opening = Opening { from, to, v6: false, protocol, port };
            assert_eq!(fabric.fate(&scene, opening), expected, "{}: {opening:?}", self.of);
        }
        agrees_with_the_oracle(&scene, &SERVICES);
    }
}

const PASSES: &str = ".........";
const NOT_TO_A: &str = "i........";
const NOT_TO_X: &str = "iii......";
const NOTHING: &str = "ooooooooo";
const X: [&str; 3] = ["x/a", "x/b", "x/c"];

fn from(peers: Value) -> Value {
    json!({"ingress": [{"from": peers}]})
}

fn ns(name: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {"ns": name}}})
}

fn pod(name: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"pod": name}}})
}

fn in_any(key: &str, values: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]})
}

#[test]
fn isolation_and_its_directions() {
    let deny = |types: Value| policy("x", "deny", json!({"podSelector": {}, "policyTypes": types}));
    Table::new("nothing", vec![], TCP_80, PASSES).check();
    Table::new("deny ingress", vec![deny(json!(["Ingress"]))], TCP_80, NOT_TO_X).check();
    Table::new("deny egress", vec![deny(json!(["Egress"]))], TCP_80, PASSES).row(&X, NOTHING).check();
    Table::new("deny both", vec![deny(json!(["Ingress", "Egress"]))], (17, 80), NOT_TO_X).row(&X, NOTHING).check();
    Table::new("deny is for every protocol", vec![deny(json!(["Ingress"]))], (47, 0), NOT_TO_X).check();
    let allow = on_a(json!({"ingress": [{}]}));
    Table::new("what one denies another allows", vec![deny(json!(["Ingress"])), allow], TCP_80, ".ii......").check();
    let egress = on_a(json!({"egress": [{"to": [pod("b")]}]}));
    Table::new("rules of egress isolate both ways", vec![egress], TCP_80, NOT_TO_A).row(&["x/a"], "o.ooooooo").check();
    let out = on_a(json!({"egress": [{"to": [ns("y")]}], "policyTypes": ["Egress"]}));
    let into = policy("y", "in", json!({"podSelector": {}, "ingress": [{"from": [ns("z")]}]}));
    Table::new("both sides decide", vec![out, into], TCP_80, "...iii...")
        .row(&["z/a", "z/b", "z/c"], PASSES)
        .row(&["x/a"], "oooiiiooo")
        .row(&["y/a", "y/b", "y/c"], "...iii...")
        .check();
}

#[test]
fn selectors_of_peers() {
    let y = ["y/a", "y/b", "y/c"];
    let table = |of, peers: Value, admitted: &[&'static str]| {
        Table::new(of, vec![on_a(from(peers))], TCP_80, NOT_TO_A).row(admitted, PASSES).check();
    };
    table("pods of the own namespace", json!([pod("b")]), &["x/b"]);
    table("all pods of the own namespace", json!([{"podSelector": {}}]), &["x/b", "x/c"]);
    table("a namespace", json!([ns("y")]), &y);
    table(
        "every namespace",
        json!([{"namespaceSelector": {}}]),
        &["x/b", "x/c", "y/a", "y/b", "y/c", "z/a", "z/b", "z/c"],
    );
    table(
        "pods of a namespace",
        json!([{"namespaceSelector": {"matchLabels": {"ns": "y"}}, "podSelector": {"matchLabels": {"pod": "b"}}}]),
        &["y/b"],
    );
    table("one or the other", json!([pod("b"), ns("y")]), &["x/b", "y/a", "y/b", "y/c"]);
    table(
        "in",
        json!([{"namespaceSelector": in_any("ns", &["y", "z"]), "podSelector": in_any("pod", &["b", "c"])}]),
        &["y/b", "y/c", "z/b", "z/c"],
    );
    let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "ns", "operator": operator, "values": values}]});
    table("not in", json!([{"namespaceSelector": expression("NotIn", json!(["x", "z"]))}]), &y);
    table(
        "exists",
        json!([{"namespaceSelector": expression("Exists", json!([])), "podSelector": {"matchLabels": {"pod": "c"}}}]),
        &["x/c", "y/c", "z/c"],
    );
    table("does not exist", json!([{"namespaceSelector": expression("DoesNotExist", json!([]))}]), &[]);
    table("nobody has this", json!([ns("nowhere")]), &[]);
    let twice = vec![
        on_a(from(json!([pod("b")]))),
        policy("x", "more", json!({"podSelector": {}, "ingress": [{"from": [ns("z")]}]})),
    ];
    Table::new("policies add", twice, TCP_80, NOT_TO_X)
        .row(&["x/b"], ".ii......")
        .row(&["z/a", "z/b", "z/c"], PASSES)
        .check();
}

#[test]
fn ports_and_their_names() {
    let ports = |ports: Value| vec![on_a(json!({"ingress": [{"ports": ports}]}))];
    for (of, given, service, others) in [
        ("tcp is the default", json!([{"port": 80}]), TCP_80, PASSES),
        ("another port", json!([{"port": 80}]), (6, 81), NOT_TO_A),
        ("another protocol", json!([{"port": 80}]), (17, 80), NOT_TO_A),
        ("a protocol without ports", json!([{"port": 80}]), (47, 0), NOT_TO_A),
        ("udp", json!([{"protocol": "UDP", "port": 80}]), (17, 80), PASSES),
        ("sctp", json!([{"protocol": "SCTP", "port": 80}]), (132, 80), PASSES),
        ("sctp, another port", json!([{"protocol": "SCTP", "port": 80}]), (132, 81), NOT_TO_A),
        ("all of a protocol", json!([{"protocol": "UDP"}]), (17, 53), PASSES),
        ("all of another protocol", json!([{"protocol": "UDP"}]), (6, 53), NOT_TO_A),
        ("the end of a range", json!([{"port": 70, "endPort": 81}]), (6, 81), PASSES),
        ("behind a range", json!([{"port": 70, "endPort": 80}]), (6, 81), NOT_TO_A),
        ("one of several", json!([{"port": 53, "protocol": "UDP"}, {"port": 81}]), (6, 81), PASSES),
        ("a name that no port has", json!([{"port": "nothing"}]), TCP_80, NOT_TO_A),
        ("a name of another protocol", json!([{"port": "dns", "protocol": "TCP"}]), (6, 53), NOT_TO_A),
    ] {
        Table::new(of, ports(given), service, others).check();
    }
    let named = || vec![policy("x", "named", json!({"podSelector": {}, "ingress": [{"ports": [{"port": "web"}]}]}))];
    Table::new("a name is that of the receiver", named(), TCP_80, "..i......").check();
    Table::new("and stands for another number there", named(), (6, 8080), "ii.......").check();
    let out = || {
        let rules = json!([{"to": [ns("y")], "ports": [{"port": "web"}, {"port": "dns", "protocol": "UDP"}]}]);
        vec![on_a(json!({"policyTypes": ["Egress"], "egress": rules}))]
    };
    Table::new("a name of each destination", out(), TCP_80, PASSES).row(&["x/a"], "ooo..oooo").check();
    Table::new("another number there", out(), (6, 8080), PASSES).row(&["x/a"], "ooooo.ooo").check();
    Table::new("another name", out(), (17, 53), PASSES).row(&["x/a"], "ooo...ooo").check();
    let anywhere = vec![on_a(json!({"policyTypes": ["Egress"], "egress": [{"ports": [{"port": "web"}]}]}))];
    Table::new("a name, wherever", anywhere, (6, 8080), PASSES).row(&["x/a"], "oo.oo.oo.").check();
}

#[test]
fn blocks_and_their_exceptions() {
    let block = |cidr: &str, except: &[&str]| json!([{"ipBlock": {"cidr": cidr, "except": except}}]);
    let table = |of, peers: Value, admitted: &[&'static str]| {
        Table::new(of, vec![on_a(from(peers))], TCP_80, NOT_TO_A).row(admitted, PASSES).check();
    };
    table("a block", block("192.168.1.0/29", &[]), &["x/b", "x/c", "y/a", "y/b", "y/c", "z/a"]);
    table("without some", block("192.168.1.0/29", &["192.168.1.4/31", "192.168.1.2/32"]), &["x/c", "y/c", "z/a"]);
    table("without all", block("192.168.1.0/24", &["192.168.1.0/24"]), &[]);
    table(
        "everything but one",
        block("0.0.0.0/0", &["192.168.1.9/32"]),
        &["x/b", "x/c", "y/a", "y/b", "y/c", "z/a", "z/b"],
    );
    table("the other family", block("::/0", &[]), &[]);
    let except = on_a(from(block("192.168.1.0/29", &["192.168.1.4/30"])));
    let more = policy("x", "more", json!({"podSelector": {}, "ingress": [{"from": [ns("y")]}]}));
    Table::new("an exception refuses nothing that another policy allows", vec![except, more], TCP_80, NOT_TO_X)
        .row(&["x/b", "x/c"], ".ii......")
        .row(&["y/a", "y/b", "y/c"], PASSES)
        .check();
    let out = on_a(
        json!({"policyTypes": ["Egress"], "egress": [{"to": block("192.168.1.4/30", &["192.168.1.6/32"]), "ports": [{"port": 80}]}]}),
    );
    Table::new("to a block", vec![out], TCP_80, PASSES).row(&["x/a"], "ooo..o.oo").check();
}

/// Groups of each pod, and all groups.
fn groups(scene: &Scene) -> (BTreeMap<ObjectName, String>, Compiled) {
    let compiled = compiled(scene);
    (compiled.members.iter().map(|(name, groups)| (name.clone(), format!("{groups:?}"))).collect(), compiled)
}

#[test]
fn a_change_of_a_pod_changes_its_groups_alone() {
    let policies = vec![
        on_a(from(json!([pod("b"), ns("z")]))),
        policy("x", "out", json!({"podSelector": {}, "egress": [{"to": [ns("y")]}]})),
    ];
    let before = Scene::nine(policies);
    let (old_members, old) = groups(&before);
    let mut after = before.clone();
    let changed = after.place("x/c");
    after.pods[changed].labels = labels(&[("pod", "b"), ("more", "yes")]);
    let (new_members, new) = groups(&after);
    assert_eq!((&old.groups, &old.lists), (&new.groups, &new.lists), "no rule changes");
    for (name, groups) in &old_members {
        assert_eq!(new_members[name] != *groups, *name == ObjectName::new("x", "c"), "{name}");
    }
    after.pods.remove(changed);
    assert_eq!(groups(&after).1.groups, old.groups, "nor when it goes");
}

#[test]
fn what_cannot_be_expressed_isolates() {
    // One policy is broken; the other still adds what it allows.
    let broken = policy("x", "broken", json!({"podSelector": {}, "ingress": [{}, {"ports": [{"protocol": "ICMP"}]}]}));
    let good =
        policy("x", "good", json!({"podSelector": {"matchLabels": {"pod": "a"}}, "ingress": [{"from": [pod("b")]}]}));
    let scene = Scene::nine(vec![broken, good]);
    let (cluster, violations) = scene.cluster();
    assert_eq!(violations.len(), 1);
    let fabric = Fabric::new(&scene, &compile(&network(), "test", &cluster).unwrap());
    for (from, to) in pairs(&scene) {
        let opening = Opening { from, to, v6: false, protocol: 6, port: 80 };
        let to_x = scene.pods[to].namespace == "x";
        let good = (from, to) == (scene.place("x/b"), scene.place("x/a"));
        let expected = if to_x && !good { Fate::In } else { Fate::Passes };
        assert_eq!(fabric.fate(&scene, opening), expected, "{opening:?}");
    }
}

#[test]
fn a_pod_with_too_many_groups_and_a_policy_with_too_many_rules_are_closed_and_named() {
    let policies = (0..=limits::GROUPS_PER_PORT).map(|number| {
        policy("x", &format!("p{number}"), json!({"podSelector": {"matchLabels": {"pod": "a"}}, "ingress": [{}]}))
    });
    let scene = Scene::nine(policies.collect());
    let compiled = compile(&network(), "test", &scene.cluster().0).unwrap();
    let [Fault::Pod(name, violation)] = compiled.faults.as_slice() else { panic!("{:?}", compiled.faults) };
    assert_eq!((name, violation.field.as_str()), (&ObjectName::new("x", "a"), "metadata.labels"));
    assert_eq!(
        compiled.members[name].iter().map(andromede_model::SecurityGroupName::id).collect::<Vec<_>>(),
        [PENDING]
    );
    let fabric = Fabric::new(&scene, &compiled);
    let fate = |from: &str, to: &str| {
        let (from, to) = (scene.place(from), scene.place(to));
        fabric.fate(&scene, Opening { from, to, v6: false, protocol: 6, port: 80 })
    };
    assert_eq!([fate("x/a", "x/b"), fate("x/b", "x/a"), fate("x/b", "y/a")], [Fate::Out, Fate::In, Fate::Passes]);

    let peers: Vec<Value> = (0..=limits::RULES_PER_GROUP).map(|number| pod(&format!("p{number}"))).collect();
    let scene = Scene::nine(vec![on_a(from(json!(peers)))]);
    let compiled = compile(&network(), "test", &scene.cluster().0).unwrap();
    let [Fault::Policy(name, _)] = compiled.faults.as_slice() else { panic!("{:?}", compiled.faults) };
    assert_eq!(*name, ObjectName::new("x", "on-a"));
}

/// The cases of an independent simulator, where they are at hand: `ANDROMEDE_NETWORKPOLICY_CASES` names the file.
#[test]
fn the_cases_of_an_independent_simulator() {
    let Ok(path) = std::env::var("ANDROMEDE_NETWORKPOLICY_CASES") else { return };
    let output = std::process::Command::new("gzip").args(["-dc", &path]).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    let (mut steps, mut cells) = (0, 0);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            steps += 1;
            let (scene, expected) = cases::cells(step);
            let fabric = Fabric::new(&scene, &compiled(&scene));
            for (opening, fate) in &expected {
                let says = || format!("{} step {number}: {}: {opening:?}", case["n"], case["description"]);
                assert_eq!(fabric.fate(&scene, *opening), *fate, "{}", says());
            }
            cells += expected.len();
        }
    }
    println!("{steps} steps, {cells} cells");
    assert!(steps >= 115 && cells > 50_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cluster_does_what_its_policies_say(scene in random::scene()) {
        agrees_with_the_oracle(&scene, &SERVICES);
    }
}
