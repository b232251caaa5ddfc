//! The conversation with the controller: the agent dials, says what it holds, is told what it lacks, and reports.
//!
//! An update is first on disk, then reconciled, then reported. While the controller is away nothing changes on the host.

use std::{collections::HashMap, slice, sync::Arc, time::Duration};

use andromede_proto::{
    agent::v1::{AgentMessage, AnswerPart, Hello, Query, Report, Welcome, agent_message, controller_message},
    parts::{self, PART_BYTES},
    v1::Unsupported,
};
use prost::Message as _;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};

use crate::{
    certificate,
    claims::Claims,
    codec::{Heard, SessionCodec},
    diagnostics::Diagnostics,
    dial::{DialError, PATIENCE, connect},
    incoming::Incoming,
    pause::jittered,
    shared::{Contact, Progress, Shared},
    state::{disk::DiskError, held::FoldError, unknown::Told},
};

/// The method that is the conversation.
const SESSION: &str = "/andromede.agent.v1.AgentService/Session";

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
/// How long a session is kept open of which nothing can be taken, so that the controller can say why.
const REFUSING: Duration = Duration::from_secs(30);
/// Most updates that are stored at once.
const TOGETHER: usize = 256;
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
    /// It said what this agent does not know and must not pass over.
    #[error(
        "this agent does not know what the controller told it: {0}; upgrade the agent; until then it goes on with what it was told before"
    )]
    Unsupported(String),
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

enum Never {}

/// One session, until it breaks. With `complete` the agent claims to know nothing.
async fn run(shared: &Arc<Shared>, diagnostics: &Arc<Diagnostics>, complete: bool) -> Result<Never, SessionError> {
    let channel = connect(&shared.config).await?;
    let (outbox, messages) = mpsc::channel(OUTBOX);
    send(&outbox, agent_message::Message::Hello(hello(shared, complete))).await?;
    let opened = timeout(PATIENCE, open(channel, messages));
    let mut inbox = opened.await.map_err(|_| SessionError::Silent)??;
    let heard = timeout(PATIENCE, heard(&mut inbox)).await.map_err(|_| SessionError::Silent)??;
    let welcome = welcome(heard.message)?;
    let (store_epoch, version) = (welcome.store_epoch, welcome.protocol_version);
    let own = heard.unknown.into_iter().map(|unknown| unknown.what).collect::<Vec<_>>();
    if own.is_empty() {
        take_welcome(shared, welcome)?;
    }
    tracing::info!(controller = shared.config.controller.url, store_epoch, "session open");
    shared.set_contact(Contact { connected: true, error: String::new() });
    let conversation =
        Conversation { shared, diagnostics, outbox, store_epoch, version, incoming: Incoming::default(), ahead: None };
    if !own.is_empty() {
        return Err(conversation.refuse(&mut inbox, own).await?);
    }
    conversation.hold(&mut inbox, complete).await
}

/// Opens the stream in both directions.
async fn open(channel: Channel, messages: mpsc::Receiver<AgentMessage>) -> Result<Streaming<Heard>, SessionError> {
    let mut client =
        Grpc::new(channel).max_decoding_message_size(LARGEST_MESSAGE).max_encoding_message_size(LARGEST_MESSAGE);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let messages = Request::new(ReceiverStream::new(messages));
    let answer = client.streaming(messages, PathAndQuery::from_static(SESSION), SessionCodec).await?;
    Ok(answer.into_inner())
}

/// The next message.
async fn heard(inbox: &mut Streaming<Heard>) -> Result<Heard, SessionError> {
    inbox.message().await?.ok_or(SessionError::Closed)
}

/// The message that was read ahead, or else the next one.
async fn next(ahead: &mut Option<Heard>, inbox: &mut Streaming<Heard>) -> Result<Heard, SessionError> {
    match ahead.take() {
        Some(read) => Ok(read),
        None => heard(inbox).await,
    }
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
    /// A message that was read behind updates, and is something else.
    ahead: Option<Heard>,
}

impl Conversation<'_> {
    async fn hold(mut self, inbox: &mut Streaming<Heard>, mut complete: bool) -> Result<Never, SessionError> {
        let mut progress = self.shared.progress();
        progress.mark_changed();
        let mut claims = Claims::new(self.shared.claim());
        loop {
            if let Some(claim) = claims.due() {
                send(&self.outbox, agent_message::Message::Claim(claim)).await?;
            }
            tokio::select! {
                heard = next(&mut self.ahead, inbox) => {
                    let Heard { message, unknown } = heard?;
                    match message {
                        Some(controller_message::Message::NetworkPart(part)) if unknown.is_empty() => self.incoming.take(&part)?,
                        Some(controller_message::Message::Update(update)) => match Told::new(update, unknown) {
                            Ok(mut told) => {
                                self.incoming.complete(&mut told)?;
                                let updates = self.with_those_behind(told, inbox).await?;
                                take_updates(self.shared, self.store_epoch, &updates, complete)?;
                                complete = false;
                            }
                            Err(unknown) => return Err(self.refuse(inbox, unknown).await?),
                        },
                        Some(controller_message::Message::Query(query)) => self.answer(query),
                        Some(controller_message::Message::ClaimAnswer(answer)) => if let Some(claim) = claims.answered() {
                            self.shared.change_refusals(|refusals| refusals.answered(claim, answer));
                        },
                        Some(controller_message::Message::Welcome(_)) => return Err(SessionError::Unexpected("welcome twice")),
                        // A part of a network with more than a part has, or a message of a kind that is not known.
                        Some(controller_message::Message::NetworkPart(_)) | None => {
                            let unknown = unknown.into_iter().map(|unknown| unknown.what).collect();
                            return Err(self.refuse(inbox, unknown).await?);
                        }
                    }
                }
                () = claims.changed() => {}
                changed = progress.changed() => {
                    changed.map_err(|_| SessionError::Closed)?;
                    let report = report(&progress.borrow_and_update());
                    send(&self.outbox, agent_message::Message::Report(report)).await?;
                }
            }
        }
    }

    /// An update with those that came right behind it while earlier ones were stored: what waits is written to the disk once.
    async fn with_those_behind(
        &mut self,
        first: Told,
        inbox: &mut Streaming<Heard>,
    ) -> Result<Vec<Told>, SessionError> {
        let mut updates = vec![first];
        while updates.len() < TOGETHER && self.ahead.is_none() {
            let behind = tokio::select! {
                biased;
                heard = heard(inbox) => heard?,
                () = std::future::ready(()) => break,
            };
            match behind {
                Heard { message: Some(controller_message::Message::Update(update)), unknown } if unknown.is_empty() => {
                    updates.push(update.into());
                }
                other => self.ahead = Some(other),
            }
        }
        Ok(updates)
    }

    /// Tells the controller that nothing of what it said can be taken, and waits until it says something else, or long enough for
    /// somebody to ask why.
    async fn refuse(&self, inbox: &mut Streaming<Heard>, unknown: Vec<String>) -> Result<SessionError, SessionError> {
        let error = SessionError::Unsupported(unknown.join(", "));
        tracing::error!(%error, "update refused");
        let unsupported = |what| Unsupported { network: String::new(), what };
        let mut report = report(&self.shared.progress().borrow());
        report.error = error.to_string();
        report.unsupported.extend(unknown.into_iter().map(unsupported));
        send(&self.outbox, agent_message::Message::Report(report)).await?;
        let again = timeout(REFUSING, async {
            // Questions are answered meanwhile.
            while let Some(controller_message::Message::Query(query)) = heard(inbox).await?.message {
                self.answer(query);
            }
            Ok::<_, SessionError>(())
        });
        match again.await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Ok(error),
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

fn welcome(message: Option<controller_message::Message>) -> Result<Welcome, SessionError> {
    match message {
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

/// Stores updates together. If one of them cannot be followed, those before it count nevertheless.
fn take_updates(shared: &Shared, store_epoch: u64, updates: &[Told], complete: bool) -> Result<(), SessionError> {
    match store(shared, store_epoch, updates, complete) {
        Err(SessionError::Fold(_)) if updates.len() > 1 => updates
            .iter()
            .enumerate()
            .try_for_each(|(number, told)| store(shared, store_epoch, slice::from_ref(told), complete && number == 0)),
        stored => stored,
    }
}

fn store(shared: &Shared, store_epoch: u64, updates: &[Told], complete: bool) -> Result<(), SessionError> {
    tokio::task::block_in_place(|| {
        shared.tell(|held, store| {
            let touched = held.fold(store_epoch, updates, complete)?;
            store.save(held, &touched)?;
            let (networks, left) = (touched.written.len(), touched.left.len());
            tracing::info!(revision = held.revision, updates = updates.len(), networks, left, "updates stored");
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
        unsupported: progress.unsupported.clone(),
    }
}
