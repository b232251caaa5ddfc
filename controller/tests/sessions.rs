//! From a write to a host, over loopback: what a host is told, when, and how far it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;

use andromede_proto::{
    agent::v1::{
        AgentMessage, Answer, Claim, ControllerMessage, Hello, Report, agent_message, answer, controller_message, query,
    },
    unknown,
    v1::{
        self, DeleteRequest, DropCount, ListDropsRequest, ListDropsResponse,
        diagnostics_service_client::DiagnosticsServiceClient, host_service_client::HostServiceClient,
    },
};
use prost::Message as _;
use support::{
    Controller,
    bundle::{empty_tenant, everything, group, host, port, port_message},
    host::{Known, Session, said},
};
use tonic::Code;

const A: &str = "tenants/a/networks/n";
const B: &str = "tenants/b/networks/n";

async fn two_tenants(controller: &Controller) {
    let mut bundle = vec![host(1), host(2), port("a", 11, Some(1)), port("b", 11, Some(2)), port("a", 12, None)];
    bundle.extend(empty_tenant("a"));
    bundle.extend(empty_tenant("b"));
    controller.apply(bundle).await.unwrap();
}

#[tokio::test]
async fn a_host_hears_of_its_networks_only_and_status_says_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    two_tenants(&controller).await;
    let mut known = Known::default();
    let mut session = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    let record = session.welcome.host.clone().unwrap();
    assert_eq!((record.name.as_str(), record.underlay_address.as_str()), ("hosts/h1", "192.0.2.1"));
    assert_ne!(record.index, 0);

    let update = session.update().await;
    known.apply(update);
    assert!(known.holds(A) && !known.holds(B));
    let view = known.views.values().next().unwrap();
    assert_eq!(view.ports.keys().map(andromede_model::PortName::id).collect::<Vec<_>>(), ["p11"], "p12 is not placed");
    let status = controller.status("hosts/h1").await;
    assert_eq!((status.connected, status.applied_revision, status.wanted_revision, status.ports), (true, 0, 1, 1));
    session.report(known.revision).await;
    assert_eq!(controller.in_force("hosts/h1").await.applied_revision, 1);

    // A change of the other tenant is none of its business.
    controller.apply(vec![group("b", "web", &["80"])]).await.unwrap();
    // The other port of its network is placed on the other host.
    controller.apply(vec![port("a", 12, Some(2))]).await.unwrap();
    let update = session.update().await;
    assert_eq!((update.revision, update.snapshots.len(), update.deltas.len()), (3, 0, 1));
    known.apply(update);
    let view = known.views.values().next().unwrap();
    assert_eq!((view.ports.len(), view.hosts.len()), (2, 2));

    // Its only port of the network goes.
    controller.apply(vec![port("a", 11, None)]).await.unwrap();
    let update = session.update().await;
    assert_eq!(update.networks_left, [A]);
    assert!(update.deltas.is_empty() && update.snapshots.is_empty());
    controller.stop().await;
}

#[tokio::test]
async fn a_host_resumes_from_the_revision_it_knows_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    two_tenants(&controller).await;
    let mut known = Known::default();
    let mut session = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    known.store_epoch = session.welcome.store_epoch;
    known.apply(session.update().await);
    drop(session);
    controller.apply(vec![group("a", "web", &["8080"])]).await.unwrap();
    controller.stop().await;

    let controller = Controller::plaintext(folder.path()).await;
    let mut session = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    let update = session.update().await;
    assert_eq!((update.revision, update.snapshots.len(), update.deltas.len()), (2, 0, 1));
    assert_eq!(update.deltas[0].written.len(), 1);
    known.apply(update);

    // A host that knows nothing, or something of another epoch, begins from scratch.
    for stranger in [Known::default(), Known { store_epoch: known.store_epoch + 1, ..known.clone() }] {
        let mut session = Session::open(controller.channel().await, stranger.hello("h1")).await.unwrap();
        let mut fresh = Known::default();
        let update = session.update().await;
        assert_eq!((update.snapshots.len(), update.deltas.len()), (1, 0));
        fresh.apply(update);
        assert_eq!(fresh.views, known.views);
    }
    controller.stop().await;
}

#[tokio::test]
async fn a_new_session_ends_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    two_tenants(&controller).await;
    let known = Known::default();
    let mut old = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    old.update().await;
    let mut new = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    new.update().await;
    assert_eq!(old.next().await.unwrap_err().code(), Code::Aborted);
    assert!(controller.status("hosts/h1").await.connected);
    controller.apply(vec![group("a", "web", &["1"])]).await.unwrap();
    assert_eq!(new.update().await.revision, 2);
    controller.stop().await;
}

#[tokio::test]
async fn a_host_that_does_not_exist_or_is_deleted_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let known = Known::default();
    let refused = Session::open(controller.channel().await, known.hello("h1")).await.err().unwrap();
    assert_eq!(refused.code(), Code::NotFound);
    let refused = Session::open(controller.channel().await, known.hello("Not a name")).await.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut hello = known.hello("h1");
    hello.protocol_versions = vec![9];
    let refused = Session::open(controller.channel().await, hello).await.err().unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition);

    controller.apply(vec![host(1)]).await.unwrap();
    let mut session = Session::open(controller.channel().await, known.hello("h1")).await.unwrap();
    session.update().await;
    let mut hosts = HostServiceClient::new(controller.channel().await);
    hosts.delete_host(DeleteRequest { name: "hosts/h1".to_owned(), ..DeleteRequest::default() }).await.unwrap();
    assert_eq!(session.next().await.unwrap_err().code(), Code::NotFound);
    controller.stop().await;
}

#[tokio::test]
async fn questions_reach_the_hosts_and_silent_hosts_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    two_tenants(&controller).await;
    let mut session = Session::open(controller.channel().await, Known::default().hello("h1")).await.unwrap();
    session.update().await;
    let mut diagnostics = DiagnosticsServiceClient::new(controller.channel().await);
    let asking = tokio::spawn(async move { diagnostics.list_drops(ListDropsRequest::default()).await });
    let query = session.query().await;
    assert!(matches!(query.question, Some(query::Question::Drops(_))));
    let count = DropCount { host: "hosts/another".to_owned(), packets: 7, ..DropCount::default() };
    let drops = ListDropsResponse { counts: vec![count], ..ListDropsResponse::default() };
    let answer = Answer { id: query.id, error: String::new(), answer: Some(answer::Answer::Drops(drops)) };
    session.sender.send(said(agent_message::Message::Answer(answer))).await.unwrap();
    let drops = asking.await.unwrap().unwrap().into_inner();
    assert_eq!((drops.counts[0].host.as_str(), drops.counts[0].packets), ("hosts/h1", 7), "a host speaks for itself");
    assert_eq!(drops.errors.len(), 1);
    assert_eq!(drops.errors[0].host, "hosts/h2");
    assert!(drops.errors[0].error.contains("not connected"));
    controller.stop().await;
}

#[tokio::test]
async fn a_host_that_leaves_questions_unanswered_is_asked_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply(vec![host(1)]).await.unwrap();
    let mut session = Session::open(controller.channel().await, Known::default().hello("h1")).await.unwrap();
    session.update().await;
    let ask = || async {
        let mut diagnostics = DiagnosticsServiceClient::new(controller.channel().await);
        diagnostics.list_drops(ListDropsRequest::default()).await.unwrap().into_inner()
    };
    let errors = futures::future::join_all((0..70).map(|_| ask())).await;
    assert!(errors.iter().all(|drops| drops.errors.len() == 1));
    // Everybody has lost patience. Whoever asks now is answered.
    let answering = async {
        loop {
            let query = session.query().await;
            let answer = Some(answer::Answer::Drops(ListDropsResponse::default()));
            let answer = Answer { id: query.id, error: String::new(), answer };
            session.sender.send(said(agent_message::Message::Answer(answer))).await.unwrap();
        }
    };
    tokio::select! {
        () = answering => {}
        drops = ask() => assert!(drops.errors.is_empty(), "{drops:?}"),
    }
    controller.stop().await;
}

#[tokio::test]
async fn a_host_that_does_not_listen_costs_nothing_and_catches_up_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    two_tenants(&controller).await;
    let mut known = Known::default();
    let endpoint = tonic::transport::Channel::from_shared(format!("http://{}", controller.address)).unwrap();
    let channel = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
    let mut session = Session::open(channel, known.hello("h1")).await.unwrap();
    known.apply(session.update().await);
    // Each change of the group is some 20 kB for the host: 60 of them are far more than its window of 64 KiB.
    let ports: Vec<_> = (1..500_u16).map(|port| port.to_string()).collect();
    let ports: Vec<_> = ports.iter().map(String::as_str).collect();
    for round in 0..60 {
        controller.apply(vec![group("a", "web", &ports[..ports.len() - round % 2])]).await.unwrap();
    }
    let mut messages = 0;
    while known.revision < 61 {
        known.apply(session.update().await);
        messages += 1;
    }
    assert!(messages < 15, "{messages} updates were kept for a host that did not listen");
    let view = known.views.values().next().unwrap();
    assert_eq!(view.groups.values().next().unwrap().rules.len(), 498);
    controller.stop().await;
}

#[tokio::test]
async fn a_host_cannot_claim_what_it_was_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    two_tenants(&controller).await;
    let mut session = Session::open(controller.channel().await, Known::default().hello("h1")).await.unwrap();
    session.update().await;
    session.report(1_000).await;
    assert_eq!(controller.in_force("hosts/h1").await.applied_revision, 1);
    // What it does not know, it says.
    let unsupported = v1::Unsupported { network: A.to_owned(), what: "andromede.v1.Rule: field 15".to_owned() };
    let report =
        Report { applied_revision: 1, error: "no".to_owned(), unsupported: vec![unsupported; 99], ..Report::default() };
    session.sender.send(said(agent_message::Message::Report(report))).await.unwrap();
    let mut status = controller.status("hosts/h1").await;
    while status.error.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        status = controller.status("hosts/h1").await;
    }
    assert_eq!((status.unsupported.len(), status.unsupported[0].network.as_str()), (16, A), "bounded, as all it says");
    controller.stop().await;
}

/// What controllers and agents of each version said: messages one after the other, each behind its length.
const CONVERSATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/conversations");

/// The messages of a conversation.
fn messages<M: prost::Message + Default>(file: &Path) -> Vec<M> {
    let bytes = std::fs::read(file).unwrap();
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        messages.push(M::decode_length_delimited(&mut rest).unwrap());
    }
    messages
}

/// Every message of the controller's side: how an agent of the next version is shown what this one says.
#[tokio::test]
async fn what_a_controller_says_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply(everything()).await.unwrap();
    let hello = Hello { protocol_versions: vec![1, 2], ..Known::default().hello("h1") };
    let mut session = Session::open(controller.channel().await, hello).await.unwrap();
    let mut said_so_far = vec![controller_message::Message::Welcome(session.welcome.clone())];
    let mut until_update = async |session: &mut Session| {
        loop {
            let message = session.next().await.unwrap().unwrap();
            let last = matches!(message, controller_message::Message::Update(_));
            said_so_far.push(message);
            if last {
                return;
            }
        }
    };
    until_update(&mut session).await;
    controller.apply(vec![group("a", "web", &["8080"])]).await.unwrap();
    until_update(&mut session).await;
    let claimed = v1::Port { addresses: vec!["10.0.1.7".to_owned()], ..port_message("a", 13, Some(1)) };
    let claim = Claim { id: 3, written: vec![claimed], deleted: Vec::new() };
    session.sender.send(said(agent_message::Message::Claim(claim))).await.unwrap();
    let answer = loop {
        match session.next().await.unwrap().unwrap() {
            answer @ controller_message::Message::ClaimAnswer(_) => break answer,
            other => said_so_far.push(other),
        }
    };
    said_so_far.push(answer);
    let mut diagnostics = DiagnosticsServiceClient::new(controller.channel().await);
    let asking = tokio::spawn(async move { diagnostics.list_drops(ListDropsRequest::default()).await });
    let query = loop {
        match session.next().await.unwrap().unwrap() {
            query @ controller_message::Message::Query(_) => break query,
            other => said_so_far.push(other),
        }
    };
    said_so_far.push(query);
    asking.abort();
    assert!(said_so_far.iter().any(|message| matches!(message, controller_message::Message::NetworkPart(_))));
    if std::env::var_os("ANDROMEDE_RECORD").is_some() {
        let file = Path::new(CONVERSATIONS).join(env!("CARGO_PKG_VERSION")).join("controller.bin");
        let bytes = said_so_far
            .into_iter()
            .flat_map(|message| ControllerMessage { message: Some(message) }.encode_length_delimited_to_vec());
        std::fs::write(file, bytes.collect::<Vec<_>>()).unwrap();
    }
    controller.stop().await;
}

#[tokio::test]
async fn an_agent_of_an_earlier_version_is_understood() {
    for version in std::fs::read_dir(CONVERSATIONS).unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let controller = Controller::plaintext(folder.path()).await;
        controller.apply(everything()).await.unwrap();
        let mut conversation = messages::<AgentMessage>(&version.unwrap().path().join("agent.bin")).into_iter();
        let Some(agent_message::Message::Hello(hello)) = conversation.next().unwrap().message else {
            panic!("no hello")
        };
        let mut session = Session::open(controller.channel().await, hello).await.unwrap();
        while !matches!(session.next().await.unwrap().unwrap(), controller_message::Message::Update(_)) {}
        let mut heard = 0;
        for message in conversation {
            assert_eq!(unknown::find::<AgentMessage>(&message.encode_to_vec()), []);
            let claims = matches!(message.message, Some(agent_message::Message::Claim(_)));
            session.sender.send(message).await.unwrap();
            if claims {
                let answer = loop {
                    if let controller_message::Message::ClaimAnswer(answer) = session.next().await.unwrap().unwrap() {
                        break answer;
                    }
                };
                assert_eq!((answer.error.as_str(), answer.refused.len()), ("", 0), "{answer:?}");
                heard += 1;
            }
        }
        assert_eq!(heard, 1);
        let status = controller.in_force("hosts/h1").await;
        assert_eq!((status.ports_attached, status.error.as_str()), (1, ""), "{status:?}");
        controller.stop().await;
    }
}
