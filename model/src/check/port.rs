//! Ports.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    AnyName, GATEWAY_MAC, Port, Prefix, Resource, Subnet,
    draft::{Draft, Touched},
    limits,
    state::NetworkState,
};

/// The subnets of a network, to look one up by address.
struct Subnets<'a>(BTreeMap<Prefix, &'a Subnet>);

impl<'a> Subnets<'a> {
    /// The subnet with the address. Subnets do not overlap, so it is the last that begins at or before it.
    fn of(&self, address: IpAddr) -> Option<&'a Subnet> {
        let (_, subnet) = self.0.range(..=Prefix::host(address)).next_back()?;
        subnet.cidr.contains(address).then_some(*subnet)
    }
}

/// Checks the ports of a network: those that are written, and, if subnets changed, whether all still have their place.
pub(super) fn check(draft: &mut Draft<'_>, state: &NetworkState, touched: &Touched) {
    let subnets_change = !touched.subnets.is_empty() || touched.subnets_deleted;
    if touched.ports.is_empty() && !subnets_change {
        return;
    }
    let subnets = Subnets(state.subnets.values().map(|subnet| (subnet.cidr, subnet)).collect());
    for port in touched.ports.iter().filter_map(|name| state.ports.get(name)) {
        shape(draft, state, port);
        let leased = |address: &IpAddr| subnets.of(*address).is_some_and(|subnet| subnet.host == port.host);
        super::host::check_port(draft, port, port.addresses.iter().all(leased));
        if !subnets_change {
            check_places(draft, &subnets, port);
        }
    }
    if subnets_change {
        state.ports.values().for_each(|port| check_places(draft, &subnets, port));
    }
    if state.identities() > limits::IDENTITIES_PER_NETWORK {
        let most = limits::IDENTITIES_PER_NETWORK;
        let rule = format!("the ports of a network have at most {most} different sets of groups");
        draft.refuse(state.name().clone(), "name", state.name(), rule, "let ports share sets of groups");
    }
}

/// Checks that all addresses of a port have their place in a subnet.
fn check_places(draft: &mut Draft<'_>, subnets: &Subnets<'_>, port: &Port) {
    for place in 0..port.addresses.len() {
        check_address(draft, subnets, port, place);
    }
}

/// Checks what concerns one port alone.
fn shape(draft: &mut Draft<'_>, state: &NetworkState, port: &Port) {
    let name = &port.name;
    let number = port.addresses.len();
    let full = draft.path(&name.clone().into(), "addresses");
    let told = number == 0 && draft.violations.iter().any(|violation| violation.field == full);
    if (number == 0 && !told) || number > limits::ADDRESSES_PER_PORT {
        let rule = format!("a port has 1 to {} addresses", limits::ADDRESSES_PER_PORT);
        draft.refuse(name.clone(), "addresses", number, rule, "give it an address of each family of its subnets");
    }
    for (field, error) in port.limits.wrong() {
        let field = format!("limits.{field}");
        draft.refuse(name.clone(), &field, error.value, error.rule, error.fix);
    }
    if port.mac == GATEWAY_MAC {
        let rule = "this address is that of the network's router";
        draft.refuse(name.clone(), "mac", port.mac, rule, "leave it out to be given one, or choose another");
    }
    if let Some(host) = port.host.as_ref().filter(|host| !draft.after.hosts.contains_key(host))
        && !draft.deleted.contains_key(&host.clone().into())
    {
        let fix = "write the host in the same call, or correct the name";
        draft.refuse(name.clone(), "host", host, "there is no such host", fix);
    }
    if port.groups.len() > limits::GROUPS_PER_PORT {
        let rule = format!("a port has at most {} security groups", limits::GROUPS_PER_PORT);
        draft.refuse(name.clone(), "security_groups", port.groups.len(), rule, "join groups");
    }
    for (place, group) in port.groups.iter().enumerate() {
        let field = format!("security_groups[{place}]");
        if group.network() != *state.name() {
            let fix = format!("name a group of {}", state.name());
            draft.refuse(name.clone(), &field, group, "the groups of a port are of its own network", fix);
        } else if !state.groups.contains_key(group) && !draft.deleted.contains_key(&group.clone().into()) {
            let fix = "write the group in the same call, or correct the name";
            draft.refuse(name.clone(), &field, group, "there is no such group", fix);
        }
    }
}

/// The subnet that had the address, if the write deletes it.
fn deleted_subnet(draft: &Draft<'_>, port: &Port, address: IpAddr) -> Option<AnyName> {
    if draft.is_written(&port.name.clone().into()) {
        return None;
    }
    let of_network = draft.deleted.keys().filter(|name| name.network() == Some(port.name.network()));
    let had =
        |name: &&AnyName| matches!(draft.before.get(name), Some(Resource::Subnet(it)) if it.cidr.contains(address));
    of_network.filter(|name| matches!(name, AnyName::Subnet(_))).find(had).cloned()
}

/// Checks that one address of a port has its place in a subnet.
fn check_address(draft: &mut Draft<'_>, subnets: &Subnets<'_>, port: &Port, place: usize) {
    let Some(address) = port.addresses.get(place).copied() else { return };
    let field = format!("addresses[{place}]");
    let Some(subnet) = subnets.of(address) else {
        if let Some(deleted) = deleted_subnet(draft, port, address) {
            let rule = format!("what others refer to is not deleted; {} has the address {address} of it", port.name);
            return draft.refuse_in_use(&deleted, rule, format!("delete {} first, and all others in it", port.name));
        }
        let fix = "choose an address of a subnet, or write a subnet for it in the same call";
        return draft.refuse(port.name.clone(), &field, address, "no subnet of the network has this address", fix);
    };
    let (cidr, name) = (subnet.cidr, &subnet.name);
    if let Some(host) = subnet.host.as_ref().filter(|host| port.host.as_ref() != Some(*host)) {
        let rule = format!("{name} is leased to {host}: every port in it is on that host");
        draft.refuse(port.name.clone(), &field, address, rule, "place the port there, or choose an address elsewhere");
    }
    if address == subnet.gateway {
        let rule = format!("it is the gateway of {name}");
        draft.refuse(port.name.clone(), &field, address, rule, format!("choose another address of {cidr}"));
    } else if let Some(rule) = subnet.not_for_a_node(address) {
        draft.refuse(port.name.clone(), &field, address, rule, format!("choose another address of {cidr}"));
    }
    check_reserved(draft, subnet, port, &field, address);
}

/// Checks that an address of a port that is written is not reserved for another.
fn check_reserved(draft: &mut Draft<'_>, subnet: &Subnet, port: &Port, field: &str, address: IpAddr) {
    let Some(reservation) = subnet.reservation_of(address) else { return };
    let other = reservation.port.as_ref().filter(|owner| **owner != port.name);
    if let Some(owner) = other.filter(|_| draft.is_written(&port.name.clone().into())) {
        let rule = format!("reservation {} of {} keeps it for {owner}", reservation.name, subnet.name);
        draft.refuse(port.name.clone(), field, address, rule, "choose another address, or none");
    }
}
