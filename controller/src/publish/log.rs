//! What changed in one network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use andromede_model::{AnyName, IdentitySet};

/// Most names and identities that a network's log keeps. Who is further behind gets a snapshot, which is smaller then.
const LONGEST: usize = 4_096;

/// The names of what one or several commits changed in the view of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Resources that entered the view, changed in it, or left it.
    pub names: BTreeSet<AnyName>,
    /// Identities by number: the new set, or none if it is gone. A number never means two sets.
    pub identities: BTreeMap<u32, Option<IdentitySet>>,
}

impl Change {
    /// How much of the log it takes.
    fn len(&self) -> usize {
        self.names.len().saturating_add(self.identities.len())
    }

    /// Does it change nothing?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a later change.
    fn merge(&mut self, later: &Self) {
        self.names.extend(later.names.iter().cloned());
        self.identities.extend(later.identities.iter().map(|(number, set)| (*number, set.clone())));
    }
}

/// The last changes of a network, in order.
#[derive(Debug)]
pub struct NetworkLog {
    /// Changes after this revision are all here.
    base: u64,
    /// Revision and change, ascending.
    changes: VecDeque<(u64, Change)>,
    /// Sum of the lengths of the changes.
    length: usize,
}

impl NetworkLog {
    /// The log of a network made by the commit `revision`: whoever knows an earlier state knows another network of this name.
    pub fn new(revision: u64) -> Self {
        Self { base: revision, changes: VecDeque::new(), length: 0 }
    }

    /// Revision of the last change.
    pub fn head(&self) -> u64 {
        self.changes.back().map_or(self.base, |(revision, _)| *revision)
    }

    /// Adds the change of a commit, and forgets the oldest if the log is too long.
    pub fn push(&mut self, revision: u64, change: Change) {
        self.length = self.length.saturating_add(change.len());
        self.changes.push_back((revision, change));
        while self.length > LONGEST {
            let Some((revision, change)) = self.changes.pop_front() else { break };
            self.length = self.length.saturating_sub(change.len());
            self.base = revision;
        }
    }

    /// All that changed after a revision; none if the log does not reach back so far.
    pub fn since(&self, revision: u64) -> Option<Change> {
        if revision < self.base {
            return None;
        }
        let mut all = Change::default();
        let first = self.changes.partition_point(|(number, _)| *number <= revision);
        for (_, change) in self.changes.range(first..) {
            all.merge(change);
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn change(names: impl IntoIterator<Item = usize>) -> Change {
        let name = |n: usize| format!("hosts/h{n}").parse().unwrap();
        Change { names: names.into_iter().map(name).collect(), identities: BTreeMap::new() }
    }

    #[test]
    fn changes_since_a_revision_are_merged() {
        let mut log = NetworkLog::new(3);
        log.push(5, change([1, 2]));
        log.push(9, change([2, 3]));
        assert_eq!(log.head(), 9);
        assert_eq!(log.since(3), Some(change([1, 2, 3])));
        assert_eq!(log.since(5), Some(change([2, 3])));
        assert_eq!(log.since(9), Some(Change::default()));
        assert_eq!(log.since(2), None);
    }

    #[test]
    fn the_log_is_bounded_and_says_how_far_it_reaches() {
        let mut log = NetworkLog::new(0);
        for revision in 1..=10_000 {
            log.push(revision, change([revision as usize]));
        }
        assert_eq!(log.changes.len(), LONGEST);
        assert_eq!(log.since(10_000 - LONGEST as u64).unwrap().names.len(), LONGEST);
        assert_eq!(log.since(10_000 - LONGEST as u64 - 1), None);
        log.push(10_001, change(0..=LONGEST));
        assert_eq!((log.changes.len(), log.since(10_000)), (0, None));
        assert_eq!(log.since(10_001), Some(Change::default()));
        assert_eq!(log.head(), 10_001);
    }
}
