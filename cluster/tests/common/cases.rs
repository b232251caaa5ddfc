//! Cases of an independent simulator.

use serde_json::Value;

use super::{
    fabric::Fate,
    oracle::Opening,
    scene::{Labels, Scene, ScenePod},
};

/// The cluster of a step, and what becomes of each packet.
pub(crate) fn cells(step: &Value) -> (Scene, Vec<(Opening, Fate)>) {
    let map = |value: &Value| -> Labels { serde_json::from_value(value.clone()).unwrap_or_default() };
    let mut scene = Scene::nine(step["policies"].as_array().cloned().unwrap_or_default());
    scene.namespaces =
        step["namespaces"].as_object().unwrap().iter().map(|(name, it)| (name.clone(), map(it))).collect();
    let pods = step["pods"].as_array().unwrap().iter().map(|pod| ScenePod {
        namespace: pod["ns"].as_str().unwrap().to_owned(),
        name: pod["name"].as_str().unwrap().to_owned(),
        labels: map(&pod["labels"]),
        v4: pod["ip"].as_str().unwrap().parse().unwrap(),
        // The pods of these cases serve ports 80 and 81 of each protocol under such names.
        ports: [(6, "tcp"), (17, "udp"), (132, "sctp")]
            .into_iter()
            .flat_map(|(protocol, name)| [80, 81].map(|port| (format!("serve-{port}-{name}"), protocol, port)))
            .collect(),
    });
    scene.pods = pods.collect();
    let mut cells = Vec::new();
    for (pair, services) in step["expected"].as_object().unwrap() {
        let (from, to) = pair.split_once('>').map(|(from, to)| (scene.place(from), scene.place(to))).unwrap();
        for (service, expected) in services.as_object().unwrap().iter().filter(|_| from != to) {
            let (protocol, port) = service.split_once('/').unwrap();
            let protocol = match protocol {
                "TCP" => 6,
                "UDP" => 17,
                _ => 132,
            };
            let opening = Opening { from, to, v6: false, protocol, port: port.parse().unwrap() };
            // Combined, ingress, egress.
            let expected = match expected.as_str().unwrap().as_bytes() {
                [b'.', b'.', b'.'] => Fate::Passes,
                [b'X', _, b'X'] => Fate::Out,
                [b'X', b'X', b'.'] => Fate::In,
                other => panic!("{other:?}"),
            };
            cells.push((opening, expected));
        }
    }
    (scene, cells)
}
