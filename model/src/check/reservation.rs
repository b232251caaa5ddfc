//! Reservations of subnets.

use std::collections::BTreeMap;

use super::overlap::covered;
use crate::{Subnet, draft::Draft, limits, state::NetworkState};

/// Checks the reservations of one subnet.
pub(super) fn check(draft: &mut Draft<'_>, subnet: &Subnet) {
    let (name, number) = (&subnet.name, subnet.reservations.len());
    if number > limits::RESERVATIONS_PER_SUBNET {
        let rule = format!("a subnet has at most {} reservations", limits::RESERVATIONS_PER_SUBNET);
        return draft.refuse(
            name.clone(),
            "reservations",
            number,
            rule,
            "reserve prefixes instead of single addresses",
        );
    }
    let mut names = BTreeMap::new();
    for (place, reservation) in subnet.reservations.iter().enumerate() {
        let field = |field: &str| format!("reservations[{place}].{field}");
        if let Some(first) = names.insert(&reservation.name, place) {
            let rule = format!("reservations of a subnet have different names; reservations[{first}] has this one");
            draft.refuse(name.clone(), &field("name"), &reservation.name, rule, "choose another name");
        }
        if !subnet.cidr.covers(reservation.cidr) {
            let rule = format!("a reservation is a part of its subnet, {}", subnet.cidr);
            let fix = format!("write a prefix within {}, of one address for example {}", subnet.cidr, last(subnet));
            draft.refuse(name.clone(), &field("cidr"), reservation.cidr, rule, fix);
        }
        if let Some(port) = reservation.port.as_ref().filter(|port| port.network() != name.network()) {
            let fix = format!("name a port of {}", name.network());
            draft.refuse(name.clone(), &field("port"), port, "it is a port of the subnet's own network", fix);
        }
        if reservation.description.chars().count() > limits::DESCRIPTION {
            let rule = format!("a description has at most {} characters", limits::DESCRIPTION);
            draft.refuse(name.clone(), &field("description"), &reservation.description, rule, "shorten it");
        }
        if reservation.description.chars().any(char::is_control) {
            let rule = "a description is one line, without control characters";
            draft.refuse(name.clone(), &field("description"), "", rule, "leave them out");
        }
    }
    let prefixes = subnet.reservations.iter().enumerate().map(|(place, reservation)| (reservation.cidr, place));
    for ((cidr, place), (wide, other)) in covered(prefixes.collect()) {
        let rule = format!("reservations of a subnet do not overlap; reservations[{other}] is {wide}");
        draft.refuse(name.clone(), &format!("reservations[{place}].cidr"), cidr, rule, "choose another prefix");
    }
}

/// Checks that no port that the write leaves alone has what is reserved for another. What is reserved for nobody may be in use.
pub(super) fn check_standing(draft: &mut Draft<'_>, state: &NetworkState, subnet: &Subnet) {
    for (place, reservation) in subnet.reservations.iter().enumerate() {
        let Some(owner) = &reservation.port else { continue };
        let mut others = state.holders(reservation.cidr).filter(|(_, holder)| *holder != owner);
        let standing = others.find(|(_, holder)| !draft.is_written(&(*holder).clone().into()));
        let Some((address, holder)) = standing else { continue };
        let rule = format!("what is reserved for a port no other has; {holder} has {address}");
        let fix = format!("give {holder} another address first, or reserve it for no port");
        let field = format!("reservations[{place}].cidr");
        draft.refuse_around(&subnet.name.clone().into(), &field, &holder.clone().into(), rule, fix);
    }
}

/// An example: the last address that a port may have.
fn last(subnet: &Subnet) -> String {
    let bits = subnet.cidr.range().end().saturating_sub(u128::from(subnet.cidr.is_ipv4()));
    let address = crate::prefix::address(bits, subnet.cidr.is_ipv4());
    crate::Prefix::host(address).to_string()
}

/// Checks how many reservations a network has.
pub(super) fn count(draft: &mut Draft<'_>, state: &NetworkState) {
    let number: usize = state.subnets.values().map(|subnet| subnet.reservations.len()).sum();
    if number > limits::RESERVATIONS_PER_NETWORK {
        let most = limits::RESERVATIONS_PER_NETWORK;
        let rule = format!("the subnets of a network have at most {most} reservations; they would have {number}");
        draft.refuse(state.name().clone(), "name", state.name(), rule, "reserve prefixes instead of single addresses");
    }
}
