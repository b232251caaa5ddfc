//! Rules, scanned.

use std::{collections::BTreeSet, net::IpAddr};

use andromede_model::{Action, Direction, NetworkView, PortRange, Protocol, Remote, Rule, SecurityGroupName};

use super::lookup::Service;

/// Does a rule match? Written as the schema says it, without any table.
fn matches(rule: &Rule, view: &NetworkView, identity: u32, remote: IpAddr, service: Service) -> bool {
    let protocol = match rule.protocol {
        Protocol::Any => true,
        Protocol::Number(number) => number == service.protocol,
    };
    let ports = rule.ports.is_empty() || rule.ports.iter().any(|range: &PortRange| range.contains(service.port));
    let [kind, code] = service.port.to_be_bytes();
    let icmp = rule.icmp_type.is_none_or(|wanted| wanted == kind) && rule.icmp_code.is_none_or(|wanted| wanted == code);
    let other_side = match &rule.remote {
        Remote::Any => true,
        Remote::Cidr(cidr) => cidr.contains(remote),
        Remote::PrefixList(list) => view.prefix_lists[list].prefixes.iter().any(|prefix| prefix.contains(remote)),
        Remote::Group(group) => view.identities.get(&identity).is_some_and(|groups| groups.contains(group)),
    };
    protocol && ports && icmp && other_side
}

/// The rule that decides, found by looking at all of them.
pub(crate) fn oracle<'a>(
    view: &'a NetworkView,
    groups: &BTreeSet<SecurityGroupName>,
    direction: Direction,
    identity: u32,
    remote: IpAddr,
    service: Service,
) -> Option<&'a Rule> {
    let first = |rules: Vec<&'a Rule>| {
        rules
            .into_iter()
            .filter(|rule| rule.direction == direction && matches(rule, view, identity, remote, service))
            .min_by_key(|rule| (rule.priority, order(rule.action), rule.number))
    };
    let operator = first(view.operator_policies.values().flat_map(|policy| &policy.rules).collect());
    let tenant = first(groups.iter().flat_map(|group| &view.groups[group].rules).collect());
    operator.filter(|rule| rule.action != Action::Pass).or(tenant)
}

/// Deny stands before pass, and pass before allow.
fn order(action: Action) -> u8 {
    match action {
        Action::Deny => 0,
        Action::Pass => 1,
        Action::Allow => 2,
    }
}
