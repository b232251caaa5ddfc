//! Calls that were denied: counted by who and what, and written down together, as a commit of the chain.
//!
//! A commit for each would let whoever may do nothing fill the store. So they are counted, and what was counted is written once a minute
//! and when the controller ends. A controller that crashes loses the last minute of them; its log has each.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prost::Message;
use tokio::{sync::watch, time::sleep};

use crate::{
    access::{Principal, Role, TABLE},
    change::Change,
    clock::now_nanos,
    writer::Writer,
};

/// Kinds of denied calls, by who and what, that are told apart at a time.
const KINDS: usize = 256;
/// Time between two commits of them.
const PAUSE: Duration = Duration::from_mins(1);

/// Callers that nothing is known of.
pub const UNKNOWN: &str = "unauthenticated";
/// All callers, or all methods, beyond those that are told apart.
const OTHERS: &str = "others";

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    calls: u64,
    first: i64,
    last: i64,
}

/// Calls of one method that were denied to one caller.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DeniedRecord {
    /// Who called, as `role/name`; or that nothing was known of them.
    #[prost(string, tag = "1")]
    pub principal: String,
    /// What was called.
    #[prost(string, tag = "2")]
    pub method: String,
    /// How often.
    #[prost(uint64, tag = "3")]
    pub calls: u64,
    /// When first: nanoseconds since 1970.
    #[prost(int64, tag = "4")]
    pub first_unix_nanos: i64,
    /// When last.
    #[prost(int64, tag = "5")]
    pub last_unix_nanos: i64,
}

/// What was denied and is not written down yet.
#[derive(Debug, Default)]
pub struct Denials {
    counts: Mutex<BTreeMap<(String, &'static str), Count>>,
    /// All calls that were denied.
    total: AtomicU64,
}

impl Denials {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<(String, &'static str), Count>> {
        // A count that is half made is a count still.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls were denied since the start.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Counts a call of a path that was denied to somebody.
    pub fn count(&self, caller: &str, path: &str) {
        // What is in no table is whatever the caller wrote.
        let method = TABLE.iter().find(|(method, _)| *method == path).map_or(OTHERS, |(method, _)| *method);
        self.total.fetch_add(1, Ordering::Relaxed);
        let now = now_nanos();
        let mut counts = self.counts();
        let full = counts.len() >= KINDS;
        let mut key = (caller.to_owned(), method);
        if full && !counts.contains_key(&key) {
            key = (OTHERS.to_owned(), OTHERS);
        }
        let count = counts.entry(key).or_insert(Count { calls: 0, first: now, last: now });
        count.calls = count.calls.saturating_add(1);
        count.last = now;
    }

    /// Takes out what was counted.
    fn take(&self) -> Vec<DeniedRecord> {
        let counts = std::mem::take(&mut *self.counts());
        let record = |((principal, method), count): ((String, &str), Count)| DeniedRecord {
            principal,
            method: method.trim_start_matches('/').to_owned(),
            calls: count.calls,
            first_unix_nanos: count.first,
            last_unix_nanos: count.last,
        };
        counts.into_iter().map(record).collect()
    }

    /// Writes down what was counted, again and again, and once more when the controller ends.
    pub async fn keep(self: Arc<Self>, writer: Writer, mut stop: watch::Receiver<bool>) {
        loop {
            let end = tokio::select! {
                () = sleep(PAUSE) => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            let denied = self.take();
            if !denied.is_empty() {
                let principal = Principal { role: Role::Controller, name: "audit".to_owned() };
                let change = Change { denied, ..Change::new(principal, "denied") };
                if let Err(error) = writer.write(change).await {
                    tracing::error!(%error, "calls that were denied are not in the chain");
                }
            }
            if end {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_apart_is_bounded_and_nothing_is_lost() {
        let denials = Denials::default();
        for number in 0..1_000 {
            denials.count(&format!("host/h{number}"), "/andromede.v1.FabricService/Apply");
            denials.count("operator/o", "/\u{1b}[2J");
        }
        let taken = denials.take();
        assert_eq!((taken.len(), taken.iter().map(|it| it.calls).sum::<u64>()), (KINDS + 1, 2_000));
        assert!(taken.iter().all(|it| it.method == "andromede.v1.FabricService/Apply" || it.method == OTHERS));
        assert!(denials.take().is_empty());
    }
}
