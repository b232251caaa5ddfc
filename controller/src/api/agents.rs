//! The service that agents dial.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use andromede_model::HostName;
use andromede_proto::agent::v1::{
    AgentMessage, ControllerMessage, Hello, agent_message, agent_service_server::AgentService, controller_message,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::broken;
use crate::{
    access::{Principal, Role, caller},
    denials::Denials,
    publish::Publisher,
    registry::Registry,
    session::{Outbound, Session},
    writer::Writer,
};

/// The method.
const SESSION: &str = "/andromede.agent.v1.AgentService/Session";
/// How long an agent may take to say hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// The service over the published state and the registry.
#[derive(Clone, Debug)]
pub struct Agents {
    /// The published state.
    pub publisher: Arc<Publisher>,
    /// Where sessions are entered.
    pub registry: Arc<Registry>,
    /// The way to the store, for what hosts claim.
    pub writer: Writer,
    /// Epoch of the store: revisions that a host knows from another epoch say nothing.
    pub store_epoch: u64,
    /// Where sessions that are denied are counted: their status comes behind the headers, where the guard does not look.
    pub denials: Arc<Denials>,
    /// Principals that opened a stream and have not said hello yet: one stream each.
    pub silent: Arc<Mutex<BTreeSet<String>>>,
}

/// A stream that waits for its hello.
struct Silent<'a> {
    of: &'a Agents,
    name: String,
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        self.of.silent().remove(&self.name);
    }
}

#[tonic::async_trait]
impl AgentService for Agents {
    type SessionStream = ReceiverStream<Result<ControllerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let principal = caller(&request)?.principal;
        let inbound = request.into_inner();
        let (out, stream) = mpsc::channel(1);
        // The answer's headers go out at once: a client may want them before it says hello.
        tokio::spawn(self.clone().converse(principal, inbound, out).in_current_span());
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Agents {
    fn silent(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a stream that waits for its hello. Nobody knows who is who without certificates: then there is no limit.
    fn wait(&self, principal: &Principal) -> Result<Silent<'_>, Status> {
        let name = principal.to_string();
        if principal.role != Role::Anonymous && !self.silent().insert(name.clone()) {
            return Err(Status::resource_exhausted(format!(
                "{name} has a stream already that waits for its hello; say it, or end that stream"
            )));
        }
        Ok(Silent { of: self, name })
    }

    async fn converse(self, principal: Principal, mut inbound: Streaming<AgentMessage>, out: Outbound) {
        let said = match self.wait(&principal) {
            Ok(_silent) => hello(&mut inbound).await,
            Err(status) => Err(status),
        };
        let opened = said.and_then(|hello| self.open(&principal, &hello));
        match opened {
            Ok((session, welcome)) => {
                let message = Some(controller_message::Message::Welcome(welcome));
                if out.send(Ok(ControllerMessage { message })).await.is_ok() {
                    session.run(inbound, out).await;
                }
            }
            Err(status) => {
                if status.code() == Code::PermissionDenied {
                    self.denials.count(&principal.to_string(), SESSION);
                }
                tracing::warn!(%principal, code = ?status.code(), reason = status.message(), "session refused");
                // The agent may have gone already.
                drop(out.send(Err(status)).await);
            }
        }
    }

    fn open(
        &self,
        principal: &Principal,
        hello: &Hello,
    ) -> Result<(Session, andromede_proto::agent::v1::Welcome), Status> {
        let host = format!("hosts/{}", hello.host).parse::<HostName>();
        let host = host.map_err(|error| crate::errors::invalid(&[error.violation("hello.host")]))?;
        let own = matches!(principal.role, Role::Host(_)) && principal.name == host.id();
        if !own && principal.role != Role::Anonymous {
            return Err(Status::permission_denied(format!(
                "hello.host: {:?}: the certificate is that of {principal}; a host opens a session under its own name only",
                hello.host
            )));
        }
        let model = self.publisher.model();
        if model.host(&host).is_some_and(|found| !principal.is_host(&host, found.index)) {
            let refused = format!("the certificate was issued to an earlier host named {host}; join anew");
            return Err(Status::permission_denied(refused));
        }
        Session::open(hello, host, self.store_epoch, &self.publisher, &self.registry, &self.writer)
    }
}

/// The first message, which must be a hello.
async fn hello(inbound: &mut Streaming<AgentMessage>) -> Result<Hello, Status> {
    let late = |_| Status::deadline_exceeded("no hello came within 10 seconds");
    let message = timeout(HELLO_PATIENCE, inbound.message()).await.map_err(late)??;
    match message.and_then(|message| message.message) {
        Some(agent_message::Message::Hello(hello)) => Ok(hello),
        _ => Err(broken("message", "", "the first message of a session is a hello", "send hello first")),
    }
}
