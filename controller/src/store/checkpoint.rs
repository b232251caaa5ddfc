//! Checkpoints: the state as of one commit, in parts, so that the log before it need not be kept.

use redb::{Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::{Store, StoreError};

/// Parts of checkpoints: (number of the last commit in it, number of the part from 0) to bytes.
const PARTS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("checkpoint_parts");
/// The checkpoint from which a start folds the log, as one row: (number of its last commit, number of its parts).
const CHECKPOINT: TableDefinition<'_, (), (u64, u32)> = TableDefinition::new("checkpoint");
/// The checkpoint as of the last entry that was removed, in the same form: the history begins with it.
const BASE: TableDefinition<'_, (), (u64, u32)> = TableDefinition::new("base");
/// The last number whose entry was removed, as one row.
const TRIMMED: TableDefinition<'_, (), u64> = TableDefinition::new("trimmed");

/// Most bytes that are written in one transaction: whoever appends waits no longer than that takes.
const STEP_BYTES: usize = 4 << 20;
/// Most entries that are removed in one transaction, for the same reason.
const STEP_ENTRIES: u64 = 4_096;

/// A checkpoint: the number of the last commit in it, and its parts in order.
pub type Checkpoint = (u64, Vec<Vec<u8>>);

/// Makes the tables, and removes the parts of checkpoints that do not count.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), StoreError> {
    drop_parts(transaction)?;
    transaction.open_table(TRIMMED)?;
    Ok(())
}

/// Removes the parts that belong to no checkpoint.
fn drop_parts(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let last = transaction.open_table(CHECKPOINT)?.get(())?.map(|row| row.value());
    let base = transaction.open_table(BASE)?.get(())?.map(|row| row.value());
    let counts =
        |number, part| [last, base].into_iter().flatten().any(|(other, count)| other == number && part < count);
    transaction.open_table(PARTS)?.retain(|(number, part), _| counts(number, part))?;
    Ok(())
}

/// Which checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The last, from which a start folds the log.
    Last,
    /// The one with which the history begins.
    Base,
}

impl Which {
    const fn table(self) -> TableDefinition<'static, (), (u64, u32)> {
        match self {
            Self::Last => CHECKPOINT,
            Self::Base => BASE,
        }
    }
}

/// The last number whose entry was removed; 0: none.
pub(super) fn trimmed(transaction: &redb::ReadTransaction) -> Result<u64, StoreError> {
    Ok(transaction.open_table(TRIMMED)?.get(())?.map_or(0, |row| row.value()))
}

impl Store {
    /// The number of the last commit in the checkpoint; none if there is no checkpoint.
    pub fn checkpoint(&self) -> Result<Option<u64>, StoreError> {
        let transaction = self.database.begin_read()?;
        let row = transaction.open_table(CHECKPOINT)?.get(())?.map(|row| row.value());
        Ok(row.map(|(number, _)| number))
    }

    /// Writes the state as of commit `number`. It counts once all of it is on disk; then the one before it goes.
    pub fn write_checkpoint(
        &self,
        which: Which,
        number: u64,
        parts: impl Iterator<Item = Vec<u8>>,
    ) -> Result<(), StoreError> {
        let mut parts = parts.peekable();
        let mut count = 0_u32;
        while parts.peek().is_some() {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::None)?;
            {
                let mut table = transaction.open_table(PARTS)?;
                let mut bytes = 0_usize;
                while bytes < STEP_BYTES
                    && let Some(part) = parts.next()
                {
                    table.insert((number, count), part.as_slice())?;
                    count = count.saturating_add(1);
                    bytes = bytes.saturating_add(part.len());
                }
            }
            transaction.commit()?;
        }
        let transaction = self.database.begin_write()?;
        transaction.open_table(which.table())?.insert((), (number, count))?;
        drop_parts(&transaction)?;
        Ok(transaction.commit()?)
    }

    /// The number of the oldest commit that can be read.
    pub fn first(&self) -> Result<u64, StoreError> {
        Ok(trimmed(&self.database.begin_read()?)?.saturating_add(1))
    }

    /// A checkpoint; none if there is none yet.
    pub fn read_checkpoint(&self, which: Which) -> Result<Option<Checkpoint>, StoreError> {
        let transaction = self.database.begin_read()?;
        let row = transaction.open_table(which.table())?.get(())?.map(|row| row.value());
        let Some((number, count)) = row else { return Ok(None) };
        let table = transaction.open_table(PARTS)?;
        let mut parts = Vec::new();
        for row in table.range((number, 0)..(number, count))? {
            parts.push(row?.1.value().to_vec());
        }
        if parts.len() as u64 != u64::from(count) {
            return Err(StoreError::Missing { number });
        }
        Ok(Some((number, parts)))
    }

    /// Removes the entries up to `number`, but none behind the checkpoint.
    pub fn trim(&self, number: u64) -> Result<(), StoreError> {
        let last = number.min(self.checkpoint()?.unwrap_or(0));
        let mut first = trimmed(&self.database.begin_read()?)?.saturating_add(1);
        while first <= last {
            let end = last.min(first.saturating_add(STEP_ENTRIES).saturating_sub(1));
            let transaction = self.database.begin_write()?;
            transaction.open_table(TRIMMED)?.insert((), end)?;
            transaction.open_table(super::CHUNKS)?.retain_in((first, 0)..=(end, u32::MAX), |_, _| false)?;
            transaction.commit()?;
            first = end.saturating_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::store::Head;

    fn filled(folder: &std::path::Path) -> Store {
        let store = Store::open(folder).unwrap();
        let entries: Vec<Vec<u8>> = (1..=10_000_u32).map(|number| number.to_le_bytes().to_vec()).collect();
        store.append(Head { epoch: 1, number: 0 }, &entries).unwrap();
        store
    }

    fn parts(seed: u8, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|part| vec![seed; part + 3_000_000]).collect()
    }

    #[test]
    fn a_checkpoint_replaces_the_one_before_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        assert_eq!(store.checkpoint().unwrap(), None);
        assert_eq!(store.read_checkpoint(Which::Last).unwrap(), None);
        store.write_checkpoint(Which::Last, 9_000, parts(1, 5).into_iter()).unwrap();
        store.write_checkpoint(Which::Last, 9_500, parts(2, 3).into_iter()).unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.checkpoint().unwrap(), Some(9_500));
        assert_eq!(store.read_checkpoint(Which::Last).unwrap(), Some((9_500, parts(2, 3))));
    }

    #[test]
    fn the_two_checkpoints_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        store.write_checkpoint(Which::Base, 10, parts(1, 2).into_iter()).unwrap();
        store.write_checkpoint(Which::Last, 9_000, parts(2, 3).into_iter()).unwrap();
        store.write_checkpoint(Which::Base, 9_000, parts(2, 3).into_iter()).unwrap();
        store.write_checkpoint(Which::Last, 9_500, parts(3, 1).into_iter()).unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.read_checkpoint(Which::Base).unwrap(), Some((9_000, parts(2, 3))));
        assert_eq!(store.read_checkpoint(Which::Last).unwrap(), Some((9_500, parts(3, 1))));
    }

    #[test]
    fn an_interrupted_checkpoint_never_happened() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        store.write_checkpoint(Which::Last, 100, parts(1, 1).into_iter()).unwrap();
        let transaction = store.database.begin_write().unwrap();
        transaction.open_table(PARTS).unwrap().insert((200, 0), b"half".as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.read_checkpoint(Which::Last).unwrap(), Some((100, parts(1, 1))));
        let transaction = store.database.begin_read().unwrap();
        assert_eq!(transaction.open_table(PARTS).unwrap().range((200, 0)..).unwrap().count(), 0);
    }

    #[test]
    fn only_what_the_checkpoint_stands_for_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        store.trim(5_000).unwrap();
        assert_eq!(store.read(0, 1).unwrap().len(), 1, "without a checkpoint nothing goes");
        store.write_checkpoint(Which::Last, 9_000, parts(1, 1).into_iter()).unwrap();
        store.trim(5_000).unwrap();
        assert!(matches!(store.read(4_999, 1), Err(StoreError::Trimmed { after: 4_999, trimmed: 5_000 })));
        assert_eq!(store.read(5_000, 1).unwrap()[0].0, 5_001);
        store.trim(20_000).unwrap();
        assert!(matches!(store.read(8_999, 1), Err(StoreError::Trimmed { .. })));
        assert_eq!(store.read(9_000, 10_000).unwrap().len(), 1_000);
        assert_eq!(store.head().unwrap().number, 10_000);
    }
}
