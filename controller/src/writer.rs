//! The one writer: it prepares writes one after the other, stores those that wait together, and only then makes them visible.

use std::{collections::BTreeSet, sync::Arc, thread};

use andromede_model::{AnyName, Commit, CommitError, Model, Resource, Violation};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use crate::{
    access::{Principal, Role},
    audit, capacity,
    checkpoint::{self, Checkpoints, Retention},
    claim,
    publish::{Index, Move, Publisher},
    record::Record,
    registry::Registry,
    store::{Head, Store, StoreError},
};

/// Most writes that wait; further callers wait to be let in.
const WAITING: usize = 1_024;
/// Most writes that go to disk together.
const TOGETHER: usize = 128;
/// Commits that are read from the store at once while the state is folded.
const FOLD_STEP: usize = 1_024;

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It breaks rules.
    #[error("the write breaks {} rules", .0.len())]
    Invalid(Vec<Violation>),
    /// The one resource to be deleted does not exist.
    #[error("{0} does not exist")]
    NotFound(AnyName),
    /// The model prepared something that it then refused: a fault of the program. Nothing was written.
    #[error("a fault of the controller, nothing was written: {0}; report it with the request")]
    Fault(#[from] CommitError),
    /// The store failed, or the controller is ending: whether the write will be found after a restart is unknown.
    #[error("the store failed or the controller is ending; look at its log, then read back what was written")]
    Stopped,
}

/// What a write did, or would do, to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is new.
    Created,
    /// It is not as before.
    Updated,
    /// It was like that already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// What a write did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Revision of the commit, or of the state that needed none.
    pub revision: u64,
    /// Effect on each resource of the request, in its order.
    pub effects: Vec<(AnyName, Effect)>,
}

/// The way back to the caller.
type Reply = oneshot::Sender<Result<Written, WriteError>>;

/// One write.
#[derive(Debug)]
struct Write {
    principal: Principal,
    written: Vec<Resource>,
    deleted: Vec<AnyName>,
    validate_only: bool,
    reply: Reply,
}

/// The way to the writer.
#[derive(Clone, Debug)]
pub struct Writer {
    writes: mpsc::Sender<Write>,
}

impl Writer {
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
        let (writes, waiting) = mpsc::channel(WAITING);
        let (ended, end) = oneshot::channel();
        thread::spawn(move || {
            let result = Task { store, publisher, registry, head, checkpoints }.run(waiting);
            // Nobody listens any more once the server has ended.
            drop(ended.send(result));
        });
        Ok((Self { writes }, end))
    }

    /// Writes and deletes, all or nothing, and answers once it is on disk and visible.
    pub async fn write(
        &self,
        principal: Principal,
        written: Vec<Resource>,
        deleted: Vec<AnyName>,
        validate_only: bool,
    ) -> Result<Written, WriteError> {
        let (reply, answer) = oneshot::channel();
        let write = Write { principal, written, deleted, validate_only, reply };
        self.writes.send(write).await.map_err(|_| WriteError::Stopped)?;
        answer.await.map_err(|_| WriteError::Stopped)?
    }
}

/// Commits that are ready to be stored.
struct Batch {
    /// The state after all of them.
    ahead: Model,
    commits: Vec<(Commit, Vec<Move>)>,
    records: Vec<Vec<u8>>,
    replies: Vec<(Reply, Principal, Written)>,
}

struct Task {
    store: Arc<Store>,
    publisher: Arc<Publisher>,
    registry: Arc<Registry>,
    head: Head,
    checkpoints: Checkpoints,
}

impl Task {
    fn run(mut self, mut waiting: mpsc::Receiver<Write>) -> Result<(), StoreError> {
        let mut together = Vec::with_capacity(TOGETHER);
        while waiting.blocking_recv_many(&mut together, TOGETHER) > 0 {
            let ahead = Model::clone(&self.publisher.model());
            let mut batch = Batch { ahead, commits: Vec::new(), records: Vec::new(), replies: Vec::new() };
            for write in together.drain(..) {
                batch.add(write);
            }
            self.finish(batch)?;
        }
        Ok(())
    }

    /// On disk first, then visible, then answered.
    fn finish(&mut self, batch: Batch) -> Result<(), StoreError> {
        if !batch.commits.is_empty() {
            self.head = self.store.append(self.head, &batch.records)?;
            self.publisher.publish(&batch.commits, batch.ahead);
            self.checkpoints.consider(&self.publisher.model());
        }
        for host in batch.commits.iter().flat_map(|(commit, _)| &commit.deleted) {
            if let AnyName::Host(host) = host {
                self.registry.forget(host.as_str());
            }
        }
        for (reply, principal, written) in batch.replies {
            audit::written(&principal, &written);
            // A caller that has gone does not undo its write.
            drop(reply.send(Ok(written)));
        }
        Ok(())
    }
}

impl Batch {
    /// Prepares one write on the state that those before it lead to. A refusal is answered at once.
    fn add(&mut self, write: Write) {
        let Write { principal, written, deleted, validate_only, reply } = write;
        match self.prepare(&principal, written, deleted, validate_only) {
            Ok(written) if validate_only => drop(reply.send(Ok(written))),
            Ok(written) => self.replies.push((reply, principal, written)),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn prepare(
        &mut self,
        principal: &Principal,
        written: Vec<Resource>,
        mut deleted: Vec<AnyName>,
        validate_only: bool,
    ) -> Result<Written, WriteError> {
        if principal.role == Role::Host {
            claim::check(&self.ahead, principal, &written, &mut deleted).map_err(WriteError::Invalid)?;
        } else if let ([], [name]) = (written.as_slice(), deleted.as_slice())
            && self.ahead.get(name).is_none()
        {
            return Err(WriteError::NotFound(name.clone()));
        }
        let names: Vec<_> = written.iter().map(Resource::name).collect();
        let commit = self.ahead.prepare(written, deleted.clone()).map_err(WriteError::Invalid)?;
        capacity::check(&self.ahead, &commit, &names).map_err(WriteError::Invalid)?;
        let effects = effects(&self.ahead, &commit, names, deleted);
        if validate_only || commit.is_empty() {
            return Ok(Written { revision: self.ahead.revision(), effects });
        }
        let moves = Move::all(&self.ahead, &commit);
        let revision = commit.revision;
        self.ahead.commit(&commit)?;
        self.records.push(Record::new(&commit, &principal.to_string()).encode_to_vec());
        self.commits.push((commit, moves));
        Ok(Written { revision, effects })
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

/// The state: the fold of the log, from the checkpoint on.
pub fn fold(store: &Store) -> Result<(Model, Index), StoreError> {
    let mut model = Model::default();
    let mut index = Index::default();
    if let Some((number, parts)) = store.read_checkpoint()? {
        let corrupt = |reason: String| StoreError::Corrupt { number, reason };
        let whole = checkpoint::read(&parts).map_err(|error| corrupt(error.to_string()))?;
        index.apply(&whole, &Move::all(&model, &whole));
        model = Model::restore(&whole).map_err(|error| corrupt(error.to_string()))?;
    }
    loop {
        let entries = store.read(model.revision(), FOLD_STEP)?;
        if entries.is_empty() {
            return Ok((model, index));
        }
        for (number, bytes) in entries {
            let corrupt = |reason: String| StoreError::Corrupt { number, reason };
            let record = Record::read(&bytes).map_err(|error| corrupt(error.to_string()))?;
            let commit = record.into_commit().map_err(|error| corrupt(error.to_string()))?;
            let moves = Move::all(&model, &commit);
            model.commit(&commit).map_err(|error| corrupt(error.to_string()))?;
            index.apply(&commit, &moves);
        }
    }
}
