//! The one writer: it prepares writes one after the other, stores those that wait together, and only then makes them visible.

use std::{collections::BTreeSet, sync::Arc, thread};

use andromede_model::{AnyName, Commit, Model, Resource};
use andromede_proto::resource::etag;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use crate::{
    access::{self, Principal, Role},
    audit,
    capacity::{Capacity, Staged},
    chain::Chain,
    change::{Change, Condition, Effect, WriteError, Written},
    checkpoint::{Checkpoints, Retention},
    claim::{self, Settled},
    clock::{Clock, now_nanos},
    fence,
    publish::{Move, Publisher},
    quarantine::{self, Quarantine},
    record::Record,
    registry::Registry,
    requests::{self, Request, Requests},
    store::{Head, Store, StoreError},
};

/// Most writes that wait; further callers wait to be let in.
const WAITING: usize = 1_024;
/// Most writes that go to disk together.
const TOGETHER: usize = 128;

/// The way back to the caller.
type Reply = oneshot::Sender<Result<Written, WriteError>>;

/// The way to the writer.
#[derive(Clone, Debug)]
pub struct Writer {
    changes: mpsc::Sender<(Change, Reply)>,
    store: Arc<Store>,
    requests: Arc<Requests>,
    quarantine: Arc<Quarantine>,
}

/// Says whether the writer is there, and does not keep it.
#[derive(Clone, Debug)]
pub struct WriterAlive(mpsc::WeakSender<(Change, Reply)>);

impl WriterAlive {
    /// Does it still take writes?
    pub fn is_alive(&self) -> bool {
        self.0.upgrade().is_some_and(|way| !way.is_closed())
    }
}

impl Writer {
    /// Whether it is there, for who watches.
    pub fn alive(&self) -> WriterAlive {
        WriterAlive(self.changes.downgrade())
    }

    /// Starts the writer on a thread of its own, because the store blocks. The receiver tells why it ended: as soon as the
    /// store fails, or once nobody can write any more.
    pub fn start(
        store: Arc<Store>,
        publisher: Arc<Publisher>,
        registry: Arc<Registry>,
        retention: Retention,
    ) -> Result<(Self, oneshot::Receiver<Result<(), StoreError>>), StoreError> {
        let head = store.head()?;
        let checkpoints = Checkpoints::new(Arc::clone(&store), retention)?;
        let clock = Clock::new(&store)?;
        let chain = Chain::load(&store)?;
        let requests = Arc::new(Requests::load(&store, now_nanos())?);
        let quarantine = Arc::new(Quarantine::load(&store, now_nanos())?);
        let (changes, waiting) = mpsc::channel(WAITING);
        let (ended, end) = oneshot::channel();
        let (store_read, requests_read) = (Arc::clone(&store), Arc::clone(&requests));
        let writer = Self { changes, store: store_read, requests: requests_read, quarantine: Arc::clone(&quarantine) };
        thread::spawn(move || {
            let result =
                Task { store, publisher, registry, requests, quarantine, head, checkpoints, clock, chain }.run(waiting);
            // Nobody listens any more once the server has ended.
            drop(ended.send(result));
        });
        Ok((writer, end))
    }

    /// Addresses that rest.
    pub fn quarantine(&self) -> Arc<Quarantine> {
        Arc::clone(&self.quarantine)
    }

    /// Writes and deletes, all or nothing, and answers once it is on disk and visible.
    pub async fn write(&self, mut change: Change) -> Result<Written, WriteError> {
        let (reply, answer) = oneshot::channel();
        let commit = tracing::info_span!(parent: &change.span, "commit", revision = tracing::field::Empty);
        change.span = commit.clone();
        self.changes.send((change, reply)).await.map_err(|_| WriteError::Stopped)?;
        let written = answer.await.map_err(|_| WriteError::Stopped)??;
        commit.record("revision", written.revision);
        Ok(written)
    }

    /// The answer that a repeated request got the first time; none if it is new.
    pub fn repeated(&self, principal: &Principal, request: Option<&Request>) -> Result<Option<Written>, WriteError> {
        let Some(request) = request else { return Ok(None) };
        let found = self.requests.find(&request.key(principal), &request.digest)?;
        found.map(|revision| requests::answer(&self.store, revision)).transpose()
    }
}

/// Commits that are ready to be stored.
struct Batch<'a> {
    capacity: &'a mut Capacity,
    quarantine: &'a Quarantine,
    requests: &'a Requests,
    store: &'a Store,
    publisher: &'a Publisher,
    registry: &'a Registry,
    time: i64,
    /// The state after all of them.
    ahead: Model,
    commits: Vec<(Commit, Vec<Move>)>,
    records: Vec<Record>,
    answers: Vec<Answer>,
    /// Requests with an id among them: key, digest and answer.
    answered: Vec<([u8; 16], [u8; 16], Written)>,
}

/// What is to be answered once it is on disk.
struct Answer {
    reply: Reply,
    /// Who is to stand in the audit log for it.
    principal: Option<Principal>,
    written: Written,
    span: Span,
}

struct Task {
    store: Arc<Store>,
    publisher: Arc<Publisher>,
    registry: Arc<Registry>,
    requests: Arc<Requests>,
    quarantine: Arc<Quarantine>,
    head: Head,
    checkpoints: Checkpoints,
    clock: Clock,
    chain: Chain,
}

impl Task {
    fn run(mut self, mut waiting: mpsc::Receiver<(Change, Reply)>) -> Result<(), StoreError> {
        let mut together = Vec::with_capacity(TOGETHER);
        while waiting.blocking_recv_many(&mut together, TOGETHER) > 0 {
            let (requests, store) = (Arc::clone(&self.requests), Arc::clone(&self.store));
            let time = self.clock.now();
            let quarantine = Arc::clone(&self.quarantine);
            quarantine.tidy(time);
            let (publisher, registry) = (Arc::clone(&self.publisher), Arc::clone(&self.registry));
            let mut capacity = publisher.capacity();
            let mut batch = Batch {
                capacity: &mut capacity,
                quarantine: &quarantine,
                requests: &requests,
                store: &store,
                publisher: &publisher,
                registry: &registry,
                time,
                ahead: Model::clone(&self.publisher.model()),
                commits: Vec::new(),
                records: Vec::new(),
                answers: Vec::new(),
                answered: Vec::new(),
            };
            for (change, reply) in together.drain(..) {
                batch.add(change, reply);
            }
            self.finish(batch)?;
        }
        Ok(())
    }

    /// On disk first, then visible, then answered.
    fn finish(&mut self, batch: Batch<'_>) -> Result<(), StoreError> {
        if !batch.commits.is_empty() {
            let records: Vec<_> = batch.records.into_iter().map(|record| self.chain.link(record)).collect();
            self.head = self.store.append(self.head, &records)?;
            let publish = |answer: &Answer| tracing::info_span!(parent: &answer.span, "publish", revision = answer.written.revision);
            let publishing: Vec<_> = batch.answers.iter().map(publish).collect();
            self.publisher.publish(&batch.commits, batch.ahead);
            drop(publishing);
            self.checkpoints.consider(&self.publisher.model());
        }
        for (key, digest, written) in batch.answered {
            self.requests.enter(batch.time, key, digest, written.revision);
        }
        for (commit, _) in &batch.commits {
            for name in &commit.deleted {
                if let AnyName::Host(host) = name {
                    self.registry.forget(host.as_str());
                }
            }
            for resource in &commit.written {
                if let Resource::Host(host) = resource
                    && host.is_fenced()
                {
                    self.registry.expel(host.name.as_str());
                }
            }
        }
        for Answer { reply, principal, written, span } in batch.answers {
            if let Some(principal) = principal {
                span.in_scope(|| audit::written(&principal, &written));
                let hosts = || self.publisher.concerned(None, Some(written.revision));
                self.registry.in_force().follow(&span, written.revision, hosts);
            }
            // A caller that has gone does not undo its write.
            drop(reply.send(Ok(written)));
        }
        Ok(())
    }
}

/// A commit that can be made.
struct Prepared {
    commit: Commit,
    /// The state with it.
    after: Model,
    /// How full hosts would be.
    staged: Staged,
}

impl AsRef<Commit> for Prepared {
    fn as_ref(&self) -> &Commit {
        &self.commit
    }
}

impl Batch<'_> {
    /// Prepares one write on the state that those before it lead to. A refusal is told at once, all else once the batch is on
    /// disk: a repeated request may wait for the first, which is in the same batch.
    fn add(&mut self, change: Change, reply: Reply) {
        let principal = Some(change.principal.clone()).filter(|_| !change.validate_only);
        let span = change.span.clone();
        match self.repeated(&change) {
            Ok(Some(written)) => self.answers.push(Answer { reply, principal: None, written, span }),
            Ok(None) => match self.prepare(change) {
                Ok(written) => self.answers.push(Answer { reply, principal, written, span }),
                Err(error) => drop(reply.send(Err(error))),
            },
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// The answer that the request got before, if it is a repeated one.
    fn repeated(&self, change: &Change) -> Result<Option<Written>, WriteError> {
        let Some(request) = change.request.as_ref().filter(|_| !change.validate_only) else { return Ok(None) };
        let key = request.key(&change.principal);
        if let Some((_, digest, written)) = self.answered.iter().find(|(other, ..)| *other == key) {
            return if *digest == request.digest { Ok(Some(written.clone())) } else { Err(WriteError::RequestReused) };
        }
        if let Some(revision) = self.requests.find(&key, &request.digest)? {
            return requests::answer(self.store, revision).map(Some);
        }
        self.requests.make_room(self.time).map(|()| None)
    }

    /// What a write would lead to, or what is wrong with it.
    fn prepared(&self, written: Vec<Resource>, deleted: Vec<AnyName>) -> Result<Prepared, WriteError> {
        let names: Vec<_> = written.iter().map(Resource::name).collect();
        let resting = self.quarantine.at(self.time);
        let commit = self.ahead.prepare_with(written, deleted, &resting).map_err(WriteError::Invalid)?;
        fence::check(&self.ahead, &commit, &|host| fence::behind(self.publisher, self.registry, &self.ahead, host))?;
        let mut after = self.ahead.clone();
        after.commit(&commit)?;
        let staged = self.capacity.stage((&self.ahead, &after), &commit, &names)?;
        Ok(Prepared { commit, after, staged })
    }

    /// May it be tried at all: is it the caller's, and is what it is about as the caller believes? Takes out a deletion that need not find
    /// anything, and finds nothing.
    fn admit(&self, change: &mut Change) -> Result<(), WriteError> {
        match access::check(&self.ahead, change) {
            // What is out of the caller's sight is not there: nothing about it is looked at.
            Err(WriteError::NotFound(_)) if change.allow_missing => {
                change.deleted.clear();
                change.conditions.clear();
            }
            checked => checked?,
        }
        if change.planned_revision.is_some_and(|planned| planned != self.ahead.revision()) {
            return Err(WriteError::Moved(self.ahead.revision()));
        }
        for (name, condition) in &change.conditions {
            check(&self.ahead, name.clone(), *condition)?;
        }
        if let ([], [name]) = (change.written.as_slice(), change.deleted.as_slice())
            && !matches!(change.principal.role, Role::Host(_))
            && self.ahead.get(name).is_none()
        {
            if !change.allow_missing {
                return Err(WriteError::NotFound(name.clone()));
            }
            change.deleted.clear();
        }
        Ok(())
    }

    fn prepare(&mut self, mut change: Change) -> Result<Written, WriteError> {
        self.admit(&mut change)?;
        let Change { principal, method, written, deleted, request, validate_only, denied, .. } = change;
        let prepare = |written, deleted| self.prepared(written, deleted);
        let settled = if matches!(principal.role, Role::Host(_)) {
            claim::settle(&self.ahead, &principal, written, deleted, &prepare)
        } else {
            let names = written.iter().map(Resource::name).collect();
            let prepared = prepare(written, deleted.clone());
            prepared.map(|prepared| Settled { prepared, written: names, deleted, refused: Vec::new() })
        };
        let Settled { prepared, written: names, deleted, refused } =
            settled.map_err(|error| error.told_to(&principal))?;
        let Prepared { commit, after, staged } = prepared;
        let only = if let [name] = names.as_slice() { Some(name.clone()) } else { None };
        let effects = effects(&self.ahead, &commit, names, deleted);
        let in_commit = |name: &AnyName| commit.written.iter().find(|resource| resource.name() == *name).cloned();
        let resource = only.and_then(|name| in_commit(&name).or_else(|| self.ahead.get(&name)));
        let mut answer = Written { revision: self.ahead.revision(), effects, resource, refused };
        // What changes nothing needs no commit, except to be known when it is repeated, or to tell what was denied.
        if validate_only || (commit.is_empty() && request.is_none() && denied.is_empty()) {
            return Ok(answer);
        }
        answer.revision = commit.revision;
        let moves = Move::all(&self.ahead, &commit);
        let released = quarantine::released(&self.ahead, &commit);
        self.ahead = after;
        self.capacity.take(staged);
        self.quarantine.release(self.time, &released);
        let mut record = Record::new(&commit, &principal.to_string(), self.time);
        method.clone_into(&mut record.method);
        record.released = released;
        record.denied = denied;
        if let Some(request) = request {
            let key = request.key(&principal);
            record.remember(&request, key, &answer);
            self.answered.push((key, request.digest, answer.clone()));
        }
        self.records.push(record);
        self.commits.push((commit, moves));
        Ok(answer)
    }
}

/// Is the resource as the caller believes?
fn check(model: &Model, name: AnyName, condition: Condition) -> Result<(), WriteError> {
    let revision = model.get(&name).map(|resource| resource.revision());
    match (condition, revision) {
        (Condition::Absent, None) => Ok(()),
        (Condition::Absent, Some(_)) => Err(WriteError::AlreadyExists(name)),
        (Condition::At(wanted), Some(found)) if wanted == found => Ok(()),
        (Condition::At(_), revision) => {
            let etag = revision.map(|revision| etag(model.epoch(), revision)).unwrap_or_default();
            Err(WriteError::Changed { name, etag })
        }
    }
}

/// What the commit does to each resource that the request names.
fn effects(before: &Model, commit: &Commit, names: Vec<AnyName>, deleted: Vec<AnyName>) -> Vec<(AnyName, Effect)> {
    let changed: BTreeSet<_> = commit.written.iter().map(Resource::name).collect();
    let effect = |name: AnyName| {
        let effect = match (changed.contains(&name), before.get(&name).is_some()) {
            (false, _) => Effect::Unchanged,
            (true, true) => Effect::Updated,
            (true, false) => Effect::Created,
        };
        (name, effect)
    };
    names.into_iter().map(effect).chain(deleted.into_iter().map(|name| (name, Effect::Deleted))).collect()
}
