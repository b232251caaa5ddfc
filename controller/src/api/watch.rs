//! Following all commits, in order and without gaps, from the store's log.

use std::sync::Arc;

use andromede_model::{AnyName, NetworkName, ResourceKind, TenantName};
use andromede_proto::v1::{Resource, WatchResponse};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{broken, pages::parent_parts};
use crate::{
    access::{Caller, Sight, Views},
    record::Record,
    store::{Store, StoreError},
};

/// Commits that are read from the store at once.
const STEP: usize = 64;
/// Resources in one message of the state before the watch.
const SNAPSHOT_PART: usize = 1_000;

/// Commits that are passed over in a row before one is told without content.
const PASSED_OVER: u32 = 1_000;

/// The stream of a watch.
pub(super) type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

/// What somebody watches.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// Who watches: only what they see is told.
    caller: Caller,
    /// Resources of one kind, or of all.
    kind: Option<ResourceKind>,
    /// Parts of the parent's name; "-" stands for any.
    parent: Vec<String>,
}

impl Scope {
    /// The resources of one kind below a parent.
    pub(super) fn kind(caller: Caller, kind: ResourceKind, parent: &str) -> Result<Self, Status> {
        let parent = parent_parts(kind, parent)?.into_iter().map(str::to_owned).collect();
        Ok(Self { caller, kind: Some(kind), parent })
    }

    /// Everything, or a tenant or network with all that is in it.
    pub(super) fn everything(caller: Caller, parent: &str) -> Result<Self, Status> {
        let known = parent.is_empty() || parent.parse::<TenantName>().is_ok() || parent.parse::<NetworkName>().is_ok();
        if !known {
            let rule = "the parent is a tenant or a network";
            return Err(broken("parent", parent, rule, "leave it empty for all, or write tenants/t"));
        }
        let parts = parent.split('/').filter(|part| !part.is_empty());
        Ok(Self { caller, kind: None, parent: parts.map(str::to_owned).collect() })
    }

    fn is_everything(&self) -> bool {
        self.kind.is_none() && self.parent.is_empty() && self.caller.sight == Sight::Everything
    }

    fn contains(&self, name: &str) -> bool {
        if self.is_everything() {
            return true;
        }
        let fits = |name: &AnyName| self.kind.is_none_or(|kind| name.kind() == kind) && self.caller.sight.sees(name);
        let mut parts = name.split('/');
        self.parent.iter().all(|wanted| parts.next().is_some_and(|part| wanted == "-" || wanted == part))
            && name.parse::<AnyName>().is_ok_and(|name| fits(&name))
    }
}

/// Starts watches.
#[derive(Clone, Debug)]
pub struct Watches {
    /// The log.
    pub store: Arc<Store>,
    /// The published state.
    pub views: Views,
    /// Becomes true when the controller ends.
    pub stop: watch::Receiver<bool>,
}

impl Watches {
    /// Begins to tell the commits after a revision.
    pub(super) fn watch(&self, scope: Scope, after: u64) -> Result<WatchStream, Status> {
        let head = self.views.revision();
        if after > head {
            let rule = format!("the last revision is {head}");
            return Err(broken("after_revision", after, &rule, "watch from 0, which begins with the whole state"));
        }
        let (out, stream) = mpsc::channel(1);
        let Self { store, views, stop } = self.clone();
        tokio::spawn(Watcher { store, views, stop, scope, passed_over: 0, out }.run(after));
        Ok(ReceiverStream::new(stream))
    }
}

/// One watcher. It holds a number; what it has yet to tell stays in the store, so a slow one costs nothing.
#[derive(Debug)]
struct Watcher {
    store: Arc<Store>,
    views: Views,
    /// Becomes true when the controller ends.
    stop: watch::Receiver<bool>,
    scope: Scope,
    /// Commits since the last message that concern nothing that is watched.
    passed_over: u32,
    out: mpsc::Sender<Result<WatchResponse, Status>>,
}

/// The watcher has gone.
struct Gone;

impl Watcher {
    /// Tells every commit after a revision, until the watcher goes or the controller ends.
    async fn run(mut self, after_revision: u64) {
        let mut stop = self.stop.clone();
        let mut head = self.views.head();
        let mut told = after_revision;
        if after_revision == 0 {
            match self.snapshot().await {
                Ok(revision) => told = revision,
                Err(Gone) => return,
            }
        }
        loop {
            let last = *head.borrow_and_update();
            if self.commits(&mut told, last).await.is_err() {
                return;
            }
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => return self.end(),
                () = self.out.closed() => return,
            }
        }
    }

    fn end(&self) {
        // Without room the stream ends without the reason.
        drop(
            self.out.try_send(Err(Status::unavailable("the controller is ending; watch again from the last revision"))),
        );
    }

    async fn send(&self, message: Result<WatchResponse, Status>) -> Result<(), Gone> {
        self.out.send(message).await.map_err(|_| Gone)
    }

    /// Every resource there is, in parts of one revision, parents first.
    async fn snapshot(&self) -> Result<u64, Gone> {
        let model = self.views.model(&self.scope.caller);
        let revision = model.revision();
        let part = |written| WatchResponse { revision, written, deleted: Vec::new(), snapshot: true };
        let mut written = Vec::new();
        for kind in ResourceKind::ALL {
            let all: Vec<_> = model.all(kind).filter(|it| self.scope.contains(it.name().as_str())).collect();
            for resource in all {
                written.push(Resource::from(resource).with_etag(model.epoch()));
                if written.len() == SNAPSHOT_PART {
                    self.send(Ok(part(std::mem::take(&mut written)))).await?;
                }
            }
        }
        // The last part may be empty: it still says where the watch begins.
        self.send(Ok(part(written))).await?;
        Ok(revision)
    }

    /// The commits after `told` up to `last`.
    async fn commits(&mut self, told: &mut u64, last: u64) -> Result<(), Gone> {
        while *told < last {
            let (store, after) = (Arc::clone(&self.store), *told);
            // The store blocks.
            let read = tokio::task::spawn_blocking(move || store.read(after, STEP)).await;
            let Ok(read) = read else {
                return self.send(Err(Status::unavailable("the controller is ending"))).await.and(Err(Gone));
            };
            let entries = match read {
                Ok(entries) => entries,
                Err(error @ StoreError::Trimmed { .. }) => {
                    return self.send(Err(Status::out_of_range(error.to_string()))).await.and(Err(Gone));
                }
                Err(error) => return self.send(Err(Status::data_loss(error.to_string()))).await.and(Err(Gone)),
            };
            for (revision, bytes) in entries.into_iter().take_while(|(revision, _)| *revision <= last) {
                let message = match Record::read(&bytes) {
                    Ok(record) => self.told(revision, record),
                    Err(error) => {
                        let status = Status::data_loss(format!("commit {revision}: {error}"));
                        return self.send(Err(status)).await.and(Err(Gone));
                    }
                };
                if let Some(message) = message {
                    self.send(Ok(message)).await?;
                }
                *told = revision;
            }
        }
        Ok(())
    }

    /// What to tell of a commit; none: it concerns nothing that is watched.
    fn told(&mut self, revision: u64, record: Record) -> Option<WatchResponse> {
        let (watched, epoch) = (|resource: &Resource| self.scope.contains(resource.name()), self.views.epoch());
        let written = record.written.into_iter().filter(watched).map(|resource| resource.with_etag(epoch));
        let written: Vec<_> = written.collect();
        let deleted: Vec<_> = record.deleted.into_iter().filter(|name| self.scope.contains(name)).collect();
        let nothing = written.is_empty() && deleted.is_empty() && !self.scope.is_everything();
        self.passed_over = if nothing { self.passed_over.saturating_add(1) } else { 0 };
        if nothing && self.passed_over < PASSED_OVER {
            return None;
        }
        self.passed_over = 0;
        Some(WatchResponse { revision, written, deleted, snapshot: false })
    }
}
