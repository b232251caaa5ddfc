//! Subnets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{HostName, Labels, Prefix, SubnetName};

/// A range of addresses of a network. Subnets of one network do not overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its name.
    pub name: SubnetName,
    /// Its addresses.
    pub cidr: Prefix,
    /// The address that answers ARP and neighbour solicitations as the router.
    pub gateway: IpAddr,
    /// The host that it is leased to: its agent gives the addresses to workloads that nobody declared, such as pods, and every port in
    /// it is on that host. None: whoever writes ports chooses their addresses.
    pub host: Option<HostName>,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}

impl Subnet {
    /// The router's address if none is chosen: the first behind the prefix's own.
    pub fn default_gateway(cidr: Prefix) -> IpAddr {
        match cidr.address() {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | 1)),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | 1)),
        }
    }
}
