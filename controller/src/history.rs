//! What was: the state as of any commit that is kept, and what led from one to another.

use std::collections::BTreeSet;

use andromede_model::{AnyName, Host, HostState, Model, Resource};
use andromede_proto::difference;

use crate::{
    change::{Change, Condition},
    checkpoint,
    record::Record,
    store::{Store, StoreError, Which},
};

/// Commits that are read from the store at once.
const STEP: usize = 1_024;

/// The state as of a revision.
pub fn at(store: &Store, revision: u64) -> Result<Model, StoreError> {
    let mut model = Model::default();
    for which in [Which::Last, Which::Base] {
        if let Some((number, parts)) = store.read_checkpoint(which)?
            && number <= revision
        {
            let corrupt = |reason: String| StoreError::Corrupt { number, reason };
            let whole = checkpoint::read(&parts).map_err(|error| corrupt(error.to_string()))?;
            model = Model::restore(&whole).map_err(|error| corrupt(error.to_string()))?;
            break;
        }
    }
    advance(store, &mut model, revision, &mut |_| ())?;
    Ok(model)
}

/// Adds the commits up to a revision, and tells the names that each touches.
fn advance(
    store: &Store,
    model: &mut Model,
    revision: u64,
    touched: &mut impl FnMut(AnyName),
) -> Result<(), StoreError> {
    while model.revision() < revision {
        let left = usize::try_from(revision - model.revision()).unwrap_or(usize::MAX);
        let entries = store.read(model.revision(), left.min(STEP))?;
        if entries.is_empty() {
            return Err(StoreError::Missing { number: model.revision().saturating_add(1) });
        }
        for (number, bytes) in entries {
            let corrupt = |reason: String| StoreError::Corrupt { number, reason };
            let record = Record::read(&bytes).map_err(|error| corrupt(error.to_string()))?;
            let commit = record.into_commit().map_err(|error| corrupt(error.to_string()))?;
            commit.written.iter().map(Resource::name).chain(commit.deleted.iter().cloned()).for_each(&mut *touched);
            model.commit(&commit).map_err(|error| corrupt(error.to_string()))?;
        }
    }
    Ok(())
}

/// Two states, and the names of what may be different in them.
#[derive(Debug)]
pub struct Span {
    /// The state from which it looks.
    pub from: Model,
    /// The state to which it looks.
    pub to: Model,
    /// What commits between them touched.
    pub touched: BTreeSet<AnyName>,
}

impl Span {
    /// The span between two revisions, in either direction.
    pub fn read(store: &Store, from: u64, to: u64) -> Result<Self, StoreError> {
        let earlier = at(store, from.min(to))?;
        let mut later = earlier.clone();
        let mut touched = BTreeSet::new();
        advance(store, &mut later, from.max(to), &mut |name| {
            touched.insert(name);
        })?;
        let (from, to) = if from <= to { (earlier, later) } else { (later, earlier) };
        Ok(Self { from, to, touched })
    }

    /// Names and both states of what is not the same, but for what the server gives.
    pub fn changes(&self) -> impl Iterator<Item = (&AnyName, Option<Resource>, Option<Resource>)> {
        self.touched.iter().filter_map(|name| {
            let (before, after) = (self.from.get(name), self.to.get(name));
            (!same(before.as_ref(), after.as_ref())).then_some((name, before, after))
        })
    }

    fn fenced(&self, name: &AnyName) -> bool {
        matches!(self.from.get(name), Some(Resource::Host(host)) if host.is_fenced())
    }

    /// The write that leads from the one to the other. Its conditions are that what it touches is as it was looked at.
    pub fn change(&self, change: Change) -> Change {
        let mut change = change;
        for (name, before, after) in self.changes() {
            let condition = before.map_or(Condition::Absent, |before| Condition::At(before.revision()));
            change.conditions.push((name.clone(), condition));
            match after {
                // A fence is not taken back.
                Some(Resource::Host(host)) if self.fenced(name) => {
                    change.written.push(Host { state: HostState::Fenced, ..host }.into());
                }
                Some(after) => change.written.push(after),
                None => change.deleted.push(name.clone()),
            }
        }
        change
    }
}

/// Are two states of a resource the same but for what the server gives?
fn same(one: Option<&Resource>, other: Option<&Resource>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            let fields = difference::fields(&one.clone().into(), &other.clone().into());
            one == other || fields.is_ok_and(|fields| fields.is_empty())
        }
        (None, None) => true,
        _ => false,
    }
}
