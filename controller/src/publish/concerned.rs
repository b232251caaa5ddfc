//! Whom a commit concerns: fixed when it is made, so that waiting for it ends, whatever is written meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use andromede_model::{HostName, TenantName};

/// Most hosts of all commits together that are remembered.
const REMEMBERED: usize = 200_000;

/// The hosts that one commit concerns: by the tenants through whose networks, and by themselves (none).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Concerned {
    hosts: BTreeMap<Option<TenantName>, BTreeSet<HostName>>,
}

impl Concerned {
    /// Adds hosts that it concerns through networks of a tenant.
    pub(super) fn add<'a>(&mut self, tenant: Option<TenantName>, hosts: impl IntoIterator<Item = &'a HostName>) {
        self.hosts.entry(tenant).or_default().extend(hosts.into_iter().cloned());
    }

    /// The hosts that it concerns through networks of a tenant, or at all. One may come several times.
    pub(super) fn hosts(&self, tenant: Option<&TenantName>) -> impl Iterator<Item = &HostName> {
        let asked = move |of: &Option<TenantName>| tenant.is_none() || of.as_ref() == tenant;
        self.hosts.iter().filter(move |(of, _)| asked(of)).flat_map(|(_, hosts)| hosts)
    }

    fn len(&self) -> usize {
        // A commit without hosts takes its place too.
        self.hosts.values().map(BTreeSet::len).sum::<usize>().saturating_add(1)
    }
}

/// The last commits, as many as there is room for.
#[derive(Debug, Default)]
pub(super) struct Commits {
    commits: BTreeMap<u64, Concerned>,
    length: usize,
}

impl Commits {
    /// Adds the next commit, and forgets the oldest if there are too many.
    pub(super) fn push(&mut self, revision: u64, concerned: Concerned) {
        self.length = self.length.saturating_add(concerned.len());
        self.commits.insert(revision, concerned);
        while self.length > REMEMBERED
            && let Some((_, oldest)) = self.commits.pop_first()
        {
            self.length = self.length.saturating_sub(oldest.len());
        }
    }

    /// Whom a commit concerns; none: that is not known any more.
    pub(super) fn get(&self, revision: u64) -> Option<&Concerned> {
        self.commits.get(&revision)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes() {
        let mut commits = Commits::default();
        let hosts: Vec<HostName> = (0..1_000).map(|number| format!("hosts/h{number}").parse().unwrap()).collect();
        for revision in 1..=1_000 {
            let mut concerned = Concerned::default();
            concerned.add(None, &hosts);
            commits.push(revision, concerned);
        }
        assert!(commits.length <= REMEMBERED && commits.commits.len() == REMEMBERED / 1_001);
        assert!(commits.get(1).is_none() && commits.get(1_000).is_some());
    }
}
