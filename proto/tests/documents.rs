//! Documents of bundles: what is written can be read again, nonsense is refused without harm, and the example holds.
#![allow(clippy::unwrap_used, reason = "tests")]

use andromede_model::Model;
use andromede_proto::{
    convert, document,
    v1::{self, resource, rule::Remote},
};
use proptest::prelude::*;
use serde::Deserialize as _;
use serde_json::Value;

/// Anything that is JSON, a few levels deep, with names of true fields among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["Port", "SecurityGroup", "ingress", "allow"]).prop_map(Value::from),
    ];
    let key = prop_oneof![
        3 => prop::sample::select(vec!["kind", "name", "addresses", "rules", "direction", "ports", "remoteCidr", "icmp_type"])
            .prop_map(str::to_owned),
        1 => ".{0,6}",
    ];
    leaf.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_rule() -> impl Strategy<Value = v1::Rule> {
    let remote = prop_oneof![
        Just(None),
        ".{0,20}".prop_map(|text| Some(Remote::RemoteCidr(text))),
        ".{0,20}".prop_map(|text| Some(Remote::RemoteGroup(text))),
        ".{0,20}".prop_map(|text| Some(Remote::RemotePrefixList(text))),
    ];
    let numbers = (0..3_i32, 0..4_i32, 0..3_i32, any::<bool>(), any::<u32>(), any::<u32>());
    let icmp = (proptest::option::of(any::<u32>()), proptest::option::of(any::<u32>()));
    (".{0,20}", numbers, icmp, prop::collection::vec(".{0,8}", 0..4), remote).prop_map(
        |(name, (direction, action, existing, log, priority, number), (icmp_type, icmp_code), ports, remote)| {
            v1::Rule {
                name,
                direction,
                action,
                priority,
                protocol: "tcp".to_owned(),
                ports,
                icmp_type,
                icmp_code,
                remote,
                number,
                log,
                existing,
            }
        },
    )
}

fn any_resource() -> impl Strategy<Value = v1::Resource> {
    let labels = prop::collection::btree_map(".{0,9}", ".{0,9}", 0..4);
    let group = (".{0,40}", prop::collection::vec(any_rule(), 0..5), any::<u64>(), labels).prop_map(
        |(name, rules, revision, labels)| {
            resource::Kind::SecurityGroup(v1::SecurityGroup { name, rules, revision, labels, ..Default::default() })
        },
    );
    let port = (".{0,40}", prop::collection::vec(".{0,20}", 0..4), ".{0,20}", any::<u64>()).prop_map(
        |(name, addresses, host, revision)| {
            resource::Kind::Port(v1::Port { name, addresses, host, revision, ..v1::Port::default() })
        },
    );
    let network = (".{0,40}", any::<u32>())
        .prop_map(|(name, vni)| resource::Kind::Network(v1::Network { name, vni, ..v1::Network::default() }));
    prop_oneof![group, port, network].prop_map(|kind| v1::Resource { kind: Some(kind) })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(resource in any_resource()) {
        let written = document::write(&resource).unwrap();
        prop_assert_eq!(document::read(&written), Ok(resource.clone()));
        // And through YAML as a file.
        let text = serde_norway::to_string(&written).unwrap();
        let parsed: Value = serde_norway::from_str(&text).unwrap();
        prop_assert_eq!(document::read(&parsed), Ok(resource));
    }

    #[test]
    fn nonsense_is_refused_with_fields_that_it_has(value in any_json()) {
        if let Err(violations) = document::read(&value) {
            prop_assert!(!violations.is_empty());
            for violation in violations {
                prop_assert!(!violation.field.is_empty() && !violation.rule.is_empty() && !violation.fix.is_empty());
            }
        }
    }
}

#[test]
fn the_example_is_valid_as_it_stands() {
    let text = include_str!("../../examples/two-tenants.yaml");
    let resources: Vec<v1::Resource> = serde_norway::Deserializer::from_str(text)
        .map(|part| document::read(&Value::deserialize(part).unwrap()).unwrap())
        .collect();
    assert_eq!(resources.len(), 23);
    let mut model = Model::default();
    let commit = model.prepare(convert::resources(resources).unwrap(), vec![]).unwrap();
    model.commit(&commit).unwrap();
    let networks: Vec<_> = ["tenants/mairie/networks/intranet", "tenants/hopital/networks/soins"]
        .iter()
        .map(|name| model.view(&name.parse().unwrap()).unwrap())
        .collect();
    assert_ne!(networks[0].network.vni, networks[1].network.vni);
    assert!(networks.iter().all(|view| view.ports.len() == 3), "every port is placed");
}
