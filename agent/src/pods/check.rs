//! CHECK: is everything still as it was made? It asks the kernel, not the agent's memory.

use std::{net::IpAddr, path::Path};

use andromede_model::Prefix;
use andromede_proto::local::v1::CheckPodRequest;
use tokio::sync::Mutex;

use super::{error::PodError, lease::Lease};
use crate::{
    host::{
        interface_name,
        netlink::{Link, Netlink},
        netns::Netns,
        node,
        veth::{VethError, Workload},
    },
    reconcile::Reconciler,
    state::attachments::AttachedWorkload,
};

/// Compares what the runtime remembers with the lease.
pub(super) fn told(request: &CheckPodRequest, lease: &Lease) -> Result<(), PodError> {
    if !request.mac.is_empty() && !request.mac.eq_ignore_ascii_case(&lease.mac.to_string()) {
        return wrong(format!("the runtime was told the Ethernet address {}; it is {}", request.mac, lease.mac));
    }
    for text in &request.addresses {
        let bare = text.split('/').next().unwrap_or_default();
        if !bare.parse().is_ok_and(|address: IpAddr| lease.known_by().contains(&address)) {
            return wrong(format!("the runtime was told the address {text}; the lease has {:?}", lease.known_by()));
        }
    }
    Ok(())
}

/// Compares the interface of a workload, inside and outside, with what it should be.
pub(super) async fn interface(
    netlink: &Netlink,
    netns: &Path,
    workload: &Workload,
    attached: &AttachedWorkload,
) -> Result<(), PodError> {
    let netns = Netns::open(netns)?;
    if attached.netns_id != netns.id || attached.interface != workload.interface {
        let (other, interface) = (attached.netns.display(), &attached.interface);
        return wrong(format!("it is in {other}, interface {interface}"));
    }
    outside(netlink.link(&attached.host_interface).await?, workload, attached)?;
    for (address, _) in workload.known_by().iter().filter(|_| workload.node_access) {
        if !node::leads(netlink, attached.ifindex, *address).await? {
            return wrong(format!("the node has no route to {address} by {}", attached.host_interface));
        }
    }
    let found = inside(&netns, workload.interface.clone()).await?;
    let Some(found) = found else { return wrong(format!("there is no interface {} inside", workload.interface)) };
    let (link, index) = (&found.link, found.link.index);
    if link.mac != workload.mac {
        return wrong(format!("its Ethernet address is {:02x?}, not {:02x?}", link.mac, workload.mac));
    }
    if link.mtu != workload.mtu {
        return wrong(format!("its MTU is {}, not {}", link.mtu, workload.mtu));
    }
    if !link.up {
        return wrong("the interface inside is down".to_owned());
    }
    if let Some((address, length)) = workload.addresses.iter().find(|wanted| !found.addresses.contains(wanted)) {
        return wrong(format!("it has not the address {address}/{length}"));
    }
    if let Some((to, router)) = workload.routes().find(|(to, router)| !found.routes.contains(&(index, *to, *router))) {
        return wrong(format!("there is no route to {to} by it and {router}"));
    }
    Ok(())
}

fn outside(found: Option<Link>, workload: &Workload, attached: &AttachedWorkload) -> Result<(), PodError> {
    let name = &attached.host_interface;
    let Some(link) = found else { return wrong(format!("its host side {name} is gone")) };
    if link.index != attached.ifindex || interface_name::port_of_alias(&link.alias) != Some(workload.port.as_str()) {
        return wrong(format!("its host side {name} is another interface"));
    }
    if link.up { Ok(()) } else { wrong(format!("its host side {name} is down")) }
}

/// What is found inside.
struct Inside {
    link: Link,
    addresses: Vec<(IpAddr, u8)>,
    /// Index of the interface, destination and router of each route.
    routes: Vec<(u32, Prefix, IpAddr)>,
}

async fn inside(netns: &Netns, interface: String) -> Result<Option<Inside>, PodError> {
    let look = netns.run(move || async move {
        let netlink = Netlink::open()?;
        let Some(link) = netlink.link(&interface).await? else { return Ok::<_, VethError>(None) };
        let addresses = netlink.addresses(link.index).await?;
        let routes = netlink.routes().await?;
        Ok(Some(Inside { link, addresses, routes }))
    });
    Ok(look.await??)
}

/// Are the rules in force, and both programs where they belong?
pub(super) async fn rules(reconciler: &Mutex<Reconciler>, ifindex: u32) -> Result<(), PodError> {
    let mut reconciler = reconciler.lock().await;
    reconciler.verify(ifindex).map_err(|error| PodError::NotAsMade(error.to_string()))?;
    let progress = reconciler.pass().await;
    if !progress.error.is_empty() {
        return Err(PodError::Limited(progress.error));
    }
    if reconciler.serves(ifindex) { Ok(()) } else { wrong("its rules are not in force".to_owned()) }
}

fn wrong<T>(what: String) -> Result<T, PodError> {
    Err(PodError::NotAsMade(what))
}
