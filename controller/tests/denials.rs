//! Calls that are denied stand in the chain, counted by who and what, and fill nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::v1::{
    CommitSummary, GetRequest, ListCommitsRequest, Tenant, UpdateTenantRequest, VerifyCommitsRequest,
    history_service_client::HistoryServiceClient, host_service_client::HostServiceClient,
    tenant_service_client::TenantServiceClient,
};
use support::{
    Controller,
    bundle::empty_tenant,
    pki::Authority,
    raw::call_path,
    tls::{connect_as, mutual_tls},
};
use tonic::{Code, transport::Channel};

async fn commits(channel: &Channel) -> Vec<CommitSummary> {
    let mut history = HistoryServiceClient::new(channel.clone());
    history.list_commits(ListCommitsRequest::default()).await.unwrap().into_inner().commits
}

#[tokio::test]
async fn denied_calls_are_written_down_together_and_chained() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let arguments = mutual_tls(folder.path(), &authority);
    let controller = Controller::start(&arguments).await;
    let operator = connect_as(&controller, &authority, "operator/o").await;
    let mut fabric = andromede_proto::v1::fabric_service_client::FabricServiceClient::new(operator.clone());
    let request = andromede_proto::v1::ApplyRequest { resources: empty_tenant("a"), ..Default::default() };
    fabric.apply(request).await.unwrap();

    let tenant = connect_as(&controller, &authority, "tenant-admin/a/eve").await;
    let mut hosts = HostServiceClient::new(tenant.clone());
    for _ in 0..5 {
        let get = GetRequest { name: "hosts/h1".to_owned() };
        assert_eq!(hosts.get_host(get).await.unwrap_err().code(), Code::PermissionDenied);
    }
    // What the table allows and the write does not, and what is no method at all.
    let reader = connect_as(&controller, &authority, "tenant-reader/a/rita").await;
    let mine = Tenant { name: "tenants/a".to_owned(), display_name: "mine".to_owned(), ..Tenant::default() };
    let mine = UpdateTenantRequest { tenant: Some(mine), ..UpdateTenantRequest::default() };
    TenantServiceClient::new(reader).update_tenant(mine).await.unwrap_err();
    call_path(&tenant, "/andromede.v1.FabricService/Destroy", false, Vec::new()).await.unwrap_err();
    let mut foreign = empty_tenant("a");
    foreign.truncate(1);
    let Some(andromede_proto::v1::resource::Kind::Tenant(other)) = &mut foreign[0].kind else { unreachable!() };
    other.display_name = "mine".to_owned();
    let request = andromede_proto::v1::ApplyRequest { resources: foreign, ..Default::default() };
    let mut own = andromede_proto::v1::fabric_service_client::FabricServiceClient::new(tenant.clone());
    assert_eq!(own.apply(request).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(commits(&operator).await.len(), 1, "not one by one");
    controller.stop().await;

    let controller = Controller::start(&arguments).await;
    let operator = connect_as(&controller, &authority, "operator/o").await;
    let told = commits(&operator).await;
    assert_eq!((told.len(), told[0].method.as_str(), told[0].principal.as_str()), (2, "denied", "controller/audit"));
    let mut found: Vec<_> =
        told[0].denied.iter().map(|it| (it.principal.as_str(), it.method.as_str(), it.calls)).collect();
    found.sort_unstable();
    let expected = [
        ("tenant-admin/a/eve", "andromede.v1.FabricService/Apply", 1),
        ("tenant-admin/a/eve", "andromede.v1.HostService/GetHost", 5),
        ("tenant-admin/a/eve", "others", 1),
        ("tenant-reader/a/rita", "andromede.v1.TenantService/UpdateTenant", 1),
    ];
    assert_eq!(found, expected);
    assert!(
        told[0]
            .denied
            .iter()
            .all(|it| it.first_time_unix_nanos > 0 && it.first_time_unix_nanos <= it.last_time_unix_nanos)
    );
    // It is a link of the chain, and none of a tenant's business.
    let verified = HistoryServiceClient::new(operator.clone()).verify_commits(VerifyCommitsRequest::default()).await;
    let verified = verified.unwrap().into_inner();
    assert_eq!((verified.last_revision, verified.broken_revision), (2, 0));
    let tenant = connect_as(&controller, &authority, "tenant-admin/a/eve").await;
    assert_eq!(commits(&tenant).await.len(), 1);
    controller.stop().await;
}
