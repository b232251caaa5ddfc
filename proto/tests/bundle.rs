//! Bundles: what is read, and how precisely errors are named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use andromede_model::Resource;
use andromede_proto::{bundle, convert, json, v1};

const GOOD: &str = r#"
kind: Tenant
name: tenants/mairie
---
kind: Network
name: tenants/mairie/networks/intranet
vni: 5000
mtu: 1400
---
kind: Subnet
name: tenants/mairie/networks/intranet/subnets/v4
cidr: 10.0.0.0/24
---
# A comment, and a document without content.
---
kind: SecurityGroup
name: tenants/mairie/networks/intranet/securityGroups/web
rules:
  - {name: http, direction: ingress, action: allow, protocol: tcp, ports: ["80", 443, "8000-8080"], remoteGroup: tenants/mairie/networks/intranet/securityGroups/staff}
  - {name: ping, direction: DIRECTION_INGRESS, action: allow, protocol: icmp, icmp_type: 8, icmpCode: 0, remote_cidr: 10.0.0.0/8}
  - {name: no, direction: egress, action: deny, priority: 5, protocol: 47}
---
kind: SecurityGroup
name: tenants/mairie/networks/intranet/securityGroups/staff
---
kind: Host
name: hosts/h1
underlayAddress: 192.0.2.1
---
kind: Port
name: tenants/mairie/networks/intranet/ports/web-1
addresses: [10.0.0.10, "fd00:10::a"]
mac: 02:00:00:00:00:01
host: hosts/h1
securityGroups: [tenants/mairie/networks/intranet/securityGroups/web]
---
kind: Vtep
name: tenants/mairie/networks/intranet/vteps/old
underlay_address: 192.0.2.9
mac: 02:00:00:00:00:09
prefixes: [10.0.0.128/25]
"#;

fn resources() -> Vec<Resource> {
    convert::resources(bundle::parse(GOOD).unwrap()).unwrap()
}

#[test]
fn a_bundle_is_read() {
    let read = resources();
    assert_eq!(read.len(), 8);
    let Resource::SecurityGroup(group) = &read[3] else { panic!("{:?}", read[3]) };
    assert_eq!(group.rules.len(), 3);
    assert_eq!(group.rules[0].ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["80", "443", "8000-8080"]);
    assert_eq!((group.rules[1].icmp_type, group.rules[1].icmp_code), (Some(8), Some(0)));
    assert_eq!(group.rules[2].priority, 5);
    assert_eq!(group.rules[0].priority, 1000);
    let Resource::Subnet(subnet) = &read[2] else { panic!("{:?}", read[2]) };
    assert_eq!(subnet.gateway.to_string(), "10.0.0.1");
}

#[test]
fn what_is_written_is_read_back() {
    let messages: Vec<v1::Resource> = resources().into_iter().map(Into::into).collect();
    let text = bundle::write(&messages).unwrap();
    assert!(text.contains("direction: ingress"), "{text}");
    assert!(text.starts_with("---\nkind: Tenant\nname: tenants/mairie\n"), "{text}");
    assert_eq!(bundle::parse(&text).unwrap(), messages);
    for message in messages {
        let value = json::to_json(&message).unwrap();
        assert_eq!(json::from_json::<v1::Resource>(value, "").unwrap(), message);
    }
}

/// The violations of a bundle as `field: value`.
fn refused(text: &str) -> Vec<String> {
    let violations = bundle::parse(text).and_then(|messages| convert::resources(messages).map(|_| ())).unwrap_err();
    for violation in &violations {
        assert!(!violation.rule.is_empty() && !violation.fix.is_empty(), "{violation:?}");
    }
    violations.into_iter().map(|violation| format!("{}: {}", violation.field, violation.value)).collect()
}

#[test]
fn errors_of_a_bundle_name_the_field_and_the_value() {
    assert_eq!(refused("kind: Tenant\nname: tenants/a\ncolour: red\n"), ["documents[0].colour: colour"]);
    assert_eq!(refused("name: tenants/a"), ["documents[0].kind: "]);
    assert_eq!(refused("---\n---\nkind: Tenat"), ["documents[0].kind: Tenat"]);
    assert_eq!(refused("kind: 7"), ["documents[0].kind: 7"]);
    assert_eq!(refused("- a\n- b"), ["documents[0]: "]);
    assert_eq!(refused("kind: Network\nvni: -1"), ["documents[0].vni: -1"]);
    assert_eq!(refused("kind: Network\nvni: 1.5"), ["documents[0].vni: 1.5"]);
    assert_eq!(refused("kind: Network\nname: [a]"), ["documents[0].name: a list"]);
    assert_eq!(refused("kind: Port\naddresses: 10.0.0.1"), ["documents[0].addresses: 10.0.0.1"]);
    let rule = |fields: &str| format!("kind: Tenant\nname: tenants/t\n---\nkind: SecurityGroup\nrules: [{{{fields}}}]");
    assert_eq!(refused(&rule("direction: inward")), ["documents[1].rules[0].direction: inward"]);
    assert_eq!(refused(&rule("remoteCidr: a, remoteGroup: b")), ["documents[1].rules[0].remoteGroup: remoteGroup"]);
    assert_eq!(refused(&rule("icmpType: 1, icmp_type: 2")), ["documents[1].rules[0].icmp_type: icmp_type"]);
    assert_eq!(refused("kind: Tenant\nname: \"tenants").len(), 1);
    assert_eq!(refused("kind: Tenant\nname: a\nname: b").len(), 1);
}

#[test]
fn all_errors_of_a_bundle_come_at_once() {
    let text = "kind: Port\nname: tenants/T/networks/n/ports/p\naddresses: [10.0.0.300, '::ffff:10.0.0.1']\nmac: 01:00:00:00:00:01\nhost: h1\nsecurityGroups: ['']\n---\nkind: Host\nname: hosts/h\nzone: zones/fr\n";
    let fields = refused(text);
    for wanted in [
        "resources[0].port.name: tenants/T/networks/n/ports/p",
        "resources[0].port.addresses[0]: 10.0.0.300",
        "resources[0].port.addresses[1]: ::ffff:10.0.0.1",
        "resources[0].port.mac: 01:00:00:00:00:01",
        "resources[0].port.host: h1",
        "resources[0].port.security_groups[0]: ",
        "resources[1].host.underlay_address: ",
        "resources[1].host.zone: zones/fr",
    ] {
        assert!(fields.iter().any(|field| field == wanted), "{wanted} is not in {fields:#?}");
    }
    assert_eq!(fields.len(), 8);
}
