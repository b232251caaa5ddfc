//! The few rtnetlink requests that the agent makes, with errors that say what was asked of which object.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures::TryStreamExt as _;
use rtnetlink::{
    Error, Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder,
    packet_core::Nla as _,
    packet_route::{
        address::AddressAttribute,
        link::{
            AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags,
            LinkInfo, LinkMessage,
        },
        route::{RouteAddress, RouteAttribute, RouteMessage},
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
    fn new(action: impl Into<String>, error: Error) -> Self {
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
        use rtnetlink::packet_route::address::{AddressFlags, AddressHeaderFlags};
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
        let request = self.handle.address().get().set_link_index_filter(index).execute();
        let what = format!("list the addresses of interface {index}");
        let messages: Vec<_> = request.try_collect().await.map_err(|error| NetlinkError::new(what, error))?;
        let of_message = |attributes: Vec<AddressAttribute>| {
            attributes.into_iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(address),
                _ => None,
            })
        };
        Ok(messages.into_iter().filter_map(|message| of_message(message.attributes)).collect())
    }

    /// Adds the default route of a family; replaces one that is there.
    pub async fn default_route(&self, index: u32, gateway: IpAddr) -> Result<(), NetlinkError> {
        let result = self.handle.route().add(default_route(index, gateway)).replace().execute().await;
        result.map_err(|error| NetlinkError::new(format!("route to the router {gateway}"), error))
    }

    /// Removes the default route to this router; no error if there is none.
    pub async fn remove_default_route(&self, index: u32, gateway: IpAddr) -> Result<(), NetlinkError> {
        let result = self.handle.route().del(default_route(index, gateway)).execute().await;
        let what = format!("remove the route to the router {gateway}");
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

fn default_route(index: u32, gateway: IpAddr) -> RouteMessage {
    match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index).gateway(gateway).build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index).gateway(gateway).build(),
    }
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
