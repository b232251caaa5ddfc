//! What there is room for: quotas of tenants, addresses of subnets. What is beyond is refused by name, with the details of a quota.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "room/races.rs"]
mod races;
mod support;

use andromede_proto::{
    agent::v1::Claim,
    v1::{
        CreatePortRequest, DeleteRequest, GetStatusRequest, ListRequest, PlanRequest, Port, Reservation, Resource,
        Subnet, SubnetLevel, SubnetUtilization, Tenant, TenantQuotas, port_service_client::PortServiceClient,
        resource::Kind, subnet_service_client::SubnetServiceClient,
    },
};
use support::{
    Controller,
    bundle::{empty_tenant, group, host, leased_subnet, network, port, port_message, subnet, tenant},
    host::{Known, Session},
};
use tonic::{Code, Status, transport::Channel};
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

/// Tenant c with a subnet of this prefix and these reservations: name, prefix, port.
fn small(cidr: &str, reservations: &[(&str, &str, &str)]) -> Vec<Resource> {
    let reservation = |(name, cidr, port): &(&str, &str, &str)| Reservation {
        name: (*name).to_owned(),
        cidr: (*cidr).to_owned(),
        port: if port.is_empty() { String::new() } else { format!("tenants/c/networks/n/ports/{port}") },
        ..Reservation::default()
    };
    let Some(Kind::Subnet(it)) = subnet("c", "s", cidr).kind else { unreachable!() };
    let it = Subnet { reservations: reservations.iter().map(reservation).collect(), ..it };
    vec![tenant("c"), network("c"), Resource { kind: Some(Kind::Subnet(it)) }]
}

/// Makes a port that chooses no address.
async fn bare(ports: &mut PortServiceClient<Channel>, id: &str) -> Result<Vec<String>, Status> {
    let request = CreatePortRequest {
        parent: "tenants/c/networks/n".to_owned(),
        port_id: id.to_owned(),
        port: Some(Port::default()),
        ..CreatePortRequest::default()
    };
    Ok(ports.create_port(request).await?.into_inner().addresses)
}

async fn delete(ports: &mut PortServiceClient<Channel>, id: &str) {
    let name = format!("tenants/c/networks/n/ports/{id}");
    ports.delete_port(DeleteRequest { name, ..DeleteRequest::default() }).await.unwrap();
}

#[tokio::test]
async fn a_freed_address_rests_also_over_a_restart_but_not_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply(small("10.7.0.0/30", &[])).await.unwrap();
    let mut ports = PortServiceClient::new(controller.channel().await);
    assert_eq!(bare(&mut ports, "p").await.unwrap(), ["10.7.0.2"]);
    delete(&mut ports, "p").await;
    let full = bare(&mut ports, "q").await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full}");
    let quota = &full.get_details_quota_failure().unwrap().violations[0];
    assert_eq!(quota.subject, "tenants/c/networks/n");
    assert!(quota.description.contains("0 of 1 in use, 0 reserved, 1 rest, the next for "), "{}", quota.description);
    // What is planned is what is done.
    let name = "tenants/c/networks/n/ports/q".to_owned();
    let resources = vec![Resource { kind: Some(Kind::Port(Port { name, ..Port::default() })) }];
    let planned = controller.fabric().await.plan(PlanRequest { resources, ..PlanRequest::default() }).await;
    assert_eq!(planned.unwrap_err().code(), Code::ResourceExhausted);
    controller.stop().await;

    let controller = Controller::plaintext(folder.path()).await;
    let mut ports = PortServiceClient::new(controller.channel().await);
    assert_eq!(bare(&mut ports, "q").await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(bare(&mut ports, "p").await.unwrap(), ["10.7.0.2"]);
    controller.stop().await;
}

async fn utilization(controller: &Controller, filter: &str) -> Vec<SubnetUtilization> {
    let request = ListRequest { filter: filter.to_owned(), ..ListRequest::default() };
    SubnetServiceClient::new(controller.channel().await).list_utilization(request).await.unwrap().into_inner().subnets
}

#[tokio::test]
async fn what_is_reserved_is_given_to_who_names_it_and_to_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    // Of 10.7.0.2 to 10.7.0.6 two are for whoever names them, one is for the port "db".
    let reserved = [("vips", "10.7.0.4/31", ""), ("db", "10.7.0.3/32", "db")];
    controller.apply(small("10.7.0.0/29", &reserved)).await.unwrap();
    let mut ports = PortServiceClient::new(controller.channel().await);
    let mut given = Vec::new();
    for id in ["p", "q"] {
        given.extend(bare(&mut ports, id).await.unwrap());
    }
    given.sort();
    assert_eq!(given, ["10.7.0.2", "10.7.0.6"]);
    let full = bare(&mut ports, "r").await.unwrap_err();
    assert!(full.message().contains("2 of 5 in use, 3 reserved"), "{full}");
    // Its owner has it, now and when it is made anew; nobody else, not by name either.
    assert_eq!(bare(&mut ports, "db").await.unwrap(), ["10.7.0.3"]);
    delete(&mut ports, "db").await;
    let named = |id: &str, address: &str| {
        let name = format!("tenants/c/networks/n/ports/{id}");
        let addresses = vec![address.to_owned()];
        vec![Resource { kind: Some(Kind::Port(Port { name, addresses, ..Port::default() })) }]
    };
    let refused = controller.apply(named("r", "10.7.0.3")).await.unwrap_err();
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "resources[0].port.addresses[0]");
    assert!(violations[0].description.contains("keeps it for tenants/c/networks/n/ports/db"), "{refused}");
    assert_eq!(bare(&mut ports, "db").await.unwrap(), ["10.7.0.3"]);
    controller.apply(named("r", "10.7.0.4")).await.unwrap();

    let found = utilization(&controller, "").await;
    let [it] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((it.addresses, it.usable, it.used, it.reserved, it.resting, it.free), (8, 5, 4, 1, 0, 0));
    assert_eq!((it.percent, it.level()), (100, SubnetLevel::Full));
    // A reservation may cover what is in use, which stays; not for another port.
    controller.apply(small("10.7.0.0/29", &[("more", "10.7.0.2/31", "")])).await.unwrap();
    let taken = controller.apply(small("10.7.0.0/29", &[("db", "10.7.0.2/32", "db")])).await.unwrap_err();
    assert_eq!(taken.code(), Code::FailedPrecondition, "{taken}");
    let uses = taken.get_details_precondition_failure().unwrap().violations;
    assert!(uses[0].subject.starts_with("tenants/c/networks/n/ports/"), "{uses:?}");
    controller.stop().await;
}

#[tokio::test]
async fn who_runs_the_fabric_is_told_before_a_subnet_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply(small("10.7.0.0/28", &[])).await.unwrap();
    controller.apply([empty_tenant("a"), vec![host(1)]].concat()).await.unwrap();
    controller.apply(vec![leased_subnet("a", "pods", "10.0.1.0/24", "hosts/h1")]).await.unwrap();
    let status = || async { controller.fabric().await.get_status(GetStatusRequest {}).await.unwrap().into_inner() };
    let mut ports = PortServiceClient::new(controller.channel().await);
    for number in 0..10 {
        bare(&mut ports, &format!("p{number}")).await.unwrap();
    }
    assert_eq!(status().await.filling_subnets, 0, "10 of 13");
    delete(&mut ports, "p9").await;
    bare(&mut ports, "p10").await.unwrap();
    // 10 are in use, and one rests.
    let told = status().await;
    assert_eq!(told.filling_subnets, 1);
    let it = &told.fullest_subnets[0];
    assert_eq!(it.subnet, "tenants/c/networks/n/subnets/s");
    assert_eq!((it.used, it.resting, it.free, it.percent, it.level()), (10, 1, 2, 84, SubnetLevel::Filling));
    assert!(it.next_free_seconds > 0);
    for number in 11..13 {
        bare(&mut ports, &format!("p{number}")).await.unwrap();
    }
    assert_eq!(status().await.fullest_subnets[0].level(), SubnetLevel::Full);
    // One of several, as a list finds it.
    let pods = utilization(&controller, "host = \"hosts/h1\"").await;
    assert_eq!(pods.len(), 1);
    assert_eq!((pods[0].host.as_str(), pods[0].usable, pods[0].percent), ("hosts/h1", 253, 0));
    assert_eq!(utilization(&controller, "").await.len(), 3);
    controller.stop().await;
}
