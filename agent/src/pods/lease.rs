//! Leases: which container has which addresses of the subnets that are leased to this host. Pure; time is an argument.
//!
//! What is stored is read with fields that this agent does not know: a newer agent may have written it, and pods depend on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use andromede_model::{
    HostName, MacAddress, NetworkName, NetworkView, Port, PortName, Prefix, SecurityGroupName, Subnet, SubnetName,
};
use serde::{Deserialize, Serialize};

pub use super::owner::{Owner, PodName};
use super::{
    error::PodError,
    mac::{free_mac, generated_mac},
    owner::PORT_PREFIX,
};

/// Most leases of a host: as many as interfaces that a host bears, and a bound of the file.
const MOST: usize = 4_096;

/// What a container has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its port.
    pub port: PortName,
    /// Its addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Its security groups.
    pub groups: BTreeSet<SecurityGroupName>,
    /// What its network's router is used for.
    pub routes: Vec<Prefix>,
    /// May the node itself reach it, and it the node?
    #[serde(default)]
    pub node_access: bool,
    /// Are its groups only those that it begins with, until the operator of its cluster gives it others?
    #[serde(default)]
    pub by_policy: bool,
    /// By what the node knows it, if not by its own addresses.
    #[serde(default)]
    pub infrastructure: Option<Infrastructure>,
    /// The pod.
    pub pod: PodName,
}

/// A port of the cluster's own network that stands for a container of another: the node, and whoever asks it, knows the container by its
/// addresses. It has no interface, and nobody but the node sends to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Infrastructure {
    /// The port.
    pub port: PortName,
    /// Its addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Its Ethernet address.
    pub mac: MacAddress,
}

/// One of the ports of a lease.
#[derive(Clone, Copy, Debug)]
pub struct Leased<'a> {
    /// The port.
    pub port: &'a PortName,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
    /// Its Ethernet address.
    pub mac: MacAddress,
}

impl Lease {
    /// The container's own port, and the one that stands for it.
    pub fn ports(&self) -> impl Iterator<Item = Leased<'_>> {
        let own = Leased { port: &self.port, addresses: &self.addresses, mac: self.mac };
        let other = self.infrastructure.as_ref();
        let other = other.map(|other| Leased { port: &other.port, addresses: &other.addresses, mac: other.mac });
        std::iter::once(own).chain(other)
    }

    /// The addresses by which the node, and whoever asks it, knows the container.
    pub fn known_by(&self) -> &[IpAddr] {
        self.infrastructure.as_ref().map_or(&self.addresses, |infrastructure| &infrastructure.addresses)
    }
}

/// What a container asks for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Addresses; a family without one is given one.
    pub addresses: Vec<IpAddr>,
    /// Ethernet address; none: chosen here.
    pub mac: Option<MacAddress>,
    /// Security groups.
    pub groups: BTreeSet<SecurityGroupName>,
    /// What the network's router is used for.
    pub routes: Vec<Prefix>,
    /// May the node itself reach it, and it the node?
    pub node_access: bool,
    /// Are its groups only those that it begins with, until the operator of its cluster gives it others?
    pub by_policy: bool,
    /// The pod.
    pub pod: PodName,
}

/// When something happens, and how long a given-back address rests.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Seconds since 1970.
    pub now: u64,
    /// Seconds for which an address that was given back is given to nobody.
    pub quarantine: u64,
}

impl Clock {
    /// Has this much time passed since then? A clock that was set back gives an address free too early rather than never.
    fn is_over(self, since: u64) -> bool {
        self.now.abs_diff(since) >= self.quarantine
    }
}

/// An address that was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Returned {
    network: NetworkName,
    address: IpAddr,
    /// Seconds since 1970.
    at: u64,
}

/// An owner and its lease, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose it is.
    pub owner: Owner,
    /// What it has.
    pub lease: Lease,
}

/// All leases of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    entries: Vec<Entry>,
    /// Addresses that rest.
    returned: Vec<Returned>,
    /// The address that was last given out of each subnet: the search goes on behind it, so that an address rests as long as possible.
    last: BTreeMap<SubnetName, IpAddr>,
}

impl Leases {
    /// The lease of an owner.
    pub fn get(&self, owner: &Owner) -> Option<&Lease> {
        self.entries.iter().find(|entry| entry.owner == *owner).map(|entry| &entry.lease)
    }

    /// The lease of a port.
    pub fn of_port(&self, port: &str) -> Option<&Lease> {
        self.entry_of_port(port).map(|entry| &entry.lease)
    }

    /// The lease of a port, and whose it is.
    pub fn entry_of_port(&self, port: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.lease.port.as_str() == port)
    }

    /// Takes back a lease that was lost with its file. One that is there stays.
    pub fn restore(&mut self, entry: Entry) {
        if self.get(&entry.owner).is_none() && self.of_port(entry.lease.port.as_str()).is_none() {
            self.entries.push(entry);
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Owner, &Lease)> {
        self.entries.iter().map(|entry| (&entry.owner, &entry.lease))
    }

    /// Gives an owner a lease in a network of which this host has subnets; the one that it has there, if it has one. With an infrastructure
    /// network also a port there that stands for it.
    pub fn grant(
        &mut self,
        view: &NetworkView,
        infrastructure: Option<&NetworkView>,
        host: &HostName,
        owner: &Owner,
        wish: Wish,
        clock: Clock,
    ) -> Result<Lease, PodError> {
        if let Some(lease) = self.get(owner) {
            let Owner { container, interface, configuration } = owner.clone();
            let exists = PodError::Exists { container, interface, configuration };
            return if lease.port.network() == view.network.name { Ok(lease.clone()) } else { Err(exists) };
        }
        if self.entries.len() >= MOST {
            return Err(PodError::Exhausted { network: view.network.name.to_string(), why: format!("{MOST} leases") });
        }
        self.returned.retain(|returned| !clock.is_over(returned.at));
        let own = self.place(view, host, owner, &wish, &[true, false], clock)?;
        let infrastructure = match infrastructure {
            Some(other) => Some(self.stand_in(other, host, owner, &own.addresses, clock)?),
            None => None,
        };
        let Infrastructure { port, addresses, mac } = own;
        let Wish { groups, routes, node_access, by_policy, pod, .. } = wish;
        let lease = Lease { port, addresses, mac, groups, routes, node_access, by_policy, infrastructure, pod };
        self.entries.push(Entry { owner: owner.clone(), lease: lease.clone() });
        Ok(lease)
    }

    /// A port that stands for an owner's, with an address of each family that both have.
    fn stand_in(
        &mut self,
        view: &NetworkView,
        host: &HostName,
        owner: &Owner,
        addresses: &[IpAddr],
        clock: Clock,
    ) -> Result<Infrastructure, PodError> {
        let families: Vec<bool> = addresses.iter().map(IpAddr::is_ipv4).collect();
        let port = self.place(view, host, owner, &Wish::default(), &families, clock)?;
        if port.addresses.is_empty() {
            return Err(PodError::NoSubnet { network: view.network.name.to_string(), host: host.to_string() });
        }
        Ok(port)
    }

    /// A port of an owner in a network of which this host has subnets, with an address of each of these families (true: IPv4) that they
    /// have.
    fn place(
        &mut self,
        view: &NetworkView,
        host: &HostName,
        owner: &Owner,
        wish: &Wish,
        families: &[bool],
        clock: Clock,
    ) -> Result<Infrastructure, PodError> {
        let port = format!("{}/ports/{}", view.network.name, owner.port_id());
        let port: PortName = port.parse().map_err(PodError::name)?;
        let subnets: Vec<&Subnet> = view.subnets.values().filter(|subnet| subnet.host.as_ref() == Some(host)).collect();
        if subnets.is_empty() {
            return Err(PodError::NoSubnet { network: view.network.name.to_string(), host: host.to_string() });
        }
        let taken = self.taken(view, &wish.groups);
        let mut addresses = Vec::new();
        for is_v4 in families {
            let subnets: Vec<&Subnet> = subnets.iter().copied().filter(|it| it.cidr.is_ipv4() == *is_v4).collect();
            match wish.addresses.iter().find(|address| address.is_ipv4() == *is_v4) {
                Some(wanted) => addresses.push(asked_for(*wanted, &subnets, &port, &taken)?),
                None if subnets.is_empty() => {}
                None => addresses.push(self.next(view, &subnets, &taken, clock)?),
            }
        }
        let mac = match wish.mac {
            Some(mac) => free_mac(mac, view, &self.entries)?,
            None => generated_mac(&addresses, view, &self.entries)?,
        };
        Ok(Infrastructure { port, addresses, mac })
    }

    /// Ends the lease of an owner; its addresses rest from now on.
    pub fn end(&mut self, owner: &Owner, clock: Clock) -> Option<Lease> {
        let place = self.entries.iter().position(|entry| entry.owner == *owner)?;
        let lease = self.entries.remove(place).lease;
        for Leased { port, addresses, .. } in lease.ports() {
            let network = port.network();
            let rest = |address: &IpAddr| Returned { network: network.clone(), address: *address, at: clock.now };
            self.returned.extend(addresses.iter().map(rest));
        }
        Some(lease)
    }

    /// Addresses of a network that a new lease with these groups may not have. What other hosts know of an address counts too: as long
    /// as they take it for a port with other groups, its next holder would have the rights of that port.
    fn taken(&self, view: &NetworkView, groups: &BTreeSet<SecurityGroupName>) -> BTreeSet<IpAddr> {
        let network = &view.network.name;
        let resting = self.returned.iter().filter(|returned| returned.network == *network);
        let known = view.ports.values().filter(|port| !is_of_a_lease(port) || port.groups != *groups);
        self.leased(network)
            .copied()
            .chain(resting.map(|returned| returned.address))
            .chain(known.flat_map(|port| port.addresses.iter().copied()))
            .collect()
    }

    /// The next address that nobody has, of the first subnet that has one.
    fn next(
        &mut self,
        view: &NetworkView,
        subnets: &[&Subnet],
        taken: &BTreeSet<IpAddr>,
        clock: Clock,
    ) -> Result<IpAddr, PodError> {
        for subnet in subnets {
            let mut candidate = self.last.get(&subnet.name).copied().filter(|last| subnet.cidr.contains(*last));
            // Every step but one meets an address that is taken, one of the three that are nobody's, or a reservation: that in which it may
            // begin twice.
            let most = taken.len().saturating_add(subnet.reservations.len()).saturating_add(4);
            for _ in 0..=most {
                let address = following(candidate, subnet);
                if let Some(reservation) = subnet.reservation_of(address) {
                    candidate = Some(reservation.cidr.last());
                    continue;
                }
                if is_a_nodes(address, subnet) && !taken.contains(&address) {
                    self.last.insert(subnet.name.clone(), address);
                    return Ok(address);
                }
                candidate = Some(address);
            }
        }
        let full: Vec<String> = subnets.iter().map(|subnet| self.full(view, subnet, clock)).collect();
        Err(PodError::Exhausted { network: view.network.name.to_string(), why: full.join(", ") })
    }

    /// Addresses of a network that are leased.
    fn leased(&self, network: &NetworkName) -> impl Iterator<Item = &IpAddr> {
        let ports = self.entries.iter().flat_map(|entry| entry.lease.ports());
        ports.filter(move |leased| leased.port.network() == *network).flat_map(|leased| leased.addresses)
    }

    /// Why a subnet has no address, for people: what all of them are used for.
    fn full(&self, view: &NetworkView, subnet: &Subnet, clock: Clock) -> String {
        let within = |address: &&IpAddr| subnet.cidr.contains(**address);
        let leased: BTreeSet<IpAddr> = self.leased(&view.network.name).filter(within).copied().collect();
        let resting = self.returned.iter().filter(|it| it.network == view.network.name && within(&&it.address));
        let (resting, rests): (BTreeSet<IpAddr>, Vec<u64>) =
            resting.map(|it| (it.address, clock.quarantine.saturating_sub(clock.now.abs_diff(it.at)))).unzip();
        let known = view.ports.values().flat_map(|port| &port.addresses).filter(within);
        let others = known.filter(|address| !leased.contains(address) && !resting.contains(address)).count();
        let next = rests.iter().min().map(|seconds| format!(", the next for {seconds} seconds")).unwrap_or_default();
        let (name, cidr, leased, rest) = (subnet.name.id(), subnet.cidr, leased.len(), resting.len());
        let reserved = match subnet.reservations.len() {
            0 => String::new(),
            number => format!(", {number} reservations"),
        };
        format!("{name} ({cidr}: {leased} leased, {rest} rest{next}, {others} known to others as used{reserved})")
    }
}

/// Is it a port that a host made for a lease? Others in its subnets were written by somebody else.
pub fn is_of_a_lease(port: &Port) -> bool {
    is_name_of_a_lease(&port.name)
}

/// The same, by its name.
pub fn is_name_of_a_lease(port: &PortName) -> bool {
    port.id().starts_with(PORT_PREFIX)
}

/// The address behind this one in its subnet; the first one behind the last, or without one.
fn following(address: Option<IpAddr>, subnet: &Subnet) -> IpAddr {
    match address {
        Some(address) if address == subnet.cidr.last() => subnet.cidr.address(),
        Some(IpAddr::V4(v4)) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().wrapping_add(1))),
        Some(IpAddr::V6(v6)) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().wrapping_add(1))),
        None => subnet.cidr.address(),
    }
}

/// May a node have this address? Not the subnet's own, not its router's, and not IPv4's broadcast address.
fn is_a_nodes(address: IpAddr, subnet: &Subnet) -> bool {
    let broadcast = address.is_ipv4() && address == subnet.cidr.last();
    address != subnet.cidr.address() && address != subnet.gateway && !broadcast
}

/// Checks an address that was asked for.
fn asked_for(
    wanted: IpAddr,
    subnets: &[&Subnet],
    port: &PortName,
    taken: &BTreeSet<IpAddr>,
) -> Result<IpAddr, PodError> {
    let refused = |why: String| Err(PodError::Address { address: wanted.to_string(), why });
    let Some(subnet) = subnets.iter().find(|subnet| subnet.cidr.contains(wanted)) else {
        let own: Vec<String> = subnets.iter().map(|subnet| subnet.cidr.to_string()).collect();
        return refused(format!(
            "this host gives out {} of this family",
            if own.is_empty() { "none".to_owned() } else { own.join(", ") }
        ));
    };
    if !is_a_nodes(wanted, subnet) {
        return refused(format!("no workload has the first, the last or the router's address of {}", subnet.cidr));
    }
    let owner = subnet.reservation_of(wanted).and_then(|reservation| reservation.port.as_ref());
    if owner.is_some_and(|owner| owner != port) {
        return refused("it is reserved for another port".to_owned());
    }
    if taken.contains(&wanted) {
        return refused("it is in use, or was until a moment ago".to_owned());
    }
    Ok(wanted)
}
