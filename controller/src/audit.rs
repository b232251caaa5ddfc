//! One line for each write: who, which revision, what.

use crate::{
    access::Principal,
    change::{Effect, Written},
};

/// Most names in a line; the log of commits has them all.
const NAMED: usize = 20;

/// Reports a write that is on disk.
pub fn written(principal: &Principal, written: &Written) {
    let changed: Vec<_> = written.effects.iter().filter(|(_, effect)| *effect != Effect::Unchanged).collect();
    if changed.is_empty() {
        return;
    }
    let count = |wanted: Effect| changed.iter().filter(|(_, effect)| *effect == wanted).count();
    let names: Vec<_> = changed.iter().take(NAMED).map(|(name, _)| name.as_str()).collect();
    tracing::info!(
        target: "audit",
        %principal,
        revision = written.revision,
        created = count(Effect::Created),
        updated = count(Effect::Updated),
        deleted = count(Effect::Deleted),
        unnamed = changed.len().saturating_sub(NAMED),
        names = names.join(" "),
        "write"
    );
}
