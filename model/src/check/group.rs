//! Security groups and their rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Action, AnyName, Protocol, Remote, Rule, SecurityGroup,
    draft::{Draft, Touched},
    limits,
    state::NetworkState,
};

/// Checks the security groups of a network that are written.
pub(super) fn check(draft: &mut Draft<'_>, state: &NetworkState, touched: &Touched) {
    for group in touched.groups.iter().filter_map(|name| state.groups.get(name)) {
        check_group(draft, state, group);
    }
    let rules = || state.groups.values().map(|group| group.rules.len()).sum::<usize>();
    if let Some(group) = touched.groups.first()
        && rules() > limits::RULES_PER_NETWORK
    {
        let rule = format!("the groups of a network have at most {} rules together", limits::RULES_PER_NETWORK);
        let fix = "use prefix lists and port ranges, or divide the network";
        draft.refuse(group.clone(), "rules", rules(), rule, fix);
    }
}

fn check_group(draft: &mut Draft<'_>, state: &NetworkState, group: &SecurityGroup) {
    let name = AnyName::from(group.name.clone());
    check_rules(draft, &name, &group.rules);
    for (place, rule) in group.rules.iter().enumerate() {
        if rule.action == Action::Pass {
            let text = "only a rule of the operator passes the decision on: behind a tenant's rules nobody is asked";
            draft.refuse(name.clone(), &format!("rules[{place}].action"), "pass", text, "write allow or deny");
        }
        let (field, kind, remote, there): (_, _, AnyName, _) = match &rule.remote {
            Remote::Any | Remote::Cidr(_) => continue,
            Remote::Group(remote) => {
                ("remote_group", "group", remote.clone().into(), state.groups.contains_key(remote))
            }
            Remote::PrefixList(remote) => {
                ("remote_prefix_list", "prefix list", remote.clone().into(), state.prefix_lists.contains_key(remote))
            }
        };
        let field = format!("rules[{place}].{field}");
        if remote.network().as_ref() != Some(state.name()) {
            let text = "a rule names groups and prefix lists of its own network";
            draft.refuse(name.clone(), &field, remote, text, format!("name a {kind} of {}", state.name()));
        } else if !there && !draft.deleted.contains_key(&remote) {
            let fix = format!("write the {kind} in the same call, or correct the name");
            draft.refuse(name.clone(), &field, remote, format!("there is no such {kind}"), fix);
        }
    }
}

/// Checks what does not depend on whose rules they are.
pub(super) fn check_rules(draft: &mut Draft<'_>, owner: &AnyName, rules: &[Rule]) {
    let number = rules.len();
    if number > limits::RULES_PER_GROUP {
        let rule = format!("a {} has at most {} rules", owner.kind(), limits::RULES_PER_GROUP);
        draft.refuse(owner.clone(), "rules", number, rule, "divide it into several");
    }
    let mut names = BTreeSet::new();
    for (place, rule) in rules.iter().enumerate() {
        if !names.insert(&rule.name) {
            let field = format!("rules[{place}].name");
            let text = format!("names of rules are unique in their {}", owner.kind());
            draft.refuse(owner.clone(), &field, &rule.name, text, "rename one of the two");
        }
        for (field, value, text, fix) in faults(rule) {
            draft.refuse(owner.clone(), &format!("rules[{place}].{field}"), value, text, fix);
        }
    }
}

/// What is wrong with the fields of one rule: field, value, rule broken, fix.
fn faults(rule: &Rule) -> Vec<(&'static str, String, String, &'static str)> {
    let mut faults = Vec::new();
    let protocol = rule.protocol;
    if rule.priority == 0 {
        faults.push(("priority", "0".into(), "a priority is 1 to 65535".into(), "give a greater number"));
    }
    if !rule.ports.is_empty() && !protocol.has_ports() {
        let text = format!("only tcp, udp and sctp have ports; the protocol is {protocol}");
        faults.push(("ports", list(&rule.ports), text, "remove the ports, or choose one of these protocols"));
    }
    if rule.ports.len() > limits::PORT_RANGES_PER_RULE {
        let text = format!("a rule has at most {} port ranges", limits::PORT_RANGES_PER_RULE);
        faults.push(("ports", rule.ports.len().to_string(), text, "divide it into several rules"));
    }
    if let Some(number) = rule.icmp_type.filter(|_| !protocol.is_icmp()) {
        let text = format!("only icmp and icmpv6 have types; the protocol is {protocol}");
        faults.push(("icmp_type", number.to_string(), text, "remove the type, or choose icmp or icmpv6"));
    }
    if let Some(code) = rule.icmp_code.filter(|_| rule.icmp_type.is_none()) {
        let text = "a code is given only with a type".into();
        faults.push(("icmp_code", code.to_string(), text, "give the type, or remove the code"));
    }
    if let Remote::Cidr(cidr) = rule.remote {
        let wrong = if cidr.is_ipv4() { Protocol::ICMPV6 } else { Protocol::ICMP };
        if protocol == wrong {
            let text = format!("the family of the remote prefix is that of the protocol {protocol}");
            faults.push((
                "remote_cidr",
                cidr.to_string(),
                text,
                "give a prefix of the other family, or the other protocol",
            ));
        }
    }
    faults
}

/// A list in one line.
fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Adds, for each deleted group or prefix list of the network, one that still refers to it.
pub(super) fn users_of_deleted(draft: &Draft<'_>, state: &NetworkState, users: &mut BTreeMap<AnyName, AnyName>) {
    for port in state.ports.values() {
        for group in port.groups.iter().map(|group| AnyName::from(group.clone())) {
            if draft.deleted.contains_key(&group) {
                users.entry(group).or_insert_with(|| port.name.clone().into());
            }
        }
    }
    for group in state.groups.values() {
        for rule in &group.rules {
            let remote: AnyName = match &rule.remote {
                Remote::Any | Remote::Cidr(_) => continue,
                Remote::Group(remote) => remote.clone().into(),
                Remote::PrefixList(remote) => remote.clone().into(),
            };
            if draft.deleted.contains_key(&remote) {
                users.entry(remote).or_insert_with(|| group.name.clone().into());
            }
        }
    }
}
