//! Typed access to one table.

use std::{io, marker::PhantomData, sync::Arc};

use andromede_abi::{Pod, bytes_of, from_bytes, maps::Table};

use crate::{batch, generation::Generation, sys::RawMap};

/// Why a table did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Every row is taken.
    #[error("table {table} is full: it holds {rows} rows; load with a larger size")]
    Full {
        /// Which table.
        table: &'static str,
        /// How many rows it holds.
        rows: u32,
    },
    /// The kernel has no memory for a further row.
    #[error("no memory for a row of table {table}")]
    NoMemory {
        /// Which table.
        table: &'static str,
    },
    /// An index behind the end of an array.
    #[error("index {index} is not in table {table}, which has {rows} rows")]
    OutOfRange {
        /// Which table.
        table: &'static str,
        /// The index.
        index: u32,
        /// How many rows it has.
        rows: u32,
    },
    /// The kernel refused otherwise.
    #[error("cannot {operation} table {table}")]
    Os {
        /// Which table.
        table: &'static str,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A table whose rows have a key of type `K` and a value of type `V`.
///
/// All calls take `&self`: the kernel orders them. A table may be used from several threads.
#[derive(Debug)]
pub struct Rows<K, V> {
    pub(crate) table: &'static Table,
    pub(crate) map: RawMap,
    /// Of a table of configuration, which processors keep rows of.
    generation: Option<Arc<Generation>>,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Pod, V: Pod> Rows<K, V> {
    /// `map` has been compared with the table's layout.
    pub(crate) fn new(table: &'static Table, map: RawMap) -> Self {
        Self { table, map, generation: None, types: PhantomData }
    }

    /// The same, of configuration: each write advances the generation.
    pub(crate) fn advancing(self, generation: &Arc<Generation>) -> Self {
        Self { generation: Some(Arc::clone(generation)), ..self }
    }

    /// Says that something was written, or may have been.
    fn advance<T>(&self, result: T) -> T {
        if let Some(generation) = &self.generation {
            generation.advance();
        }
        result
    }

    pub(crate) fn error(&self, operation: &'static str, source: io::Error) -> TableError {
        let table = self.table.name;
        match source.raw_os_error() {
            Some(libc::E2BIG | libc::ENOSPC) => TableError::Full { table, rows: self.map.max_entries },
            Some(libc::ENOMEM) => TableError::NoMemory { table },
            _ => TableError::Os { table, operation, source },
        }
    }

    /// Most rows that the table holds.
    pub fn capacity(&self) -> u32 {
        self.map.max_entries
    }

    /// Reads a row. In a longest-prefix table: that of the longest prefix that covers the key.
    pub fn get(&self, key: &K) -> Result<Option<V>, TableError> {
        let mut value = vec![0; self.map.copy_size];
        match self.map.lookup(bytes_of(key), &mut value) {
            Ok(true) => Ok(from_bytes(&value)),
            Ok(false) => Ok(None),
            Err(source) => Err(self.error("read", source)),
        }
    }

    /// Writes a row, whether or not the key has one.
    pub fn insert(&self, key: &K, value: &V) -> Result<(), TableError> {
        self.advance(self.map.update(bytes_of(key), bytes_of(value))).map_err(|source| self.error("write to", source))
    }

    /// Removes a row; says whether there was one.
    pub fn remove(&self, key: &K) -> Result<bool, TableError> {
        self.advance(self.map.delete(bytes_of(key))).map_err(|source| self.error("remove from", source))
    }

    /// Removes many rows; says how many of them there were.
    pub fn remove_many(&self, keys: &[K]) -> Result<usize, TableError> {
        let bytes: Vec<u8> = keys.iter().flat_map(bytes_of).copied().collect();
        self.advance(batch::delete(&self.map, &bytes)).map_err(|source| self.error("remove from", source))
    }

    /// Gives each row to `each`. Rows that come or go meanwhile may be seen or not.
    pub fn for_each(&self, mut each: impl FnMut(K, V)) -> Result<(), TableError> {
        let (key_size, copy_size) = (self.map.key_size.max(1), self.map.copy_size.max(1));
        let rows = batch::for_each_batch(&self.map, |keys, values| {
            for (key, value) in keys.chunks_exact(key_size).zip(values.chunks_exact(copy_size)) {
                if let (Some(key), Some(value)) = (from_bytes(key), from_bytes(value)) {
                    each(key, value);
                }
            }
            Ok(())
        });
        rows.map_err(|source| self.error("read", source))
    }

    /// All rows. The tables of configuration have one writer, so that what it finds is exact.
    pub fn all(&self) -> Result<Vec<(K, V)>, TableError> {
        let mut found = Vec::new();
        self.for_each(|key, value| found.push((key, value)))?;
        Ok(found)
    }

    /// How many rows there are. This reads them all.
    pub fn count(&self) -> Result<usize, TableError> {
        let mut rows: usize = 0;
        self.for_each(|_, _| rows = rows.saturating_add(1))?;
        Ok(rows)
    }
}
