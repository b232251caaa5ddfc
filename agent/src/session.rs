//! The conversation with the controller: the agent dials, says what it holds, is told what it lacks, and reports.
//!
//! An update is first on disk, then reconciled, then reported. While the controller is away nothing changes on the host.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use andromede_abi::maps;
use andromede_proto::{
    agent::v1::{
        AgentMessage, AnswerPart, ControllerMessage, Hello, Query, Report, Update, Welcome, agent_message,
        agent_service_client::AgentServiceClient, controller_message,
    },
    parts::{self, PART_BYTES},
};
use prost::Message as _;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    certificate,
    claims::Claims,
    diagnostics::Diagnostics,
    dial::{DialError, PATIENCE, connect},
    incoming::Incoming,
    shared::{Contact, Progress, Shared},
    state::{disk::DiskError, held::FoldError},
};

/// Versions of the conversation. In version 2 long messages come in parts.
const PROTOCOLS: [u32; 2] = [1, 2];
/// The first version with parts.
const PARTS: u32 = 2;
/// Largest message that is taken, bytes: in version 1 a snapshot of all networks of a host.
const LARGEST_MESSAGE: usize = 256 << 20;
/// First and longest pause before another attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
/// A session that lasted this long was a good one: the next attempt comes soon. Two agents under one name end each other's sessions, and
/// must not do so five times a second.
const GOOD: Duration = Duration::from_secs(10);
/// Messages that wait to be sent.
const OUTBOX: usize = 64;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No connection, or no certificate for one.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The controller refused or the connection broke.
    #[error("the controller ended the session: {}", words(.0))]
    Status(#[from] Box<tonic::Status>),
    /// The controller closed the stream.
    #[error("the controller closed the session")]
    Closed,
    /// It said something else than it should.
    #[error("the controller said {0}")]
    Unexpected(&'static str),
    /// It did not answer.
    #[error("the controller did not answer the first message within {} seconds", PATIENCE.as_secs())]
    Silent,
    /// It speaks another version.
    #[error(
        "the controller speaks version {0} of the conversation, this agent versions {PROTOCOLS:?}; upgrade the older one"
    )]
    Version(u32),
    /// Its updates cannot be followed.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The update could not be stored.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What the controller said; the code alone where it said nothing.
fn words(status: &tonic::Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    }
}

impl From<tonic::Status> for SessionError {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Keeps a session open for ever, and the certificate for the next one fresh.
pub async fn keep(shared: Arc<Shared>, diagnostics: Arc<Diagnostics>) {
    tokio::select! {
        () = certificate::keep_fresh(&shared.config) => {}
        () = keep_open(&shared, &diagnostics) => {}
    }
}

async fn keep_open(shared: &Arc<Shared>, diagnostics: &Arc<Diagnostics>) {
    let mut pause = PAUSE_FIRST;
    let mut complete = false;
    loop {
        let begun = Instant::now();
        let error = match run(shared, diagnostics, complete).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        // After an update that could not be followed everything is asked anew.
        complete = matches!(error, SessionError::Fold(_));
        if begun.elapsed() >= GOOD {
            pause = PAUSE_FIRST;
        }
        tracing::warn!(%error, retry_ms = pause.as_millis(), "no session with the controller");
        shared.set_contact(Contact { connected: false, error: error.to_string() });
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

/// Between half of the pause and the whole, so that hosts do not come back in step.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let part = random % 1024;
    pause / 2 + pause / 2 * u32::try_from(part).unwrap_or(0) / 1024
}

enum Never {}

/// One session, until it breaks. With `complete` the agent claims to know nothing.
async fn run(shared: &Arc<Shared>, diagnostics: &Arc<Diagnostics>, complete: bool) -> Result<Never, SessionError> {
    let channel = connect(&shared.config).await?;
    let mut client = AgentServiceClient::new(channel)
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE);
    let (outbox, messages) = mpsc::channel(OUTBOX);
    send(&outbox, agent_message::Message::Hello(hello(shared, complete))).await?;
    let opened = timeout(PATIENCE, client.session(ReceiverStream::new(messages)));
    let mut inbox = opened.await.map_err(|_| SessionError::Silent)??.into_inner();
    let welcome = timeout(PATIENCE, receive_welcome(&mut inbox)).await.map_err(|_| SessionError::Silent)??;
    let (store_epoch, version) = (welcome.store_epoch, welcome.protocol_version);
    take_welcome(shared, welcome)?;
    tracing::info!(controller = shared.config.controller.url, store_epoch, "session open");
    shared.set_contact(Contact { connected: true, error: String::new() });
    let conversation =
        Conversation { shared, diagnostics, outbox, store_epoch, version, incoming: Incoming::default() };
    conversation.hold(&mut inbox, complete).await
}

/// An open session.
struct Conversation<'a> {
    shared: &'a Arc<Shared>,
    diagnostics: &'a Arc<Diagnostics>,
    outbox: mpsc::Sender<AgentMessage>,
    store_epoch: u64,
    /// Version of the conversation.
    version: u32,
    /// Snapshots that came in parts.
    incoming: Incoming,
}

impl Conversation<'_> {
    async fn hold(
        mut self,
        inbox: &mut Streaming<ControllerMessage>,
        mut complete: bool,
    ) -> Result<Never, SessionError> {
        let mut progress = self.shared.progress();
        progress.mark_changed();
        let mut claims = Claims::new(self.shared.claim());
        loop {
            if let Some(claim) = claims.due() {
                send(&self.outbox, agent_message::Message::Claim(claim)).await?;
            }
            tokio::select! {
                message = inbox.message() => match message?.and_then(|message| message.message) {
                    Some(controller_message::Message::NetworkPart(part)) => self.incoming.take(&part)?,
                    Some(controller_message::Message::Update(mut update)) => {
                        self.incoming.complete(&mut update)?;
                        take_update(self.shared, self.store_epoch, &update, complete)?;
                        complete = false;
                    }
                    Some(controller_message::Message::Query(query)) => self.answer(query),
                    Some(controller_message::Message::ClaimAnswer(answer)) => if let Some(claim) = claims.answered() {
                        self.shared.change_refusals(|refusals| refusals.answered(claim, answer));
                    },
                    Some(controller_message::Message::Welcome(_)) => return Err(SessionError::Unexpected("welcome twice")),
                    None => return Err(SessionError::Closed),
                },
                () = claims.changed() => {}
                changed = progress.changed() => {
                    changed.map_err(|_| SessionError::Closed)?;
                    let report = report(&progress.borrow_and_update());
                    send(&self.outbox, agent_message::Message::Report(report)).await?;
                }
            }
        }
    }

    /// Answers beside the conversation: tables may be large.
    fn answer(&self, query: Query) {
        let (diagnostics, outbox) = (Arc::clone(self.diagnostics), self.outbox.clone());
        let in_parts = self.version >= PARTS;
        tokio::spawn(async move {
            let answer = diagnostics.answer(query).await;
            if !in_parts || answer.encoded_len() <= PART_BYTES {
                return send(&outbox, agent_message::Message::Answer(answer)).await;
            }
            let bytes = answer.encode_to_vec();
            for (part, last) in parts::cut(&bytes) {
                let part = AnswerPart { id: answer.id, answer: part.to_vec(), last };
                send(&outbox, agent_message::Message::AnswerPart(part)).await?;
            }
            Ok(())
        });
    }
}

async fn send(outbox: &mpsc::Sender<AgentMessage>, message: agent_message::Message) -> Result<(), SessionError> {
    outbox.send(AgentMessage { message: Some(message) }).await.map_err(|_| SessionError::Closed)
}

async fn receive_welcome(inbox: &mut Streaming<ControllerMessage>) -> Result<Welcome, SessionError> {
    let message = inbox.message().await?.ok_or(SessionError::Closed)?;
    match message.message {
        Some(controller_message::Message::Welcome(welcome)) if PROTOCOLS.contains(&welcome.protocol_version) => {
            Ok(welcome)
        }
        Some(controller_message::Message::Welcome(welcome)) => Err(SessionError::Version(welcome.protocol_version)),
        _ => Err(SessionError::Unexpected("something before its welcome")),
    }
}

fn hello(shared: &Shared, complete: bool) -> Hello {
    let held = shared.held();
    Hello {
        host: shared.config.host_id().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol_versions: PROTOCOLS.to_vec(),
        layouts: maps::ALL.iter().map(|table| (table.name.to_owned(), table.layout)).collect(),
        networks: if complete { HashMap::new() } else { held.revisions().collect() },
        store_epoch: held.store_epoch,
    }
}

/// The host's own record is taken at once; the epoch only with the first update, which tells what belongs to it.
fn take_welcome(shared: &Shared, welcome: Welcome) -> Result<(), SessionError> {
    let Some(host) = &welcome.host else { return Ok(()) };
    if host.name != shared.config.host.as_str() {
        let (told, own) = (host.name.clone(), shared.config.host.to_string());
        return Err(FoldError::OtherHost { told, own }.into());
    }
    if shared.held().host == welcome.host {
        return Ok(());
    }
    shared.tell(|held, store| {
        held.host = welcome.host;
        store.save_meta(held).map_err(SessionError::from)
    })
}

fn take_update(shared: &Shared, store_epoch: u64, update: &Update, complete: bool) -> Result<(), SessionError> {
    tokio::task::block_in_place(|| {
        shared.tell(|held, store| {
            let touched = held.fold(store_epoch, update, complete)?;
            store.save(held, &touched)?;
            tracing::info!(
                revision = update.revision,
                networks = touched.written.len(),
                left = touched.left.len(),
                "update stored"
            );
            Ok(())
        })
    })
}

fn report(progress: &Progress) -> Report {
    Report {
        applied_revision: progress.applied_revision,
        error: progress.trouble(),
        ports: progress.ports,
        ports_attached: progress.ports_attached,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_keep_within_bounds() {
        for pause in [PAUSE_FIRST, PAUSE_LONGEST] {
            for _ in 0..100 {
                let drawn = jittered(pause);
                assert!(drawn >= pause / 2 && drawn <= pause, "{drawn:?}");
            }
        }
    }
}
