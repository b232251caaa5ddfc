//! Subnets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{HostName, Labels, Prefix, Reservation, SubnetName};

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
    /// Addresses that are given only to who names them.
    #[serde(default)]
    pub reservations: Vec<Reservation>,
    /// Revision of its last write; set by the model.
    pub revision: u64,
    /// Its labels.
    pub labels: Labels,
}

impl Subnet {
    /// One of which nothing but the prefix is chosen.
    pub fn new(name: SubnetName, cidr: Prefix) -> Self {
        Self {
            name,
            cidr,
            gateway: Self::default_gateway(cidr),
            host: None,
            reservations: Vec::new(),
            revision: 0,
            labels: Labels::default(),
        }
    }

    /// The reservation that has the address.
    pub fn reservation_of(&self, address: IpAddr) -> Option<&Reservation> {
        self.reservations.iter().find(|reservation| reservation.cidr.contains(address))
    }

    /// The same as hosts hear of it: reservations are told where a host gives out the addresses.
    #[must_use]
    pub fn as_told(&self) -> Self {
        let reservations = if self.host.is_some() { self.reservations.clone() } else { Vec::new() };
        Self { reservations, ..self.clone() }
    }

    /// Why an address of the subnet belongs to no node: IPv4's network and broadcast addresses (RFC 922), IPv6's anycast address of
    /// routers (RFC 4291, section 2.6.1).
    pub(crate) fn not_for_a_node(&self, address: IpAddr) -> Option<&'static str> {
        if address == self.cidr.address() {
            Some("the first address of a subnet stands for the subnet itself")
        } else if address.is_ipv4() && address == self.cidr.last() {
            Some("the last address of an IPv4 subnet is its broadcast address")
        } else {
            None
        }
    }

    /// Addresses of it that no port has: its own, its router's, and IPv4's broadcast address.
    pub(crate) fn nobodys(&self) -> impl Iterator<Item = IpAddr> {
        let broadcast = self.cidr.is_ipv4().then(|| self.cidr.last());
        [self.cidr.address(), self.gateway].into_iter().chain(broadcast)
    }

    /// The router's address if none is chosen: the first behind the prefix's own.
    pub fn default_gateway(cidr: Prefix) -> IpAddr {
        match cidr.address() {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | 1)),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | 1)),
        }
    }
}
