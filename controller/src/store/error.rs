//! What can go wrong with a store.

use std::path::PathBuf;

use super::{Head, LAYOUT_VERSION};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file could not be made or read.
    #[error("store {path}: {source}; give --store a folder that this user may write")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no store.
    #[error("store {path}: there is no such file; correct --store")]
    None {
        /// The file.
        path: PathBuf,
    },
    /// Another program has the file open.
    #[error("store {path}: another program has it open; is another controller running?")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The database refused.
    #[error("store: {0}")]
    Database(#[from] redb::Error),
    /// Another program wrote the file in a layout that this one does not know.
    #[error("store: layout {found} is unknown, this program knows {LAYOUT_VERSION}; run the version that wrote it")]
    Layout {
        /// The layout found.
        found: u32,
    },
    /// Somebody else moved the head: this writer must stop.
    #[error("store: the head is {found:?}, expected {expected:?}; another controller writes to this store")]
    Fenced {
        /// What the writer believed.
        expected: Head,
        /// What the store says.
        found: Head,
    },
    /// The entries asked for were removed, because a checkpoint stands for them.
    #[error("store: the commits up to {trimmed} are no longer kept, {after} was asked for; begin with the whole state")]
    Trimmed {
        /// The number after which entries were asked for.
        after: u64,
        /// The last number that was removed.
        trimmed: u64,
    },
    /// An entry that the head counts is not there.
    #[error("store: commit {number} is missing or not whole; restore the store from a backup")]
    Missing {
        /// Number of the commit.
        number: u64,
    },
    /// What was done with records of usage ended in the middle.
    #[error("store: work on records of usage ended unexpectedly: {0}; nothing of it is written")]
    Usage(String),
    /// An entry cannot be decoded.
    #[error("store: commit {number} cannot be read: {reason}; restore the store from a backup")]
    Corrupt {
        /// Number of the commit.
        number: u64,
        /// What is wrong with it.
        reason: String,
    },
}

macro_rules! database_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        })*
    };
}
database_errors!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::SetDurabilityError
);
