//! The time of commits.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    record::Record,
    store::{Store, StoreError},
};

/// Time that never goes back, so that commits are in its order.
#[derive(Debug)]
pub(crate) struct Clock {
    last: i64,
}

impl Clock {
    /// It goes on from the last commit.
    pub(crate) fn new(store: &Store) -> Result<Self, StoreError> {
        Ok(Self { last: last_time(store)? })
    }

    /// Nanoseconds since 1970.
    pub(crate) fn now(&mut self) -> i64 {
        self.last = self.last.max(now_nanos());
        self.last
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now_nanos() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

/// When the last commit was made; 0: there is none.
fn last_time(store: &Store) -> Result<i64, StoreError> {
    let last = store.head()?.number;
    if last < store.first()? {
        return Ok(0);
    }
    let entries = store.read(last.saturating_sub(1), 1)?;
    Ok(entries.first().and_then(|(_, bytes)| Record::read(bytes).ok()).map_or(0, |record| record.time_unix_nanos))
}
