//! Plans, history, differences, and the way back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::v1::{
    ApplyRequest, DiffRequest, ListCommitsRequest, PlanRequest, Resource, RollbackRequest, VerifyCommitsRequest,
    history_service_client::HistoryServiceClient, resource::Kind, resource_change::Kind as Change,
};
use support::{
    Controller,
    bundle::{empty_tenant, group, host, port},
};
use tonic::Code;
use tonic_types::StatusExt as _;

fn labelled(mut resource: Resource, value: &str) -> Resource {
    let labels = [("stack".to_owned(), value.to_owned())].into();
    match &mut resource.kind {
        Some(Kind::Port(port)) => port.labels = labels,
        Some(Kind::SecurityGroup(group)) => group.labels = labels,
        other => panic!("{other:?}"),
    }
    resource
}

fn in_group(mut resource: Resource) -> Resource {
    let Some(Kind::Port(port)) = &mut resource.kind else { panic!("{resource:?}") };
    port.security_groups = vec![support::bundle::group_name("a", "web")];
    resource
}

#[tokio::test]
async fn a_plan_tells_what_is_done_and_only_that_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let mut bundle = [empty_tenant("a"), vec![host(1), host(2)]].concat();
    bundle.extend([labelled(in_group(port("a", 11, Some(1))), "one"), labelled(port("a", 12, Some(2)), "one")]);
    controller.apply(bundle).await.unwrap();
    let mut fabric = controller.fabric().await;
    let resources =
        vec![group("a", "web", &["80", "8443"]), labelled(in_group(port("a", 11, Some(2))), "one"), host(1)];
    let request = PlanRequest { resources: resources.clone(), prune: "stack=one".to_owned(), ..PlanRequest::default() };
    let plan = fabric.plan(request).await.unwrap().into_inner();
    let told: Vec<_> = plan.changes.iter().map(|it| (it.kind(), it.name.rsplit('/').next().unwrap())).collect();
    assert_eq!(told, [(Change::Updated, "web"), (Change::Updated, "p11"), (Change::Deleted, "p12")], "{plan:#?}");
    let paths: Vec<_> = plan.changes[0].fields.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["rules[port-443]", "rules[port-8443]"]);
    let moved = &plan.changes[1].fields[0];
    assert_eq!(
        (moved.path.as_str(), moved.before.as_str(), moved.after.as_str()),
        ("host", "\"hosts/h1\"", "\"hosts/h2\"")
    );
    assert_eq!((plan.revision, plan.unchanged, plan.ports), (1, 1, 2), "{plan:#?}");
    assert_eq!(plan.hosts, ["hosts/h1", "hosts/h2"]);
    let ports = plan.tables.iter().find(|table| table.table == "PORTS").unwrap();
    assert_eq!((ports.before, ports.after, ports.limit > 100), (1, 1, true), "{ports:?}");

    // Somebody else commits in between: the plan is not carried out.
    controller.apply(vec![host(3)]).await.unwrap();
    let apply = |planned_revision| ApplyRequest {
        resources: resources.clone(),
        prune: "stack=one".to_owned(),
        planned_revision,
        ..ApplyRequest::default()
    };
    let outdated = fabric.apply(apply(plan.revision)).await.unwrap_err();
    assert_eq!(outdated.code(), Code::Aborted);
    assert_eq!(outdated.get_details_error_info().unwrap().reason, "PLAN_OUTDATED");
    let done = fabric.apply(apply(2)).await.unwrap().into_inner();
    let kinds: Vec<_> = done.changes.iter().map(andromede_proto::v1::ResourceChange::kind).collect();
    assert_eq!(kinds, [Change::Updated, Change::Updated, Change::Unchanged, Change::Deleted]);
    for wrong in ["stack", "=one", "stack="] {
        let request = PlanRequest { prune: wrong.to_owned(), ..PlanRequest::default() };
        assert_eq!(fabric.plan(request).await.unwrap_err().code(), Code::InvalidArgument, "{wrong}");
    }
    controller.stop().await;
}

#[tokio::test]
async fn history_knows_who_changed_what_and_leads_back() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply([empty_tenant("a"), vec![host(1), port("a", 11, Some(1))]].concat()).await.unwrap();
    controller.apply(vec![group("a", "web", &["22"])]).await.unwrap();
    controller.apply(vec![port("a", 12, None)]).await.unwrap();
    controller.apply(empty_tenant("b")).await.unwrap();
    let mut history = HistoryServiceClient::new(controller.channel().await);
    let list = |page_size, page_token: &str, name: &str| ListCommitsRequest {
        page_size,
        page_token: page_token.to_owned(),
        name: name.to_owned(),
    };
    let all = history.list_commits(list(0, "", "")).await.unwrap().into_inner();
    let told: Vec<_> = all.commits.iter().map(|it| (it.revision, it.method.as_str(), it.written)).collect();
    assert_eq!(told, [(4, "apply", 4), (3, "apply", 1), (2, "apply", 1), (1, "apply", 6)]);
    assert!(all.commits.iter().all(|it| it.principal == "anonymous" && it.time_unix_nanos > 0));
    let first = history.list_commits(list(3, "", "")).await.unwrap().into_inner();
    let rest = history.list_commits(list(3, &first.next_page_token, "")).await.unwrap().into_inner();
    assert_eq!((first.commits.len(), rest.commits.len(), rest.next_page_token.as_str()), (3, 1, ""));
    let of_a = history.list_commits(list(0, "", "tenants/a")).await.unwrap().into_inner();
    assert_eq!(of_a.commits.iter().map(|it| it.revision).collect::<Vec<_>>(), [3, 2, 1]);

    let diff = |from_revision, to_revision| DiffRequest { from_revision, to_revision };
    let found = history.diff(diff(1, 3)).await.unwrap().into_inner();
    let told: Vec<_> = found.changes.iter().map(|it| (it.kind(), it.name.rsplit('/').next().unwrap())).collect();
    assert_eq!(told, [(Change::Updated, "web"), (Change::Created, "p12")]);
    let back = history.diff(diff(3, 1)).await.unwrap().into_inner();
    assert_eq!(back.changes.iter().filter(|it| it.kind() == Change::Deleted).count(), 1);
    assert_eq!(history.diff(diff(1, 9)).await.unwrap_err().code(), Code::InvalidArgument);

    let plan = PlanRequest { rollback_to_revision: 1, ..PlanRequest::default() };
    let planned = controller.fabric().await.plan(plan).await.unwrap().into_inner();
    assert_eq!(planned.changes.len(), 6, "{planned:#?}");
    let request = RollbackRequest { to_revision: 1, planned_revision: planned.revision, request_id: "one".to_owned() };
    let done = history.rollback(request.clone()).await.unwrap().into_inner();
    assert_eq!(done.revision, 5);
    assert_eq!(history.diff(diff(1, 0)).await.unwrap().into_inner().changes, [], "all is as it was");
    assert_eq!(history.rollback(request).await.unwrap().into_inner(), done, "a repeated request does nothing");
    let last = history.list_commits(list(1, "", "")).await.unwrap().into_inner().commits.remove(0);
    assert_eq!((last.revision, last.method.as_str(), last.request_id.as_str()), (5, "rollback", "one"));
    controller.stop().await;
}

#[tokio::test]
async fn commits_are_one_chain_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply(empty_tenant("a")).await.unwrap();
    controller.apply(vec![host(1)]).await.unwrap();
    let verify = |revision| VerifyCommitsRequest { revision };
    let mut history = HistoryServiceClient::new(controller.channel().await);
    let before = history.verify_commits(verify(0)).await.unwrap().into_inner();
    assert_eq!((before.first_revision, before.last_revision, before.broken_revision, before.sum.len()), (1, 2, 0, 64));
    controller.stop().await;
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply(vec![port("a", 11, Some(1))]).await.unwrap();
    let mut history = HistoryServiceClient::new(controller.channel().await);
    let after = history.verify_commits(verify(2)).await.unwrap().into_inner();
    assert_eq!((after.last_revision, after.broken_revision), (3, 0));
    assert_eq!(after.sum_at_revision, before.sum);
    assert!(after.sum != before.sum);
    controller.stop().await;
}
