//! Hosts and foreign tunnel endpoints.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use super::address::reserved;
use crate::{
    AnyName, NetworkName, Prefix, Vtep,
    draft::{Draft, Touched},
    limits,
    state::NetworkState,
};

/// Checks the tunnel endpoints of a write, if it has any.
pub(super) fn check(draft: &mut Draft<'_>, touched: &BTreeMap<NetworkName, Touched>) {
    if draft.hosts.is_empty() && touched.values().all(|touched| touched.vteps.is_empty()) {
        return;
    }
    let hosts = draft.after.hosts.clone();
    if let Some(name) = draft.hosts.first().filter(|_| hosts.len() > limits::HOSTS).cloned() {
        let rule = format!("a fabric has at most {} hosts", limits::HOSTS);
        draft.refuse(name.clone(), "name", name, rule, "delete hosts that are gone");
    }
    let mut owners: BTreeMap<Ipv4Addr, AnyName> = BTreeMap::new();
    for host in hosts.values() {
        endpoint(draft, &host.name.clone().into(), host.underlay);
        if let Some(other) = owners.insert(host.underlay, host.name.clone().into()) {
            taken(draft, &host.name.clone().into(), &other, host.underlay);
        }
    }
    for state in draft.after.networks.clone().values() {
        for vtep in state.vteps.values() {
            if let Some(host) = owners.get(&vtep.underlay) {
                taken(draft, &vtep.name.clone().into(), host, vtep.underlay);
            }
        }
    }
    for (name, _) in touched.iter().filter(|(_, touched)| !touched.vteps.is_empty()) {
        if let Some(state) = draft.state(name) {
            vteps(draft, &state);
        }
    }
}

/// Notes that two have one address: at the one that is written.
fn taken(draft: &mut Draft<'_>, one: &AnyName, other: &AnyName, underlay: Ipv4Addr) {
    let (at, by) = if draft.is_written(one) { (one, other) } else { (other, one) };
    if draft.is_written(at) {
        // A foreign endpoint of one tenant says nothing of other tenants' endpoints: those of one network know each other.
        let by = if one.network() == other.network() { by.as_str() } else { "another endpoint of the fabric" };
        let rule = format!("the address of a tunnel endpoint is unique; {by} has it");
        draft.refuse(at.clone(), "underlay_address", underlay, rule, "give one of the two another address");
    }
}

/// Checks the address of an endpoint.
fn endpoint(draft: &mut Draft<'_>, name: &AnyName, underlay: Ipv4Addr) {
    let address = IpAddr::V4(underlay);
    if draft.is_written(name)
        && let Some(range) = reserved(Prefix::host(address))
    {
        let rule = format!("a tunnel endpoint is reached by unicast; {range} is reserved");
        draft.refuse(name.clone(), "underlay_address", underlay, rule, "give an address of the underlay");
    }
}

/// Checks the foreign tunnel endpoints of one network.
fn vteps(draft: &mut Draft<'_>, state: &NetworkState) {
    let mut endpoints: BTreeMap<Ipv4Addr, &Vtep> = BTreeMap::new();
    let mut prefixes: BTreeMap<Prefix, &Vtep> = BTreeMap::new();
    for vtep in state.vteps.values() {
        let name: AnyName = vtep.name.clone().into();
        endpoint(draft, &name, vtep.underlay);
        if let Some(other) = endpoints.insert(vtep.underlay, vtep) {
            taken(draft, &name, &other.name.clone().into(), vtep.underlay);
        }
        if draft.is_written(&name) {
            shape(draft, vtep);
        }
        for (place, prefix) in vtep.prefixes.iter().enumerate() {
            if let Some(other) = prefixes.insert(*prefix, vtep) {
                let rule =
                    format!("a prefix of a network is behind one endpoint, and named once; {} has it", other.name);
                let field = format!("prefixes[{place}]");
                draft.refuse(vtep.name.clone(), &field, prefix, rule, "remove one of the two");
            }
        }
    }
}

/// Checks what concerns one endpoint alone.
fn shape(draft: &mut Draft<'_>, vtep: &Vtep) {
    let name = &vtep.name;
    let number = vtep.prefixes.len();
    if number == 0 || number > limits::PREFIXES_PER_VTEP {
        let rule = format!("a foreign endpoint has 1 to {} prefixes behind it", limits::PREFIXES_PER_VTEP);
        draft.refuse(name.clone(), "prefixes", number, rule, "name what is behind it, for example 10.9.0.0/24");
    }
    if vtep.mac.is_unset() {
        let fix = "give the address of its interface, for example 02:00:00:aa:bb:cc";
        draft.refuse(name.clone(), "mac", "", "the field must be given", fix);
    }
    for (place, prefix) in vtep.prefixes.iter().enumerate() {
        if prefix.length() > 0
            && let Some(range) = reserved(*prefix)
        {
            let rule = format!("workloads have unicast addresses; {range} is reserved");
            draft.refuse(name.clone(), &format!("prefixes[{place}]"), prefix, rule, "name another prefix");
        }
    }
}
