//! Keeping the log short: from time to time the whole state is written as a checkpoint, and old commits go.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use andromede_model::{Commit, Model, Resource};
use prost::Message as _;

use crate::{
    history,
    record::{Record, RecordError, Remembered},
    store::{Store, StoreError, Which},
};

/// Bytes after which a part of a checkpoint is closed. One resource more may exceed it.
const PART_BYTES: usize = 256 << 10;

/// When checkpoints are written, and which commits stay behind them: for the history, for those who follow, and for repeated
/// requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Commits from one checkpoint to the next.
    pub every: u64,
    /// Commits before the last checkpoint that are kept whatever their age.
    pub keep: u64,
    /// Age up to which commits are kept.
    pub keep_for: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { every: 100_000, keep: 100_000, keep_for: Self::HISTORY }
    }
}

impl Retention {
    /// How far back the history reaches if nothing else is said: 30 days.
    pub const HISTORY: Duration = Duration::from_hours(30 * 24);

    /// The last commit that nobody needs any more, of those up to `number`; 0: none.
    fn last_old(&self, store: &Store, number: u64) -> Result<u64, StoreError> {
        let Some(last) = store.read(number.saturating_sub(1), 1)?.pop() else { return Ok(0) };
        let age = i64::try_from(self.keep_for.as_nanos()).unwrap_or(i64::MAX);
        let oldest = time(&last)?.saturating_sub(age);
        // Times do not go back, so that the first young one is found by halving.
        let (mut old, mut young) = (store.first()?.saturating_sub(1), number.saturating_sub(self.keep));
        while old < young {
            let middle = old + (young - old).div_ceil(2);
            let young_there = match store.read(middle.saturating_sub(1), 1)?.first() {
                Some(entry) => time(entry)? >= oldest,
                None => true,
            };
            if young_there {
                young = middle.saturating_sub(1);
            } else {
                old = middle;
            }
        }
        Ok(old)
    }
}

/// When a commit was made.
fn time((number, bytes): &(u64, Vec<u8>)) -> Result<i64, StoreError> {
    let read = Remembered::decode(bytes.as_slice());
    read.map(|head| head.time_unix_nanos)
        .map_err(|error| StoreError::Corrupt { number: *number, reason: error.to_string() })
}

/// Writes checkpoints beside the writer.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    store: Arc<Store>,
    retention: Retention,
    /// Number of the last checkpoint.
    last: u64,
    running: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(crate) fn new(store: Arc<Store>, retention: Retention) -> Result<Self, StoreError> {
        let last = store.checkpoint()?.unwrap_or(0);
        Ok(Self { store, retention, last, running: None })
    }

    /// Begins a checkpoint if one is due and none is being written. `model` is as of the last durable commit.
    pub(crate) fn consider(&mut self, model: &Arc<Model>) {
        let number = model.revision();
        let idle = self.running.as_ref().is_none_or(JoinHandle::is_finished);
        if !idle || number.saturating_sub(self.last) < self.retention.every {
            return;
        }
        self.wait();
        self.last = number;
        let (store, model, retention) = (Arc::clone(&self.store), Arc::clone(model), self.retention);
        self.running = Some(thread::spawn(move || match write(&store, &model, retention) {
            Ok(()) => tracing::info!(revision = number, "checkpoint written"),
            // The log still has everything: the next one may succeed.
            Err(error) => tracing::warn!(revision = number, %error, "no checkpoint could be written"),
        }));
    }

    fn wait(&mut self) {
        if let Some(running) = self.running.take() {
            // It reports its own failure.
            drop(running.join());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wait();
    }
}

fn write(store: &Store, model: &Model, retention: Retention) -> Result<(), StoreError> {
    let number = model.revision();
    store.write_checkpoint(Which::Last, number, Parts::new(model.snapshot()))?;
    let last_old = retention.last_old(store, number)?;
    if last_old < store.first()? {
        return Ok(());
    }
    // What the history begins with, before what led to it goes.
    let base = history::at(store, last_old)?;
    store.write_checkpoint(Which::Base, last_old, Parts::new(base.snapshot()))?;
    store.trim(last_old)
}

/// A commit that makes the whole state, cut into records.
struct Parts {
    rest: std::vec::IntoIter<Resource>,
    /// All but the resources; it goes with the first part.
    frame: Option<Commit>,
    revision: u64,
}

impl Parts {
    fn new(mut snapshot: Commit) -> Self {
        let rest = std::mem::take(&mut snapshot.written).into_iter();
        Self { rest, revision: snapshot.revision, frame: Some(snapshot) }
    }
}

impl Iterator for Parts {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut part = match self.frame.take() {
            Some(frame) => Record::new(&frame, "checkpoint", 0),
            None => Record { revision: self.revision, ..Record::empty() },
        };
        let mut bytes = 0_usize;
        while bytes < PART_BYTES
            && let Some(resource) = self.rest.next()
        {
            let message = andromede_proto::v1::Resource::from(resource);
            bytes = bytes.saturating_add(message.encoded_len());
            part.written.push(message);
        }
        let empty = part.written.is_empty() && part.counters.is_none();
        (!empty).then(|| part.encode_to_vec())
    }
}

/// The commit that makes the whole state, from the parts of a checkpoint.
pub(crate) fn read(parts: &[Vec<u8>]) -> Result<Commit, RecordError> {
    let mut parts = parts.iter();
    let mut whole = Record::read(parts.next().ok_or(RecordError::Incomplete)?)?;
    for part in parts {
        let mut part = Record::read(part)?;
        whole.written.append(&mut part.written);
    }
    whole.into_commit()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::fixtures::{group, two_networks};

    #[test]
    fn a_model_comes_back_from_its_parts() {
        let mut model = Model::default();
        for commit in two_networks() {
            model.commit(&commit).unwrap();
        }
        for name in ["x", "y", "z"] {
            let groups = (0..40).map(|number| group("a", &format!("{name}{number}"), 200)).collect();
            let commit = model.prepare(groups, Vec::new()).unwrap();
            model.commit(&commit).unwrap();
        }
        let parts: Vec<_> = Parts::new(model.snapshot()).collect();
        assert!(parts.len() > 2, "{}", parts.len());
        assert_eq!(Model::restore(&read(&parts).unwrap()).unwrap(), model);
        assert!(read(&[]).is_err());
    }
}
