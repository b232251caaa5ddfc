//! The embedded store: an ordered log of commits in one file.
//!
//! An entry is opaque bytes here. It is written in chunks first, and exists only once the head names it: one fenced
//! compare-and-set. Whatever interrupts a write leaves chunks behind the head, and opening the store removes them.
//! The same shape fits a store whose transactions are small, such as etcd. Now and then a checkpoint stands for the entries
//! up to its number, and those that nobody follows any more are removed.

mod checkpoint;
mod error;

use std::{
    fs::{DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

pub use checkpoint::{Checkpoint, Which};
pub use error::StoreError;

/// Chunks of entries: (number of the entry, number of the chunk from 0) to bytes. The first begins with the length of the
/// entry: a u64, little-endian.
const CHUNKS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("chunks");
/// The head, as one row: (epoch, number).
const HEAD: TableDefinition<'_, (), (u64, u64)> = TableDefinition::new("head");
/// Version of the file's layout, as one row.
const LAYOUT: TableDefinition<'_, (), u32> = TableDefinition::new("layout");

/// The layout that this program reads and writes.
const LAYOUT_VERSION: u32 = 1;
/// Most bytes of a chunk: below the request limit of etcd (1.5 MiB).
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of entries after which a reading ends: a single one may have as many as the largest request, and readers take many.
const READ_BYTES: usize = 16 << 20;
/// Name of the file in the store's folder.
const FILE: &str = "commits.redb";

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Raised when a backup is restored: revisions of two epochs cannot be compared.
    pub epoch: u64,
    /// Number of the last commit; 0: none yet.
    pub number: u64,
}

/// The log of commits. Reading goes on beside writing; one writer only.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the store in a folder, which is made if there is none, and removes what an interrupted write left.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Folder { path: folder.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let path = folder.join(FILE);
        let database = Database::create(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: folder.to_path_buf() },
            other => other.into(),
        })?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        let store = Self { database };
        store.prepare()?;
        Ok(store)
    }

    /// Opens a store that is there. For what would be of no use to a new one.
    pub fn open_existing(folder: &Path) -> Result<Self, StoreError> {
        if !folder.join(FILE).is_file() {
            return Err(StoreError::None { path: folder.join(FILE) });
        }
        Self::open(folder)
    }

    /// Checks the layout, makes the tables, and drops chunks behind the head.
    fn prepare(&self) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut layout = transaction.open_table(LAYOUT)?;
            let found = layout.get(())?.map(|row| row.value());
            match found {
                None => drop(layout.insert((), LAYOUT_VERSION)?),
                Some(LAYOUT_VERSION) => {}
                Some(found) => return Err(StoreError::Layout { found }),
            }
            let mut head = transaction.open_table(HEAD)?;
            let found = head.get(())?.map(|row| row.value());
            let (_, number) = if let Some(found) = found {
                found
            } else {
                head.insert((), (1, 0))?;
                (1, 0)
            };
            let mut chunks = transaction.open_table(CHUNKS)?;
            chunks.retain_in((number.saturating_add(1), 0).., |_, _| false)?;
            checkpoint::prepare(&transaction)?;
        }
        Ok(transaction.commit()?)
    }

    /// Where the log ends.
    pub fn head(&self) -> Result<Head, StoreError> {
        let transaction = self.database.begin_read()?;
        read_head(&transaction.open_table(HEAD)?)
    }

    /// Appends entries after `expected`, all or none, and returns the new head once they are on disk.
    pub fn append(&self, expected: Head, entries: &[Vec<u8>]) -> Result<Head, StoreError> {
        self.write_chunks(expected, entries)?;
        let number = expected.number.saturating_add(entries.len() as u64);
        self.advance(expected, Head { number, ..expected })
    }

    /// Writes the chunks of entries that no head names yet; not yet forced to disk.
    fn write_chunks(&self, expected: Head, entries: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        {
            // A writer that is behind must not touch the chunks of entries that exist.
            let found = read_head(&transaction.open_table(HEAD)?)?;
            if found != expected {
                return Err(StoreError::Fenced { expected, found });
            }
            let mut chunks = transaction.open_table(CHUNKS)?;
            for (number, entry) in (expected.number.saturating_add(1)..).zip(entries) {
                chunks.retain_in((number, 0)..=(number, u32::MAX), |_, _| false)?;
                let framed = [&(entry.len() as u64).to_le_bytes(), entry.as_slice()].concat();
                for (part, bytes) in framed.chunks(CHUNK_BYTES).enumerate() {
                    chunks.insert((number, part as u32), bytes)?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// The fence: the head moves only if it is where the writer believes. Returns once everything is on disk.
    fn advance(&self, expected: Head, new: Head) -> Result<Head, StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut head = transaction.open_table(HEAD)?;
            let found = read_head(&head)?;
            if found != expected {
                return Err(StoreError::Fenced { expected, found });
            }
            head.insert((), (new.epoch, new.number))?;
        }
        transaction.commit()?;
        Ok(new)
    }

    /// Begins a new epoch: every host takes a snapshot at its next session. For a restored backup.
    pub fn raise_epoch(&self) -> Result<Head, StoreError> {
        let head = self.head()?;
        self.advance(head, Head { epoch: head.epoch.saturating_add(1), ..head })
    }

    /// The entries after a number, in order: at most `limit`, no more than the head names, and no further than the one that
    /// fills [`READ_BYTES`]. None only if there are none.
    pub fn read(&self, after: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let head = read_head(&transaction.open_table(HEAD)?)?;
        let last = head.number.min(after.saturating_add(limit as u64));
        let trimmed = checkpoint::trimmed(&transaction)?;
        if after < trimmed {
            return Err(StoreError::Trimmed { after, trimmed });
        }
        let chunks = transaction.open_table(CHUNKS)?;
        read_entries(&chunks, after.saturating_add(1)..=last)
    }

    /// The entries up to a number, the newest first: at most `limit`, none that was removed, and no further than the one that fills
    /// [`READ_BYTES`]. None only if there are none.
    pub fn read_back(&self, upto: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let head = read_head(&transaction.open_table(HEAD)?)?;
        let last = head.number.min(upto);
        let first = checkpoint::trimmed(&transaction)?.max(last.saturating_sub(limit as u64)).saturating_add(1);
        let chunks = transaction.open_table(CHUNKS)?;
        read_entries(&chunks, (first..=last).rev())
    }
}

/// Entries of these numbers, no further than the one that fills [`READ_BYTES`].
fn read_entries(
    chunks: &impl ReadableTable<(u64, u32), &'static [u8]>,
    numbers: impl Iterator<Item = u64>,
) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let (mut entries, mut bytes) = (Vec::new(), 0_usize);
    for number in numbers {
        let entry = read_entry(chunks, number)?;
        bytes = bytes.saturating_add(entry.len());
        entries.push((number, entry));
        if bytes >= READ_BYTES {
            break;
        }
    }
    Ok(entries)
}

/// One entry.
fn read_entry(chunks: &impl ReadableTable<(u64, u32), &'static [u8]>, number: u64) -> Result<Vec<u8>, StoreError> {
    let mut framed = Vec::new();
    for (part, row) in chunks.range((number, 0)..=(number, u32::MAX))?.enumerate() {
        let (key, value) = row?;
        if key.value().1 != part as u32 {
            return Err(StoreError::Missing { number });
        }
        framed.extend_from_slice(value.value());
    }
    unframe(number, framed)
}

/// The entry without the length before it, if it is whole.
fn unframe(number: u64, framed: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let mut framed = framed;
    let whole = framed.first_chunk().is_some_and(|length| u64::from_le_bytes(*length) == framed.len() as u64 - 8);
    if !whole {
        return Err(StoreError::Missing { number });
    }
    framed.drain(..8);
    Ok(framed)
}

fn read_head(table: &impl ReadableTable<(), (u64, u64)>) -> Result<Head, StoreError> {
    let row = table.get(())?.map(|row| row.value());
    let (epoch, number) = row.unwrap_or((1, 0));
    Ok(Head { epoch, number })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const START: Head = Head { epoch: 1, number: 0 };

    #[test]
    fn what_was_appended_is_read_in_order_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let long = vec![7; CHUNK_BYTES * 2 + 1];
        {
            let store = Store::open(folder.path()).unwrap();
            let head = store.append(START, &[b"one".to_vec(), long.clone()]).unwrap();
            store.append(head, &[Vec::new()]).unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.head().unwrap(), Head { epoch: 1, number: 3 });
        assert_eq!(store.read(0, 10).unwrap(), [(1, b"one".to_vec()), (2, long), (3, Vec::new())]);
        assert_eq!(store.read(2, 10).unwrap(), [(3, Vec::new())]);
        assert_eq!(store.read(0, 1).unwrap(), [(1, b"one".to_vec())]);
        assert!(store.read(3, 10).unwrap().is_empty());
    }

    #[test]
    fn chunks_without_a_head_never_happened() {
        let folder = tempfile::tempdir().unwrap();
        {
            let store = Store::open(folder.path()).unwrap();
            store.append(START, &[b"kept".to_vec()]).unwrap();
            // The process dies between the chunks and the head; a later durable write carries the chunks to disk.
            let head = store.head().unwrap();
            store.write_chunks(head, &[b"lost".to_vec(), vec![1; CHUNK_BYTES + 1]]).unwrap();
            store.database.begin_write().unwrap().commit().unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        let head = store.head().unwrap();
        assert_eq!(head.number, 1);
        assert_eq!(store.read(0, 10).unwrap(), [(1, b"kept".to_vec())]);
        store.append(head, &[b"new".to_vec()]).unwrap();
        assert_eq!(store.read(1, 10).unwrap(), [(2, b"new".to_vec())]);
    }

    #[test]
    fn a_failed_write_leaves_nothing_in_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.write_chunks(START, &[vec![1; CHUNK_BYTES + 1]]).unwrap();
        store.append(START, &[b"short".to_vec()]).unwrap();
        assert_eq!(store.read(0, 1).unwrap(), [(1, b"short".to_vec())]);
    }

    #[test]
    fn a_reading_ends_after_its_bytes_and_goes_on_behind_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let entries: Vec<Vec<u8>> = (0..8).map(|number| vec![number; READ_BYTES / 4]).collect();
        store.append(START, &entries).unwrap();
        let numbers = |read: Vec<(u64, Vec<u8>)>| read.into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(numbers(store.read(0, 100).unwrap()), [1, 2, 3, 4]);
        assert_eq!(numbers(store.read(4, 100).unwrap()), [5, 6, 7, 8]);
        assert_eq!(numbers(store.read_back(8, 100).unwrap()), [8, 7, 6, 5]);
        assert_eq!(numbers(store.read_back(7, 2).unwrap()), [7, 6]);
        assert_eq!(numbers(store.read_back(2, 100).unwrap()), [2, 1]);
        // One that is larger than all that is read at once is read alone.
        let head = store.head().unwrap();
        store.append(head, &[vec![9; READ_BYTES + 1], vec![1]]).unwrap();
        assert_eq!(numbers(store.read(8, 100).unwrap()), [9]);
        assert_eq!(numbers(store.read_back(10, 100).unwrap()), [10, 9]);
        assert_eq!(store.read_back(0, 100).unwrap(), []);
    }

    #[test]
    fn a_new_epoch_is_for_a_store_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = folder.path().join("wrong");
        assert!(matches!(Store::open_existing(&wrong), Err(StoreError::None { .. })));
        assert!(!wrong.exists(), "nothing is made");
        drop(Store::open(folder.path()).unwrap());
        Store::open_existing(folder.path()).unwrap();
    }

    #[test]
    fn a_second_writer_is_fenced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::InUse { .. })));
        store.append(START, &[b"one".to_vec()]).unwrap();
        let refused = store.append(START, &[b"other".to_vec()]);
        assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
        assert_eq!(store.read(0, 2).unwrap(), [(1, b"one".to_vec())]);
        let raised = store.raise_epoch().unwrap();
        assert_eq!(raised, Head { epoch: 2, number: 1 });
        let refused = store.append(Head { epoch: 1, number: 1 }, &[b"other".to_vec()]);
        assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    }

    #[test]
    fn an_unknown_layout_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let transaction = store.database.begin_write().unwrap();
        transaction.open_table(LAYOUT).unwrap().insert((), LAYOUT_VERSION + 1).unwrap();
        transaction.commit().unwrap();
        drop(store);
        let refused = Store::open(folder.path());
        assert!(matches!(refused, Err(StoreError::Layout { found: 2 })), "{refused:?}");
    }
}
