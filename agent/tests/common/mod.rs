//! A controller that the test plays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, reason = "tests; each uses a part")]

pub(crate) mod machine;
pub(crate) mod views;

use std::time::Duration;

use andromede_proto::{
    agent::v1::{
        AgentMessage, ControllerMessage, Hello, Update, Welcome, agent_message,
        agent_service_server::{AgentService, AgentServiceServer},
        controller_message,
    },
    v1::Host,
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// How long the agent may take to say something.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

type Outbox = mpsc::Sender<Result<ControllerMessage, Status>>;

/// One session, as the controller sees it.
pub(crate) struct Session {
    inbox: Streaming<AgentMessage>,
    outbox: Outbox,
}

impl Session {
    pub(crate) async fn hear(&mut self) -> agent_message::Message {
        let message = timeout(PATIENCE, self.inbox.message()).await.expect("the agent says something");
        message.unwrap().unwrap().message.unwrap()
    }

    pub(crate) async fn hello(&mut self) -> Hello {
        match self.hear().await {
            agent_message::Message::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn say(&self, message: controller_message::Message) {
        self.outbox.send(Ok(ControllerMessage { message: Some(message) })).await.unwrap();
    }

    /// Welcomes host `h1`, number 3, at 192.0.2.1.
    pub(crate) async fn welcome(&self, store_epoch: u64) {
        self.say(welcome(store_epoch)).await;
    }

    /// Hears the agent's first message and welcomes it; no if its agent is gone.
    pub(crate) async fn greet(&mut self, store_epoch: u64) -> bool {
        match timeout(PATIENCE, self.inbox.message()).await.expect("the agent says something, or goes") {
            Ok(Some(AgentMessage { message: Some(agent_message::Message::Hello(_)) })) => {
                self.outbox.send(Ok(ControllerMessage { message: Some(welcome(store_epoch)) })).await.is_ok()
            }
            Ok(Some(other)) => panic!("{other:?}"),
            Ok(None) | Err(_) => false,
        }
    }

    pub(crate) async fn update(&self, update: Update) {
        self.say(controller_message::Message::Update(update)).await;
    }

    /// Hears until a report of this revision comes.
    pub(crate) async fn applied(&mut self, revision: u64) {
        loop {
            if let agent_message::Message::Report(report) = self.hear().await
                && report.applied_revision == revision
                && report.error.is_empty()
            {
                return;
            }
        }
    }
}

fn welcome(store_epoch: u64) -> controller_message::Message {
    let underlay_address = "192.0.2.1".to_owned();
    let host = Host { name: "hosts/h1".to_owned(), index: 3, underlay_address, ..Host::default() };
    controller_message::Message::Welcome(Welcome { protocol_version: 1, store_epoch, host: Some(host) })
}

/// A controller that hands every session to the test.
struct Controller(mpsc::Sender<Session>);

#[tonic::async_trait]
impl AgentService for Controller {
    type SessionStream = ReceiverStream<Result<ControllerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (outbox, messages) = mpsc::channel(8);
        let session = Session { inbox: request.into_inner(), outbox };
        self.0.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// Serves on a listener; every session is handed out.
pub(crate) async fn serve(listener: TcpListener, sessions: mpsc::Sender<Session>) {
    let service = AgentServiceServer::new(Controller(sessions));
    let incoming = TcpListenerStream::new(listener);
    tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
}
