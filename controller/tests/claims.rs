//! Subnets that are leased to hosts, and the ports that hosts claim in them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::{
    agent::v1::Claim,
    v1::{Host, Port, Residency, Resource, Tenant, Zone, resource::Kind},
};
use support::{
    Controller,
    bundle::{empty_tenant, group_name, host, leased_subnet},
    host::{Known, Session},
};

const A: &str = "tenants/a/networks/n";

/// Tenant `a` with a subnet for each of two hosts.
async fn leased(controller: &Controller) {
    let mut bundle = vec![host(1), host(2)];
    bundle.extend(empty_tenant("a"));
    bundle.push(leased_subnet("a", "h1", "10.1.1.0/24", "hosts/h1"));
    bundle.push(leased_subnet("a", "h2", "10.1.2.0/24", "hosts/h2"));
    controller.apply(bundle).await.unwrap();
}

fn pod(name: &str, address: &str, host: &str) -> Port {
    Port {
        name: format!("{A}/ports/{name}"),
        addresses: vec![address.to_owned()],
        mac: format!("0e:00:0a:01:01:{:02x}", address.rsplit('.').next().unwrap().parse::<u8>().unwrap()),
        host: host.to_owned(),
        security_groups: vec![group_name("a", "web")],
        ..Port::default()
    }
}

#[tokio::test]
async fn a_host_hears_of_a_network_that_it_has_a_subnet_of_and_others_of_the_ports_it_claims() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    leased(&controller).await;
    let (mut first, mut second) = (Known::default(), Known::default());
    let mut h1 = Session::open(controller.channel().await, first.hello("h1")).await.unwrap();
    let mut h2 = Session::open(controller.channel().await, second.hello("h2")).await.unwrap();
    first.apply(h1.update().await);
    second.apply(h2.update().await);
    assert!(first.holds(A) && second.holds(A));
    assert_eq!(controller.status("hosts/h1").await.ports, 0, "a subnet is no port");

    let claim = Claim { id: 7, written: vec![pod("x", "10.1.1.5", "hosts/h1")], deleted: vec![] };
    assert_eq!(h1.claim(claim.clone(), &mut first).await, "");
    second.apply(h2.update().await);
    let view = second.views.values().next().unwrap();
    let port = view.ports.values().next().unwrap();
    assert_eq!((port.addresses[0].to_string(), port.mac.to_string()), ("10.1.1.5".into(), "0e:00:0a:01:01:05".into()));
    assert_ne!(port.identity, 0, "the controller gives the identity of its groups");
    assert_eq!(controller.status("hosts/h1").await.ports, 1);

    // Said twice it is still right, and so is a deletion of what is gone.
    assert_eq!(h1.claim(claim, &mut first).await, "");
    let gone = Claim { id: 8, written: vec![], deleted: vec![format!("{A}/ports/x"), format!("{A}/ports/y")] };
    assert_eq!(h1.claim(gone.clone(), &mut first).await, "");
    assert_eq!(h1.claim(gone, &mut first).await, "");
    second.apply(h2.update().await);
    assert!(second.views.values().next().unwrap().ports.is_empty() && second.holds(A));
    controller.stop().await;
}

/// A residency that leaves out where the host is comes after the lease only if the lease goes; a claim into what is left is refused.
#[tokio::test]
async fn a_claim_is_refused_where_the_network_may_not_be() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let zone = |name: &str, jurisdiction: &str| Zone {
        name: format!("zones/{name}"),
        jurisdiction: jurisdiction.to_owned(),
        operator: "o".to_owned(),
        ..Zone::default()
    };
    let placed = |number: u8, zone: &str| {
        let Some(Kind::Host(host)) = host(number).kind else { unreachable!() };
        Resource { kind: Some(Kind::Host(Host { zone: format!("zones/{zone}"), ..host })) }
    };
    let residency = Some(Residency { jurisdictions: vec!["FR".to_owned()], ..Residency::default() });
    let tenant = Tenant { name: "tenants/a".to_owned(), residency, ..Tenant::default() };
    let mut bundle = vec![zone("fr", "FR").into(), zone("us", "US").into(), placed(1, "us"), placed(2, "fr")];
    bundle.extend(empty_tenant("a").into_iter().skip(1));
    bundle.extend([Resource { kind: Some(Kind::Tenant(tenant)) }, leased_subnet("a", "h2", "10.1.2.0/24", "hosts/h2")]);
    controller.apply(bundle).await.unwrap();
    // Neither may a subnet be leased there, nor does a host get in by claiming what is leased to nobody or to another.
    let lease = controller.apply(vec![leased_subnet("a", "h1", "10.1.1.0/24", "hosts/h1")]).await.unwrap_err();
    assert_eq!(lease.code(), tonic::Code::InvalidArgument, "{lease}");
    let mut known = Known::default();
    let mut session = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    known.apply(session.update().await);
    assert!(!known.holds(A));
    for address in ["10.0.0.5", "10.1.2.5", "10.1.1.5"] {
        let claim = Claim { id: 1, written: vec![pod("x", address, "hosts/h1")], deleted: vec![] };
        let answer = session.ask_claim(claim, &mut known).await;
        assert_eq!((answer.error.as_str(), answer.refused.len()), ("", 1), "{address}: {answer:?}");
    }
    controller.stop().await;
}

#[tokio::test]
async fn the_good_ports_of_a_claim_are_taken_and_the_bad_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    leased(&controller).await;
    let mut known = Known::default();
    let mut session = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    let cases = [
        (pod("x", "10.1.2.5", "hosts/h1"), "leased to the host"),
        (pod("x", "10.1.2.5", "hosts/h2"), "on itself"),
        // It would be given one of the subnet that is leased to nobody.
        (Port { addresses: vec![], ..pod("x", "10.1.1.6", "hosts/h1") }, "leased to the host"),
        (Port { mac: "junk".to_owned(), ..pod("x", "10.1.1.6", "hosts/h1") }, "junk"),
        (Port { security_groups: vec![group_name("a", "none")], ..pod("x", "10.1.1.6", "hosts/h1") }, "no such group"),
        (pod("x", "10.1.1.1", "hosts/h1"), "gateway"),
    ];
    for (id, (bad, words)) in (1_u64..).zip(cases) {
        let good = pod(&format!("good{id}"), &format!("10.1.1.{}", 100 + id), "hosts/h1");
        let claim = Claim { id, written: vec![bad.clone(), good], deleted: vec!["hosts/h2".to_owned()] };
        let answer = session.ask_claim(claim, &mut known).await;
        assert_eq!(answer.error, "");
        let refused: Vec<_> = answer.refused.iter().map(|it| it.port.as_str()).collect();
        assert!(
            refused.contains(&bad.name.as_str()) && refused.contains(&"hosts/h2") && refused.len() == 2,
            "{refused:?}"
        );
        let reason = &answer.refused.iter().find(|it| it.port == bad.name).unwrap().reason;
        assert!(reason.contains(words) && !reason.contains("tenants/"), "{words}: {reason}");
        assert_eq!(
            u64::from(controller.status("hosts/h1").await.ports),
            id,
            "the good one was written, the bad one not"
        );
    }
    let long = (0..=1000).map(|number| format!("{A}/ports/p{number}")).collect();
    let error = session.claim(Claim { id: 99, written: vec![], deleted: long }, &mut known).await;
    assert!(error.contains("at most 1000"), "{error}");
    controller.stop().await;
}
