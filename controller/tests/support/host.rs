//! A host's agent as the controller sees it: it holds the views that it was told, and reports.

use std::collections::BTreeMap;

use andromede_model::{HostName, NetworkName, NetworkView, ViewDelta};
use andromede_proto::{
    agent::v1::{
        AgentMessage, Claim, ClaimAnswer, ControllerMessage, Hello, Query, Report, Update, Welcome, agent_message,
        agent_service_client::AgentServiceClient, controller_message, query,
    },
    v1,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// What the host knows; it survives sessions.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub store_epoch: u64,
    pub views: BTreeMap<NetworkName, NetworkView>,
    pub record: Option<v1::Host>,
    pub revision: u64,
}

impl Known {
    pub fn hello(&self, host: &str) -> Hello {
        Hello {
            host: host.to_owned(),
            version: "test".to_owned(),
            protocol_versions: vec![1],
            networks: self.views.iter().map(|(name, view)| (name.to_string(), view.revision)).collect(),
            store_epoch: self.store_epoch,
        }
    }

    pub fn apply(&mut self, update: Update) {
        for name in update.networks_left {
            self.views.remove(&name.parse::<NetworkName>().unwrap()).unwrap();
        }
        for snapshot in update.snapshots {
            let view = NetworkView::try_from(snapshot).unwrap();
            self.views.insert(view.network.name.clone(), view);
        }
        for delta in update.deltas {
            let delta = ViewDelta::try_from(delta).unwrap();
            self.views.get_mut(&delta.network).unwrap().apply(&delta, update.revision);
        }
        for view in self.views.values_mut() {
            view.revision = update.revision;
        }
        self.record = update.host.or(self.record.take());
        self.revision = update.revision;
    }

    pub fn holds(&self, network: &str) -> bool {
        self.views.contains_key(&network.parse::<NetworkName>().unwrap())
    }
}

/// An open session.
pub struct Session {
    pub sender: mpsc::Sender<AgentMessage>,
    pub inbound: Streaming<ControllerMessage>,
    pub welcome: Welcome,
}

pub fn said(message: agent_message::Message) -> AgentMessage {
    AgentMessage { message: Some(message) }
}

impl Session {
    pub async fn open(channel: Channel, hello: Hello) -> Result<Self, Status> {
        let (sender, receiver) = mpsc::channel(16);
        sender.send(said(agent_message::Message::Hello(hello))).await.unwrap();
        let mut client = AgentServiceClient::new(channel).max_decoding_message_size(64 << 20);
        let mut inbound = client.session(ReceiverStream::new(receiver)).await?.into_inner();
        match inbound.message().await?.and_then(|message| message.message) {
            Some(controller_message::Message::Welcome(welcome)) => Ok(Self { sender, inbound, welcome }),
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// The next message. That hosts are asked every ten seconds what they counted is passed over: it may come at any time.
    pub async fn next(&mut self) -> Result<Option<controller_message::Message>, Status> {
        loop {
            let message = self.inbound.message().await?.and_then(|message| message.message);
            let usage = |query: &Query| matches!(query.question, Some(query::Question::Usage(_)));
            if !matches!(&message, Some(controller_message::Message::Query(query)) if usage(query)) {
                return Ok(message);
            }
        }
    }

    pub async fn update(&mut self) -> Update {
        match self.next().await.unwrap() {
            Some(controller_message::Message::Update(update)) => update,
            other => panic!("no update but {other:?}"),
        }
    }

    pub async fn query(&mut self) -> Query {
        match self.next().await.unwrap() {
            Some(controller_message::Message::Query(query)) => query,
            other => panic!("no query but {other:?}"),
        }
    }

    /// Claims, and says what was wrong.
    pub async fn claim(&mut self, claim: Claim, known: &mut Known) -> String {
        let answer = self.ask_claim(claim, known).await;
        let refused = answer.refused.into_iter().map(|refused| format!("{}: {}", refused.port, refused.reason));
        [answer.error].into_iter().chain(refused).collect()
    }

    /// Claims, and waits for the answer; updates that come before it are applied.
    pub async fn ask_claim(&mut self, claim: Claim, known: &mut Known) -> ClaimAnswer {
        let id = claim.id;
        self.sender.send(said(agent_message::Message::Claim(claim))).await.unwrap();
        loop {
            match self.next().await.unwrap() {
                Some(controller_message::Message::Update(update)) => known.apply(update),
                Some(controller_message::Message::ClaimAnswer(answer)) if answer.id == id => return answer,
                other => panic!("no answer but {other:?}"),
            }
        }
    }

    pub async fn report(&self, applied_revision: u64) {
        let report = Report { applied_revision, ..Report::default() };
        self.sender.send(said(agent_message::Message::Report(report))).await.unwrap();
    }
}

pub fn host_name(host: &str) -> HostName {
    host.parse().unwrap()
}
