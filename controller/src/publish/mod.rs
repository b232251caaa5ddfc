//! Publishing to hosts: for each network an ordered log of what changed, for each host a set of cursors into them.
//!
//! A log holds the *names* of what changed, not the content. A host that is behind gets the union of the names since its
//! cursor, with each resource as it is now: resuming, following and catching up are one path, changes coalesce by
//! themselves, and a slow host costs no memory. Who is further behind than the log reaches gets a snapshot.

mod concerned;
mod cursor;
mod encoded;
mod index;
mod log;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use andromede_model::{Commit, HostName, Model, NetworkName, TenantName};
use andromede_plan::Cost;
use prost::bytes::Bytes;
use tokio::sync::watch;

use crate::capacity::Capacity;

pub use cursor::{Cursor, HostUpdate};
pub use encoded::Snapshot;
pub use index::{Index, Move};
pub use log::{Change, NetworkLog};

use encoded::Encoded;

/// The state that everybody reads: the model as of the last durable commit, and what each host has yet to hear.
#[derive(Debug)]
pub struct Publisher {
    published: Mutex<Published>,
    /// How full the hosts are. The writer holds it while it prepares commits, up to their publication: whoever takes it finds the
    /// counts of the published model.
    capacity: Mutex<Capacity>,
    /// Revision of the last durable commit, for those who follow all commits.
    head: watch::Sender<u64>,
    encoded: Encoded,
}

#[derive(Debug)]
struct Published {
    model: Arc<Model>,
    index: Index,
}

impl Publisher {
    /// Begins with what the fold of the store's log gave.
    pub fn new(model: Model, index: Index) -> Self {
        let head = watch::Sender::new(model.revision());
        let capacity = Mutex::new(Capacity::new(&model, Cost::limits()));
        Self {
            capacity,
            published: Mutex::new(Published { model: Arc::new(model), index }),
            head,
            encoded: Encoded::default(),
        }
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        // Nothing panics while it holds this lock; if it did, hosts would hear too little rather than something wrong.
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How full the hosts are, as of the published model. It is taken before anything else of this.
    pub fn capacity(&self) -> MutexGuard<'_, Capacity> {
        // It is changed as a whole, after a commit was accepted.
        self.capacity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model as of the last durable commit.
    pub fn model(&self) -> Arc<Model> {
        Arc::clone(&self.published().model)
    }

    /// Follows the revision of the last durable commit.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Makes durable commits visible, and wakes whom they concern. `model` is the state after the last of them.
    pub fn publish(&self, commits: &[(Commit, Vec<Move>)], model: Model) {
        let revision = model.revision();
        {
            let mut published = self.published();
            for (commit, moves) in commits {
                published.index.apply(commit, moves);
            }
            published.model = Arc::new(model);
        }
        self.head.send_replace(revision);
    }

    /// Follows the last revision that concerns a host; none if there is no such host.
    pub fn follow(&self, host: &HostName) -> Option<watch::Receiver<u64>> {
        self.published().index.follow(host)
    }

    /// The last revision that concerns a host, and how many ports are placed on it.
    pub fn wanted(&self, host: &HostName) -> (u64, usize) {
        self.published().index.wanted(host)
    }

    /// See [`Index::concerned`].
    pub fn concerned(&self, tenant: Option<&TenantName>, revision: Option<u64>) -> BTreeMap<HostName, u64> {
        self.published().index.concerned(tenant, revision)
    }

    /// See [`Index::sharing`].
    pub fn sharing(&self, host: &HostName) -> BTreeMap<HostName, Option<u64>> {
        self.published().index.sharing(host)
    }

    /// The networks that a host holds.
    pub fn held(&self, host: &HostName) -> Vec<NetworkName> {
        self.published().index.held(host).into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    /// What a host has yet to hear, and moves its cursor to the end. None if the host does not exist.
    pub fn next(&self, host: &HostName, cursor: &mut Cursor) -> Option<HostUpdate> {
        let (model, due) = {
            let published = self.published();
            (Arc::clone(&published.model), cursor.due(host, &published.index, published.model.revision())?)
        };
        cursor.advance(host, &model, due)
    }

    /// The bytes of a snapshot, as `NetworkView`, shared by all hosts; none if there is no such network.
    pub async fn encoded(&self, snapshot: &Snapshot) -> Option<Bytes> {
        self.encoded.get(snapshot).await
    }
}
