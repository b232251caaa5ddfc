//! Clusters of every shape.

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::scene::{Labels, Scene, ScenePod, policy};

fn labels_of(key: &'static str) -> impl Strategy<Value = Labels> {
    let value = select(vec!["a", "b", "c"]);
    (prop::option::of(value.clone()), prop::option::of(value)).prop_map(move |(first, second)| {
        let first = first.map(|value| (key.to_owned(), value.to_owned()));
        first.into_iter().chain(second.map(|value| ("other".to_owned(), value.to_owned()))).collect()
    })
}

fn selector(key: &'static str) -> impl Strategy<Value = Value> {
    let key = prop_oneof![3 => Just(key), 1 => Just("other"), 1 => Just("absent")];
    let values = prop::collection::btree_set(select(vec!["a", "b", "c", "d"]), 1..3);
    let expression = (key.clone(), select(vec!["In", "NotIn", "Exists", "DoesNotExist"]), values);
    let expression = expression.prop_map(|(key, operator, values)| match operator {
        "In" | "NotIn" => json!({"key": key, "operator": operator, "values": values}),
        _ => json!({"key": key, "operator": operator}),
    });
    prop_oneof![
        2 => Just(json!({})),
        3 => (key, select(vec!["a", "b", "c"])).prop_map(|(key, value)| json!({"matchLabels": {key: value}})),
        2 => prop::collection::vec(expression, 1..3).prop_map(|all| json!({"matchExpressions": all})),
    ]
}

fn block() -> impl Strategy<Value = Value> {
    let v4 = (0_u8..=4, prop::collection::vec(0_u8..8, 0..3)).prop_map(|(bits, except)| {
        let except: Vec<String> = except.iter().map(|last| format!("192.168.1.{last}/32")).collect();
        json!({"cidr": format!("192.168.1.0/{}", 29 - bits), "except": except})
    });
    let v6 = prop::collection::vec(0_u8..8, 0..3).prop_map(|except| {
        let except: Vec<String> = except.iter().map(|last| format!("fd00::c0:a8:1:{last}/128")).collect();
        json!({"cidr": "fd00::/64", "except": except})
    });
    prop_oneof![v4, v6]
}

fn peer(blocks: bool) -> BoxedStrategy<Value> {
    let pods = prop_oneof![
        selector("pod").prop_map(|pods| json!({"podSelector": pods})),
        selector("ns").prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        (selector("ns"), selector("pod"))
            .prop_map(|(namespaces, pods)| json!({"namespaceSelector": namespaces, "podSelector": pods})),
    ];
    if blocks {
        prop_oneof![3 => pods, 1 => block().prop_map(|block| json!({"ipBlock": block}))].boxed()
    } else {
        pods.boxed()
    }
}

fn port(names: bool) -> BoxedStrategy<Value> {
    let protocol = select(vec!["TCP", "UDP", "SCTP"]);
    let numbers = prop_oneof![
        1 => protocol.clone().prop_map(|protocol| json!({"protocol": protocol})),
        3 => (protocol.clone(), select(vec![80_u16, 81, 8080, 53])).prop_map(|(protocol, port)| json!({"protocol": protocol, "port": port})),
        1 => (protocol.clone(), 50_u16..90, 0_u16..40).prop_map(|(protocol, port, more)| json!({"protocol": protocol, "port": port, "endPort": port + more})),
    ];
    let named =
        (protocol, select(vec!["web", "dns"])).prop_map(|(protocol, name)| json!({"protocol": protocol, "port": name}));
    if names { prop_oneof![2 => numbers, 1 => named].boxed() } else { numbers.boxed() }
}

fn rule(peers: &'static str) -> impl Strategy<Value = Value> {
    // What is sent to a block has no names of ports.
    any::<bool>().prop_flat_map(move |blocks| {
        let names = !blocks || peers == "from";
        (prop::collection::vec(peer(blocks), 0..3), prop::collection::vec(port(names), 0..3))
            .prop_map(move |(list, ports)| json!({peers: list, "ports": ports}))
    })
}

fn spec() -> impl Strategy<Value = Value> {
    let types = prop::option::of(select(vec![json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]));
    let rules = |peers| prop::collection::vec(rule(peers), 0..3);
    (selector("pod"), types, rules("from"), rules("to")).prop_map(|(pods, types, ingress, egress)| {
        json!({"podSelector": pods, "policyTypes": types, "ingress": ingress, "egress": egress})
    })
}

pub(crate) fn scene() -> impl Strategy<Value = Scene> {
    let namespaces = prop::collection::vec(labels_of("ns"), 3);
    let port = (select(vec!["web", "dns"]), select(vec![6_u8, 17, 132]), select(vec![80_u16, 81, 8080, 53]));
    let pod = (0_usize..3, labels_of("pod"), prop::collection::vec(port, 0..3));
    let policies = prop::collection::vec((0_usize..3, spec()), 0..5);
    (namespaces, prop::collection::vec(pod, 2..7), policies).prop_map(|(namespaces, pods, policies)| Scene {
        namespaces: namespaces.into_iter().enumerate().map(|(place, labels)| (format!("n{place}"), labels)).collect(),
        pods: pods
            .into_iter()
            .enumerate()
            .map(|(place, (namespace, labels, ports))| ScenePod {
                namespace: format!("n{namespace}"),
                name: format!("p{place}"),
                labels,
                v4: std::net::Ipv4Addr::new(192, 168, 1, place as u8 + 1),
                ports: ports.into_iter().map(|(name, protocol, number)| (name.to_owned(), protocol, number)).collect(),
            })
            .collect(),
        policies: policies
            .into_iter()
            .enumerate()
            .map(|(place, (namespace, spec))| policy(&format!("n{namespace}"), &format!("p{place}"), spec))
            .collect(),
    })
}
