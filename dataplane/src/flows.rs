//! The table of connections.

use andromede_abi::{FlowKey, FlowRow};

use crate::rows::{Rows, TableError};

/// Connections; the packet path writes to the same rows.
#[derive(Debug)]
pub struct Flows(pub(crate) Rows<FlowKey, FlowRow>);

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Connections that stayed.
    pub kept: usize,
    /// Connections that were removed.
    pub removed: usize,
}

impl Flows {
    /// Most connections that the table holds.
    pub fn capacity(&self) -> u32 {
        self.0.capacity()
    }

    /// Reads one connection.
    pub fn get(&self, key: &FlowKey) -> Result<Option<FlowRow>, TableError> {
        self.0.get(key)
    }

    /// Writes one connection (tests, migration).
    pub fn insert(&self, key: &FlowKey, row: &FlowRow) -> Result<(), TableError> {
        self.0.insert(key, row)
    }

    /// Removes one connection; says whether it was there.
    pub fn remove(&self, key: &FlowKey) -> Result<bool, TableError> {
        self.0.remove(key)
    }

    /// Removes many connections at once; says how many of them there were.
    pub fn remove_many(&self, keys: &[FlowKey]) -> Result<usize, TableError> {
        self.0.remove_many(keys)
    }

    /// Gives each connection to `each`. Those that come or go meanwhile may be seen or not.
    pub fn for_each(&self, each: impl FnMut(FlowKey, FlowRow)) -> Result<(), TableError> {
        self.0.for_each(each)
    }

    /// All connections.
    pub fn all(&self) -> Result<Vec<(FlowKey, FlowRow)>, TableError> {
        self.0.all()
    }

    /// How many connections there are. This reads them all.
    pub fn count(&self) -> Result<usize, TableError> {
        self.0.count()
    }

    /// Removes the connections that are `over`. Each is read and judged again just before it is removed, since a
    /// packet may have woken it since the sweep read it.
    pub fn sweep(&self, over: impl Fn(&FlowKey, &FlowRow) -> bool) -> Result<Swept, TableError> {
        let mut candidates = Vec::new();
        let mut swept = Swept::default();
        self.for_each(|key, row| {
            if over(&key, &row) {
                candidates.push(key);
            } else {
                swept.kept = swept.kept.saturating_add(1);
            }
        })?;
        for key in candidates {
            match self.get(&key)? {
                Some(row) if over(&key, &row) => {
                    swept.removed = swept.removed.saturating_add(usize::from(self.remove(&key)?));
                }
                Some(_) => swept.kept = swept.kept.saturating_add(1),
                None => {}
            }
        }
        Ok(swept)
    }
}
