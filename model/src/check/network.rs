//! Networks and their subnets.

use super::{address::reserved, overlap::covered, reservation};
use crate::{
    Subnet,
    draft::{Draft, Touched},
    limits,
    state::NetworkState,
};

/// Checks one network.
pub(super) fn check(draft: &mut Draft<'_>, state: &NetworkState, touched: &Touched) {
    let name = state.name();
    if touched.network {
        let tenant = name.tenant();
        if !draft.after.tenants.contains_key(&tenant) {
            let rule = format!("it belongs to a tenant that is there; there is no {tenant}");
            draft.refuse(name.clone(), "name", name, rule, "write the tenant in the same call, or correct the name");
        }
        if let Some(mtu) = state.network.mtu.filter(|mtu| !(limits::MTU_LEAST..=limits::MTU_MOST).contains(mtu)) {
            let rule = format!("an MTU is {} to {} bytes", limits::MTU_LEAST, limits::MTU_MOST);
            draft.refuse(name.clone(), "mtu", mtu, rule, "give one in this range, or none");
        }
        for (field, error) in state.network.timeouts.wrong() {
            let field = format!("timeouts.{field}");
            draft.refuse(name.clone(), &field, error.value, error.rule, error.fix);
        }
        if draft.after.networks.len() > limits::NETWORKS {
            let rule = format!("a fabric has at most {} networks", limits::NETWORKS);
            draft.refuse(name.clone(), "name", name, rule, "delete networks that are not needed");
        }
    }
    let counts = [
        ("subnets", state.subnets.len(), limits::SUBNETS_PER_NETWORK),
        ("ports", state.ports.len(), limits::PORTS_PER_NETWORK),
        ("prefix lists", state.prefix_lists.len(), limits::LISTS_PER_NETWORK),
        ("security groups", state.groups.len(), limits::GROUPS_PER_NETWORK),
        ("foreign tunnel endpoints", state.vteps.len(), limits::VTEPS_PER_NETWORK),
    ];
    for (what, number, most) in counts {
        if number > most {
            let rule = format!("a network has at most {most} {what}; it would have {number}");
            draft.refuse(name.clone(), "name", name, rule, "divide it into several networks");
        }
    }
    for subnet in touched.subnets.iter().filter_map(|name| state.subnets.get(name)) {
        shape(draft, subnet);
        reservation::check(draft, subnet);
        reservation::check_standing(draft, state, subnet);
    }
    if !touched.subnets.is_empty() {
        overlaps(draft, state);
        reservation::count(draft, state);
    }
}

/// Checks that no two subnets have an address in common.
fn overlaps(draft: &mut Draft<'_>, state: &NetworkState) {
    let subnets = state.subnets.values().map(|subnet| (subnet.cidr, &subnet.name));
    for ((cidr, name), (wide, widest)) in covered(subnets.collect()) {
        let written = draft.is_written(&name.clone().into());
        let ((at, cidr), (by, other)) =
            if written { ((name, cidr), (widest, wide)) } else { ((widest, wide), (name, cidr)) };
        let rule = format!("subnets of one network do not overlap; {by} is {other}");
        draft.refuse(at.clone(), "cidr", cidr, rule, "choose another prefix");
    }
}

/// Checks what concerns one subnet alone.
fn shape(draft: &mut Draft<'_>, subnet: &Subnet) {
    let (name, cidr, gateway) = (&subnet.name, subnet.cidr, subnet.gateway);
    let longest = if cidr.is_ipv4() { 30 } else { 126 };
    if cidr.length() > longest {
        let rule = format!("a subnet has room for the router and a port: its length is at most {longest}");
        draft.refuse(name.clone(), "cidr", cidr, rule, "choose a shorter prefix");
    }
    if let Some(host) = subnet.host.as_ref().filter(|host| !draft.after.hosts.contains_key(host))
        && !draft.deleted.contains_key(&host.clone().into())
    {
        let fix = "write the host in the same call, or correct the name";
        draft.refuse(name.clone(), "host", host, "there is no such host", fix);
    }
    super::host::check_subnet(draft, subnet);
    if let Some(range) = reserved(cidr) {
        let rule = format!("workloads have unicast addresses; {range} is reserved");
        draft.refuse(name.clone(), "cidr", cidr, rule, "choose another prefix, for example 10.0.0.0/24");
    }
    if !cidr.contains(gateway) {
        let rule = format!("the gateway is an address of the subnet {cidr}");
        let fix = format!("leave it out for {}, or choose another", Subnet::default_gateway(cidr));
        draft.refuse(name.clone(), "gateway", gateway, rule, fix);
    } else if let Some(rule) = subnet.not_for_a_node(gateway) {
        let fix = format!("leave it out for {}, or choose another", Subnet::default_gateway(cidr));
        draft.refuse(name.clone(), "gateway", gateway, rule, fix);
    }
}
