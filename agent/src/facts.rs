//! What a pass starts from, in the words of the planner, of the programs and of interfaces.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use andromede_abi::HostConfig;
use andromede_dataplane::Hook;
use andromede_model::{NetworkView, Port};
use andromede_plan::Attachments;
use andromede_proto::v1::Host;

use crate::{
    host::{
        underlay::Underlay,
        veth::{Workload, everywhere},
    },
    pods::lease::{Infrastructure, Leases},
    programs::Place,
    reconcile::ReconcileError,
    state::attachments::{Attached, AttachedWorkload},
};

/// The address of the host's tunnel endpoint.
pub(crate) fn underlay_address(host: &Host) -> Result<Ipv4Addr, ReconcileError> {
    host.underlay_address.parse().map_err(|_| ReconcileError::BadAddress(host.underlay_address.clone()))
}

/// What the programs know of their host.
pub(crate) fn host_config(host: u32, address: Ipv4Addr, underlay: &Underlay, features: u32) -> HostConfig {
    HostConfig {
        host,
        underlay_v4: u32::from_ne_bytes(address.octets()),
        underlay_ifindex: underlay.uplink.index,
        overlay_ifindex: underlay.overlay.index,
        vxlan_port: underlay.vxlan_port.to_be(),
        underlay_mac: underlay.uplink.mac,
        features,
        underlay_mtu: underlay.uplink.mtu,
    }
}

/// Where the programs of workloads belong, those of interfaces that are leaving among them.
pub(crate) fn places(attached: &Attached, leaving: &BTreeSet<u32>) -> BTreeSet<Place> {
    let interfaces = attached.values().map(|workload| workload.ifindex).chain(leaving.iter().copied());
    interfaces.flat_map(|ifindex| [(Hook::FromWorkload, ifindex), (Hook::FromHost, ifindex)]).collect()
}

/// The workloads, by port.
pub(crate) fn plan_attachments(attached: &Attached, leases: &Leases) -> Attachments {
    let of = |(port, workload): (&String, &AttachedWorkload)| {
        let lease = leases.of_port(port);
        let node = lease.is_some_and(|lease| lease.node_access);
        let infrastructure = lease.and_then(|lease| lease.infrastructure.as_ref()).map(plan_infrastructure);
        let attachment =
            andromede_plan::Attachment { ifindex: workload.ifindex, tap: workload.tap, node, infrastructure };
        port.parse().ok().map(|port| (port, attachment))
    };
    attached.iter().filter_map(of).collect()
}

fn plan_infrastructure(infrastructure: &Infrastructure) -> andromede_plan::Infrastructure {
    let (mut v4, mut v6) = (None, None);
    for address in &infrastructure.addresses {
        match address {
            IpAddr::V4(address) => v4 = Some(*address),
            IpAddr::V6(address) => v6 = Some(*address),
        }
    }
    andromede_plan::Infrastructure { port: infrastructure.port.clone(), v4, v6 }
}

/// The interface of a port: addresses with the length of their subnet, so that neighbours are asked for on the link, and the router of
/// the first subnet of each family.
pub(crate) fn workload(view: &NetworkView, port: &Port, interface: &str, mtu: u32, leases: &Leases) -> Workload {
    let mut addresses = Vec::new();
    let mut routers: Vec<IpAddr> = Vec::new();
    for address in &port.addresses {
        let subnet = view.subnets.values().find(|subnet| subnet.cidr.contains(*address));
        let whole = if address.is_ipv4() { 32 } else { 128 };
        addresses.push((*address, subnet.map_or(whole, |subnet| subnet.cidr.length())));
        if let Some(subnet) = subnet
            && !routers.iter().any(|router| router.is_ipv4() == address.is_ipv4())
        {
            routers.push(subnet.gateway);
        }
    }
    let lease = leases.of_port(port.name.as_str());
    let destinations = lease.map_or_else(everywhere, |lease| lease.routes.clone());
    let node_access = lease.is_some_and(|lease| lease.node_access);
    let infrastructure = lease.and_then(|lease| lease.infrastructure.as_ref());
    let infrastructure = infrastructure.map_or_else(Vec::new, |infrastructure| infrastructure.addresses.clone());
    Workload {
        port: port.name.to_string(),
        uid: port.uid,
        interface: interface.to_owned(),
        mac: port.mac.bytes(),
        mtu,
        addresses,
        routers,
        destinations,
        node_access,
        infrastructure,
    }
}
