//! Following all commits, in order and without gaps, from the store's log.

use std::sync::Arc;

use andromede_model::ResourceKind;
use andromede_proto::v1::WatchResponse;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::{
    publish::Publisher,
    record::Record,
    store::{Store, StoreError},
};

/// Commits that are read from the store at once.
const STEP: usize = 64;
/// Resources in one message of the state before the watch.
const SNAPSHOT_PART: usize = 1_000;

/// One watcher. It holds a number; what it has yet to tell stays in the store, so a slow one costs nothing.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) store: Arc<Store>,
    pub(super) publisher: Arc<Publisher>,
    /// Becomes true when the controller ends.
    pub(super) stop: watch::Receiver<bool>,
    pub(super) out: mpsc::Sender<Result<WatchResponse, Status>>,
}

/// The watcher has gone.
struct Gone;

impl Watcher {
    /// Tells every commit after a revision, until the watcher goes or the controller ends.
    pub(super) async fn run(self, after_revision: u64) {
        let mut stop = self.stop.clone();
        let mut head = self.publisher.head();
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
        let model = self.publisher.model();
        let revision = model.revision();
        let part = |written| WatchResponse { revision, written, deleted: Vec::new(), snapshot: true };
        let mut written = Vec::new();
        for kind in ResourceKind::ALL {
            let all: Vec<_> = model.all(kind).collect();
            for resource in all {
                written.push(resource.into());
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
    async fn commits(&self, told: &mut u64, last: u64) -> Result<(), Gone> {
        while *told < last {
            let entries = match self.store.read(*told, STEP) {
                Ok(entries) => entries,
                Err(error @ StoreError::Trimmed { .. }) => {
                    return self.send(Err(Status::out_of_range(error.to_string()))).await.and(Err(Gone));
                }
                Err(error) => return self.send(Err(Status::data_loss(error.to_string()))).await.and(Err(Gone)),
            };
            for (revision, bytes) in entries.into_iter().take_while(|(revision, _)| *revision <= last) {
                let message = match Record::read(&bytes) {
                    Ok(Record { written, deleted, .. }) => {
                        WatchResponse { revision, written, deleted, snapshot: false }
                    }
                    Err(error) => {
                        let status = Status::data_loss(format!("commit {revision}: {error}"));
                        return self.send(Err(status)).await.and(Err(Gone));
                    }
                };
                self.send(Ok(message)).await?;
                *told = revision;
            }
        }
        Ok(())
    }
}
