//! The way between the node and its pods: the node's own addresses, and a route of the node to each pod.
//!
//! The programs decide what passes. The route says where a pod is, and the host side of the pod's interface, which asks for no neighbours,
//! needs to know no more: the program at it writes the pod's Ethernet address.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures::TryStreamExt as _;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::{
        address::{AddressMessage, AddressScope},
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope},
    },
};

use super::{
    netlink::{Link, Netlink, NetlinkError, address_of},
    static_drop, sysctl,
    veth::{VethError, Workload},
};

/// Most addresses of the node that its pods reach it by: each takes a row in each network that has pods here.
const MOST_ADDRESSES: usize = 16;

/// The addresses by which the node is reached: those that are valid everywhere. `main` is among them.
pub async fn addresses(netlink: &Netlink, main: Ipv4Addr) -> Result<BTreeSet<IpAddr>, NetlinkError> {
    let messages: Vec<AddressMessage> = netlink
        .handle()
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(|error| NetlinkError::new("list the addresses of the node", error))?;
    let mut found: BTreeSet<IpAddr> = messages.iter().filter_map(reachable).collect();
    if found.len() > MOST_ADDRESSES {
        tracing::warn!(
            addresses = found.len(),
            "the node has more than {MOST_ADDRESSES} addresses: pods reach it by the first"
        );
        found = found.into_iter().take(MOST_ADDRESSES - 1).collect();
    }
    found.insert(main.into());
    Ok(found)
}

fn reachable(message: &AddressMessage) -> Option<IpAddr> {
    let address = address_of(message)?;
    (message.header.scope == AddressScope::Universe && !address.is_loopback()).then_some(address)
}

/// Opens the host side of a pod's interface, which is down yet, for the node: IPv6 works on it, answers to what the node forwarded are
/// forwarded, and what the node sends is dropped where no program lets it pass.
pub async fn open(netlink: &Netlink, outer: &Link, workload: &Workload) -> Result<(), NetlinkError> {
    if !workload.node_access {
        return Ok(());
    }
    if workload.known_by().iter().any(|(address, _)| address.is_ipv6()) {
        sysctl::set("ipv6", &outer.name, "disable_ipv6", 0);
    }
    sysctl::set("ipv4", &outer.name, "forwarding", 1);
    static_drop::install_outwards(netlink, outer.index).await
}

/// Tells the node where a pod is; the pod sees it as `source`, if both speak IPv4. No error if it knows.
pub async fn lead(netlink: &Netlink, outer: u32, workload: &Workload, source: Ipv4Addr) -> Result<(), VethError> {
    if !workload.node_access {
        return Ok(());
    }
    for (address, _) in &workload.known_by() {
        let request = netlink.handle().route().add(route(outer, *address, source)).execute().await;
        let request = request.map_err(|error| NetlinkError::new(format!("lead the node to {address}"), error));
        match request {
            Ok(()) => {}
            Err(error) if error.errno() == Some(libc::EEXIST) => {
                if !leads(netlink, outer, *address).await? {
                    return Err(VethError::LedElsewhere { address: *address });
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Does the node know that the address is behind this interface?
pub async fn leads(netlink: &Netlink, outer: u32, address: IpAddr) -> Result<bool, NetlinkError> {
    let family = match address {
        IpAddr::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
        IpAddr::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
    };
    let mut routes = std::pin::pin!(netlink.handle().route().get(family).execute());
    let failed = |error| NetlinkError::new(format!("look for the route to {address}"), error);
    while let Some(found) = routes.try_next().await.map_err(failed)? {
        if is_to(&found, outer, address) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_to(route: &RouteMessage, outer: u32, address: IpAddr) -> bool {
    let (destination, length) = match address {
        IpAddr::V4(address) => (RouteAddress::Inet(address), 32),
        IpAddr::V6(address) => (RouteAddress::Inet6(address), 128),
    };
    route.header.destination_prefix_length == length
        && route.attributes.contains(&RouteAttribute::Destination(destination))
        && route.attributes.contains(&RouteAttribute::Oif(outer))
}

fn route(outer: u32, address: IpAddr, source: Ipv4Addr) -> RouteMessage {
    match address {
        IpAddr::V4(address) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).scope(RouteScope::Link);
            route.output_interface(outer).pref_source(source).build()
        }
        IpAddr::V6(address) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128);
            route.output_interface(outer).build()
        }
    }
}
