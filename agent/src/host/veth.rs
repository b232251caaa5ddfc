//! The pair of interfaces of a workload.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use andromede_model::{Prefix, Uid};
use nix::net::if_::if_nametoindex;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::link::{InfoData, InfoVeth, LinkAttribute},
};

use serde::{Deserialize, Serialize};

use super::{
    interface_name,
    netlink::{Link, Netlink, NetlinkError},
    netns::{Netns, NetnsError},
    node, static_drop, sysctl,
};

/// Largest frame that a workload hands over for segmentation later, bytes: with the outer headers it still fits into the 16 bits of an
/// IPv4 total length. Larger ones are cut by the workload's own stack.
const LARGEST_GSO: u32 = 65_536 - 64;

/// Index of the loopback device in every network namespace (`LOOPBACK_IFINDEX`, `include/net/net_namespace.h`).
const LOOPBACK: u32 = 1;

/// How long addresses may take until what is sent to them arrives.
const SETTLING: Duration = Duration::from_secs(2);

/// What a workload's interface shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Name of the port.
    pub port: String,
    /// Which of the ports that had the name over time.
    pub uid: Uid,
    /// Name of the interface inside.
    pub interface: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its largest IP packet, bytes.
    pub mtu: u32,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The routers of its subnets, at most one of each family.
    pub routers: Vec<IpAddr>,
    /// What they are used for.
    #[serde(default = "everywhere")]
    pub destinations: Vec<Prefix>,
    /// May the node itself reach it, and it the node?
    #[serde(default)]
    pub node_access: bool,
    /// The addresses by which the node knows it; none: by its own.
    #[serde(default)]
    pub infrastructure: Vec<IpAddr>,
}

/// All addresses of both families.
pub fn everywhere() -> Vec<Prefix> {
    let anything: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    anything.iter().filter_map(|address| Prefix::new(*address, 0).ok()).collect()
}

impl Workload {
    /// The addresses by which the node knows it, each with the prefix length of its subnet; one that stands for another is alone.
    pub fn known_by(&self) -> Vec<(IpAddr, u8)> {
        if self.infrastructure.is_empty() {
            return self.addresses.clone();
        }
        self.infrastructure.iter().map(|address| (*address, if address.is_ipv4() { 32 } else { 128 })).collect()
    }

    /// Each destination with the router of its family.
    pub fn routes(&self) -> impl Iterator<Item = (Prefix, IpAddr)> {
        self.destinations.iter().filter_map(|destination| {
            let router = self.routers.iter().find(|router| router.is_ipv4() == destination.is_ipv4());
            router.map(|router| (*destination, *router))
        })
    }
}

/// Why a workload's interface could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VethError {
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The namespace could not be used.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// No socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[from] std::io::Error),
    /// The name is taken inside.
    #[error("interface {interface} exists in netns {netns} and is not of this port; choose another name or remove it")]
    Taken {
        /// The name.
        interface: String,
        /// The namespace.
        netns: String,
    },
    /// Another interface has the route.
    #[error("there is a route to {destination} over another interface than {interface}; ask for other routes")]
    RouteTaken {
        /// The destination.
        destination: Prefix,
        /// The name.
        interface: String,
    },
    /// The node's route to the address leads elsewhere.
    #[error(
        "the node has a route to {address} already, over another interface: pods that the node reaches need addresses that no other has"
    )]
    LedElsewhere {
        /// The address.
        address: IpAddr,
    },
    /// It was there a moment ago.
    #[error("interface {0} vanished while it was being set up; try again")]
    Vanished(String),
}

/// Creates the pair, both ends down: nothing can pass yet. The inner end is born in its namespace, with its address. The kernel refuses it
/// by `EEXIST` if either name is taken.
pub async fn create(netlink: &Netlink, netns: &Netns, workload: &Workload) -> Result<Link, VethError> {
    let name = interface_name::host_side(&workload.port);
    let inner = LinkMessageBuilder::<LinkUnspec>::new()
        .name(workload.interface.clone())
        .setns_by_fd(netns.file().as_raw_fd())
        .address(workload.mac.to_vec())
        .mtu(workload.mtu)
        .append_extra_attribute(LinkAttribute::GsoMaxSize(LARGEST_GSO))
        .build();
    let pair = LinkMessageBuilder::<LinkVeth>::new(&name, &workload.interface)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
        .mtu(workload.mtu)
        .arp(false)
        .append_extra_attribute(LinkAttribute::GsoMaxSize(LARGEST_GSO))
        .build();
    netlink.add_link(&format!("the interface pair {name} of {}", workload.port), pair).await?;
    let outer = netlink.link(&name).await?.ok_or_else(|| VethError::Vanished(name.clone()))?;
    let alias = LinkUnspec::new_with_index(outer.index).alias(interface_name::alias(&workload.port, workload.uid));
    netlink.set_link(&format!("name the port of interface {name}"), alias).await?;
    Ok(outer)
}

/// Takes the host side out of the host's own network, and puts the static drop behind it. That of a pod is opened for the node itself.
pub async fn isolate(netlink: &Netlink, outer: &Link, workload: &Workload) -> Result<(), VethError> {
    netlink.no_link_local(outer.index).await?;
    sysctl::isolate(&outer.name);
    static_drop::install(netlink, outer.index).await?;
    node::open(netlink, outer, workload).await?;
    Ok(())
}

/// Brings both ends up and gives the inner one its addresses and routes. To be called once rows and programs are in place. `node` is the
/// node's main address.
pub async fn bring_up(
    netlink: &Netlink,
    netns: &Netns,
    outer: u32,
    workload: &Workload,
    node: Ipv4Addr,
) -> Result<(), VethError> {
    netlink.up(outer).await?;
    node::lead(netlink, outer, workload, node).await?;
    let workload = workload.clone();
    netns.run(move || async move { configure_inside(&workload).await }).await?
}

async fn configure_inside(workload: &Workload) -> Result<(), VethError> {
    let netlink = Netlink::open()?;
    netlink.up(LOOPBACK).await?;
    // Asked by a call, because a thread that waits for an answer waits for its turn as well.
    let index = if_nametoindex(workload.interface.as_str());
    let index = index.map_err(|_| VethError::Vanished(workload.interface.clone()))?;
    // The fabric knows every address, and its router is given: probes and solicitations would only be dropped and counted.
    for (name, value) in [("accept_ra", 0), ("router_solicitations", 0), ("accept_dad", 0)] {
        sysctl::set("ipv6", &workload.interface, name, value);
    }
    for (address, prefix_length) in &workload.addresses {
        netlink.add_address(index, *address, *prefix_length).await?;
    }
    netlink.up(index).await?;
    add_routes(&netlink, index, workload).await?;
    settle(&netlink, workload).await
}

/// Waits until what is sent to the workload's addresses arrives. Under load the kernel gives an IPv6 address its local route later, in a
/// work queue (`net/ipv6/addrconf.c`, `addrconf_dad_work`, which comes without detection too); until then answers are thrown away.
async fn settle(netlink: &Netlink, workload: &Workload) -> Result<(), VethError> {
    let begun = Instant::now();
    for (address, _) in &workload.addresses {
        let IpAddr::V6(address) = *address else { continue };
        while !netlink.is_local(address).await? && begun.elapsed() < SETTLING {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    Ok(())
}

async fn add_routes(netlink: &Netlink, index: u32, workload: &Workload) -> Result<(), VethError> {
    for (destination, router) in workload.routes() {
        if !netlink.add_route(index, destination, router).await? {
            let interface = workload.interface.clone();
            return Err(VethError::RouteTaken { destination, interface });
        }
    }
    Ok(())
}

/// Makes another interface of one that is up. What connects by an address that stays goes on.
pub async fn change(
    netlink: &Netlink,
    netns: &Netns,
    outer: u32,
    from: &Workload,
    to: &Workload,
) -> Result<(), VethError> {
    if from.mtu != to.mtu {
        let mtu = LinkUnspec::new_with_index(outer).mtu(to.mtu);
        netlink.set_link(&format!("change the MTU of interface {outer} to {}", to.mtu), mtu).await?;
    }
    let (from, to) = (from.clone(), to.clone());
    netns.run(move || async move { change_inside(&from, &to).await }).await?
}

async fn change_inside(from: &Workload, to: &Workload) -> Result<(), VethError> {
    let netlink = Netlink::open()?;
    let inner = netlink.link(&from.interface).await?;
    let index = inner.ok_or_else(|| VethError::Vanished(from.interface.clone()))?.index;
    if (from.mac, from.mtu) != (to.mac, to.mtu) {
        let change = LinkUnspec::new_with_index(index).address(to.mac.to_vec()).mtu(to.mtu);
        netlink.set_link(&format!("change the Ethernet address and MTU of interface {}", to.interface), change).await?;
    }
    let stays: Vec<(Prefix, IpAddr)> = to.routes().collect();
    for (destination, router) in from.routes().filter(|route| !stays.contains(route)) {
        netlink.remove_route(index, destination, router).await?;
    }
    for (address, prefix_length) in from.addresses.iter().filter(|address| !to.addresses.contains(address)) {
        netlink.remove_address(index, *address, *prefix_length).await?;
    }
    // All, not only those that are new: with the first IPv4 address of a subnet the kernel removes the others.
    for (address, prefix_length) in &to.addresses {
        netlink.add_address(index, *address, *prefix_length).await?;
    }
    add_routes(&netlink, index, to).await?;
    settle(&netlink, to).await
}

/// The interface of this name inside a namespace.
pub async fn inside_link(netns: &Netns, interface: &str) -> Result<Option<Link>, VethError> {
    let name = interface.to_owned();
    let found = netns.run(move || async move {
        let netlink = Netlink::open()?;
        Ok::<_, VethError>(netlink.link(&name).await?)
    });
    found.await?
}
