//! How full subnets are.

use crate::{Model, Prefix, Rest, Resting, Subnet, SubnetName, state::NetworkState};

/// The addresses of a subnet, by what they are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utilization {
    /// All of the prefix.
    pub addresses: u128,
    /// Those that a port may have: not the subnet's own, nor its router's, nor IPv4's broadcast address.
    pub usable: u128,
    /// Usable ones that ports have.
    pub used: u128,
    /// Usable ones in reservations.
    pub set_aside: u128,
    /// Those in reservations that ports have.
    pub set_aside_used: u128,
}

impl Utilization {
    /// Usable addresses in reservations that no port has.
    pub const fn reserved(&self) -> u128 {
        self.set_aside.saturating_sub(self.set_aside_used)
    }

    /// What ports that choose no address are given: usable addresses outside of reservations.
    pub const fn pool(&self) -> u128 {
        self.usable.saturating_sub(self.set_aside)
    }

    /// How many of these ports have.
    pub const fn pool_used(&self) -> u128 {
        self.used.saturating_sub(self.set_aside_used)
    }
}

impl Subnet {
    /// How many addresses of a part of it ports may have.
    fn usable(&self, part: Prefix) -> u128 {
        let nobodys = self.nobodys().filter(|address| part.contains(*address)).count();
        size(part).saturating_sub(nobodys as u128)
    }
}

/// How many addresses a prefix has.
fn size(prefix: Prefix) -> u128 {
    let range = prefix.range();
    range.end().saturating_sub(*range.start()).saturating_add(1)
}

impl NetworkState {
    /// How full a subnet of it is. The time that takes grows with the number of ports only by a small part of it.
    pub(crate) fn utilization(&self, subnet: &Subnet) -> Utilization {
        let mut found = Utilization {
            addresses: size(subnet.cidr),
            usable: subnet.usable(subnet.cidr),
            used: self.used(subnet.cidr),
            ..Utilization::default()
        };
        for reservation in &subnet.reservations {
            found.set_aside = found.set_aside.saturating_add(subnet.usable(reservation.cidr));
            found.set_aside_used = found.set_aside_used.saturating_add(self.used(reservation.cidr));
        }
        found
    }

    /// How many addresses of a subnet rest, of those that ports that choose none are given.
    pub(crate) fn rest(&self, subnet: &Subnet, resting: &dyn Resting) -> Rest {
        let passed = |address| self.by_address(address).is_some() || subnet.reservation_of(address).is_some();
        resting.within(self.name(), subnet.cidr, &passed)
    }

    fn used(&self, prefix: Prefix) -> u128 {
        self.used_between(&prefix.address(), &prefix.last()) as u128
    }
}

impl Model {
    /// A subnet.
    pub fn subnet(&self, name: &SubnetName) -> Option<&Subnet> {
        self.networks.get(&name.network())?.subnets.get(name)
    }

    /// A subnet, how full it is, and how many of its addresses rest; none if there is no such subnet.
    pub fn utilization(&self, name: &SubnetName, resting: &dyn Resting) -> Option<(&Subnet, Utilization, Rest)> {
        let state = self.networks.get(&name.network())?;
        let subnet = state.subnets.get(name)?;
        Some((subnet, state.utilization(subnet), state.rest(subnet, resting)))
    }

    /// The same of all subnets, by name.
    pub fn utilizations<'a>(
        &'a self,
        resting: &'a dyn Resting,
    ) -> impl Iterator<Item = (&'a Subnet, Utilization, Rest)> + 'a {
        self.networks.values().flat_map(move |state| {
            let of = |subnet| (subnet, state.utilization(subnet), state.rest(subnet, resting));
            state.subnets.values().map(of)
        })
    }
}
