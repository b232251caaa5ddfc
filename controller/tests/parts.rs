//! Long messages between controller and host, in parts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::{
    agent::v1::{Answer, AnswerPart, NetworkView, Update, agent_message, answer, controller_message::Message},
    parts::{Joined, PART_BYTES},
    v1::{DropCount, ListDropsRequest, ListDropsResponse, diagnostics_service_client::DiagnosticsServiceClient},
};
use prost::Message as _;
use support::{
    Controller,
    bundle::{empty_tenant, group, host, port},
    host::{Known, Session, said},
};

/// Six groups of 10,000 rules: some 3 MB.
async fn large(controller: &Controller, first: u32) {
    let ports: Vec<String> = (first..first + 10_000).map(|port| port.to_string()).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    controller.apply((0..6).map(|number| group("a", &format!("g{number}"), &ports)).collect()).await.unwrap();
}

/// The next update, with the snapshots that came before it in parts, and how many parts those were.
async fn update(session: &mut Session) -> (Update, usize) {
    let (mut joined, mut snapshots, mut parts) = (Joined::default(), Vec::new(), 0);
    loop {
        match session.next().await.unwrap() {
            Some(Message::NetworkPart(part)) => {
                assert!(part.view.len() <= PART_BYTES);
                parts += 1;
                if let Some(bytes) = joined.push(&part.view, part.last, usize::MAX).unwrap() {
                    snapshots.push(NetworkView::decode(bytes.as_slice()).unwrap());
                }
            }
            Some(Message::Update(mut update)) => {
                assert!(update.encoded_len() < 4 * PART_BYTES && update.snapshots.is_empty());
                update.snapshots = snapshots;
                return (update, parts);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_large_network_comes_in_parts_and_so_does_a_large_change() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let mut bundle = vec![host(1), host(2)];
    bundle.extend(empty_tenant("a"));
    bundle.extend([port("a", 11, Some(1)), port("a", 12, Some(2))]);
    controller.apply(bundle).await.unwrap();
    large(&controller, 1).await;
    let (mut in_parts, mut whole) = (Known::default(), Known::default());
    let mut hello = in_parts.hello("h1");
    hello.protocol_versions = vec![1, 2];
    let mut new = Session::open(controller.channel().await, hello).await.unwrap();
    assert_eq!(new.welcome.protocol_version, 2);
    let mut old = Session::open(controller.channel().await, whole.hello("h2")).await.unwrap();
    assert_eq!(old.welcome.protocol_version, 1);
    let (told, parts) = update(&mut new).await;
    assert!(parts >= 2 && told.snapshots.len() == 1, "{parts}");
    in_parts.apply(told);
    whole.apply(old.update().await);
    assert_eq!(in_parts.views, whole.views);

    // A small change is a delta, and one that is longer than an update may be comes from scratch, in parts.
    controller.apply(vec![port("a", 13, Some(1))]).await.unwrap();
    let (told, parts) = update(&mut new).await;
    assert_eq!((told.deltas.len(), parts), (1, 0));
    in_parts.apply(told);
    whole.apply(old.update().await);
    large(&controller, 20_000).await;
    let (told, parts) = update(&mut new).await;
    assert!(told.deltas.is_empty() && parts >= 2, "{parts}");
    in_parts.apply(told);
    whole.apply(old.update().await);
    assert_eq!(in_parts.views, whole.views);
    controller.stop().await;
}

#[tokio::test]
async fn a_long_answer_comes_in_parts_and_an_endless_message_ends_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply(vec![host(1)]).await.unwrap();
    let mut hello = Known::default().hello("h1");
    hello.protocol_versions = vec![2];
    let mut session = Session::open(controller.channel().await, hello).await.unwrap();
    update(&mut session).await;
    let mut diagnostics = DiagnosticsServiceClient::new(controller.channel().await);
    let asking = tokio::spawn(async move { diagnostics.list_drops(ListDropsRequest::default()).await });
    let query = session.query().await;
    let counts = (0..1_000).map(|packets| DropCount { packets, ..DropCount::default() }).collect();
    let drops = ListDropsResponse { counts, ..ListDropsResponse::default() };
    let answer = Answer { id: query.id, error: String::new(), answer: Some(answer::Answer::Drops(drops)) };
    let bytes = answer.encode_to_vec();
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    for (id, answer, last) in [(query.id, first, false), (query.id + 1, first, false), (query.id, rest, true)] {
        let part = AnswerPart { id, answer: answer.to_vec(), last };
        session.sender.send(said(agent_message::Message::AnswerPart(part))).await.unwrap();
    }
    let drops = asking.await.unwrap().unwrap().into_inner();
    assert_eq!((drops.counts.len(), drops.counts[999].packets), (1_000, 999));
    let part = AnswerPart { id: 1, answer: vec![0; 5 << 20], last: false };
    session.sender.send(said(agent_message::Message::AnswerPart(part))).await.unwrap();
    assert!(session.next().await.is_err());
    controller.stop().await;
}
