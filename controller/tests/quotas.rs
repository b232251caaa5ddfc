//! What a tenant may have: refused by name beyond it, with the details of a quota, and taken by nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::{
    agent::v1::Claim,
    v1::{Resource, Tenant, TenantQuotas, resource::Kind},
};
use support::{
    Controller,
    bundle::{empty_tenant, group, host, leased_subnet, port, port_message, subnet},
    host::{Known, Session},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn with(quotas: TenantQuotas) -> Resource {
    let tenant = Tenant { name: "tenants/a".to_owned(), quotas: Some(quotas), ..Tenant::default() };
    Resource { kind: Some(Kind::Tenant(tenant)) }
}

/// The write is refused for these fields, by the tenant's quota.
fn refused(status: &Status, fields: &[&str], words: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let quota = status.get_details_quota_failure().unwrap().violations;
    assert!(quota.iter().all(|violation| violation.subject == "tenants/a"), "{quota:?}");
    assert!(quota[0].description.contains(words), "{quota:?}");
    let mut found: Vec<_> =
        status.get_details_bad_request().unwrap().field_violations.into_iter().map(|it| it.field).collect();
    found.sort();
    assert_eq!(found, fields);
}

#[tokio::test]
async fn a_tenant_gets_no_more_than_it_may_have() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply([empty_tenant("a"), empty_tenant("b"), vec![port("a", 11, None)]].concat()).await.unwrap();
    let full = TenantQuotas { networks: 1, subnets: 1, ports: 3, security_groups: 1, rules: 2, prefix_lists: 1 };
    controller.apply(vec![with(full)]).await.unwrap();

    let ports = [12, 13, 14, 15].map(|number| port("a", number, None)).to_vec();
    let status = controller.apply(ports).await.unwrap_err();
    refused(&status, &["resources[2].port.name", "resources[3].port.name"], "may have 3 ports; it would have 5");
    controller.apply(vec![port("a", 12, None), port("a", 13, None)]).await.unwrap();
    // The rules of what is there count; so does what is added by changing it.
    let status = controller.apply(vec![group("a", "web", &["80", "443", "8080"])]).await.unwrap_err();
    refused(&status, &["resources[0].security_group.name"], "may have 2 rules; it would have 3");
    let status = controller.apply(vec![group("a", "other", &[])]).await.unwrap_err();
    refused(&status, &["resources[0].security_group.name"], "1 security groups");
    let status = controller.apply(vec![subnet("a", "s2", "10.0.9.0/24")]).await.unwrap_err();
    refused(&status, &["resources[0].subnet.name"], "1 subnets");
    let network = andromede_proto::v1::Network { name: "tenants/a/networks/m".to_owned(), ..Default::default() };
    let status = controller.apply(vec![Resource { kind: Some(Kind::Network(network)) }]).await.unwrap_err();
    refused(&status, &["resources[0].network.name"], "1 networks");

    // Others have their own, and what is there may change, also when the quota becomes less than that.
    controller.apply((21..=29).map(|number| port("b", number, None)).collect()).await.unwrap();
    controller.apply(vec![with(TenantQuotas { ports: 1, ..full })]).await.unwrap();
    let mut moved = port_message("a", 13, None);
    moved.addresses = vec!["10.0.0.99".to_owned()];
    controller.apply(vec![Resource { kind: Some(Kind::Port(moved)) }]).await.unwrap();
    assert_eq!(controller.apply(vec![port("a", 14, None)]).await.unwrap_err().code(), Code::ResourceExhausted);
    // 0 is no quota.
    controller.apply(vec![with(TenantQuotas::default()), port("a", 14, None)]).await.unwrap();
    controller.stop().await;
}

#[tokio::test]
async fn pods_count_and_those_that_are_too_many_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let lease = leased_subnet("a", "pods", "10.0.1.0/24", "hosts/h1");
    let quotas = with(TenantQuotas { ports: 3, ..TenantQuotas::default() });
    controller.apply([vec![host(1), lease], empty_tenant("a")].concat()).await.unwrap();
    controller.apply(vec![quotas]).await.unwrap();
    let mut known = Known::default();
    let mut session = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    known.apply(session.update().await);
    let pod = |number: u8| {
        let mut port = port_message("a", number, Some(1));
        port.addresses = vec![format!("10.0.1.{number}")];
        port
    };
    let claim = Claim { id: 1, written: (11..=19).map(pod).collect(), ..Claim::default() };
    let answer = session.ask_claim(claim, &mut known).await;
    assert_eq!((answer.error.as_str(), answer.refused.len()), ("", 6), "{answer:?}");
    assert!(answer.refused.iter().all(|refused| refused.reason.contains("may have 3 ports")), "{answer:?}");
    controller.stop().await;
}
