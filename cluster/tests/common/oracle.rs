//! What policies say, by reading their JSON rule by rule for one packet. It knows nothing of groups, of this crate, or of the firewall.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;

use super::scene::{Labels, Scene, ScenePod};

/// A packet that opens a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) v6: bool,
    /// IP protocol number.
    pub(crate) protocol: u8,
    pub(crate) port: u16,
}

/// What may happen to it: may the sender send it, and may the receiver receive it?
pub(crate) fn verdict(scene: &Scene, opening: Opening) -> (bool, bool) {
    (may(scene, opening, "Egress"), may(scene, opening, "Ingress"))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn may(scene: &Scene, opening: Opening, direction: &str) -> bool {
    let (from, to) = (&scene.pods[opening.from], &scene.pods[opening.to]);
    let (subject, other) = if direction == "Egress" { (from, to) } else { (to, from) };
    let mut isolated = false;
    for policy in &scene.policies {
        let spec = &policy["spec"];
        let types = list(spec, "policyTypes");
        let speaks = match types {
            [] => direction == "Ingress" || !list(spec, "egress").is_empty(),
            types => types.iter().any(|kind| kind == direction),
        };
        let namespace = policy["metadata"]["namespace"].as_str().unwrap();
        if !speaks || subject.namespace != namespace || !selects(&spec["podSelector"], &subject.labels) {
            continue;
        }
        isolated = true;
        let (rules, peers) = if direction == "Egress" { ("egress", "to") } else { ("ingress", "from") };
        for rule in list(spec, rules) {
            let peer_fits = list(rule, peers).is_empty()
                || list(rule, peers)
                    .iter()
                    .any(|peer| is_peer(scene, peer, namespace, other, other.address(opening.v6)));
            let port_fits =
                list(rule, "ports").is_empty() || list(rule, "ports").iter().any(|port| is_port(port, to, opening));
            if peer_fits && port_fits {
                return true;
            }
        }
    }
    !isolated
}

fn selects(selector: &Value, labels: &Labels) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut all = equal.map(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    all.all(|holds| holds)
        && list(selector, "matchExpressions").iter().all(|expression| {
            let value = labels.get(expression["key"].as_str().unwrap());
            let named = || list(expression, "values").iter().any(|one| one.as_str() == value.map(String::as_str));
            match expression["operator"].as_str().unwrap() {
                "In" => value.is_some() && named(),
                "NotIn" => value.is_none() || !named(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                other => panic!("{other}"),
            }
        })
}

fn is_peer(scene: &Scene, peer: &Value, namespace: &str, other: &ScenePod, address: IpAddr) -> bool {
    if peer["ipBlock"].is_object() {
        let block = &peer["ipBlock"];
        return is_in(block["cidr"].as_str().unwrap(), address)
            && !list(block, "except").iter().any(|one| is_in(one.as_str().unwrap(), address));
    }
    let there = match &peer["namespaceSelector"] {
        Value::Null => other.namespace == namespace,
        selector => selects(selector, scene.namespaces.get(&other.namespace).unwrap_or(&BTreeMap::new())),
    };
    there && selects(&peer["podSelector"], &other.labels)
}

/// Bit by bit.
fn is_in(prefix: &str, address: IpAddr) -> bool {
    let (network, length) = prefix.split_once('/').unwrap();
    let bits = |address: IpAddr| -> Vec<bool> {
        let bytes = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
    };
    let (network, address) = (bits(network.parse().unwrap()), bits(address));
    let length: usize = length.parse().unwrap();
    network.len() == address.len() && network[..length] == address[..length]
}

fn is_port(port: &Value, to: &ScenePod, opening: Opening) -> bool {
    let protocol = match port["protocol"].as_str().unwrap_or("TCP") {
        "TCP" => 6,
        "UDP" => 17,
        "SCTP" => 132,
        other => panic!("{other}"),
    };
    if protocol != opening.protocol {
        return false;
    }
    match &port["port"] {
        Value::Null => true,
        Value::String(name) => to.ports.iter().any(|it| *it == (name.clone(), opening.protocol, opening.port)),
        number => {
            let first = number.as_u64().unwrap();
            (first..=port["endPort"].as_u64().unwrap_or(first)).contains(&u64::from(opening.port))
        }
    }
}
