//! The API over loopback: bundles whole or not at all, exact errors, lists, commits in order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::v1::{
    ApplyRequest, DeleteRequest, GetRequest, GetStatusRequest, ListFlowsRequest, ListRequest, Port, Resource,
    WatchRequest, WatchResponse, diagnostics_service_client::DiagnosticsServiceClient,
    port_service_client::PortServiceClient, resource::Kind, resource_change,
    tenant_service_client::TenantServiceClient,
};
use support::{
    Controller,
    bundle::{empty_tenant, group_name, host, port, port_message, subnet},
};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

/// The fields that the status complains about.
fn fields(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request().expect("a status with field violations");
    for violation in &details.field_violations {
        assert!(violation.description.contains("; "), "a rule and a fix: {}", violation.description);
    }
    details.field_violations.into_iter().map(|violation| violation.field).collect()
}

fn changed(port: Port, change: impl FnOnce(&mut Port)) -> Resource {
    let mut port = port;
    change(&mut port);
    Resource { kind: Some(Kind::Port(port)) }
}

#[tokio::test]
async fn every_broken_rule_names_its_field_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply([empty_tenant("a"), vec![host(1), port("a", 11, Some(1))]].concat()).await.unwrap();
    let sound = || port_message("a", 12, Some(1));
    let cases: Vec<(&str, Resource)> = vec![
        ("port.name", changed(sound(), |port| port.name = "tenants/a/ports/p".to_owned())),
        ("port.addresses[0]", changed(sound(), |port| port.addresses = vec!["10.0.0.300".to_owned()])),
        ("port.addresses[0]", changed(sound(), |port| port.addresses = vec!["10.9.0.1".to_owned()])),
        ("port.addresses[0]", changed(sound(), |port| port.addresses = vec!["10.0.0.11".to_owned()])),
        ("port.mac", changed(sound(), |port| port.mac = "01:00:00:00:00:01".to_owned())),
        ("port.host", changed(sound(), |port| port.host = "hosts/unknown".to_owned())),
        ("port.security_groups[0]", changed(sound(), |port| port.security_groups = vec![group_name("a", "unknown")])),
        ("port.security_groups[0]", changed(sound(), |port| port.security_groups = vec![group_name("b", "web")])),
        ("subnet.cidr", subnet("a", "other", "10.0.0.128/25")),
        ("subnet.cidr", subnet("a", "other", "10.1.0.1/24")),
    ];
    for (field, wrong) in cases {
        let bundle = vec![port("a", 13, Some(1)), wrong.clone()];
        let refused = controller.apply(bundle).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong:?}");
        assert_eq!(fields(&refused), [format!("resources[1].{field}")], "{wrong:?}: {refused}");
    }
    let empty = controller.apply(vec![Resource { kind: None }]).await.unwrap_err();
    assert_eq!(empty.code(), Code::InvalidArgument);
    let mut ports = PortServiceClient::new(controller.channel().await);
    let listed = ports.list_ports(ListRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.ports.len(), 1, "no part of a refused bundle is there");
    let status = controller.fabric().await.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.revision, 1);
    controller.stop().await;
}

#[tokio::test]
async fn ten_thousand_errors_still_fit_into_a_status() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let refused = controller.apply(vec![subnet("none", "s", "nonsense"); 10_000]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(fields(&refused).len() > 10);
    let refused = controller.apply(vec![host(1); 10_001]).await.unwrap_err();
    assert_eq!(fields(&refused), ["resources"]);
    controller.stop().await;
}

#[tokio::test]
async fn apply_says_what_it_did_and_validate_only_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let kinds = |changes: &[andromede_proto::v1::ResourceChange]| {
        changes.iter().map(|change| (change.kind(), change.name.clone())).collect::<Vec<_>>()
    };
    let request = ApplyRequest { resources: vec![host(1)], validate_only: true, ..Default::default() };
    let answer = controller.fabric().await.apply(request).await.unwrap().into_inner();
    let name = "hosts/h1".to_owned();
    assert_eq!((answer.revision, kinds(&answer.changes)), (0, vec![(resource_change::Kind::Created, name.clone())]));
    let answer = controller.apply(vec![host(1)]).await.unwrap();
    assert_eq!((answer.revision, kinds(&answer.changes)), (1, vec![(resource_change::Kind::Created, name.clone())]));
    let answer = controller.apply(vec![host(1)]).await.unwrap();
    assert_eq!((answer.revision, kinds(&answer.changes)), (1, vec![(resource_change::Kind::Unchanged, name.clone())]));
    let mut moved = host(1);
    if let Some(Kind::Host(host)) = &mut moved.kind {
        host.underlay_address = "192.0.2.99".to_owned();
    }
    let answer = controller.apply(vec![moved]).await.unwrap();
    assert_eq!((answer.revision, kinds(&answer.changes)), (2, vec![(resource_change::Kind::Updated, name)]));
    controller.stop().await;
}

#[tokio::test]
async fn names_are_found_listed_page_by_page_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let mut bundle = [empty_tenant("a"), empty_tenant("b"), vec![host(1)]].concat();
    bundle.extend((2..52).flat_map(|number| [port("a", number, Some(1)), port("b", number, None)]));
    controller.apply(bundle).await.unwrap();
    let mut ports = PortServiceClient::new(controller.channel().await);
    let name = "tenants/a/networks/n/ports/p2".to_owned();
    let found = ports.get_port(GetRequest { name: name.clone() }).await.unwrap().into_inner();
    assert_eq!((found.name, found.addresses, found.revision), (name, vec!["10.0.0.2".to_owned()], 1));
    assert!(!found.mac.is_empty());

    for (parent, count) in
        [("", 100), ("tenants/a/networks/n", 50), ("tenants/-/networks/n", 100), ("tenants/c/networks/-", 0)]
    {
        let mut names = Vec::new();
        let mut request = ListRequest { parent: parent.to_owned(), page_size: 7, ..ListRequest::default() };
        loop {
            let page = ports.list_ports(request.clone()).await.unwrap().into_inner();
            assert!(page.ports.len() <= 7);
            names.extend(page.ports.into_iter().map(|port| port.name));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let listed = names.len();
        names.sort();
        names.dedup();
        assert_eq!((listed, names.len()), (count, count), "{parent}");
    }
    for (field, request) in [
        ("parent", ListRequest { parent: "tenants/a".to_owned(), ..ListRequest::default() }),
        ("page_size", ListRequest { page_size: 1_001, ..ListRequest::default() }),
        ("page_token", ListRequest { page_token: "junk".to_owned(), ..ListRequest::default() }),
    ] {
        assert_eq!(fields(&ports.list_ports(request).await.unwrap_err()), [field]);
    }

    let mut tenants = TenantServiceClient::new(controller.channel().await);
    let delete = |name: &str| DeleteRequest { name: name.to_owned(), ..DeleteRequest::default() };
    let used = tenants.delete_tenant(delete("tenants/a")).await.unwrap_err();
    assert_eq!((used.code(), fields(&used)), (Code::FailedPrecondition, vec!["name".to_owned()]));
    assert_eq!(tenants.delete_tenant(delete("tenants/none")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(fields(&tenants.delete_tenant(delete("hosts/h1")).await.unwrap_err()), ["name"]);
    let deleted = ports.delete_port(delete("tenants/a/networks/n/ports/p2")).await.unwrap().into_inner();
    assert_eq!(deleted.revision, 2);
    let gone = ports.get_port(GetRequest { name: "tenants/a/networks/n/ports/p2".to_owned() }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    controller.stop().await;
}

#[tokio::test]
async fn a_bundle_deletes_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply([empty_tenant("a"), vec![host(1), port("a", 2, Some(1))]].concat()).await.unwrap();
    let network = "tenants/a/networks/n";
    let bundle = |names: &[&str]| ApplyRequest {
        deleted: names.iter().map(|name| (*name).to_owned()).collect(),
        ..ApplyRequest::default()
    };
    let port = format!("{network}/ports/p2");
    let (subnet, group) = (format!("{network}/subnets/s"), group_name("a", "web"));
    let mut fabric = controller.fabric().await;
    // The subnet still holds the port's address.
    let refused = fabric.apply(bundle(&[&subnet, &group])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert_eq!(fields(&refused), ["deleted[0]"], "{refused}");
    let refused = fabric.apply(bundle(&[&port, "no name", "tenants/none"])).await.unwrap_err();
    assert_eq!(fields(&refused), ["deleted[1]"], "{refused}");
    let refused = fabric.apply(bundle(&[&port, "tenants/none"])).await.unwrap_err();
    assert_eq!(fields(&refused), ["deleted[1]"], "{refused}");
    let answer = fabric.apply(bundle(&["tenants/a", network, &subnet, &group, &port, "hosts/h1"])).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!((answer.revision, answer.changes.len()), (2, 6));
    assert!(answer.changes.iter().all(|change| change.kind() == resource_change::Kind::Deleted));
    let status = fabric.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.revision, status.hosts.len()), (2, 0));
    controller.stop().await;
}

#[tokio::test]
async fn diagnostics_check_their_input() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let mut diagnostics = DiagnosticsServiceClient::new(controller.channel().await);
    let flows = ListFlowsRequest { limit: 10_001, ..ListFlowsRequest::default() };
    assert_eq!(fields(&diagnostics.list_flows(flows).await.unwrap_err()), ["limit"]);
    let flows = ListFlowsRequest { host: "h1".to_owned(), ..ListFlowsRequest::default() };
    assert_eq!(fields(&diagnostics.list_flows(flows).await.unwrap_err()), ["host"]);
    let flows = ListFlowsRequest { host: "hosts/h1".to_owned(), ..ListFlowsRequest::default() };
    assert_eq!(diagnostics.list_flows(flows).await.unwrap_err().code(), Code::NotFound);
    controller.stop().await;
}

async fn watch(controller: &Controller, after_revision: u64) -> Streaming<WatchResponse> {
    controller
        .fabric()
        .await
        .watch(WatchRequest { after_revision, ..WatchRequest::default() })
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn watchers_see_every_commit_in_order_from_where_they_ask() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply([empty_tenant("a"), vec![host(1)]].concat()).await.unwrap();
    let mut all = watch(&controller, 0).await;
    let snapshot = all.message().await.unwrap().unwrap();
    assert_eq!((snapshot.revision, snapshot.snapshot, snapshot.written.len()), (1, true, 5));
    for number in 2..102 {
        controller.apply(vec![port("a", number, Some(1))]).await.unwrap();
    }
    let mut late = watch(&controller, 1).await;
    for revision in 2..102 {
        for stream in [&mut all, &mut late] {
            let commit = stream.message().await.unwrap().unwrap();
            assert_eq!((commit.revision, commit.snapshot, commit.written.len()), (revision, false, 1));
        }
    }
    let mut ports = PortServiceClient::new(controller.channel().await);
    ports
        .delete_port(DeleteRequest { name: "tenants/a/networks/n/ports/p2".to_owned(), ..DeleteRequest::default() })
        .await
        .unwrap();
    let commit = all.message().await.unwrap().unwrap();
    assert_eq!((commit.revision, commit.deleted), (102, vec!["tenants/a/networks/n/ports/p2".to_owned()]));
    let refused = controller
        .fabric()
        .await
        .watch(WatchRequest { after_revision: 103, ..WatchRequest::default() })
        .await
        .unwrap_err();
    assert_eq!(fields(&refused), ["after_revision"]);
    controller.stop().await;
    // The late one is one commit behind; then both are told that the controller ends.
    while let Ok(Some(commit)) = late.message().await {
        assert_eq!(commit.revision, 102);
    }
}

#[tokio::test]
async fn concurrent_writers_get_revisions_of_their_own_and_all_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply([empty_tenant("a"), vec![host(1)]].concat()).await.unwrap();
    let channel = controller.channel().await;
    let writes = (2..202).map(|number| {
        let mut fabric = andromede_proto::v1::fabric_service_client::FabricServiceClient::new(channel.clone());
        let request =
            ApplyRequest { resources: vec![port("a", number, Some(1))], validate_only: false, ..Default::default() };
        async move { fabric.apply(request).await.unwrap().into_inner().revision }
    });
    let mut revisions = futures::future::join_all(writes).await;
    revisions.sort_unstable();
    assert_eq!(revisions, (2..202).collect::<Vec<_>>());
    let list = ListRequest { page_size: 1_000, ..ListRequest::default() };
    let before = PortServiceClient::new(channel).list_ports(list.clone()).await.unwrap().into_inner();
    controller.stop().await;
    let controller = Controller::plaintext(folder.path()).await;
    let after = PortServiceClient::new(controller.channel().await).list_ports(list).await.unwrap().into_inner();
    assert_eq!(before, after);
    assert_eq!(after.ports.len(), 200);
    controller.stop().await;
}

#[tokio::test]
async fn reflection_knows_every_service_and_health_says_serving() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let channel = controller.channel().await;
    for service in ["", "andromede.v1.FabricService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([list]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        panic!("no list but {answer:?}")
    };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    for service in [
        "andromede.v1.FabricService",
        "andromede.v1.DiagnosticsService",
        "andromede.v1.TenantService",
        "andromede.v1.NetworkService",
        "andromede.v1.SubnetService",
        "andromede.v1.PortService",
        "andromede.v1.SecurityGroupService",
        "andromede.v1.HostService",
        "andromede.v1.VtepService",
        "andromede.agent.v1.AgentService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&service), "{service} is not among {names:?}");
    }
    controller.stop().await;
}
