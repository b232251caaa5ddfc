//! Spans of commits that hosts have yet to apply.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use andromede_model::HostName;
use tracing::Span;

/// Most commits that are followed; the oldest is given up for another.
const FOLLOWED: usize = 256;

/// A commit's span, and the hosts that have yet to apply it: by name, with the revision that says so.
type Followed = (Span, BTreeMap<String, u64>);

/// Commits by revision.
#[derive(Debug, Default)]
pub(crate) struct InForce(Mutex<BTreeMap<u64, Followed>>);

impl InForce {
    fn followed(&self) -> MutexGuard<'_, BTreeMap<u64, Followed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a commit from now on, if anybody collects spans.
    pub(crate) fn follow(&self, commit: &Span, revision: u64, hosts: impl FnOnce() -> BTreeMap<HostName, u64>) {
        let span = tracing::trace_span!(parent: commit, "in force", revision, hosts = tracing::field::Empty);
        if span.is_disabled() {
            return;
        }
        let hosts: BTreeMap<_, _> = hosts().into_iter().map(|(host, revision)| (host.to_string(), revision)).collect();
        span.record("hosts", hosts.len() as u64);
        if hosts.is_empty() {
            return;
        }
        let mut followed = self.followed();
        if followed.len() >= FOLLOWED {
            followed.pop_first();
        }
        followed.insert(revision, (span, hosts));
    }

    /// A host has applied a revision, with all before it. Spans end with their last host.
    pub(crate) fn applied(&self, host: &str, revision: u64) {
        self.followed().retain(|_, (_, hosts)| {
            if hosts.get(host).is_some_and(|wanted| *wanted <= revision) {
                hosts.remove(host);
            }
            !hosts.is_empty()
        });
    }

    /// A host is waited for no longer.
    pub(crate) fn gone(&self, host: &str) {
        self.applied(host, u64::MAX);
    }
}
