//! Policies of the operator.

use std::collections::BTreeMap;

use super::group::check_rules;
use crate::{Action, AnyName, Existing, NetworkName, OperatorPolicy, Remote, draft::Draft, limits};

/// Checks the policies that are written.
pub(super) fn check(draft: &mut Draft<'_>) {
    for name in draft.operator_policies.clone() {
        let Some(policy) = draft.after.operator_policies.get(&name).cloned() else { continue };
        check_policy(draft, &policy);
        if draft.after.operator_policies.len() > limits::OPERATOR_POLICIES {
            let rule = format!("a fabric has at most {} policies of the operator", limits::OPERATOR_POLICIES);
            draft.refuse(name.clone(), "name", &name, rule, "join policies");
        }
    }
    let rules = || draft.after.operator_policies.values().map(|policy| policy.rules.len()).sum::<usize>();
    if let Some(name) = draft.operator_policies.first().cloned() {
        let number = rules();
        if number > limits::OPERATOR_RULES {
            let rule = format!("the policies of the operator have at most {} rules together", limits::OPERATOR_RULES);
            draft.refuse(name, "rules", number, rule, "use wider prefixes and port ranges");
        }
    }
}

fn check_policy(draft: &mut Draft<'_>, policy: &OperatorPolicy) {
    let name = AnyName::from(policy.name.clone());
    check_rules(draft, &name, &policy.rules);
    if policy.networks.len() > limits::NETWORKS_PER_POLICY {
        let rule = format!("a policy names at most {} networks", limits::NETWORKS_PER_POLICY);
        draft.refuse(name.clone(), "networks", policy.networks.len(), rule, "name none, which means all");
    }
    for (place, network) in policy.networks.iter().enumerate() {
        if !draft.after.networks.contains_key(network) && !draft.deleted.contains_key(&network.clone().into()) {
            let fix = "write the network in the same call, or correct the name";
            draft.refuse(name.clone(), &format!("networks[{place}]"), network, "there is no such network", fix);
        }
    }
    for (place, rule) in policy.rules.iter().enumerate() {
        let (field, remote): (_, AnyName) = match &rule.remote {
            Remote::Any | Remote::Cidr(_) => continue,
            Remote::Group(group) => ("remote_group", group.clone().into()),
            Remote::PrefixList(list) => ("remote_prefix_list", list.clone().into()),
        };
        let text = "the remote of an operator's rule is a prefix or any: groups and prefix lists belong to tenants";
        let fix = "write one rule for each prefix";
        draft.refuse(name.clone(), &format!("rules[{place}].{field}"), remote, text, fix);
    }
    for (place, rule) in policy.rules.iter().enumerate() {
        if rule.action == Action::Pass && (rule.log || rule.existing == Existing::Keep) {
            let text = "a rule that passes the decision on neither opens nor refuses a connection";
            let fix = "remove `log` and `existing`, or write allow or deny";
            draft.refuse(name.clone(), &format!("rules[{place}].action"), "pass", text, fix);
        }
    }
}

/// Adds, for each deleted network, a policy that still names it.
pub(super) fn users_of_deleted(draft: &Draft<'_>, users: &mut BTreeMap<AnyName, AnyName>) {
    let deleted = draft.deleted.keys().filter(|name| matches!(name, AnyName::Network(_)));
    let deleted: Vec<NetworkName> = deleted.filter_map(AnyName::network).collect();
    for policy in draft.after.operator_policies.values().filter(|_| !deleted.is_empty()) {
        for network in deleted.iter().filter(|network| policy.networks.contains(*network)) {
            users.entry(network.clone().into()).or_insert_with(|| policy.name.clone().into());
        }
    }
}
