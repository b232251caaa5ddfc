//! One session of one agent: its updates, its questions, its reports.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use andromede_model::{Host, HostName, NetworkName};
use andromede_proto::{
    agent::v1::{
        AgentMessage, Answer, AnswerPart, Claim, ClaimAnswer, ControllerMessage, Hello, Query, Welcome, agent_message,
        answer, controller_message,
    },
    parts::Joined,
};
use prost::Message as _;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tonic::{Status, Streaming};

use crate::{
    claim,
    publish::{Cursor, Publisher},
    registry::{Ask, AskError, Registry},
    telling::{Telling, whole},
    writer::Writer,
};

/// The versions of the conversation that this program speaks. In version 2 long messages come in parts.
pub const PROTOCOL_VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// Most bytes of the answers that a host is telling in parts: full tables of a network, for a trace.
const ANSWER_BYTES: usize = 256 << 20;
/// Most questions that wait for an answer of the host.
const UNANSWERED: usize = 64;

/// Messages on their way to the host. One slot: an update is made only when there is room, so a slow host has at most
/// one waiting, and everything that happens meanwhile goes into the next.
pub type Outbound = mpsc::Sender<Result<ControllerMessage, Status>>;

/// An open session.
#[derive(Debug)]
pub struct Session {
    host: HostName,
    number: u64,
    publisher: Arc<Publisher>,
    registry: Arc<Registry>,
    /// Changes with the last revision that concerns the host; closed when the host is deleted.
    wanted: watch::Receiver<u64>,
    cursor: Cursor,
    asks: mpsc::Receiver<Ask>,
    /// Questions that were sent, by their number.
    unanswered: HashMap<u64, oneshot::Sender<Result<answer::Answer, AskError>>>,
    next_query: u64,
    /// Questions that wait for room.
    queries: VecDeque<Query>,
    /// Answers of which parts are yet to come.
    parts: HashMap<u64, Joined>,
    /// Does the host speak a version with parts?
    in_parts: bool,
    /// The update that is being told.
    telling: Option<Telling>,
    writer: Writer,
    /// A claim of the host that is being carried out.
    claim: Option<JoinHandle<ClaimAnswer>>,
    /// The last revision that the host was told: it cannot have applied a later one.
    told: u64,
    /// Is there, perhaps, something to tell the host?
    due: bool,
    /// Has the host been told a revision in this session?
    greeted: bool,
}

impl Session {
    /// Opens a session for a host that said hello, ends the one before it, and gives the welcome.
    pub fn open(
        hello: &Hello,
        host: HostName,
        store_epoch: u64,
        publisher: &Arc<Publisher>,
        registry: &Arc<Registry>,
        writer: &Writer,
    ) -> Result<(Self, Welcome), Status> {
        let common =
            hello.protocol_versions.iter().copied().filter(|version| PROTOCOL_VERSIONS.contains(version)).max();
        let Some(protocol_version) = common else {
            return Err(Status::failed_precondition(format!(
                "hello.protocol_versions: {:?}: this controller speaks versions {PROTOCOL_VERSIONS:?}; run an agent that speaks one of them",
                hello.protocol_versions
            )));
        };
        let unknown =
            || Status::not_found(format!("{host} does not exist; declare it with `andromedectl apply` (kind: Host)"));
        let record = publisher.model().host(&host).cloned().ok_or_else(unknown)?;
        if record.is_fenced() {
            return Err(fenced(&host));
        }
        let wanted = publisher.follow(&host).ok_or_else(unknown)?;
        let networks = known_networks(hello, store_epoch)?;
        let head = publisher.model().revision();
        if let Some((network, known)) = networks.iter().find(|(_, known)| **known > head && **known != Cursor::UNKNOWN)
        {
            tracing::error!(
                %host, %network, known, head, store_epoch,
                "the host knows a later revision than the store: was a backup restored without `andromede-controller new-epoch`? \
                 Stop the controller, run it, and start again; until then this host gets snapshots, and others may keep what the store has lost"
            );
        }
        let (number, asks) = registry.open(host.as_str(), &hello.version);
        tracing::info!(%host, version = %hello.version, networks = networks.len(), "session open");
        let session = Self {
            host,
            number,
            publisher: Arc::clone(publisher),
            registry: Arc::clone(registry),
            wanted,
            cursor: Cursor::new(networks),
            asks,
            unanswered: HashMap::new(),
            next_query: 1,
            queries: VecDeque::new(),
            parts: HashMap::new(),
            in_parts: protocol_version >= 2,
            telling: None,
            writer: writer.clone(),
            claim: None,
            told: 0,
            due: true,
            greeted: false,
        };
        let welcome = Welcome { protocol_version, store_epoch, host: Some(record.into()) };
        Ok((session, welcome))
    }

    /// Runs until the host goes, another session takes its place, or the host is deleted.
    pub async fn run(mut self, mut inbound: Streaming<AgentMessage>, outbound: Outbound) {
        let end = loop {
            tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(message)) => if let Err(status) = self.hear(message) { break status },
                    Ok(None) => break Status::cancelled("the host ended the session"),
                    Err(status) => break status,
                },
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.due = true,
                    Err(_) => break self.gone(),
                },
                permit = outbound.reserve(), if self.due || self.telling.is_some() || !self.queries.is_empty() => {
                    let Ok(permit) = permit else { break Status::cancelled("the connection closed") };
                    match self.next().await {
                        Ok(Some(message)) => permit.send(Ok(whole(message))),
                        Ok(None) => {}
                        Err(status) => break status,
                    }
                },
                answer = claimed(&mut self.claim) => {
                    let message = controller_message::Message::ClaimAnswer(answer);
                    if outbound.send(Ok(whole(message))).await.is_err() {
                        break Status::cancelled("the connection closed");
                    }
                }
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.ask(ask),
                    None => break self.replaced(),
                },
            }
        };
        tracing::info!(host = %self.host, reason = end.message(), "session closed");
        // Without room the stream ends without the reason.
        drop(outbound.try_send(Err(end)));
    }

    /// Why the registry dropped the session.
    fn replaced(&self) -> Status {
        if self.publisher.model().host(&self.host).is_none_or(Host::is_fenced) {
            return self.gone();
        }
        Status::aborted("another session of this host took over, or the controller is ending")
    }

    fn gone(&self) -> Status {
        if self.publisher.model().host(&self.host).is_some_and(Host::is_fenced) {
            return fenced(&self.host);
        }
        Status::not_found(format!("{} was deleted", self.host))
    }

    /// What the host said.
    fn hear(&mut self, message: AgentMessage) -> Result<(), Status> {
        match message.message {
            Some(agent_message::Message::Report(mut report)) => {
                report.applied_revision = report.applied_revision.min(self.told);
                self.registry.report(self.host.as_str(), self.number, &report);
                return Ok(());
            }
            Some(agent_message::Message::Claim(claim)) => self.begin_claim(claim)?,
            Some(agent_message::Message::Answer(answer)) => self.answer(answer),
            Some(agent_message::Message::AnswerPart(part)) => self.answer_part(&part),
            // A second hello says nothing new, and a message of a newer agent nothing that was asked for.
            Some(agent_message::Message::Hello(_)) | None => {}
        }
        self.registry.seen(self.host.as_str(), self.number);
        Ok(())
    }

    /// Carries a claim out beside the conversation: the store may be slow.
    fn begin_claim(&mut self, claim: Claim) -> Result<(), Status> {
        if self.claim.is_some() {
            return Err(Status::failed_precondition("a host waits for the answer to a claim before it makes another"));
        }
        self.claim = Some(tokio::spawn(claim::carry_out(self.writer.clone(), self.host.clone(), claim)));
        Ok(())
    }

    /// Hands an answer to whoever asked.
    fn answer(&mut self, answer: Answer) {
        let Some(reply) = self.unanswered.remove(&answer.id) else { return };
        let result = match answer.answer {
            _ if !answer.error.is_empty() => Err(AskError::Refused(answer.error)),
            Some(answer) => Ok(answer),
            None => Err(AskError::Unfit),
        };
        // Whoever asked may have lost patience.
        drop(reply.send(result));
    }

    /// Takes a part of an answer in, of a question that still waits for it.
    fn answer_part(&mut self, part: &AnswerPart) {
        if self.unanswered.get(&part.id).is_none_or(oneshot::Sender::is_closed) {
            self.parts.remove(&part.id);
            return;
        }
        let others: usize = self.parts.iter().filter(|(id, _)| **id != part.id).map(|(_, joined)| joined.len()).sum();
        let joined = self.parts.entry(part.id).or_default();
        let whole = match joined.push(&part.answer, part.last, ANSWER_BYTES.saturating_sub(others)) {
            Ok(None) => return,
            Ok(Some(bytes)) => Answer::decode(bytes.as_slice()).ok(),
            Err(_) => None,
        };
        self.parts.remove(&part.id);
        // What cannot be read does not fit.
        self.answer(whole.filter(|answer| answer.id == part.id).unwrap_or(Answer { id: part.id, ..Answer::default() }));
    }

    /// Numbers a question and remembers who asked. A host that does not answer is asked no more, until whoever asked has lost patience.
    fn ask(&mut self, ask: Ask) {
        self.unanswered.retain(|_, reply| !reply.is_closed());
        self.queries.retain(|query| self.unanswered.contains_key(&query.id));
        self.parts.retain(|id, _| self.unanswered.contains_key(id));
        if self.unanswered.len() >= UNANSWERED {
            // Whoever asked may have gone.
            drop(ask.reply.send(Err(AskError::Busy)));
            return;
        }
        let id = self.next_query;
        self.next_query = id.wrapping_add(1);
        self.unanswered.insert(id, ask.reply);
        self.queries.push_back(Query { id, question: Some(ask.question) });
    }

    /// The next message, if there is something to tell. The first update says where the host stands even if there is not.
    async fn next(&mut self) -> Result<Option<controller_message::Message>, Status> {
        if let Some(query) = self.queries.pop_front() {
            return Ok(Some(controller_message::Message::Query(query)));
        }
        if self.telling.is_some() {
            return Ok(self.tell().await);
        }
        self.due = false;
        let update = self.publisher.next(&self.host, &mut self.cursor).ok_or_else(|| self.gone())?;
        if update.is_empty() && self.greeted {
            return Ok(None);
        }
        self.greeted = true;
        self.telling = Some(Telling::new(&self.publisher, update, self.in_parts));
        Ok(self.tell().await)
    }

    /// The next message of the update that is being told.
    async fn tell(&mut self) -> Option<controller_message::Message> {
        let message = self.telling.as_mut()?.next().await;
        if let Some(controller_message::Message::Update(update)) = &message {
            self.told = update.revision;
            self.telling = None;
        }
        message
    }
}

/// The answer to a host that is out for good.
fn fenced(host: &HostName) -> Status {
    Status::permission_denied(format!("{host} was fenced: its certificate opens nothing any more"))
}

/// The answer to the claim that is being carried out; never, if there is none.
async fn claimed(claim: &mut Option<JoinHandle<ClaimAnswer>>) -> ClaimAnswer {
    let Some(task) = claim else { return std::future::pending().await };
    let answer = task.await;
    *claim = None;
    // It fails only if it panicked; the host asks again after an answer that it does not know.
    answer.unwrap_or_default()
}

impl Drop for Session {
    fn drop(&mut self) {
        self.registry.close(self.host.as_str(), self.number);
    }
}

/// The networks that a host says it knows. Revisions of another store epoch say nothing: such a network comes from scratch.
fn known_networks(hello: &Hello, store_epoch: u64) -> Result<BTreeMap<NetworkName, u64>, Status> {
    let comparable = hello.store_epoch == store_epoch;
    let parse = |(name, revision): (&String, &u64)| match name.parse::<NetworkName>() {
        Ok(name) => Ok((name, if comparable { *revision } else { Cursor::UNKNOWN })),
        Err(error) => Err(Status::invalid_argument(format!("hello.networks: {error}"))),
    };
    hello.networks.iter().map(parse).collect()
}
