//! The standard methods of resources: names, etags, masks, filters, repeated requests, typed errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;

use andromede_proto::v1::{
    ApplyRequest, CreatePortRequest, CreateTenantRequest, CreateZoneRequest, DeleteRequest, GetRequest, Host,
    ListRequest, Port, Residency, Resource, Tenant, UpdatePortRequest, UpdateTenantRequest, WatchRequest, Zone,
    port_service_client::PortServiceClient, resource::Kind, subnet_service_client::SubnetServiceClient,
    tenant_service_client::TenantServiceClient, zone_service_client::ZoneServiceClient,
};
use prost_types::FieldMask;
use support::{
    Controller,
    bundle::{empty_tenant, host, port, tenant},
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

const NETWORK: &str = "tenants/a/networks/n";

/// A controller with a tenant, a network, a subnet, a group and two hosts.
async fn begun(folder: &Path) -> (Controller, PortServiceClient<Channel>) {
    let controller = Controller::plaintext(folder).await;
    controller.apply([empty_tenant("a"), vec![host(1), host(2)]].concat()).await.unwrap();
    let ports = PortServiceClient::new(controller.channel().await);
    (controller, ports)
}

fn create(id: &str, address: &str, request_id: &str) -> CreatePortRequest {
    CreatePortRequest {
        parent: NETWORK.to_owned(),
        port_id: id.to_owned(),
        port: Some(Port { addresses: vec![address.to_owned()], ..Port::default() }),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

fn field(status: &Status) -> String {
    status.get_details_bad_request().unwrap().field_violations[0].field.clone()
}

#[tokio::test]
async fn a_port_is_created_read_updated_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, mut ports) = begun(folder.path()).await;
    let made = ports.create_port(create("web", "10.0.0.7", "")).await.unwrap().into_inner();
    assert_eq!((made.name.as_str(), made.revision), ("tenants/a/networks/n/ports/web", 2));
    assert!(!made.mac.is_empty() && !made.etag.is_empty());
    let read = ports.get_port(GetRequest { name: made.name.clone() }).await.unwrap().into_inner();
    assert_eq!(read, made);

    let exists = ports.create_port(create("web", "10.0.0.8", "")).await.unwrap_err();
    assert_eq!(exists.code(), Code::AlreadyExists);
    assert_eq!(exists.get_details_resource_info().unwrap().resource_name, made.name);
    let chosen = ports.create_port(create("", "10.0.0.8", "")).await.unwrap().into_inner();
    assert!(chosen.name.starts_with("tenants/a/networks/n/ports/x"), "{}", chosen.name);

    let mut wanted = Port { name: made.name.clone(), host: "hosts/h1".to_owned(), ..Port::default() };
    wanted.labels.insert("env".to_owned(), "prod".to_owned());
    let update = |port: &Port, paths: &[&str]| UpdatePortRequest {
        port: Some(port.clone()),
        update_mask: Some(mask(paths)),
        ..UpdatePortRequest::default()
    };
    let placed = ports.update_port(update(&wanted, &["host"])).await.unwrap().into_inner();
    assert_eq!((placed.host.as_str(), placed.labels.len(), &placed.addresses), ("hosts/h1", 0, &made.addresses));
    let labelled = ports.update_port(update(&wanted, &["labels.env"])).await.unwrap().into_inner();
    assert_eq!(labelled.labels["env"], "prod");
    let wrong = ports.update_port(update(&wanted, &["hots"])).await.unwrap_err();
    assert_eq!((wrong.code(), field(&wrong).as_str()), (Code::InvalidArgument, "update_mask"));
    let nowhere = Port { host: "hosts/h9".to_owned(), ..wanted.clone() };
    let wrong = ports.update_port(update(&nowhere, &["host"])).await.unwrap_err();
    assert_eq!((wrong.code(), field(&wrong).as_str()), (Code::InvalidArgument, "port.host"));

    let lost = UpdatePortRequest {
        port: Some(Port { etag: made.etag.clone(), ..wanted.clone() }),
        update_mask: Some(mask(&["host"])),
        ..UpdatePortRequest::default()
    };
    let refused = ports.update_port(lost).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused}");
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), &info.metadata["etag"]), ("ETAG_MISMATCH", &labelled.etag));
    let delete = |etag: &str, allow_missing| DeleteRequest {
        name: made.name.clone(),
        etag: etag.to_owned(),
        allow_missing,
        ..DeleteRequest::default()
    };
    assert_eq!(ports.delete_port(delete(&made.etag, false)).await.unwrap_err().code(), Code::Aborted);
    ports.delete_port(delete(&labelled.etag, false)).await.unwrap();
    assert_eq!(ports.delete_port(delete("", false)).await.unwrap_err().code(), Code::NotFound);
    ports.delete_port(delete("", true)).await.unwrap();
    let gone = ports.update_port(update(&wanted, &["host"])).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    controller.stop().await;
}

#[tokio::test]
async fn a_repeated_request_gives_the_first_answer_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, mut ports) = begun(folder.path()).await;
    let first = ports.create_port(create("", "10.0.0.7", "one")).await.unwrap().into_inner();
    let same = ports.create_port(create("", "10.0.0.7", "one")).await.unwrap().into_inner();
    assert_eq!(same, first, "the server chooses a name once");
    let other = ports.create_port(create("", "10.0.0.8", "one")).await.unwrap_err();
    assert_eq!((other.code(), field(&other).as_str()), (Code::InvalidArgument, "request_id"));
    let wrong = ports.create_port(create("", "10.0.0.8", "no spaces")).await.unwrap_err();
    assert_eq!(field(&wrong), "request_id");
    // A deletion of what is not there is known again, and takes nothing away that was made since.
    let missing = DeleteRequest {
        name: "tenants/a/networks/n/ports/later".to_owned(),
        request_id: "zero".to_owned(),
        allow_missing: true,
        ..DeleteRequest::default()
    };
    let nothing = ports.delete_port(missing.clone()).await.unwrap().into_inner();
    ports.create_port(create("later", "10.0.0.99", "")).await.unwrap();
    assert_eq!(ports.delete_port(missing).await.unwrap().into_inner(), nothing);
    ports.get_port(GetRequest { name: "tenants/a/networks/n/ports/later".to_owned() }).await.unwrap();
    // Not refused requests: they may succeed later.
    assert_eq!(ports.create_port(create("p", "10.9.9.9", "two")).await.unwrap_err().code(), Code::InvalidArgument);

    let touch = |display_name: &str, request_id: &str| UpdateTenantRequest {
        tenant: Some(Tenant {
            name: "tenants/a".to_owned(),
            display_name: display_name.to_owned(),
            ..Tenant::default()
        }),
        update_mask: Some(mask(&["display_name"])),
        request_id: request_id.to_owned(),
        ..UpdateTenantRequest::default()
    };
    let mut tenants = TenantServiceClient::new(controller.channel().await);
    let unchanged = tenants.update_tenant(touch("", "three")).await.unwrap().into_inner();
    tenants.update_tenant(touch("A", "four")).await.unwrap();
    let delete = DeleteRequest { name: first.name.clone(), request_id: "five".to_owned(), ..DeleteRequest::default() };
    let deleted = ports.delete_port(delete.clone()).await.unwrap().into_inner();
    controller.stop().await;

    let controller = Controller::plaintext(folder.path()).await;
    let mut ports = PortServiceClient::new(controller.channel().await);
    let mut tenants = TenantServiceClient::new(controller.channel().await);
    let same = ports.create_port(create("", "10.0.0.7", "one")).await.unwrap().into_inner();
    assert_eq!(same, first, "although it is gone");
    assert_eq!(ports.delete_port(delete).await.unwrap().into_inner(), deleted);
    // What changed nothing then changes nothing now.
    assert_eq!(tenants.update_tenant(touch("", "three")).await.unwrap().into_inner(), unchanged);
    let now = tenants.get_tenant(GetRequest { name: "tenants/a".to_owned() }).await.unwrap().into_inner();
    assert_eq!(now.display_name, "A");

    // Many at once, in one batch of the writer: one commit.
    let channel = controller.channel().await;
    let apply = || {
        let mut fabric = andromede_proto::v1::fabric_service_client::FabricServiceClient::new(channel.clone());
        let request =
            ApplyRequest { resources: vec![tenant("b")], request_id: "six".to_owned(), ..ApplyRequest::default() };
        async move { fabric.apply(request).await.unwrap().into_inner() }
    };
    let answers = futures::future::join_all((0..50).map(|_| apply())).await;
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.changes[0].kind() as i32 == 1), "{answers:?}");
    controller.stop().await;
}

#[tokio::test]
async fn updates_of_different_fields_do_not_lose_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, mut ports) = begun(folder.path()).await;
    let made = ports.create_port(create("p", "10.0.0.7", "")).await.unwrap().into_inner();
    let channel = controller.channel().await;
    let update = |number: u32| {
        let mut ports = PortServiceClient::new(channel.clone());
        let key = format!("k{number}");
        let labels = [(key.clone(), "v".to_owned())].into();
        let request = UpdatePortRequest {
            port: Some(Port { name: made.name.clone(), labels, ..Port::default() }),
            update_mask: Some(mask(&[&format!("labels.{key}")])),
            ..UpdatePortRequest::default()
        };
        async move {
            // Under a storm of writers the server gives up with ABORTED, and the client tries again.
            loop {
                match ports.update_port(request.clone()).await {
                    Err(status) if status.code() == Code::Aborted => {}
                    other => return other.map(drop).unwrap(),
                }
            }
        }
    };
    futures::future::join_all((0..20).map(update)).await;
    let labels = ports.get_port(GetRequest { name: made.name.clone() }).await.unwrap().into_inner().labels;
    assert_eq!(labels.len(), 20, "{labels:?}");
    controller.stop().await;
}

#[tokio::test]
async fn what_is_used_is_told_as_a_precondition() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, mut ports) = begun(folder.path()).await;
    ports.create_port(create("p", "10.0.0.7", "")).await.unwrap();
    let mut subnets = SubnetServiceClient::new(controller.channel().await);
    let name = format!("{NETWORK}/subnets/s");
    let delete = |validate_only| DeleteRequest { name: name.clone(), validate_only, ..DeleteRequest::default() };
    let refused = subnets.delete_subnet(delete(false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let uses = refused.get_details_precondition_failure().unwrap().violations;
    assert_eq!((uses[0].r#type.as_str(), uses[0].subject.as_str()), ("IN_USE", name.as_str()));
    assert!(uses[0].description.contains("ports/p has the address 10.0.0.7"), "{}", uses[0].description);
    let gone = DeleteRequest { name: format!("{NETWORK}/ports/p"), ..DeleteRequest::default() };
    ports.delete_port(gone).await.unwrap();
    subnets.delete_subnet(delete(true)).await.unwrap();
    subnets.get_subnet(GetRequest { name: name.clone() }).await.unwrap();
    subnets.delete_subnet(delete(false)).await.unwrap();
    controller.stop().await;
}

#[tokio::test]
async fn lists_are_filtered_and_tokens_belong_to_one_list() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, mut ports) = begun(folder.path()).await;
    controller.apply((2..52).map(|number| port("a", number, Some(number % 2 + 1))).collect()).await.unwrap();
    let list = |filter: &str, page_size, token: &str| ListRequest {
        parent: NETWORK.to_owned(),
        filter: filter.to_owned(),
        page_size,
        page_token: token.to_owned(),
    };
    let filter = "host = \"hosts/h1\" AND NOT name = *p4";
    let first = ports.list_ports(list(filter, 10, "")).await.unwrap().into_inner();
    assert_eq!(first.ports.len(), 10);
    let rest = ports.list_ports(list(filter, 1_000, &first.next_page_token)).await.unwrap().into_inner();
    assert_eq!((rest.ports.len(), rest.next_page_token.as_str()), (14, ""));
    assert!(first.ports.iter().chain(&rest.ports).all(|port| port.host == "hosts/h1" && !port.name.ends_with("p4")));
    let wrong = ports.list_ports(list("", 10, &first.next_page_token)).await.unwrap_err();
    assert_eq!(field(&wrong), "page_token");
    let wrong = ports.list_ports(list("hots = x", 10, "")).await.unwrap_err();
    assert_eq!(field(&wrong), "filter");
    controller.stop().await;
}

#[tokio::test]
async fn a_watch_of_one_kind_below_one_parent_hears_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, mut ports) = begun(folder.path()).await;
    controller.apply(empty_tenant("b")).await.unwrap();
    let request = WatchRequest { after_revision: 0, parent: NETWORK.to_owned() };
    let mut watch = ports.watch_ports(request).await.unwrap().into_inner();
    let snapshot = watch.message().await.unwrap().unwrap();
    assert!(snapshot.snapshot && snapshot.written.is_empty());
    controller.apply(vec![port("b", 7, None)]).await.unwrap();
    controller.apply(vec![tenant("c"), port("a", 7, None)]).await.unwrap();
    let commit = watch.message().await.unwrap().unwrap();
    assert_eq!((commit.revision, commit.written.len()), (4, 1));
    assert_eq!(commit.written[0].name(), "tenants/a/networks/n/ports/p7");
    assert_eq!(commit.written[0].etag(), "1-4");
    let wrong = WatchRequest { after_revision: 0, parent: "hosts/h1".to_owned() };
    assert_eq!(field(&ports.watch_ports(wrong).await.unwrap_err()), "parent");
    controller.stop().await;
}

#[tokio::test]
async fn validate_only_changes_nothing_and_parents_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, mut ports) = begun(folder.path()).await;
    let checked = CreatePortRequest { validate_only: true, ..create("p", "10.0.0.7", "") };
    let would = ports.create_port(checked).await.unwrap().into_inner();
    assert!(!would.mac.is_empty());
    assert_eq!(ports.get_port(GetRequest { name: would.name }).await.unwrap_err().code(), Code::NotFound);
    let elsewhere = CreatePortRequest { parent: "tenants/a/networks/none".to_owned(), ..create("p", "10.0.0.7", "") };
    assert_eq!(field(&ports.create_port(elsewhere).await.unwrap_err()), "port.name");
    let nothing = CreatePortRequest { port: None, ..create("p", "10.0.0.7", "") };
    assert_eq!(field(&ports.create_port(nothing).await.unwrap_err()), "port");
    let mut tenants = TenantServiceClient::new(controller.channel().await);
    let request =
        CreateTenantRequest { tenant_id: "A".to_owned(), tenant: Some(Tenant::default()), ..Default::default() };
    assert_eq!(field(&tenants.create_tenant(request).await.unwrap_err()), "tenant.name");
    controller.stop().await;
}

#[tokio::test]
async fn place_is_law() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let mut zones = ZoneServiceClient::new(controller.channel().await);
    for (id, law) in [("par1", "FR"), ("fra1", "DE")] {
        let zone = Zone { jurisdiction: law.to_owned(), operator: "nuage".to_owned(), ..Zone::default() };
        let create = CreateZoneRequest { zone_id: id.to_owned(), zone: Some(zone), ..CreateZoneRequest::default() };
        zones.create_zone(create).await.unwrap();
    }
    let listed = zones.list_zones(ListRequest::default()).await.unwrap().into_inner().zones;
    assert_eq!(
        listed.iter().map(|zone| (zone.name.as_str(), zone.index)).collect::<Vec<_>>(),
        [("zones/fra1", 2), ("zones/par1", 1)]
    );
    let at = |number: u8, zone: &str| match host(number).kind {
        Some(Kind::Host(host)) => Resource { kind: Some(Kind::Host(Host { zone: zone.to_owned(), ..host })) },
        _ => unreachable!(),
    };
    let law = |jurisdictions: &[&str]| {
        let jurisdictions = jurisdictions.iter().map(|law| (*law).to_owned()).collect();
        let residency = Some(Residency { jurisdictions, ..Residency::default() });
        Resource { kind: Some(Kind::Tenant(Tenant { name: "tenants/a".to_owned(), residency, ..Tenant::default() })) }
    };
    controller.apply([empty_tenant("a"), vec![at(1, "zones/par1"), at(2, "zones/fra1")]].concat()).await.unwrap();
    controller.apply(vec![law(&["FR"]), port("a", 11, Some(1))]).await.unwrap();

    let outside = controller.apply(vec![port("a", 12, Some(2))]).await.unwrap_err();
    assert_eq!((outside.code(), field(&outside).as_str()), (Code::InvalidArgument, "resources[0].port.host"));
    let text = outside.get_details_bad_request().unwrap().field_violations[0].description.clone();
    assert!(text.contains("may be only in jurisdiction FR; hosts/h2 is in zones/fra1 (jurisdiction DE"), "{text}");
    for (change, of) in
        [(law(&["DE"]), "tenant.residency"), (at(1, "zones/fra1"), "host.zone"), (at(1, ""), "host.zone")]
    {
        let refused = controller.apply(vec![change]).await.unwrap_err();
        assert_eq!((refused.code(), field(&refused)), (Code::FailedPrecondition, format!("resources[0].{of}")));
        let standing = refused.get_details_precondition_failure().unwrap().violations[0].clone();
        assert_eq!(
            (standing.r#type.as_str(), standing.subject),
            ("IN_USE", "tenants/a/networks/n/ports/p11".to_owned())
        );
    }
    let named = DeleteRequest { name: "zones/par1".to_owned(), ..DeleteRequest::default() };
    assert_eq!(zones.delete_zone(named).await.unwrap_err().code(), Code::FailedPrecondition);
    // Law and place may change together.
    controller.apply(vec![law(&["DE"]), port("a", 11, Some(2))]).await.unwrap();
    controller.stop().await;
}

#[tokio::test]
async fn an_etag_of_before_a_restored_backup_is_of_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let (controller, mut ports) = begun(folder.path()).await;
    controller.apply(vec![port("a", 7, None)]).await.unwrap();
    let name = "tenants/a/networks/n/ports/p7".to_owned();
    let before = ports.get_port(GetRequest { name: name.clone() }).await.unwrap().into_inner();
    controller.stop().await;
    andromede_controller::store::Store::open_existing(folder.path()).unwrap().raise_epoch().unwrap();

    let controller = Controller::plaintext(folder.path()).await;
    let mut ports = PortServiceClient::new(controller.channel().await);
    let after = ports.get_port(GetRequest { name }).await.unwrap().into_inner();
    assert_eq!(Port { etag: after.etag.clone(), ..before.clone() }, after, "it is what it was");
    let update = |port| UpdatePortRequest { port: Some(port), ..UpdatePortRequest::default() };
    // The same revision may have been another write before the backup was put back.
    assert_eq!(ports.update_port(update(before)).await.unwrap_err().code(), Code::Aborted);
    ports.update_port(update(after)).await.unwrap();
    controller.stop().await;
}
