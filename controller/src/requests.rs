//! Requests that were answered: a repeated one gets the answer of the first, and changes nothing.
//!
//! The answers themselves are in the log of commits; here is only where. The table is a fold of the log's last hour, so that
//! it survives a restart.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::{
    access::Principal,
    change::{WriteError, Written},
    record::{Record, Remembered},
    store::{Store, StoreError},
};

/// How long a request is remembered at least.
pub const REMEMBERED: Duration = Duration::from_hours(1);
/// Most requests that are remembered: about 100 bytes each.
const MOST: usize = 1 << 22;
/// Commits that are read at once while the table is filled.
const STEP: usize = 1_024;

/// First half of a SHA-256 sum.
type Sum = [u8; 16];

/// By what a repeated request is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller's id.
    pub id: String,
    /// Sum of the method and all of its arguments.
    pub digest: Sum,
}

impl Request {
    /// The request with this id; none if it has no id.
    pub fn new(id: &str, method: &str, arguments: &[u8]) -> Option<Self> {
        (!id.is_empty()).then(|| Self { id: id.to_owned(), digest: sum(&[method.as_bytes(), arguments]) })
    }

    /// Ids of two callers have nothing to do with each other.
    pub(crate) fn key(&self, principal: &Principal) -> Sum {
        sum(&[principal.to_string().as_bytes(), self.id.as_bytes()])
    }
}

fn sum(parts: &[&[u8]]) -> Sum {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().first_chunk().copied().unwrap_or_default()
}

#[derive(Debug, Default)]
struct Table {
    answered: BTreeMap<Sum, (Sum, u64)>,
    /// Times in nanoseconds since 1970, the oldest first.
    order: VecDeque<(i64, Sum)>,
}

/// All requests of the last hour that had an id.
#[derive(Debug, Default)]
pub struct Requests(Mutex<Table>);

impl Requests {
    /// The requests of the log's last hour before `now` (nanoseconds since 1970).
    pub fn load(store: &Store, now: i64) -> Result<Self, StoreError> {
        let requests = Self::default();
        let mut found = Vec::new();
        recent(store, now.saturating_sub(kept()), &mut |number, head| {
            found.extend(head.entry().map(|(key, digest)| (head.time_unix_nanos, key, digest, number)));
        })?;
        let mut table = requests.table();
        for (time, key, digest, revision) in found.into_iter().rev() {
            table.answered.insert(key, (digest, revision));
            table.order.push_back((time, key));
        }
        drop(table);
        Ok(requests)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Both parts change together, and nothing between them can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision at which the request was answered, if it was.
    pub(crate) fn find(&self, key: &Sum, digest: &Sum) -> Result<Option<u64>, WriteError> {
        match self.table().answered.get(key) {
            Some((found, revision)) if found == digest => Ok(Some(*revision)),
            Some(_) => Err(WriteError::RequestReused),
            None => Ok(None),
        }
    }

    /// Is there room for one more? Forgets those that are old enough.
    pub(crate) fn make_room(&self, now: i64) -> Result<(), WriteError> {
        let mut table = self.table();
        let oldest = now.saturating_sub(kept());
        while let Some((time, key)) = table.order.front().copied()
            && time < oldest
        {
            table.order.pop_front();
            table.answered.remove(&key);
        }
        if table.order.len() < MOST { Ok(()) } else { Err(WriteError::RequestsFull) }
    }

    /// Remembers an answer.
    pub(crate) fn enter(&self, time: i64, key: Sum, digest: Sum, revision: u64) {
        let mut table = self.table();
        table.answered.insert(key, (digest, revision));
        table.order.push_back((time, key));
    }
}

/// Tells the commits since a time (nanoseconds since 1970), the newest first.
pub(crate) fn recent(store: &Store, oldest: i64, tell: &mut impl FnMut(u64, Remembered)) -> Result<(), StoreError> {
    let first = store.first()?;
    let mut end = store.head()?.number;
    while end >= first {
        let entries = store.read_back(end, STEP)?;
        let Some((last, _)) = entries.last() else { break };
        end = last.saturating_sub(1);
        for (number, bytes) in entries {
            let corrupt = |error: prost::DecodeError| StoreError::Corrupt { number, reason: error.to_string() };
            let head = Remembered::decode(bytes.as_slice()).map_err(corrupt)?;
            if head.time_unix_nanos < oldest {
                return Ok(());
            }
            tell(number, head);
        }
    }
    Ok(())
}

fn kept() -> i64 {
    i64::try_from(REMEMBERED.as_nanos()).unwrap_or(i64::MAX)
}

/// The answer that a commit gave to its request.
pub(crate) fn answer(store: &Store, revision: u64) -> Result<Written, WriteError> {
    let entries = store.read(revision.saturating_sub(1), 1).map_err(|_| WriteError::Stopped)?;
    let (_, bytes) = entries.into_iter().next().ok_or(WriteError::Stopped)?;
    Record::read(&bytes).and_then(Record::into_answer).map_err(|_| WriteError::Stopped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_id_means_one_request_of_one_caller_for_an_hour() {
        let requests = Requests::default();
        let alice = Principal::anonymous();
        let bob = Principal { name: "bob".to_owned(), role: crate::access::Role::Operator };
        let one = Request::new("id", "CreatePort", b"one").unwrap();
        let other = Request::new("id", "CreatePort", b"two").unwrap();
        assert_eq!(Request::new("", "CreatePort", b"one"), None);
        requests.enter(5, one.key(&alice), one.digest, 7);
        assert_eq!(requests.find(&one.key(&alice), &one.digest).unwrap(), Some(7));
        assert!(matches!(requests.find(&other.key(&alice), &other.digest), Err(WriteError::RequestReused)));
        assert_eq!(requests.find(&one.key(&bob), &one.digest).unwrap(), None);
        requests.make_room(5 + kept()).unwrap();
        assert_eq!(requests.find(&one.key(&alice), &one.digest).unwrap(), Some(7));
        requests.make_room(6 + kept()).unwrap();
        assert_eq!(requests.find(&one.key(&alice), &one.digest).unwrap(), None);
    }
}
