//! Rules, scanned.

use std::{collections::BTreeSet, net::IpAddr};

use andromede_model::{Direction, NetworkView, PortRange, Protocol, Remote, Rule, SecurityGroupName};

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
    let rules = groups.iter().flat_map(|group| &view.groups[group].rules);
    rules
        .filter(|rule| rule.direction == direction && matches(rule, view, identity, remote, service))
        .min_by_key(|rule| (rule.priority, rule.action == andromede_model::Action::Allow, rule.number))
}
