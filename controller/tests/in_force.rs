//! A write is in force once the hosts that it concerns have said so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::v1::{InForce, WaitInForceRequest, WatchInForceRequest, fabric_service_client};
use support::{
    Controller,
    bundle::{empty_tenant, group, host, port},
    host::{Known, Session},
    pki::Authority,
    tls::{connect_as, mutual_tls},
};
use tonic::{Code, transport::Channel};

type Fabric = fabric_service_client::FabricServiceClient<Channel>;

/// Tenant a is on hosts 1 and 2, tenant b on 2 and 3; host 4 holds nothing.
async fn two_tenants(controller: &mut Fabric) -> u64 {
    let mut resources = [empty_tenant("a"), empty_tenant("b")].concat();
    resources.extend([host(1), host(2), host(3), host(4)]);
    resources.extend([port("a", 11, Some(1)), port("a", 12, Some(2)), port("b", 12, Some(2)), port("b", 13, Some(3))]);
    apply(controller, resources).await
}

async fn apply(fabric: &mut Fabric, resources: Vec<andromede_proto::v1::Resource>) -> u64 {
    let request = andromede_proto::v1::ApplyRequest { resources, ..Default::default() };
    fabric.apply(request).await.unwrap().into_inner().revision
}

async fn wait(fabric: &mut Fabric, revision: u64, all: bool, timeout_seconds: u32) -> InForce {
    let request = WaitInForceRequest { revision, all, timeout_seconds };
    fabric.wait_in_force(request).await.unwrap().into_inner()
}

/// Applied, pending, out of touch.
fn counts(found: &InForce) -> [u32; 3] {
    [found.applied, found.pending, found.out_of_touch]
}

#[tokio::test]
async fn a_write_is_waited_for_where_it_matters() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let mut fabric = controller.fabric().await;
    let first = two_tenants(&mut fabric).await;
    let found = wait(&mut fabric, first, false, 0).await;
    assert_eq!((found.in_force, counts(&found)), (true, [0, 0, 4]), "nobody is connected, nobody is waited for");
    assert!(!wait(&mut fabric, first, true, 0).await.in_force);

    let mut known = Known::default();
    let mut session = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    known.apply(session.update().await);
    let second = apply(&mut fabric, vec![group("a", "web", &["8080"])]).await;
    known.apply(session.update().await);
    let found = wait(&mut fabric, second, false, 0).await;
    assert_eq!((found.in_force, counts(&found)), (false, [0, 1, 1]), "hosts 1 and 2 hold the network");
    let names: Vec<_> = found.hosts.iter().map(|host| (host.host.as_str(), host.connected)).collect();
    assert_eq!(names, [("hosts/h1", true), ("hosts/h2", false)]);

    // The report ends the wait, not its time.
    let begin = std::time::Instant::now();
    let mut waiting = fabric.clone();
    let waiting = tokio::spawn(async move { wait(&mut waiting, second, false, 60).await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    session.report(second).await;
    let found = waiting.await.unwrap();
    assert_eq!((found.in_force, counts(&found)), (true, [1, 0, 1]));
    assert!(begin.elapsed().as_secs() < 30);
    // The time ends it too, and a host out of touch is told with the time when it was last heard of.
    drop(session);
    let third = apply(&mut fabric, vec![group("a", "web", &["8081"])]).await;
    let found = wait(&mut fabric, third, true, 1).await;
    assert_eq!((found.in_force, counts(&found)), (false, [0, 0, 2]));
    assert!(found.hosts[0].last_seen_seconds > 0 && found.hosts[1].last_seen_seconds == 0, "{found:?}");

    // The hosts were fixed at the commit: one that comes into the network later is not waited for, one that is gone neither.
    apply(&mut fabric, vec![port("a", 13, Some(3)), port("a", 12, None), port("b", 12, None)]).await;
    assert_eq!(counts(&wait(&mut fabric, third, true, 0).await), [0, 0, 2]);
    let deleted = andromede_proto::v1::ApplyRequest { deleted: vec!["hosts/h2".to_owned()], ..Default::default() };
    fabric.apply(deleted).await.unwrap();
    assert_eq!(counts(&wait(&mut fabric, third, true, 0).await), [0, 0, 1]);
    // Everything so far concerns all hosts that there are.
    assert_eq!(counts(&wait(&mut fabric, 0, true, 0).await), [0, 0, 3]);

    let late = fabric.wait_in_force(WaitInForceRequest { revision: 99, ..Default::default() }).await.unwrap_err();
    assert_eq!(late.code(), Code::InvalidArgument, "{late}");
    controller.stop().await;
}

#[tokio::test]
async fn a_watch_tells_each_step_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let mut fabric = controller.fabric().await;
    two_tenants(&mut fabric).await;
    let revision = apply(&mut fabric, vec![group("b", "web", &["8080"])]).await;
    let request = WatchInForceRequest { revision, all: true };
    let mut watch = fabric.watch_in_force(request).await.unwrap().into_inner();
    assert_eq!(counts(&watch.message().await.unwrap().unwrap()), [0, 0, 2]);
    let mut sessions = Vec::new();
    for (host, then) in [("h2", [1, 0, 1]), ("h3", [2, 0, 0])] {
        let mut known = Known::default();
        let mut session = Session::open(controller.channel().await, known.hello(host)).await.unwrap();
        known.apply(session.update().await);
        session.report(known.revision).await;
        sessions.push(session);
        while counts(&watch.message().await.unwrap().unwrap()) != then {}
    }
    assert_eq!(watch.message().await.unwrap(), None, "it ends once the revision is in force");
    controller.stop().await;
}

#[tokio::test]
async fn a_tenant_hears_of_its_own_networks_and_no_names() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let controller = Controller::start(&mutual_tls(folder.path(), &authority)).await;
    let mut operator = Fabric::new(connect_as(&controller, &authority, "operator/o").await);
    let first = two_tenants(&mut operator).await;
    let mut tenant = Fabric::new(connect_as(&controller, &authority, "tenant-reader/a/r").await);
    let found = wait(&mut tenant, first, true, 0).await;
    assert_eq!((found.in_force, counts(&found)), (false, [0, 0, 2]), "its own hosts, of the four");
    assert!(found.hosts.is_empty());
    // What others write concerns it nowhere, and what is asked without a revision its own networks only.
    let second = apply(&mut operator, vec![group("b", "web", &["8080"])]).await;
    let found = wait(&mut tenant, second, true, 0).await;
    assert_eq!((found.in_force, counts(&found)), (true, [0, 0, 0]));
    assert_eq!(counts(&wait(&mut tenant, 0, true, 0).await), [0, 0, 2]);
    assert_eq!(counts(&wait(&mut operator, second, true, 0).await), [0, 0, 2]);
    controller.stop().await;
}
