//! The conversation with the controller, against one that the test plays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use andromede_agent::{
    config::{Config, ControllerAddress},
    diagnostics::Diagnostics,
    meter::Meters,
    session,
    shared::{Progress, Shared},
};
use andromede_proto::{
    agent::v1::{
        AgentMessage, Claim, ControllerMessage, NetworkDelta, NetworkPart, NetworkView, Query, Update, Welcome,
        agent_message, controller_message, query,
    },
    v1::{Host, Network, Port, Rule, SecurityGroup},
};
use common::{PATIENCE, Session};
use prost::Message as _;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};

const NETWORK: &str = "tenants/t/networks/n";

struct Trial {
    shared: Arc<Shared>,
    sessions: mpsc::Receiver<Session>,
    tasks: [JoinHandle<()>; 2],
    folder: tempfile::TempDir,
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn config(folder: &tempfile::TempDir, address: SocketAddr) -> Config {
    Config {
        address_quarantine: std::time::Duration::ZERO,
        host: "hosts/h1".parse().unwrap(),
        controller: ControllerAddress::new(&format!("http://{address}"), None, true).unwrap(),
        underlay: "none".to_owned(),
        vxlan_port: 4789,
        state: folder.path().join("state"),
        socket: folder.path().join("socket"),
    }
}

impl Trial {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(&folder, listener.local_addr().unwrap());
        let (sender, sessions) = mpsc::channel(8);
        let server = tokio::spawn(common::serve(listener, sender));
        let shared = Arc::new(Shared::open(config).unwrap());
        let diagnostics = Arc::new(Diagnostics::new("hosts/h1", Meters::open(&shared.config.state).unwrap()));
        let agent = tokio::spawn(session::keep(Arc::clone(&shared), diagnostics));
        Self { shared, sessions, tasks: [server, agent], folder }
    }

    async fn session(&mut self) -> Session {
        timeout(PATIENCE, self.sessions.recv()).await.expect("the agent dials").unwrap()
    }

    /// Waits until the agent holds a revision.
    async fn holds(&self, revision: u64) {
        let wait = async {
            while self.shared.held().revision != revision {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, wait).await.expect("the agent takes the update");
    }
}

fn snapshot(revision: u64) -> controller_message::Message {
    let network = Network { name: NETWORK.to_owned(), vni: 100, index: 1, ..Network::default() };
    let view = NetworkView { network: Some(network), ..NetworkView::default() };
    controller_message::Message::Update(Update { revision, snapshots: vec![view], ..Update::default() })
}

fn delta(network: &str, revision: u64) -> controller_message::Message {
    let delta = NetworkDelta { network: network.to_owned(), ..NetworkDelta::default() };
    controller_message::Message::Update(Update { revision, deltas: vec![delta], ..Update::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_stored_then_reported_and_named_in_the_next_hello() {
    let mut trial = Trial::new().await;
    let mut session = trial.session().await;
    let hello = session.hello().await;
    assert_eq!((hello.host.as_str(), hello.protocol_versions.as_slice()), ("h1", [1, 2].as_slice()));
    assert!(hello.networks.is_empty());
    session.welcome(7).await;
    session.say(snapshot(5)).await;
    trial.holds(5).await;

    // On disk, before anything is reported: a second agent would find it.
    let found = Shared::open(config(&trial.folder, "127.0.0.1:1".parse().unwrap())).unwrap().held();
    assert_eq!(*found, *trial.shared.held());
    assert_eq!((found.store_epoch, found.host.as_ref().map(|host| host.index)), (7, Some(3)));

    assert!(matches!(session.hear().await, agent_message::Message::Report(report) if report.applied_revision == 0));
    trial.shared.set_progress(Progress { applied_revision: 5, ports: 2, ports_attached: 1, ..Progress::default() });
    match session.hear().await {
        agent_message::Message::Report(report) => {
            assert_eq!((report.applied_revision, report.ports, report.ports_attached), (5, 2, 1));
        }
        other => panic!("{other:?}"),
    }

    drop(session);
    let mut session = trial.session().await;
    let hello = session.hello().await;
    assert_eq!((hello.store_epoch, hello.networks.get(NETWORK)), (7, Some(&5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_in_parts_is_in_force_with_the_update_behind_it() {
    let mut trial = Trial::new().await;
    let mut session = trial.session().await;
    session.hello().await;
    session.welcome(7).await;
    let controller_message::Message::Update(mut update) = snapshot(5) else { unreachable!() };
    let bytes = update.snapshots.remove(0).encode_to_vec();
    let (first, rest) = bytes.split_at(3);
    for (view, last) in [(first, false), (rest, true)] {
        let part = NetworkPart { view: view.to_vec(), last };
        session.say(controller_message::Message::NetworkPart(part)).await;
    }
    session.update(update).await;
    trial.holds(5).await;
    assert!(trial.shared.held().networks.contains_key(NETWORK));

    // An update in the middle of a network is none.
    let part = NetworkPart { view: first.to_vec(), last: false };
    session.say(controller_message::Message::NetworkPart(part)).await;
    session.update(Update { revision: 6, ..Update::default() }).await;
    let mut session = trial.session().await;
    assert_eq!(session.hello().await.networks.get(NETWORK), Some(&5));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_delta_that_does_not_fit_everything_is_asked_anew() {
    let mut trial = Trial::new().await;
    let mut session = trial.session().await;
    session.hello().await;
    session.welcome(7).await;
    session.say(snapshot(5)).await;
    session.say(delta("tenants/t/networks/other", 6)).await;
    let mut session = trial.session().await;
    assert_eq!(trial.shared.held().revision, 5, "the update that does not fit changed nothing");
    assert!(session.hello().await.networks.is_empty());
    session.welcome(7).await;
    // The answer stands for everything: the network is no longer held.
    session.say(controller_message::Message::Update(Update { revision: 8, ..Update::default() })).await;
    trial.holds(8).await;
    assert!(trial.shared.held().networks.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_of_another_store_epoch_are_forgotten_with_its_first_update() {
    let mut trial = Trial::new().await;
    let mut session = trial.session().await;
    session.hello().await;
    session.welcome(7).await;
    session.say(snapshot(5)).await;
    trial.holds(5).await;
    drop(session);
    let mut session = trial.session().await;
    session.hello().await;
    session.welcome(8).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(trial.shared.held().networks.len(), 1, "a welcome alone takes nothing away");
    session.say(controller_message::Message::Update(Update { revision: 2, ..Update::default() })).await;
    trial.holds(2).await;
    assert!(trial.shared.held().networks.is_empty());
    assert_eq!(trial.shared.held().store_epoch, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_by_their_number() {
    let mut trial = Trial::new().await;
    let mut session = trial.session().await;
    session.hello().await;
    session.welcome(7).await;
    let question = Some(query::Question::NetworkRows(NETWORK.to_owned()));
    session.say(controller_message::Message::Query(Query { id: 42, question })).await;
    loop {
        match session.hear().await {
            agent_message::Message::Answer(answer) => {
                assert_eq!(answer.id, 42);
                assert!(answer.error.contains("not loaded"), "{}", answer.error);
                break;
            }
            agent_message::Message::Report(_) => {}
            other => panic!("not a report: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_of_another_version_is_refused_in_words() {
    let mut trial = Trial::new().await;
    let mut session = trial.session().await;
    session.hello().await;
    let welcome = Welcome { protocol_version: 9, ..Welcome::default() };
    session.say(controller_message::Message::Welcome(welcome)).await;
    trial.session().await;
    let contact = trial.shared.contact();
    assert!(!contact.connected);
    assert!(contact.error.contains("version 9"), "{}", contact.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_does_not_know_is_refused_and_reported() {
    let mut trial = Trial::new().await;
    let mut session = trial.session().await;
    session.hello().await;
    session.welcome(7).await;
    session.say(snapshot(5)).await;
    trial.holds(5).await;
    session.hear().await;
    // The host's own record is of no network: nothing of the update is taken.
    let host = Host { name: "hosts/h1".to_owned(), index: 3, state: 99, ..Host::default() };
    session
        .update(Update { revision: 6, networks_left: vec![NETWORK.to_owned()], host: Some(host), ..Update::default() })
        .await;
    match session.hear().await {
        agent_message::Message::Report(report) => {
            assert!(report.error.contains("upgrade the agent"), "{}", report.error);
            assert_eq!(report.unsupported.len(), 1);
            assert_eq!(report.unsupported[0].what, "andromede.v1.Host.state: value 99");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((trial.shared.held().revision, trial.shared.held().networks.len()), (5, 1));
    // What comes next begins anew.
    session.say(delta(NETWORK, 7)).await;
    let mut session = trial.session().await;
    assert_eq!(session.hello().await.networks.get(NETWORK), Some(&5));
    session.welcome(7).await;
    // In a network only that network is concerned.
    let rule = Rule { name: "r".to_owned(), action: 44, ..Rule::default() };
    let group =
        SecurityGroup { name: format!("{NETWORK}/securityGroups/g"), rules: vec![rule], ..SecurityGroup::default() };
    let delta = NetworkDelta { network: NETWORK.to_owned(), written: vec![group.into()], ..NetworkDelta::default() };
    session.update(Update { revision: 8, deltas: vec![delta], ..Update::default() }).await;
    trial.holds(8).await;
    let unsupported = trial.shared.held().unsupported();
    assert_eq!(unsupported[0].what, "andromede.v1.Rule.action: value 44");
    trial.shared.set_progress(Progress { unsupported, ..Progress::default() });
    loop {
        if let agent_message::Message::Report(report) = session.hear().await
            && !report.unsupported.is_empty()
        {
            assert_eq!(report.unsupported[0].network, NETWORK);
            break;
        }
    }
}

/// What controllers and agents of each version said: messages one after the other, each behind its length.
const CONVERSATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/conversations");

/// The messages of a conversation.
fn messages(file: &Path) -> Vec<ControllerMessage> {
    let bytes = std::fs::read(file).unwrap();
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        messages.push(ControllerMessage::decode_length_delimited(&mut rest).unwrap());
    }
    messages
}

/// Every message of the agent's side: how a controller of the next version is shown what this one says.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_is_on_record() {
    let mut trial = Trial::new().await;
    let mut session = trial.session().await;
    let mut said = vec![agent_message::Message::Hello(session.hello().await)];
    session.welcome(7).await;
    session.say(snapshot(1)).await;
    trial.holds(1).await;
    said.push(session.hear().await);
    trial.shared.set_progress(Progress { applied_revision: 1, ports: 2, ports_attached: 1, ..Progress::default() });
    said.push(session.hear().await);
    let question = Some(query::Question::NetworkRows(NETWORK.to_owned()));
    session.say(controller_message::Message::Query(Query { id: 1, question })).await;
    said.push(session.hear().await);
    let port = Port {
        name: "tenants/a/networks/n/ports/p14".to_owned(),
        addresses: vec!["10.0.1.9".to_owned()],
        mac: "02:00:00:00:01:09".to_owned(),
        host: "hosts/h1".to_owned(),
        ..Port::default()
    };
    trial.shared.set_claim(Claim { id: 0, written: vec![port], deleted: Vec::new() });
    said.push(session.hear().await);
    trial.shared.set_progress(Progress { applied_revision: 1_000, ports: 2, ports_attached: 1, ..Progress::default() });
    said.push(session.hear().await);
    assert!(matches!(said.last(), Some(agent_message::Message::Report(_))), "{said:?}");
    if std::env::var_os("ANDROMEDE_RECORD").is_some() {
        let file = Path::new(CONVERSATIONS).join(env!("CARGO_PKG_VERSION")).join("agent.bin");
        let bytes = said
            .into_iter()
            .flat_map(|message| AgentMessage { message: Some(message) }.encode_length_delimited_to_vec());
        std::fs::write(file, bytes.collect::<Vec<_>>()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_of_an_earlier_version_is_understood() {
    for version in std::fs::read_dir(CONVERSATIONS).unwrap() {
        let mut trial = Trial::new().await;
        let mut session = trial.session().await;
        session.hello().await;
        let conversation = messages(&version.unwrap().path().join("controller.bin"));
        let revision = conversation.iter().rev().find_map(|message| match &message.message {
            Some(controller_message::Message::Update(update)) => Some(update.revision),
            _ => None,
        });
        for message in conversation {
            session.say(message.message.unwrap()).await;
        }
        trial.holds(revision.unwrap()).await;
        let held = trial.shared.held();
        let network = held.networks.get("tenants/a/networks/n").unwrap();
        let view = andromede_model::NetworkView::try_from(network.view.clone()).unwrap();
        assert_eq!((view.groups.len(), view.vteps.len(), view.operator_policies.len(), view.hosts.len()), (2, 1, 1, 2));
        assert_eq!(view.ports.len(), 3, "with the one that was claimed");
        // The question at its end is answered.
        while !matches!(session.hear().await, agent_message::Message::Answer(_)) {}
    }
}
