//! From a write to a commit.

use crate::{
    AnyName, Commit, Model, Resource, ResourceKind, Resting, Violation,
    check::{check, check_deletions},
    draft::Draft,
    ipam::NothingRests,
    limits,
    number::Numbers,
};

impl Model {
    /// Checks a write and gives out numbers: the commit, or everything that is wrong. `written` is in the order of the
    /// request, for the paths of violations (`resources[3].port.addresses[0]`; that of a deletion is `name`, or `deleted[3]`
    /// if there are several). What the caller set in fields that the model sets is ignored, and what does not change is left
    /// out of the commit. The same model and the same write, in any order, give the same commit.
    pub fn prepare(&self, written: Vec<Resource>, deleted: Vec<AnyName>) -> Result<Commit, Vec<Violation>> {
        self.prepare_with(written, deleted, &NothingRests)
    }

    /// The same, while some addresses are not given out to ports that choose none.
    pub fn prepare_with(
        &self,
        written: Vec<Resource>,
        deleted: Vec<AnyName>,
        resting: &dyn Resting,
    ) -> Result<Commit, Vec<Violation>> {
        if written.len().saturating_add(deleted.len()) > limits::RESOURCES_PER_WRITE {
            return Err(vec![Violation::new(
                "resources",
                written.len() + deleted.len(),
                format!("a write has at most {} resources", limits::RESOURCES_PER_WRITE),
                "write them in several calls",
            )]);
        }
        let mut draft = Draft::new(self, &written, &deleted);
        let mut deleted = deleted;
        deleted.sort_by_key(|name| std::cmp::Reverse((name.kind(), name.clone())));
        for name in &deleted {
            draft.delete(name);
        }
        let mut numbers = Numbers::new(self, resting);
        let names = numbers.place(&mut draft, written);
        check(&mut draft);
        check_deletions(&mut draft);
        if !draft.violations.is_empty() {
            draft.violations.sort();
            draft.violations.dedup();
            return Err(draft.violations);
        }
        if numbers.counters.exhausted() {
            let fix = "move the fabric to a new store";
            return Err(vec![Violation::new("resources", names.len(), "the numbers of the fabric are used up", fix)]);
        }
        let revision = self.revision + 1;
        let changed = names.iter().filter_map(|name| {
            let resource = draft.after.get(name)?;
            (self.get(name).as_ref() != Some(&resource)).then(|| resource.at_revision(revision))
        });
        let written = changed.collect();
        Ok(Commit {
            revision,
            written,
            deleted,
            identities_removed: draft.unused(),
            identities: draft.interned,
            counters: numbers.counters,
        })
    }
}

impl Draft<'_> {
    /// Takes a resource out, unless it is not there or others live in it.
    fn delete(&mut self, name: &AnyName) {
        if self.before.get(name).is_none() {
            let collection = name.kind();
            return self.refuse_deletion(name, format!("there is no such {collection}"), "look at the list of names");
        }
        let child = match name {
            AnyName::Tenant(tenant) => {
                self.after.networks.keys().find(|network| network.tenant() == *tenant).map(ToString::to_string)
            }
            AnyName::Network(network) => self.after.networks.get(network).and_then(|state| {
                let mut kinds = ResourceKind::ALL.into_iter().filter(|kind| *kind != ResourceKind::Network);
                kinds.find_map(|kind| state.all(kind).next()).map(|child| child.name().to_string())
            }),
            _ => None,
        };
        match child {
            Some(child) => self.refuse_in_use(
                name,
                format!("what still holds others is not deleted; {child} is in it"),
                format!("delete {child} first, and all others in it"),
            ),
            None => self.after.remove(name),
        }
    }
}
