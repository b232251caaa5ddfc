//! What a host should be like.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use andromede_abi::{HostIndex, MeterIndex, NetworkIndex, RuleNumber, Slot};
use andromede_model::{AnyName, NetworkName, PortName, RuleName};

use crate::{Rows, TooLarge};

/// Bytes that the encapsulation adds to an IP packet: outer IPv4 (20), UDP (8), VXLAN (8), inner Ethernet (14).
pub const OVERHEAD: u32 = 50;

/// What the compiler must know of the host itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Its number.
    pub host: HostIndex,
    /// Address of its tunnel endpoint.
    pub underlay: Ipv4Addr,
    /// Index of its underlay interface.
    pub underlay_ifindex: u32,
    /// Next hop towards a tunnel endpoint; an endpoint that is not here is on the link.
    pub gateways: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// Addresses by which its pods reach the node itself.
    pub addresses: BTreeSet<IpAddr>,
    /// Rows of its flow table.
    pub flow_rows: u32,
    /// The rows in which networks are metered; one that is not here has none of its own.
    pub meters: BTreeMap<NetworkIndex, MeterIndex>,
}

/// A workload's interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Index of the host-side interface.
    pub ifindex: u32,
    /// Is it a tap device?
    pub tap: bool,
    /// Is it a pod that the node itself may reach, and that may reach the node?
    pub node: bool,
    /// By what the node knows it, if not by its own addresses.
    pub infrastructure: Option<Infrastructure>,
}

/// The port that stands for a workload of another network: an address of it is what the node knows the workload's first address of that
/// family by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Infrastructure {
    /// The port, which has no interface of its own.
    pub port: PortName,
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// The interfaces of the workloads on this host, by port.
pub type Attachments = BTreeMap<PortName, Attachment>;

/// What the numbers in rows, events and counters stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Slots of the ports on this host.
    pub ports: BTreeMap<Slot, PortName>,
    /// Networks.
    pub networks: BTreeMap<NetworkIndex, NetworkName>,
    /// Rules: the group or policy that they stand in, and their name.
    pub rules: BTreeMap<RuleNumber, (AnyName, RuleName)>,
}

/// A network that does not fit beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub network: NetworkName,
    /// Its number.
    pub index: NetworkIndex,
    /// What is too large.
    pub error: TooLarge,
}

/// The rows that a host should have, and what their numbers stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The rows. Their epochs are those after the change; the change words of networks are not among them.
    pub rows: Rows,
    /// Slot of each port on this host.
    pub slots: BTreeMap<PortName, Slot>,
    /// Slot of each network's change word.
    pub network_slots: BTreeMap<NetworkName, Slot>,
    /// What the numbers stand for.
    pub names: Names,
    /// Networks that do not fit: nothing of them is among the rows.
    pub refused: Vec<Refused>,
}
