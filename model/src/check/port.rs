//! Ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::network::not_for_a_node;
use crate::{
    GATEWAY_MAC, MacAddress, Port, PortName, Prefix, SecurityGroupName, Subnet, draft::Draft, limits,
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

/// Checks the ports of a network: those that are written, and whether others still have their place.
pub(super) fn check(draft: &mut Draft<'_>, state: &NetworkState) {
    let subnets = Subnets(state.subnets.values().map(|subnet| (subnet.cidr, subnet)).collect());
    let mut addresses: BTreeMap<IpAddr, &PortName> = BTreeMap::new();
    let mut macs: BTreeMap<MacAddress, &PortName> = BTreeMap::new();
    let mut groups: BTreeSet<&BTreeSet<SecurityGroupName>> = BTreeSet::new();
    for port in state.ports.values() {
        if draft.is_written(&port.name.clone().into()) {
            shape(draft, state, port);
        }
        groups.insert(&port.groups);
        for (place, address) in port.addresses.iter().enumerate() {
            check_address(draft, &subnets, port, place);
            if let Some(other) = addresses.insert(*address, &port.name) {
                let (at, by, place) = blame(draft, state, &port.name, other, *address, place);
                let rule = format!("an address belongs to one port of the network, once; {by} has it");
                draft.refuse(at, &format!("addresses[{place}]"), address, rule, "choose another address");
            }
        }
        if let Some(other) = macs.insert(port.mac, &port.name).filter(|_| !port.mac.is_unset()) {
            let written = draft.is_written(&port.name.clone().into());
            let (at, by) = if written { (&port.name, other) } else { (other, &port.name) };
            let rule = format!("an Ethernet address belongs to one port of the network; {by} has it");
            draft.refuse(at.clone(), "mac", port.mac, rule, "leave it out to be given one, or choose another");
        }
    }
    if groups.len() > limits::IDENTITIES_PER_NETWORK {
        let most = limits::IDENTITIES_PER_NETWORK;
        let rule = format!("the ports of a network have at most {most} different sets of groups");
        draft.refuse(state.name().clone(), "name", state.name(), rule, "let ports share sets of groups");
    }
}

/// Who of two ports with one address is at fault: the one that is written. Its name, the other's, and the place of the address.
fn blame(
    draft: &Draft<'_>,
    state: &NetworkState,
    port: &PortName,
    other: &PortName,
    address: IpAddr,
    place: usize,
) -> (PortName, PortName, usize) {
    if draft.is_written(&port.clone().into()) {
        return (port.clone(), other.clone(), place);
    }
    let there = state.ports.get(other).and_then(|other| other.addresses.iter().position(|one| *one == address));
    (other.clone(), port.clone(), there.unwrap_or_default())
}

/// Checks what concerns one port alone.
fn shape(draft: &mut Draft<'_>, state: &NetworkState, port: &Port) {
    let name = &port.name;
    let number = port.addresses.len();
    if number == 0 || number > limits::ADDRESSES_PER_PORT {
        let rule = format!("a port has 1 to {} addresses", limits::ADDRESSES_PER_PORT);
        draft.refuse(name.clone(), "addresses", number, rule, "give it an address of each family of its subnets");
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

/// Checks that one address of a port has its place in a subnet. Ports that are not written are checked too: a subnet may have moved.
fn check_address(draft: &mut Draft<'_>, subnets: &Subnets<'_>, port: &Port, place: usize) {
    let Some(address) = port.addresses.get(place).copied() else { return };
    let field = format!("addresses[{place}]");
    let Some(subnet) = subnets.of(address) else {
        let fix = "choose an address of a subnet, or write a subnet for it in the same call";
        return draft.refuse(port.name.clone(), &field, address, "no subnet of the network has this address", fix);
    };
    let (cidr, name) = (subnet.cidr, &subnet.name);
    if address == subnet.gateway {
        let rule = format!("it is the gateway of {name}");
        draft.refuse(port.name.clone(), &field, address, rule, format!("choose another address of {cidr}"));
    } else if let Some(rule) = not_for_a_node(subnet, address) {
        draft.refuse(port.name.clone(), &field, address, rule, format!("choose another address of {cidr}"));
    }
}
