//! The table of connections.

use andromede_abi::{FlowKey, FlowRow};

use crate::rows::{Rows, TableError};

/// Connections; the packet path writes to the same rows. They are removed by [`crate::Reaper`] only, which gives back what they took.
#[derive(Debug)]
pub struct Flows(pub(crate) Rows<FlowKey, FlowRow>);

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
}
