//! What a tenant may have.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    AnyName, Cause, Model, NetworkName, SecurityGroupName, TenantName, TenantQuotas, Violation,
    draft::{Draft, Touched},
    state::NetworkState,
};

/// What there is a quota of.
struct Quota {
    /// What it is called.
    what: &'static str,
    /// How much is allowed; 0: any number.
    most: fn(&TenantQuotas) -> u32,
    /// How much of it a network has.
    used: fn(&NetworkState) -> usize,
    /// What a write makes more of in one network: each resource, and by how much.
    grown: fn(&Draft<'_>, &NetworkName, &Touched) -> Vec<(AnyName, usize)>,
}

/// Those names that are new, each by one.
fn new<N: Clone + Into<AnyName>>(draft: &Draft<'_>, names: &[N]) -> Vec<(AnyName, usize)> {
    let names = names.iter().map(|name| name.clone().into());
    names.filter(|name| draft.before.get(name).is_none()).map(|name| (name, 1)).collect()
}

/// The groups that have more rules than before.
fn more_rules(draft: &Draft<'_>, network: &NetworkName, touched: &Touched) -> Vec<(AnyName, usize)> {
    let count = |state: Option<&Arc<NetworkState>>, name: &SecurityGroupName| {
        state.and_then(|state| state.groups.get(name)).map_or(0, |group| group.rules.len())
    };
    let (before, after) = (draft.before.networks.get(network), draft.after.networks.get(network));
    let by = |name: &SecurityGroupName| count(after, name).saturating_sub(count(before, name));
    touched.groups.iter().map(|name| (name.clone().into(), by(name))).filter(|(_, by)| *by > 0).collect()
}

const QUOTAS: [Quota; 6] = [
    Quota {
        what: "networks",
        most: |quotas| quotas.networks,
        used: |_| 1,
        grown: |draft, network, touched| {
            if touched.network { new(draft, std::slice::from_ref(network)) } else { Vec::new() }
        },
    },
    Quota {
        what: "subnets",
        most: |quotas| quotas.subnets,
        used: |state| state.subnets.len(),
        grown: |draft, _, touched| new(draft, &touched.subnets),
    },
    Quota {
        what: "ports",
        most: |quotas| quotas.ports,
        used: |state| state.ports.len(),
        grown: |draft, _, touched| new(draft, &touched.ports),
    },
    Quota {
        what: "security groups",
        most: |quotas| quotas.security_groups,
        used: |state| state.groups.len(),
        grown: |draft, _, touched| new(draft, &touched.groups),
    },
    Quota {
        what: "rules",
        most: |quotas| quotas.rules,
        used: |state| state.groups.values().map(|group| group.rules.len()).sum(),
        grown: more_rules,
    },
    Quota {
        what: "prefix lists",
        most: |quotas| quotas.prefix_lists,
        used: |state| state.prefix_lists.len(),
        grown: |draft, _, touched| new(draft, &touched.prefix_lists),
    },
];

/// Refuses what would be more than a tenant may have. One that has more already, because its quota became less, keeps it and gets no more.
pub(super) fn check(draft: &mut Draft<'_>, touched: &BTreeMap<NetworkName, Touched>) {
    let tenants: BTreeSet<TenantName> = touched.keys().map(NetworkName::tenant).collect();
    for tenant in tenants {
        let Some(quotas) = draft.after.tenants.get(&tenant).map(|tenant| tenant.quotas) else { continue };
        for quota in &QUOTAS {
            let most = (quota.most)(&quotas) as usize;
            let sum = |model: &Model| model.states_of(&tenant).map(quota.used).sum::<usize>();
            let after = if most == 0 { 0 } else { sum(&draft.after) };
            if after > most && after > sum(draft.before) {
                let rule = format!("{tenant} may have {most} {}; it would have {after}", quota.what);
                let of_tenant = touched.iter().filter(|(network, _)| network.tenant() == tenant);
                let grown = of_tenant.flat_map(|(network, touched)| (quota.grown)(draft, network, touched)).collect();
                refuse(draft, &tenant, &rule, grown, after.saturating_sub(most));
            }
        }
    }
}

/// Names the resources that are too much, from the last on: without them the write would fit.
fn refuse(draft: &mut Draft<'_>, tenant: &TenantName, rule: &str, grown: Vec<(AnyName, usize)>, mut over: usize) {
    for (name, by) in grown.into_iter().rev() {
        if over == 0 {
            return;
        }
        over = over.saturating_sub(by);
        let path = draft.path(&name, "name");
        let violation = Violation::new(path, tenant, rule, "delete what is not needed, or ask an operator for more");
        draft.violations.push(violation.of(Cause::Quota));
    }
}
