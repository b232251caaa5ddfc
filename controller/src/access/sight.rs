//! What a caller sees. What is not in sight is not there: no answer differs by it.

use std::{collections::BTreeMap, sync::Arc};

use andromede_model::{AnyName, Host, HostName, Model, TenantName};
use andromede_proto::v1::PlanResponse;
use tokio::sync::watch;

use super::{Caller, Extent, Principal, Role, check};
use crate::{
    change::{Change, WriteError},
    clock::now_nanos,
    fence, preview,
    publish::Publisher,
    quarantine::Quarantine,
    registry::Registry,
};

/// The part of the state that a caller sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of it.
    Everything,
    /// One tenant, and what belongs to it; and the zones, among which it chooses.
    Tenant(TenantName),
    /// Nothing of what the API shows.
    Nothing,
}

impl Sight {
    /// What the principal sees by a right of this extent.
    pub fn new(principal: &Principal, extent: Extent) -> Self {
        match (extent, &principal.role) {
            (Extent::Everything, _) => Self::Everything,
            (Extent::Own, Role::TenantAdmin(tenant) | Role::TenantReader(tenant)) => Self::Tenant(tenant.clone()),
            (Extent::Own | Extent::Nothing, _) => Self::Nothing,
        }
    }

    /// Is the resource in sight, if there is one of this name?
    pub fn sees(&self, name: &AnyName) -> bool {
        match self {
            Self::Everything => true,
            Self::Tenant(tenant) => {
                matches!(name, AnyName::Zone(_)) || owner(name).is_some_and(|owner| owner == *tenant)
            }
            Self::Nothing => false,
        }
    }

    /// The same, of a name as text: what is no name is not seen.
    pub fn sees_text(&self, name: &str) -> bool {
        *self == Self::Everything || name.parse().is_ok_and(|name| self.sees(&name))
    }

    /// The part of a state that is in sight.
    pub fn of(&self, model: &Arc<Model>) -> Arc<Model> {
        match self {
            Self::Everything => Arc::clone(model),
            Self::Tenant(tenant) => Arc::new(model.of_tenant(tenant)),
            Self::Nothing => Arc::new(model.of_nobody()),
        }
    }
}

/// The tenant that a resource belongs to.
pub(super) fn owner(name: &AnyName) -> Option<TenantName> {
    match name {
        AnyName::Tenant(name) => Some(name.clone()),
        name => name.network().map(|network| network.tenant()),
    }
}

/// The published state, as each caller sees it. The services of the API have no other way to it.
#[derive(Clone, Debug)]
pub struct Views {
    publisher: Arc<Publisher>,
    registry: Arc<Registry>,
    quarantine: Arc<Quarantine>,
}

impl Views {
    /// Over this state.
    pub const fn new(publisher: Arc<Publisher>, registry: Arc<Registry>, quarantine: Arc<Quarantine>) -> Self {
        Self { publisher, registry, quarantine }
    }

    /// The state as of the last durable commit, as the caller sees it.
    pub fn model(&self, caller: &Caller) -> Arc<Model> {
        caller.sight.of(&self.publisher.model())
    }

    /// Epoch of the store.
    pub fn epoch(&self) -> u64 {
        self.publisher.model().epoch()
    }

    /// The revision of the last durable commit.
    pub fn revision(&self) -> u64 {
        self.publisher.model().revision()
    }

    /// Follows the revision of the last durable commit.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.publisher.head()
    }

    /// The last revision that concerns a host, and how many ports are placed on it. Asked by who sees everything.
    pub fn wanted(&self, host: &HostName) -> (u64, usize) {
        self.publisher.wanted(host)
    }

    /// The hosts that a commit concerns, or all commits so far, as far as the caller may know; each with the revision that it must have
    /// applied. Hosts that are gone or fenced are not waited for.
    pub fn concerned(&self, caller: &Caller, revision: Option<u64>) -> BTreeMap<HostName, u64> {
        let mut concerned = match &caller.sight {
            Sight::Everything => self.publisher.concerned(None, revision),
            Sight::Tenant(tenant) => self.publisher.concerned(Some(tenant), revision),
            Sight::Nothing => BTreeMap::new(),
        };
        let model = self.publisher.model();
        concerned.retain(|host, _| model.host(host).is_some_and(|host| !host.is_fenced()));
        concerned
    }

    /// What a write would do, as the caller may know it. It may take long.
    pub fn plan(&self, caller: &Caller, mut change: Change) -> Result<PlanResponse, WriteError> {
        // The whole state: numbers and names of it are checked by the same code as in the write itself.
        // While its counts are held nobody writes: both are of one revision.
        let capacity = self.publisher.capacity();
        let model = self.publisher.model();
        if change.planned_revision.is_some_and(|planned| planned != model.revision()) {
            return Err(WriteError::Moved(model.revision()));
        }
        check(&model, &mut change)?;
        let fences = |host: &Host| fence::behind(&self.publisher, &self.registry, &model, host);
        let resting = self.quarantine.at(now_nanos());
        let planned = preview::plan(&model, &capacity, &change, &resting, &fences);
        let mut planned = planned.map_err(|error| error.told_to(&change.principal))?;
        if caller.sight != Sight::Everything {
            // Which hosts there are, and how full they are by others, concerns no tenant.
            planned.hosts.clear();
            planned.tables.clear();
        }
        Ok(planned)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use andromede_model::ResourceKind;

    use super::*;
    use crate::fixtures::{host, network, port, subnet, tenant};

    fn model() -> Arc<Model> {
        let mut model = Model::default();
        let mut written = vec![host(1, 2)];
        // Names that stand before, behind and around the one that is looked for.
        for name in ["a", "b", "b-2", "b2", "ba", "c"] {
            written.extend([tenant(name), network(name), subnet(name), port(name, 2, Some(1), &[])]);
        }
        let commit = model.prepare(written, Vec::new()).unwrap();
        model.commit(&commit).unwrap();
        Arc::new(model)
    }

    #[test]
    fn a_tenant_sees_its_own_and_nothing_else() {
        let whole = model();
        let sight = Sight::Tenant("tenants/b".parse().unwrap());
        let seen = sight.of(&whole);
        for kind in ResourceKind::ALL {
            let names: Vec<_> = seen.all(kind).map(|it| it.name().to_string()).collect();
            assert!(names.iter().all(|name| name == "tenants/b" || name.starts_with("tenants/b/")), "{names:?}");
            for resource in whole.all(kind) {
                let name = resource.name();
                assert_eq!(seen.get(&name).is_some(), sight.sees(&name), "{name}");
                assert_eq!(sight.sees(&name), sight.sees_text(name.as_str()));
            }
        }
        assert_eq!(seen.all(ResourceKind::Port).count(), 1);
        assert_eq!(seen.revision(), whole.revision());
        assert!(!sight.sees_text("tenants/b/networks") && !sight.sees_text(""));
    }

    #[test]
    fn without_a_right_nothing_is_seen() {
        let host = Principal { role: Role::Host(Some(1)), name: "h1".to_owned() };
        let sight = Sight::new(&host, Extent::Own);
        let seen = sight.of(&model());
        assert!(ResourceKind::ALL.into_iter().all(|kind| seen.all(kind).count() == 0));
        let operator = Principal { role: Role::Operator, name: "o".to_owned() };
        assert_eq!(Sight::new(&operator, Extent::Own), Sight::Nothing, "only tenants own");
    }
}
