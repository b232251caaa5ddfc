//! The network between the hosts: the uplink, the external vxlan device, and the next hops of other hosts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVxlan};

use super::{
    interface_name,
    netlink::{Link, Netlink, NetlinkError},
    static_drop, sysctl,
};

/// Bytes that VXLAN over IPv4 adds to an IP packet: inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 (RFC 7348, section 5).
pub const OVERHEAD: u32 = 50;

/// Smallest MTU of a workload: that of IPv6 (RFC 8200, section 5).
pub const SMALLEST_MTU: u32 = 1280;

/// Why the underlay cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnderlayError {
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// No such interface.
    #[error(
        "underlay interface {0}: there is none of this name; give --underlay the interface that carries the host's tunnel address"
    )]
    NoUplink(String),
    /// Too small.
    #[error("underlay interface {name}: its MTU {mtu} leaves less than {SMALLEST_MTU} bytes for workloads; set it to at least {}", SMALLEST_MTU + OVERHEAD)]
    SmallMtu {
        /// The interface.
        name: String,
        /// Its MTU.
        mtu: u32,
    },
    /// Somebody else listens.
    #[error(
        "UDP port {port} is held by the vxlan device {device}; remove that device, or start the fabric's agents with another --vxlan-port"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The device.
        device: String,
    },
    /// Our device's name is taken by something else.
    #[error("interface {0} exists and is no external vxlan device on this fabric's port; remove it")]
    NameTaken(String),
    /// The port is taken by a socket.
    #[error(
        "UDP port {port} is held by a program of this host ({source}); stop it, or start the fabric's agents with another --vxlan-port"
    )]
    SocketTaken {
        /// The port.
        port: u16,
        /// The kernel's answer.
        source: NetlinkError,
    },
    /// It vanished.
    #[error("interface {0} vanished while it was being set up; the agent tries again")]
    Vanished(&'static str),
    /// The controller's address is not on the uplink.
    #[error(
        "the controller says that this host's tunnel address is {told}, but {interface} has {found:?}; correct the host's underlay_address, or the interface"
    )]
    WrongAddress {
        /// Address told.
        told: Ipv4Addr,
        /// The uplink.
        interface: String,
        /// Its addresses.
        found: Vec<Ipv4Addr>,
    },
}

/// The interfaces of the underlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The uplink.
    pub uplink: Link,
    /// IPv4 addresses of the uplink.
    pub addresses: Vec<Ipv4Addr>,
    /// The external vxlan device.
    pub overlay: Link,
    /// UDP port of VXLAN, host byte order.
    pub vxlan_port: u16,
}

impl Underlay {
    /// Finds the uplink and makes the vxlan device, unless it is there.
    pub async fn establish(netlink: &Netlink, uplink: &str, vxlan_port: u16) -> Result<Self, UnderlayError> {
        let uplink = netlink.link(uplink).await?.ok_or_else(|| UnderlayError::NoUplink(uplink.to_owned()))?;
        if uplink.mtu < SMALLEST_MTU + OVERHEAD {
            return Err(UnderlayError::SmallMtu { name: uplink.name, mtu: uplink.mtu });
        }
        let addresses = netlink.ipv4_addresses(uplink.index).await?;
        let overlay = establish_overlay(netlink, vxlan_port).await?;
        Ok(Self { uplink, addresses, overlay, vxlan_port })
    }

    /// Largest IP packet of a workload, bytes; `wanted` is that of its network, 0 if it has no wish.
    pub fn workload_mtu(&self, wanted: u32) -> u32 {
        let largest = self.uplink.mtu.saturating_sub(OVERHEAD);
        if wanted == 0 { largest } else { largest.min(wanted) }
    }

    /// Is this the address by which the other hosts know this one?
    pub fn check_address(&self, told: Ipv4Addr) -> Result<(), UnderlayError> {
        if self.addresses.contains(&told) {
            return Ok(());
        }
        Err(UnderlayError::WrongAddress { told, interface: self.uplink.name.clone(), found: self.addresses.clone() })
    }

    /// Next hops towards these tunnel endpoints. One that has no route over the uplink is left out, and sent to directly.
    pub async fn gateways(
        &self,
        netlink: &Netlink,
        endpoints: &BTreeSet<Ipv4Addr>,
    ) -> Result<BTreeMap<Ipv4Addr, Ipv4Addr>, UnderlayError> {
        let mut gateways = BTreeMap::new();
        for endpoint in endpoints {
            match netlink.route_to(*endpoint).await? {
                Some(route) if route.ifindex == self.uplink.index => {
                    gateways.insert(*endpoint, route.gateway);
                }
                _ => {
                    tracing::warn!(%endpoint, uplink = self.uplink.name, "no route to this tunnel endpoint over the uplink");
                }
            }
        }
        Ok(gateways)
    }
}

async fn establish_overlay(netlink: &Netlink, port: u16) -> Result<Link, UnderlayError> {
    let name = interface_name::OVERLAY;
    let links = netlink.links().await?;
    let ours = links.iter().find(|link| link.name == name);
    if let Some(other) = links.iter().find(|link| link.vxlan_port == Some(port) && link.name != name) {
        return Err(UnderlayError::PortTaken { port, device: other.name.clone() });
    }
    match ours {
        Some(link) if link.vxlan_port == Some(port) && link.external => {}
        Some(_) => return Err(UnderlayError::NameTaken(name.to_owned())),
        None => create_overlay(netlink, port).await?,
    }
    let link = netlink.link(name).await?.ok_or(UnderlayError::Vanished(name))?;
    // The drop stands before the device is up for the first time.
    if !link.up {
        netlink.no_link_local(link.index).await?;
    }
    sysctl::isolate(name);
    static_drop::install(netlink, link.index).await?;
    if !link.up {
        let up = netlink.up(link.index).await;
        up.map_err(|source| match source.errno() {
            Some(libc::EADDRINUSE) => UnderlayError::SocketTaken { port, source },
            _ => UnderlayError::Netlink(source),
        })?;
    }
    Ok(Link { up: true, ..link })
}

async fn create_overlay(netlink: &Netlink, port: u16) -> Result<(), UnderlayError> {
    let device = LinkMessageBuilder::<LinkVxlan>::new(interface_name::OVERLAY)
        .collect_metadata(true)
        .learning(false)
        .port(port)
        // RFC 7348, section 5: of the dynamic range, as the packet path does.
        .port_range(49_152, 65_535)
        .arp(false)
        .build();
    netlink.add_link(interface_name::OVERLAY, device).await?;
    let quiet = LinkUnspec::new_with_name(interface_name::OVERLAY).multicast(false);
    netlink.set_link("quieten the vxlan device", quiet).await?;
    Ok(())
}
