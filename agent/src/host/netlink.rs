//! The few rtnetlink requests that the agent makes, with errors that say what was asked of which object.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use andromede_model::Prefix;
use futures::TryStreamExt as _;
use rtnetlink::{
    Error, Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder,
    packet_core::Nla as _,
    packet_route::{
        address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
        link::{
            AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags,
            LinkInfo, LinkMessage,
        },
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
};
use tokio::task::JoinHandle;

/// A refusal of the kernel.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {source}")]
pub struct NetlinkError {
    /// What was asked, of which object.
    pub action: String,
    /// The kernel's answer.
    pub source: io::Error,
}

impl NetlinkError {
    pub(super) fn new(action: impl Into<String>, error: Error) -> Self {
        let source = match error {
            Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other.to_string()),
        };
        Self { action: action.into(), source }
    }

    /// The error number of the kernel.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

/// Whether a request that repeats a finished one is refused as such.
fn tolerate(result: Result<(), NetlinkError>, errno: i32) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.errno() == Some(errno) => Ok(()),
        other => other,
    }
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its alias: free text up to 255 bytes.
    pub alias: String,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Largest IP packet, bytes.
    pub mtu: u32,
    /// Is it administratively up?
    pub up: bool,
    /// Is it a VXLAN device, and on which UDP port?
    pub vxlan_port: Option<u16>,
    /// Does a VXLAN device take its network identifier from the packet's metadata?
    pub external: bool,
}

/// Where packets to an address leave the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of the interface.
    pub ifindex: u32,
    /// Next hop: the address itself if it is on the link.
    pub gateway: Ipv4Addr,
}

/// A socket to the kernel's routing, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Netlink {
    /// Opens a socket; must be called within a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// The raw handle, for requests that only one caller makes.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// All interfaces of the namespace.
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let links = self.handle.link().get().execute().map_ok(|message| read_link(&message));
        links.try_collect().await.map_err(|error| NetlinkError::new("list the interfaces", error))
    }

    /// The interface of this name; none if there is none.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut found = std::pin::pin!(self.handle.link().get().match_name(name).execute());
        match found.try_next().await.map_err(|error| NetlinkError::new(format!("look for interface {name}"), error)) {
            Ok(message) => Ok(message.map(|message| read_link(&message))),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an interface.
    pub async fn add_link(&self, what: &str, message: LinkMessage) -> Result<(), NetlinkError> {
        let result = self.handle.link().add(message).execute().await;
        result.map_err(|error| NetlinkError::new(format!("create {what}"), error))
    }

    /// Changes an interface.
    pub async fn set_link(&self, what: &str, change: LinkMessageBuilder<LinkUnspec>) -> Result<(), NetlinkError> {
        let result = self.handle.link().set(change.build()).execute().await;
        result.map_err(|error| NetlinkError::new(what, error))
    }

    /// Takes IPv6 link-local addresses from an interface that is down: none is made when it comes up (`IN6_ADDR_GEN_MODE_NONE`).
    pub async fn no_link_local(&self, index: u32) -> Result<(), NetlinkError> {
        let none = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
            In6AddrGenMode::None,
        )])]);
        let change = LinkUnspec::new_with_index(index).append_extra_attribute(none);
        let set = self.set_link(&format!("take link-local addresses from interface {index}"), change).await;
        // A kernel without IPv6, or an interface on which it is off.
        tolerate(set, libc::EAFNOSUPPORT)
    }

    /// Brings an interface up.
    pub async fn up(&self, index: u32) -> Result<(), NetlinkError> {
        self.set_link(&format!("bring interface {index} up"), LinkUnspec::new_with_index(index).up()).await
    }

    /// Removes an interface; no error if it is gone.
    pub async fn delete_link(&self, index: u32) -> Result<(), NetlinkError> {
        let result = self.handle.link().del(index).execute().await;
        tolerate(result.map_err(|error| NetlinkError::new(format!("remove interface {index}"), error)), libc::ENODEV)
    }

    /// Gives an interface an address without duplicate address detection; no error if it has it.
    pub async fn add_address(&self, index: u32, address: IpAddr, prefix_length: u8) -> Result<(), NetlinkError> {
        let mut request = self.handle.address().add(index, address, prefix_length);
        if address.is_ipv6() {
            request.message_mut().header.flags = AddressHeaderFlags::Nodad;
            request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        let what = format!("give interface {index} the address {address}/{prefix_length}");
        tolerate(request.execute().await.map_err(|error| NetlinkError::new(what, error)), libc::EEXIST)
    }

    /// Takes an address from an interface; no error if it has it not.
    pub async fn remove_address(&self, index: u32, address: IpAddr, prefix_length: u8) -> Result<(), NetlinkError> {
        let message = self.handle.address().add(index, address, prefix_length).message_mut().clone();
        let what = format!("take the address {address}/{prefix_length} from interface {index}");
        let result = self.handle.address().del(message).execute().await;
        tolerate(result.map_err(|error| NetlinkError::new(what, error)), libc::EADDRNOTAVAIL)
    }

    /// IPv4 addresses of an interface.
    pub async fn ipv4_addresses(&self, index: u32) -> Result<Vec<Ipv4Addr>, NetlinkError> {
        let v4 = |(address, _)| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        };
        Ok(self.addresses(index).await?.into_iter().filter_map(v4).collect())
    }

    /// Addresses of an interface, each with the length of its prefix.
    pub async fn addresses(&self, index: u32) -> Result<Vec<(IpAddr, u8)>, NetlinkError> {
        let request = self.handle.address().get().set_link_index_filter(index).execute();
        let what = format!("list the addresses of interface {index}");
        let messages: Vec<_> = request.try_collect().await.map_err(|error| NetlinkError::new(what, error))?;
        let of_message = |message: &AddressMessage| Some((address_of(message)?, message.header.prefix_len));
        Ok(messages.iter().filter_map(of_message).collect())
    }

    /// Does the kernel take what is sent to an IPv6 address for its own?
    pub async fn is_local(&self, address: Ipv6Addr) -> Result<bool, NetlinkError> {
        let query = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128).build();
        let what = format!("look up the route to {address}");
        match self.handle.route().get(query).execute().try_next().await {
            Ok(route) => Ok(route.is_some_and(|route| route.header.kind == RouteType::Local)),
            // As long as it has no route of its own, the route that it falls under may be none, or one that refuses.
            Err(Error::NetlinkError(_)) => Ok(false),
            Err(error) => Err(NetlinkError::new(what, error)),
        }
    }

    /// The routes that have a router: index of the interface, destination, router.
    pub async fn routes(&self) -> Result<Vec<(u32, Prefix, IpAddr)>, NetlinkError> {
        let mut found = Vec::new();
        let queries = [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
        for query in queries {
            let routes = self.handle.route().get(query).execute().try_collect::<Vec<_>>().await;
            let routes = routes.map_err(|error| NetlinkError::new("list the routes", error))?;
            found.extend(routes.iter().filter_map(read_routed));
        }
        Ok(found)
    }

    /// Adds a route by a router; no error if it is there. False: there is another route to this destination.
    pub async fn add_route(&self, index: u32, to: Prefix, router: IpAddr) -> Result<bool, NetlinkError> {
        let Some(route) = route(index, to, router) else { return Ok(false) };
        match self.handle.route().add(route).execute().await {
            Ok(()) => Ok(true),
            Err(error) => match NetlinkError::new(format!("route to {to} by {router}"), error) {
                error if error.errno() == Some(libc::EEXIST) => Ok(self.routes().await?.contains(&(index, to, router))),
                error => Err(error),
            },
        }
    }

    /// Removes a route by a router; no error if there is none.
    pub async fn remove_route(&self, index: u32, to: Prefix, router: IpAddr) -> Result<(), NetlinkError> {
        let Some(route) = route(index, to, router) else { return Ok(()) };
        let result = self.handle.route().del(route).execute().await;
        let what = format!("remove the route to {to} by {router}");
        tolerate(result.map_err(|error| NetlinkError::new(what, error)), libc::ESRCH)
    }

    /// Where packets to this address would leave.
    pub async fn route_to(&self, address: Ipv4Addr) -> Result<Option<Route>, NetlinkError> {
        let query = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build();
        let mut found = std::pin::pin!(self.handle.route().get(query).execute());
        match found.try_next().await.map_err(|error| NetlinkError::new(format!("find the route to {address}"), error)) {
            Ok(message) => Ok(message.and_then(|message| read_route(&message, address))),
            Err(error) if matches!(error.errno(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The address that a message is about. IPv6 has no local address beside the one it names (`linux/if_addr.h`).
pub(super) fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let named = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    local.or(named)
}

/// The route to a destination by a router of the same family.
fn route(index: u32, to: Prefix, router: IpAddr) -> Option<RouteMessage> {
    let length = to.length();
    match (to.address(), router) {
        (IpAddr::V4(to), IpAddr::V4(router)) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, length);
            Some(route.output_interface(index).gateway(router).build())
        }
        (IpAddr::V6(to), IpAddr::V6(router)) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to, length);
            Some(route.output_interface(index).gateway(router).build())
        }
        _ => None,
    }
}

/// Interface, destination and router of a route that has one.
fn read_routed(message: &RouteMessage) -> Option<(u32, Prefix, IpAddr)> {
    let (mut interface, mut destination, mut router) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => router = Some(IpAddr::V4(*gateway)),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => router = Some(IpAddr::V6(*gateway)),
            RouteAttribute::Destination(RouteAddress::Inet(to)) => destination = Some(IpAddr::V4(*to)),
            RouteAttribute::Destination(RouteAddress::Inet6(to)) => destination = Some(IpAddr::V6(*to)),
            _ => {}
        }
    }
    let (interface, router) = interface.zip(router)?;
    // A default route names no destination.
    let everything = if router.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let length = message.header.destination_prefix_length;
    Some((interface, Prefix::new(destination.unwrap_or(everything), length).ok()?, router))
}

fn read_route(message: &RouteMessage, address: Ipv4Addr) -> Option<Route> {
    let mut route = Route { ifindex: 0, gateway: address };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => route.ifindex = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => route.gateway = *gateway,
            _ => {}
        }
    }
    (route.ifindex != 0).then_some(route)
}

/// Reads what the agent needs of an interface.
pub fn read_link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link { index: message.header.index, up: flags.contains(LinkFlags::Up), ..Link::default() };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().unwrap_or_default(),
            LinkAttribute::LinkInfo(infos) => read_vxlan(infos, &mut link),
            _ => {}
        }
    }
    link
}

fn read_vxlan(infos: &[LinkInfo], link: &mut Link) {
    if !infos.contains(&LinkInfo::Kind(InfoKind::Vxlan)) {
        return;
    }
    for info in infos {
        let LinkInfo::Data(InfoData::Vxlan(options)) = info else { continue };
        for option in options {
            match option {
                InfoVxlan::Port(port) => link.vxlan_port = Some(*port),
                InfoVxlan::CollectMetadata(external) => link.external = *external,
                // IFLA_VXLAN_COLLECT_METADATA is present and empty in some dumps of old kernels.
                other if other.kind() == 25 => link.external = true,
                _ => {}
            }
        }
    }
}
