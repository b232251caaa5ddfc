//! Hosts that are drained, fenced and removed: nothing new comes to them, nothing of them stays, and nothing of theirs is used too early.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::v1::{
    ApplyRequest, ApplyResponse, Host, HostState, PlanRequest, RemoveHostRequest, Resource, RollbackRequest,
    UpdateHostRequest, history_service_client::HistoryServiceClient, host_service_client::HostServiceClient,
    resource::Kind,
};
use prost_types::FieldMask;
use support::{
    Controller,
    bundle::{empty_tenant, group, host, leased_subnet, port, port_message},
    host::{Known, Session},
    pki::{Authority, write},
    tls::{connect, connect_as, mutual_tls},
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

async fn three_hosts(controller: &Controller) {
    let mut resources = empty_tenant("a");
    resources.extend([
        host(1),
        host(2),
        host(3),
        port("a", 11, Some(1)),
        port("a", 12, Some(2)),
        port("a", 13, Some(3)),
    ]);
    controller.apply(resources).await.unwrap();
}

async fn set(channel: &Channel, host: &str, state: HostState) -> Result<Host, Status> {
    let wanted = Host { name: host.to_owned(), state: state.into(), ..Host::default() };
    let update_mask = Some(FieldMask { paths: vec!["state".to_owned()] });
    let request = UpdateHostRequest { host: Some(wanted), update_mask, ..Default::default() };
    Ok(HostServiceClient::new(channel.clone()).update_host(request).await?.into_inner())
}

async fn remove(channel: &Channel, host: &str, release: bool) -> Result<ApplyResponse, Status> {
    let request = RemoveHostRequest { name: host.to_owned(), release, ..Default::default() };
    Ok(HostServiceClient::new(channel.clone()).remove_host(request).await?.into_inner())
}

/// A host's agent that applies what it is told at once.
async fn follow(controller: &Controller, known: &mut Known, host: &str) -> Session {
    let mut session = Session::open(controller.channel().await, known.hello(host)).await.unwrap();
    known.apply(session.update().await);
    session.report(known.revision).await;
    session
}

#[tokio::test]
async fn nothing_new_comes_to_a_host_that_is_draining() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    three_hosts(&controller).await;
    controller.apply(vec![leased_subnet("a", "pods", "10.0.1.0/24", "hosts/h3")]).await.unwrap();
    let channel = controller.channel().await;
    set(&channel, "hosts/h3", HostState::Draining).await.unwrap();
    for refused in [port("a", 14, Some(3)), port("a", 11, Some(3)), leased_subnet("a", "s2", "10.0.2.0/24", "hosts/h3")]
    {
        let status = controller.apply(vec![refused]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("draining"), "{status}");
    }
    // What is there may change and go, what the host starts by itself in its own subnet goes on, and a bundle without a state changes none.
    let mut pod = port_message("a", 15, Some(3));
    pod.addresses = vec!["10.0.1.15".to_owned()];
    controller.apply(vec![Resource { kind: Some(Kind::Port(pod)) }, host(3)]).await.unwrap();
    controller.apply(vec![port("a", 13, Some(2))]).await.unwrap();
    assert_eq!(controller.status("hosts/h3").await.state(), HostState::Draining);
    set(&channel, "hosts/h3", HostState::Active).await.unwrap();
    controller.apply(vec![port("a", 14, Some(3))]).await.unwrap();
    controller.stop().await;
}

#[tokio::test]
async fn a_fenced_host_is_in_no_view_and_what_it_had_waits_until_all_know() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    three_hosts(&controller).await;
    let channel = controller.channel().await;
    let (mut one, mut two, mut three) = (Known::default(), Known::default(), Known::default());
    let mut first = follow(&controller, &mut one, "h1").await;
    let second = follow(&controller, &mut two, "h2").await;
    let mut fenced = follow(&controller, &mut three, "h3").await;
    drop(second);

    let fence = set(&channel, "hosts/h3", HostState::Fenced).await.unwrap();
    // Its session ends, it opens no other, and its peers hear that it is gone, not that its port is.
    assert_eq!(fenced.next().await.unwrap_err().code(), Code::PermissionDenied);
    let again = Session::open(controller.channel().await, three.hello("h3")).await;
    assert_eq!(again.err().unwrap().code(), Code::PermissionDenied);
    one.apply(first.update().await);
    let view = one.views.values().next().unwrap();
    let hosts: Vec<_> = view.hosts.keys().map(ToString::to_string).collect();
    assert_eq!((hosts, view.ports.len()), (vec!["hosts/h1".to_owned(), "hosts/h2".to_owned()], 3));
    // A snapshot says the same as the changes do.
    let mut fresh = Known::default();
    let mut anew = Session::open(controller.channel().await, fresh.hello("h1")).await.unwrap();
    fresh.apply(anew.update().await);
    assert_eq!(fresh.views, one.views);
    anew.report(fresh.revision).await;

    // Host 2 has not heard of it: what is on host 3 stays, by whatever way it would go.
    let unplaced = port("a", 13, None);
    let mut other = port_message("a", 13, Some(3));
    other.addresses = vec!["10.0.0.99".to_owned()];
    let readdressed = Resource { kind: Some(Kind::Port(other)) };
    for written in [port("a", 13, Some(1)), unplaced, readdressed] {
        still_member(&controller.apply(vec![written]).await.unwrap_err());
    }
    let deleted = vec!["tenants/a/networks/n/ports/p13".to_owned()];
    let mut fabric = controller.fabric().await;
    still_member(&fabric.apply(ApplyRequest { deleted, ..Default::default() }).await.unwrap_err());
    still_member(&remove(&channel, "hosts/h3", true).await.unwrap_err());
    // A plan says so too.
    let resources = vec![port("a", 13, Some(1))];
    still_member(&fabric.plan(PlanRequest { resources, ..Default::default() }).await.unwrap_err());
    // Nor is it placed on again, nor taken back, by a rollback neither.
    assert_eq!(controller.apply(vec![port("a", 14, Some(3))]).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(set(&channel, "hosts/h3", HostState::Active).await.unwrap_err().code(), Code::InvalidArgument);
    let request = RollbackRequest { to_revision: fence.revision - 1, ..Default::default() };
    HistoryServiceClient::new(channel.clone()).rollback(request).await.unwrap();
    assert_eq!(controller.status("hosts/h3").await.state(), HostState::Fenced);
    // All else goes on.
    controller.apply(vec![group("a", "web", &["8080"]), port("a", 16, Some(1))]).await.unwrap();

    // Host 2 comes back and applies it.
    let _second = follow(&controller, &mut two, "h2").await;
    controller.in_force("hosts/h2").await;
    assert_eq!(two.views.values().next().unwrap().hosts.len(), 2);
    controller.apply(vec![port("a", 13, Some(1))]).await.unwrap();
    controller.stop().await;
}

/// The refusal says who does not know yet.
fn still_member(status: &Status) {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    let violations = status.get_details_precondition_failure().unwrap().violations;
    assert_eq!((violations[0].r#type.as_str(), violations[0].subject.as_str()), ("FENCE_PENDING", "hosts/h3"));
    assert!(violations[0].description.contains("hosts/h2 have yet"), "{violations:?}");
}

#[tokio::test]
async fn who_has_not_heard_that_it_left_a_network_is_waited_for_too() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    three_hosts(&controller).await;
    let channel = controller.channel().await;
    let (mut one, mut two) = (Known::default(), Known::default());
    drop(follow(&controller, &mut two, "h2").await);
    // Its port goes elsewhere while it is out of touch: it still has the network, and takes what host 3 sends.
    controller.apply(vec![port("a", 12, Some(1))]).await.unwrap();
    set(&channel, "hosts/h3", HostState::Fenced).await.unwrap();
    let _first = follow(&controller, &mut one, "h1").await;
    controller.in_force("hosts/h1").await;
    still_member(&controller.apply(vec![port("a", 13, Some(1))]).await.unwrap_err());
    let _second = follow(&controller, &mut two, "h2").await;
    assert!(two.views.is_empty());
    controller.in_force("hosts/h2").await;
    controller.apply(vec![port("a", 13, Some(1))]).await.unwrap();
    controller.stop().await;
}

#[tokio::test]
async fn removing_a_host_takes_off_what_is_on_it_in_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    three_hosts(&controller).await;
    let mut pod = port_message("a", 15, Some(3));
    pod.addresses = vec!["10.0.1.15".to_owned()];
    let pod = Resource { kind: Some(Kind::Port(pod)) };
    controller.apply(vec![leased_subnet("a", "pods", "10.0.1.0/24", "hosts/h3"), pod]).await.unwrap();
    let channel = controller.channel().await;
    assert_eq!(remove(&channel, "hosts/h9", true).await.unwrap_err().code(), Code::NotFound);
    for release in [false, true] {
        let status = remove(&channel, "hosts/h3", release).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "not before it is fenced: {status}");
    }
    set(&channel, "hosts/h3", HostState::Fenced).await.unwrap();
    set(&channel, "hosts/h2", HostState::Fenced).await.unwrap();
    let mut one = Known::default();
    let _session = follow(&controller, &mut one, "h1").await;
    controller.in_force("hosts/h1").await;
    assert_eq!(remove(&channel, "hosts/h3", false).await.unwrap_err().code(), Code::FailedPrecondition);
    let removed = remove(&channel, "hosts/h3", true).await.unwrap();
    let mut names: Vec<_> = removed.changes.iter().map(|it| it.name.rsplit('/').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["h3", "p13", "p15", "pods"]);
    // Its address and its port's are free, its name too: another host.
    controller.apply(vec![host(3), port("a", 13, Some(3))]).await.unwrap();
    controller.stop().await;
}

#[tokio::test]
async fn the_certificate_of_a_fenced_host_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, hosts) = (Authority::new(), Authority::named("hosts"));
    let mut arguments = mutual_tls(folder.path(), &authority);
    arguments.host_ca = Some(write(folder.path(), "hosts-ca.pem", &hosts.pem()));
    arguments.host_ca_key = Some(write(folder.path(), "hosts-ca.key", &hosts.key()));
    let controller = Controller::start(&arguments).await;
    let operator = connect_as(&controller, &authority, "operator/o").await;
    let mut service = HostServiceClient::new(operator.clone());
    let Some(Kind::Host(message)) = host(3).kind else { unreachable!() };
    let create = |message: Host| andromede_proto::v1::CreateHostRequest { host: Some(message), ..Default::default() };
    let made = service.create_host(create(message)).await.unwrap().into_inner();
    let issued = hosts.issue(&format!("andromede://host/h3/{}", made.index));
    let channel = connect(&controller, &authority, Some(&issued)).await.unwrap();
    let mut known = Known::default();
    known.apply(Session::open(channel.clone(), known.hello("h3")).await.unwrap().update().await);

    let token = async |channel: &Channel| {
        let request =
            andromede_proto::v1::CreateJoinTokenRequest { parent: "hosts/h3".to_owned(), ..Default::default() };
        andromede_proto::v1::join_token_service_client::JoinTokenServiceClient::new(channel.clone())
            .create_join_token(request)
            .await
    };
    token(&operator).await.unwrap();
    set(&operator, "hosts/h3", HostState::Fenced).await.unwrap();
    assert_eq!(Session::open(channel.clone(), known.hello("h3")).await.err().unwrap().code(), Code::PermissionDenied);
    let renew = andromede_proto::agent::v1::RenewRequest { certificate_request: vec![1] };
    let mut join = andromede_proto::agent::v1::join_service_client::JoinServiceClient::new(channel.clone());
    assert_eq!(join.renew(renew).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(token(&operator).await.unwrap_err().code(), Code::InvalidArgument);
    // Made anew, it is another: the certificate is still that of nobody.
    remove(&operator, "hosts/h3", false).await.unwrap();
    let Some(Kind::Host(message)) = host(3).kind else { unreachable!() };
    service.create_host(create(message)).await.unwrap();
    assert_eq!(Session::open(channel, known.hello("h3")).await.err().unwrap().code(), Code::PermissionDenied);
    controller.stop().await;
}
