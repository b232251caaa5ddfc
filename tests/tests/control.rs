//! The control path by the real programs: bad bundles are refused whole, with the field, the value, the rule broken
//! and a fix; rights are those of the certificate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use andromede_testkit::{
    Fabric, FabricOptions, Underlay,
    fabric::{Agent, AgentPlace},
    pins::Pins,
    process::Lifetime,
};
use andromede_tests::{
    Bundle,
    bundle::{ANYTHING_IN, network_name, port_name},
    scene::v4,
};

fn good() -> Bundle {
    Bundle::hosts(1).tenant("red", 4001).group("red", "open", &[ANYTHING_IN]).port("red", "a", 1, 11, &["open"])
}

fn port(name: &str, rest: &str) -> String {
    format!("kind: Port\nname: {}\n{rest}\n", port_name("red", name))
}

#[test]
fn bad_bundles_are_refused_whole_and_say_what_is_wrong() {
    let fabric = Fabric::start(FabricOptions { hosts: 1, ..FabricOptions::default() }).unwrap();
    fabric.apply(good().text()).unwrap();
    let net = network_name("red");
    // A document to add to a bundle that also brings a good port, and what the refusal must name.
    let cases: &[(String, &[&str])] = &[
        (
            format!("kind: Subnet\nname: {net}/subnets/more\ncidr: 10.0.0.128/25\n"),
            &["cidr", "10.0.0.128/25", "overlap"],
        ),
        (format!("kind: Subnet\nname: {net}/subnets/bits\ncidr: 10.1.0.1/24\n"), &["cidr", "10.1.0.1/24"]),
        (port("x", "addresses: [10.9.9.9]"), &["addresses", "10.9.9.9", "subnet"]),
        (port("x", "addresses: [10.0.0.11]"), &["addresses", "10.0.0.11"]),
        (port("x", "addresses: [10.0.0.300]"), &["addresses", "10.0.0.300"]),
        (port("x", "addresses: [10.0.0.20]\nmac: '01:00:00:00:00:01'"), &["mac", "01:00:00:00:00:01"]),
        (port("x", "addresses: [10.0.0.20]\nhost: hosts/nowhere"), &["host", "hosts/nowhere"]),
        (
            port("x", &format!("addresses: [10.0.0.20]\nsecurityGroups: [{net}/securityGroups/none]")),
            &["security", "none"],
        ),
        (port("x", "addresses: [10.0.0.20]\ncolour: green"), &["colour"]),
        ("kind: Teapot\nname: tenants/red\n".to_owned(), &["Teapot"]),
        ("kind: Tenant\nname: tenants/Not Good\n".to_owned(), &["name", "Not Good"]),
        (format!("kind: Network\nname: {net}2\nvni: 4001\n"), &["vni", "4001"]),
        (format!("kind: Network\nname: {net}2\nvni: 16777216\n"), &["vni", "16777216"]),
        ("kind: Host\nname: hosts/h9\nunderlayAddress: 192.0.2.1\n".to_owned(), &["underlay", "192.0.2.1"]),
        (
            format!(
                "kind: SecurityGroup\nname: {net}/securityGroups/g\nrules: [{{name: r, direction: ingress, action: allow, protocol: tcp, ports: ['90-80']}}]\n"
            ),
            &["ports", "90-80"],
        ),
        (
            format!(
                "kind: SecurityGroup\nname: {net}/securityGroups/g\nrules: [{{name: r, direction: sideways, action: allow}}]\n"
            ),
            &["direction", "sideways"],
        ),
        (
            format!(
                "kind: SecurityGroup\nname: {net}/securityGroups/g\nrules: [{{name: r, direction: ingress, action: allow, protocol: icmp, ports: ['80']}}]\n"
            ),
            &["ports", "80"],
        ),
    ];
    for (document, named) in cases {
        let bundle = good().port("red", "innocent", 1, 50, &["open"]).with(document);
        let said = fabric.control().apply_refused(bundle.text()).unwrap();
        for word in *named {
            assert!(
                said.to_lowercase().contains(&word.to_lowercase()),
                "{word:?} is not in {said:?}, about\n{document}"
            );
        }
    }
    let ports = fabric.control().ctl(&["get", "ports", "-o", "json"]).unwrap();
    assert!(!ports.contains("innocent"), "part of a refused bundle was applied: {ports}");
    assert!(ports.contains(&port_name("red", "a")), "{ports}");
}

#[test]
fn a_change_names_its_revision_and_applying_it_again_changes_nothing() {
    let fabric = Fabric::start(FabricOptions { hosts: 1, ..FabricOptions::default() }).unwrap();
    fabric.apply(good().text()).unwrap();
    let revision = |fabric: &Fabric| fabric.control().json(&["status"]).unwrap()["revision"].clone();
    let first = revision(&fabric);
    let said = fabric.control().apply(good().text()).unwrap();
    assert!(said.contains("unchanged"), "{said}");
    assert_eq!(revision(&fabric), first, "a bundle that changes nothing makes no revision");
    fabric.apply(good().port("red", "b", 1, 12, &["open"]).text()).unwrap();
    assert_ne!(revision(&fabric), first);
}

#[test]
fn what_is_still_used_cannot_be_deleted() {
    let fabric = Fabric::start(FabricOptions { hosts: 1, ..FabricOptions::default() }).unwrap();
    fabric.apply(good().text()).unwrap();
    for name in ["hosts/h1".to_owned(), network_name("red"), "tenants/red".to_owned()] {
        let output = fabric.control().run(&["delete", &name], "").unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name} was deleted although it is used");
        assert!(said.contains(&name) || said.contains("used"), "{said}");
    }
    fabric.control().ctl(&["delete", &port_name("red", "a")]).unwrap();
    fabric.control().ctl(&["delete", "hosts/h1"]).unwrap();
}

#[test]
fn place_is_law() {
    let fabric = Fabric::start(FabricOptions::default()).unwrap();
    let at = |host: u8, zone: &str| {
        format!("kind: Host\nname: hosts/h{host}\nunderlayAddress: 192.0.2.{host}\nzone: zones/{zone}\n")
    };
    let zone = |id: &str, law: &str| format!("kind: Zone\nname: zones/{id}\njurisdiction: {law}\noperator: nuage\n");
    let bundle = Bundle::hosts(2)
        .tenant("red", 4001)
        .group("red", "open", &[ANYTHING_IN])
        .port("red", "a", 1, 11, &["open"])
        .port("red", "b", 2, 12, &["open"]);
    fabric.apply(bundle.text()).unwrap();
    let law = "kind: Tenant\nname: tenants/red\nresidency: {jurisdictions: [FR]}\n";
    let places = [zone("par1", "FR"), zone("fra1", "DE"), at(1, "par1"), at(2, "par1"), law.to_owned()];
    fabric.apply(&places.join("---\n")).unwrap();
    let a = fabric.attach(1, &port_name("red", "a")).unwrap();
    let _b = fabric.attach(2, &port_name("red", "b")).unwrap();
    fabric.wait_in_force().unwrap();
    assert!(a.ping(v4(12)).unwrap().outcome().is_answered(), "where it may be");
    let said = fabric.control().apply_refused(&at(2, "fra1")).unwrap();
    for word in ["zone", &port_name("red", "b"), "jurisdiction FR", "zones/fra1"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let zones = fabric.control().ctl(&["get", "zones"]).unwrap();
    assert!(zones.contains("par1") && zones.contains("DE") && zones.contains("nuage"), "{zones}");
    let page = fabric.control().ctl(&["describe", "zone", "par1"]).unwrap();
    assert!(page.contains("h1") && page.contains("h2"), "{page}");
    let tenants = fabric.control().ctl(&["get", "tenants"]).unwrap();
    assert!(tenants.lines().any(|line| line.contains("red") && line.contains("FR")), "{tenants}");
}

#[test]
fn certificates_are_rights() {
    let fabric = Fabric::start(FabricOptions { hosts: 1, ..FabricOptions::default() }).unwrap();
    fabric.apply(good().text()).unwrap();
    // A host may open its own session and nothing else.
    let output = fabric.control().command_as("host", "h1").unwrap().args(["get", "ports"]).output().unwrap();
    assert!(
        !output.status.success(),
        "a host's certificate reads the API: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    // Nobody without a certificate of this authority gets an answer.
    let mut plain = fabric.control().namespace().command(andromede_testkit::fabric::binary("andromedectl").unwrap());
    plain.arg("--controller").arg(andromede_testkit::fabric::Control::url());
    plain.arg("--tls-ca").arg(fabric.control().authority()).args(["get", "ports"]);
    let output = plain.output().unwrap();
    assert!(!output.status.success(), "no certificate, yet an answer: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_tunnel_port_that_another_device_has_is_refused_by_name() {
    let mut fabric = Fabric::start(FabricOptions { hosts: 1, ..FabricOptions::default() }).unwrap();
    fabric.control().apply("kind: Host\nname: hosts/h9\nunderlayAddress: 192.0.2.9\n").unwrap();
    fabric.control().issue("host", "h9", &[]).unwrap();
    let namespace = fabric.underlay_mut().join(9).unwrap();
    namespace.ip("link add foreign0 type vxlan id 7 dstport 4789 local 192.0.2.9").unwrap();
    namespace.ip("link set foreign0 up").unwrap();
    let folder = fabric.folder().join("h9");
    std::fs::create_dir_all(folder.join("bpf")).unwrap();
    let place = AgentPlace {
        name: "h9".to_owned(),
        instance: "h9".to_owned(),
        namespace,
        pins: Some(Pins::new(&folder.join("bpf")).unwrap()),
        address: Underlay::address(9),
        folder: folder.clone(),
        attachment: "auto".to_owned(),
        lifetime: Lifetime::Parent,
    };
    // It may refuse to start, or go on and say so: what counts is that it says which device stands in its way.
    let started = Agent::start(place, fabric.control());
    let said = || std::fs::read_to_string(folder.join("agent.log")).unwrap_or_default();
    let named = andromede_testkit::wait::until("the device is named", std::time::Duration::from_secs(10), || {
        (said().contains("foreign0") && said().contains("4789")).then_some(())
    });
    assert!(named.is_ok(), "{started:?}: {}", said());
}
