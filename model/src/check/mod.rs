//! What a model must satisfy. Checked are the resources of a write, and what others they concern.

mod address;
mod group;
mod host;
mod network;
mod operator_policy;
mod overlap;
mod place;
mod port;
mod prefix_list;
mod quota;
mod reservation;
mod underlay;

use std::collections::BTreeMap;

use crate::{AnyName, draft::Draft, limits};

/// Checks the resources of a write where they would stand.
pub(crate) fn check(draft: &mut Draft<'_>) {
    for name in draft.tenants.clone() {
        let Some(tenant) = draft.after.tenants.get(&name).cloned() else { continue };
        if tenant.display_name.chars().count() > limits::DISPLAY_NAME {
            let rule = format!("a display name has at most {} characters", limits::DISPLAY_NAME);
            draft.refuse(name, "display_name", &tenant.display_name, rule, "shorten it");
        }
    }
    operator_policy::check(draft);
    host::check(draft);
    let touched = std::mem::take(&mut draft.touched);
    underlay::check(draft, &touched);
    quota::check(draft, &touched);
    place::check(draft, &touched);
    for (name, touched) in &touched {
        let Some(state) = draft.state(name) else { continue };
        network::check(draft, &state, touched);
        prefix_list::check(draft, &state, touched);
        group::check(draft, &state, touched);
        port::check(draft, &state, touched);
    }
    draft.touched = touched;
}

/// Checks that nothing refers to what is deleted.
pub(crate) fn check_deletions(draft: &mut Draft<'_>) {
    let hosts = draft.deleted.keys().filter(|name| matches!(name, AnyName::Host(_))).cloned();
    let mut users: BTreeMap<AnyName, AnyName> = BTreeMap::new();
    let hosts: Vec<AnyName> = hosts.collect();
    if !hosts.is_empty() {
        for state in draft.after.networks.values() {
            let ports = state.ports.values().map(|port| (&port.host, AnyName::from(port.name.clone())));
            let subnets = state.subnets.values().map(|subnet| (&subnet.host, AnyName::from(subnet.name.clone())));
            for (host, user) in ports.chain(subnets) {
                if let Some(host) = host.clone().map(AnyName::from).filter(|host| hosts.contains(host)) {
                    users.entry(host).or_insert(user);
                }
            }
        }
    }
    operator_policy::users_of_deleted(draft, &mut users);
    place::users_of_deleted(draft, &mut users);
    for (name, touched) in &draft.touched {
        if let Some(state) = draft.state(name).filter(|_| touched.groups_deleted) {
            group::users_of_deleted(draft, &state, &mut users);
        }
    }
    for (name, user) in users {
        let rule = format!("what others refer to is not deleted; {user} refers to it");
        draft.refuse_in_use(&name, rule, format!("change or delete {user} first, and all others that do"));
    }
}
