//! From the API's form to what a policy says.

use andromede_model::{PortRange, Prefix, Protocol, Violation};
use serde_json::Value;

use super::{NamespaceChoice, Peer, PeerRule, Peers, Policy, Service, ServicePort, wire};
use crate::{ObjectName, Selector, ip_block, selector::LabelSelector};

/// What is not understood of a policy makes it one that allows nothing.
const FIX: &str = "correct the policy; until then it allows nothing, and the pods that it selects are isolated";

impl Policy {
    /// Reads `spec`. What cannot be expressed comes back beside a policy that allows nothing and still isolates: the pods that it
    /// selects, or, if that is not understood either, all of its namespace; in the directions that it names, or in both.
    pub fn read(name: ObjectName, spec: &Value) -> (Self, Option<Violation>) {
        match understand(name.clone(), spec) {
            Ok(policy) => (policy, None),
            Err(violation) => (closed(name, spec), Some(violation)),
        }
    }
}

fn understand(name: ObjectName, spec: &Value) -> Result<Policy, Violation> {
    let wire: wire::Spec = serde_json::from_value(spec.clone()).map_err(|error| {
        Violation::new("spec", error, "every field of a policy is one of networking.k8s.io/v1 that is known here", FIX)
    })?;
    let subjects = wire.pod_selector.unwrap_or_default().read("spec.podSelector")?;
    let egress_given = wire.egress.as_ref().is_some_and(|rules| !rules.is_empty());
    let directions = directions(wire.policy_types.as_deref(), egress_given)?;
    let mut ingress = Vec::new();
    for (place, rule) in wire.ingress.unwrap_or_default().into_iter().enumerate() {
        let field = format!("spec.ingress[{place}]");
        ingress.push(rule_of(&name, &format!("{field}.from"), rule.from, &field, rule.ports)?);
    }
    let mut egress = Vec::new();
    for (place, rule) in wire.egress.unwrap_or_default().into_iter().enumerate() {
        let field = format!("spec.egress[{place}]");
        let rule = rule_of(&name, &format!("{field}.to"), rule.to, &field, rule.ports)?;
        refuse_names_of_addresses(&field, &rule)?;
        egress.push(rule);
    }
    let Directions { ingress: receives, egress: sends } = directions;
    Ok(Policy { name, subjects, ingress: receives.then_some(ingress), egress: sends.then_some(egress) })
}

/// The directions of which a policy speaks.
struct Directions {
    ingress: bool,
    egress: bool,
}

/// `policyTypes`, or its default: ingress always, egress if there are rules of it.
fn directions(types: Option<&[String]>, egress_given: bool) -> Result<Directions, Violation> {
    let Some(types) = types.filter(|types| !types.is_empty()) else {
        return Ok(Directions { ingress: true, egress: egress_given });
    };
    let mut directions = Directions { ingress: false, egress: false };
    for (place, kind) in types.iter().enumerate() {
        match kind.as_str() {
            "Ingress" => directions.ingress = true,
            "Egress" => directions.egress = true,
            _ => {
                let rule = "a type of policy is Ingress or Egress";
                return Err(Violation::new(format!("spec.policyTypes[{place}]"), kind, rule, FIX));
            }
        }
    }
    Ok(directions)
}

/// A policy of which something is not understood.
fn closed(name: ObjectName, spec: &Value) -> Policy {
    let selector = spec.get("podSelector").cloned().unwrap_or(Value::Null);
    let selector = serde_json::from_value::<Option<LabelSelector>>(selector);
    let subjects = selector.ok().and_then(|wire| wire.unwrap_or_default().read("").ok());
    let types = spec.get("policyTypes").cloned().unwrap_or(Value::Null);
    let types = serde_json::from_value::<Option<Vec<String>>>(types).ok();
    let egress_given = spec.get("egress").is_some_and(|egress| *egress != Value::Null);
    let directions =
        types.filter(|_| spec.is_object()).and_then(|types| directions(types.as_deref(), egress_given).ok());
    let Directions { ingress, egress } = directions.unwrap_or(Directions { ingress: true, egress: true });
    Policy {
        name,
        subjects: subjects.unwrap_or_else(Selector::everything),
        ingress: ingress.then(Vec::new),
        egress: egress.then(Vec::new),
    }
}

fn rule_of(
    policy: &ObjectName,
    peers_field: &str,
    peers: Option<Vec<wire::Peer>>,
    field: &str,
    ports: Option<Vec<wire::Port>>,
) -> Result<PeerRule, Violation> {
    let mut read = Vec::new();
    for (place, peer) in peers.unwrap_or_default().into_iter().enumerate() {
        read.push(peer_of(policy, &format!("{peers_field}[{place}]"), peer)?);
    }
    let mut services = Vec::new();
    for (place, port) in ports.unwrap_or_default().into_iter().enumerate() {
        services.push(service_of(&format!("{field}.ports[{place}]"), &port)?);
    }
    // An empty list is one that is not there.
    let peers = if read.is_empty() { Peers::Anybody } else { Peers::OneOf(read) };
    Ok(PeerRule { peers, services: (!services.is_empty()).then_some(services) })
}

fn peer_of(policy: &ObjectName, field: &str, peer: wire::Peer) -> Result<Peer, Violation> {
    let wire::Peer { pod_selector, namespace_selector, ip_block } = peer;
    if let Some(block) = ip_block {
        if pod_selector.is_some() || namespace_selector.is_some() {
            let rule = "a peer is a block or selectors, not both";
            return Err(Violation::new(field, block.cidr, rule, FIX));
        }
        return addresses_of(field, &block).map(Peer::Addresses);
    }
    if pod_selector.is_none() && namespace_selector.is_none() {
        return Err(Violation::new(field, "{}", "a peer has a podSelector, a namespaceSelector or an ipBlock", FIX));
    }
    let namespaces = match namespace_selector {
        Some(selector) => NamespaceChoice::Selected(selector.read(&format!("{field}.namespaceSelector"))?),
        None => NamespaceChoice::Own(policy.namespace.clone()),
    };
    let pods = pod_selector.unwrap_or_default().read(&format!("{field}.podSelector"))?;
    Ok(Peer::Pods(namespaces, pods))
}

fn addresses_of(field: &str, block: &wire::IpBlock) -> Result<Vec<Prefix>, Violation> {
    let cidr = ip_block::parse(&format!("{field}.ipBlock.cidr"), &block.cidr)?;
    let mut except = Vec::new();
    for (place, text) in block.except.iter().flatten().enumerate() {
        let field = format!("{field}.ipBlock.except[{place}]");
        let one = ip_block::parse(&field, text)?;
        if one.is_ipv4() != cidr.is_ipv4() || !cidr.covers(one) {
            return Err(Violation::new(field, text, format!("an exception is inside its block {cidr}"), FIX));
        }
        except.push(one);
    }
    ip_block::without(&format!("{field}.ipBlock.except"), cidr, &except)
}

fn service_of(field: &str, port: &wire::Port) -> Result<Service, Violation> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => Protocol::TCP,
        Some("UDP") => Protocol::UDP,
        Some("SCTP") => Protocol::SCTP,
        Some(other) => {
            let rule = "a protocol is TCP, UDP or SCTP";
            return Err(Violation::new(format!("{field}.protocol"), other, rule, FIX));
        }
    };
    let numbers = |value: &Value| value.as_i64().and_then(|number| u16::try_from(number).ok()).filter(|it| *it > 0);
    let wrong = |value: &Value| {
        Violation::new(format!("{field}.port"), value, "a port is a number from 1 to 65535, or a name", FIX)
    };
    let port_of = match (&port.first, port.last) {
        (None | Some(Value::Null), None) => ServicePort::All,
        (Some(Value::String(name)), None) if name.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
            ServicePort::Named(name.clone())
        }
        (Some(first @ Value::Number(_)), end) => {
            let first = numbers(first).ok_or_else(|| wrong(first))?;
            let last = end.map_or(Some(first), |end| u16::try_from(end).ok());
            let range = last.and_then(|last| PortRange::new(first, last));
            ServicePort::Range(range.ok_or_else(|| {
                let rule = format!("an end is a number from the port, {first}, to 65535");
                Violation::new(format!("{field}.endPort"), end.unwrap_or_default(), rule, FIX)
            })?)
        }
        (Some(other), None) => return Err(wrong(other)),
        (_, Some(end)) => {
            let rule = "an end is given only with a port that is a number";
            return Err(Violation::new(format!("{field}.endPort"), end, rule, FIX));
        }
    };
    Ok(Service { protocol, port: port_of })
}

/// A name of a port is one of a pod; a block is no pod, and says of no address which number the name stands for.
fn refuse_names_of_addresses(field: &str, rule: &PeerRule) -> Result<(), Violation> {
    let blocks =
        matches!(&rule.peers, Peers::OneOf(peers) if peers.iter().any(|peer| matches!(peer, Peer::Addresses(_))));
    let name = rule.services.iter().flatten().find_map(|service| match &service.port {
        ServicePort::Named(name) => Some(name),
        _ => None,
    });
    match name {
        Some(name) if blocks => {
            let rule = "what is sent to an ipBlock is named by number: addresses have no names for their ports";
            Err(Violation::new(format!("{field}.ports"), name, rule, FIX))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn read(spec: &Value) -> (Policy, Option<String>) {
        let (policy, violation) = Policy::read(ObjectName::new("shop", "p"), spec);
        (policy, violation.map(|violation| violation.to_string()))
    }

    fn speaks_of(spec: &Value) -> (bool, bool) {
        let (policy, violation) = read(spec);
        assert_eq!(violation, None, "{spec}");
        (policy.ingress.is_some(), policy.egress.is_some())
    }

    #[test]
    fn types_have_their_defaults() {
        for (spec, expected) in [
            (json!({"podSelector": {}}), (true, false)),
            (json!({}), (true, false)),
            (json!({"egress": []}), (true, false)),
            (json!({"egress": [{}]}), (true, true)),
            (json!({"policyTypes": [], "egress": [{}]}), (true, true)),
            (json!({"policyTypes": ["Ingress"], "egress": [{}]}), (true, false)),
            (json!({"policyTypes": ["Egress"], "ingress": [{}]}), (false, true)),
            (json!({"policyTypes": ["Egress", "Ingress"]}), (true, true)),
        ] {
            assert_eq!(speaks_of(&spec), expected, "{spec}");
        }
    }

    #[test]
    fn an_empty_list_is_one_that_is_not_there() {
        for rule in [json!({}), json!({"from": [], "ports": []}), json!({"from": null, "ports": null})] {
            let (policy, violation) = read(&json!({"ingress": [rule]}));
            assert_eq!(violation, None);
            assert_eq!(policy.ingress, Some(vec![PeerRule { peers: Peers::Anybody, services: None }]));
        }
    }

    #[test]
    fn what_cannot_be_expressed_is_named_and_allows_nothing() {
        let ports = |port: Value| json!({"ingress": [{}, {"ports": [port]}]});
        let from = |peer: Value| json!({"ingress": [{"from": [peer]}, {}]});
        for (spec, says) in [
            (json!({"ingress": [{"when": "night"}]}), "unknown field `when`"),
            (json!({"ingress": [{}], "mood": 1}), "unknown field `mood`"),
            (from(json!({})), "spec.ingress[0].from[0]"),
            (from(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}})), "not both"),
            (
                from(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/24"]}})),
                "spec.ingress[0].from[0].ipBlock.except[0]",
            ),
            (from(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["::/8"]}})), "inside its block"),
            (from(json!({"ipBlock": {"cidr": "everything"}})), "ipBlock.cidr"),
            (from(json!({"serviceAccountSelector": {}, "podSelector": {}})), "unknown field"),
            (ports(json!({"protocol": "ICMP"})), "spec.ingress[1].ports[0].protocol"),
            (ports(json!({"port": 0})), "spec.ingress[1].ports[0].port"),
            (ports(json!({"port": 70_000})), "1 to 65535"),
            (ports(json!({"port": "80"})), "1 to 65535"),
            (ports(json!({"port": 90, "endPort": 80})), "spec.ingress[1].ports[0].endPort"),
            (ports(json!({"port": "web", "endPort": 80})), "endPort"),
            (ports(json!({"endPort": 80})), "endPort"),
            (json!({"ingress": [{}], "policyTypes": ["Ingress", "Sideways"]}), "spec.policyTypes[1]"),
            (json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "?"}]}}), "operator"),
            (json!({"egress": [{"to": [{"ipBlock": {"cidr": "::/0"}}], "ports": [{"port": "dns"}]}]}), "by number"),
        ] {
            let (policy, violation) = read(&spec);
            assert!(violation.clone().unwrap().contains(says), "{spec}: {violation:?}");
            let rules = [policy.ingress, policy.egress];
            assert!(rules.iter().flatten().all(Vec::is_empty), "{spec}: it allows something");
            assert!(rules.iter().any(Option::is_some), "{spec}: it isolates nobody");
        }
    }

    #[test]
    fn whom_it_isolates_then_is_what_is_understood_and_otherwise_all() {
        let broken = json!([{"when": "night"}]);
        let of = |spec: Value| {
            let (policy, violation) = read(&spec);
            assert!(violation.is_some());
            (policy.subjects == Selector::everything(), policy.ingress.is_some(), policy.egress.is_some())
        };
        let web = json!({"matchLabels": {"app": "web"}});
        assert_eq!(of(json!({"podSelector": web, "ingress": broken})), (false, true, false));
        assert_eq!(of(json!({"podSelector": web, "egress": broken})), (false, true, true));
        assert_eq!(of(json!({"podSelector": web, "egress": broken, "policyTypes": ["Egress"]})), (false, false, true));
        assert_eq!(of(json!({"podSelector": web, "policyTypes": ["Sideways"]})), (false, true, true));
        assert_eq!(of(json!({"podSelector": {"matchNames": []}, "policyTypes": ["Ingress"]})), (true, true, false));
        assert_eq!(of(json!("what?")), (true, true, true));
    }
}
