//! Addresses for ports that choose none.
//!
//! A port gets one address of each family for which its network has subnets that are leased to no host: of those that are reserved for
//! it, if any are, otherwise one outside of all reservations. One that it had a moment ago it gets again. Else the search begins where the
//! port's name says, so that addresses that became free are not the next to be given out. What a port shall not get is held by a port
//! without a host.

use std::{net::IpAddr, ops::RangeInclusive};

use crate::{
    NetworkName, Port, PortName, Prefix, Subnet,
    draft::Draft,
    limits,
    prefix::{address, bits},
    state::NetworkState,
};

/// Addresses of a subnet that are tried: more than the ports of a network can hold, with those that belong to nobody.
const TRIED: usize = 2 * limits::PORTS_PER_NETWORK;

/// How many addresses rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// How many.
    pub addresses: u64,
    /// Seconds until the first of them may be given out; 0 if none rests.
    pub next_seconds: u64,
}

/// What is known of addresses that became free a moment ago.
pub trait Resting {
    /// Must the port wait for the address? Not if it was its own.
    fn holds_back(&self, port: &PortName, address: IpAddr) -> bool;

    /// The addresses that were the port's, the last ones first.
    fn last_of(&self, _port: &PortName) -> Vec<IpAddr> {
        Vec::new()
    }

    /// How many addresses of a part of a network rest, without those that are `passed` over.
    fn within(&self, _network: &NetworkName, _part: Prefix, _passed: &dyn Fn(IpAddr) -> bool) -> Rest {
        Rest::default()
    }
}

/// No address rests.
pub(crate) struct NothingRests;

impl Resting for NothingRests {
    fn holds_back(&self, _: &PortName, _: IpAddr) -> bool {
        false
    }
}

impl<F: Fn(&PortName, IpAddr) -> bool> Resting for F {
    fn holds_back(&self, port: &PortName, address: IpAddr) -> bool {
        self(port, address)
    }
}

impl Draft<'_> {
    /// Addresses for a port that has none; nothing if its network has no subnets for it. An error says how full the subnets are.
    pub(crate) fn free_addresses(&self, port: &Port, resting: &dyn Resting) -> Result<Vec<IpAddr>, String> {
        let Some(state) = self.after.networks.get(&port.name.network()) else { return Ok(Vec::new()) };
        let mut addresses = Vec::new();
        for v4 in [true, false] {
            let of_family = |subnet: &&Subnet| subnet.host.is_none() && subnet.cidr.is_ipv4() == v4;
            let subnets: Vec<&Subnet> = state.subnets.values().filter(of_family).collect();
            match Search::new(state, &port.name, resting).any(&subnets) {
                Some(address) => addresses.push(address),
                None if subnets.is_empty() => {}
                None => {
                    let told = subnets.iter().map(|subnet| full(state, subnet, resting));
                    return Err(told.collect::<Vec<_>>().join(", "));
                }
            }
        }
        Ok(addresses)
    }
}

/// A search for an address of one port.
struct Search<'a> {
    state: &'a NetworkState,
    port: &'a PortName,
    resting: &'a dyn Resting,
    /// Addresses that were the port's a moment ago.
    last: Vec<IpAddr>,
}

impl<'a> Search<'a> {
    fn new(state: &'a NetworkState, port: &'a PortName, resting: &'a dyn Resting) -> Self {
        Self { state, port, resting, last: resting.last_of(port) }
    }

    /// An address of one of these subnets. What is reserved for the port stands before everything else, and nothing else is as good.
    fn any(&self, subnets: &[&Subnet]) -> Option<IpAddr> {
        let own = subnets.iter().map(|subnet| (*subnet, reserved_for(subnet, self.port)));
        let own: Vec<_> = own.filter(|(_, ranges)| !ranges.is_empty()).collect();
        if !own.is_empty() {
            return own.iter().find_map(|(subnet, ranges)| self.within(subnet, ranges));
        }
        let pools: Vec<_> = subnets.iter().map(|subnet| (*subnet, pool(subnet))).collect();
        let again = |address: &&IpAddr| {
            let holds = |(subnet, ranges): &(&Subnet, Vec<RangeInclusive<u128>>)| {
                subnet.cidr.contains(**address) && ranges.iter().any(|range| range.contains(&bits(**address)))
            };
            pools.iter().any(|pool| holds(pool) && self.is_free(pool.0, **address))
        };
        let again = self.last.iter().find(again).copied();
        again.or_else(|| pools.iter().find_map(|(subnet, ranges)| self.within(subnet, ranges)))
    }

    fn is_free(&self, subnet: &Subnet, address: IpAddr) -> bool {
        subnet.nobodys().all(|nobodys| nobodys != address)
            && self.state.by_address(address).is_none()
            && !self.resting.holds_back(self.port, address)
    }

    fn within(&self, subnet: &Subnet, ranges: &[RangeInclusive<u128>]) -> Option<IpAddr> {
        free(subnet, ranges, seed(self.port), |address| !self.is_free(subnet, address))
    }
}

/// Why there is no address, for people: what all of them are used for.
fn full(state: &NetworkState, subnet: &Subnet, resting: &dyn Resting) -> String {
    let found = state.utilization(subnet);
    let rest = state.rest(subnet, resting);
    let next = match rest.addresses {
        0 => String::new(),
        _ => format!(", the next for {} seconds", rest.next_seconds),
    };
    let (name, cidr, reserved) = (&subnet.name, subnet.cidr, found.reserved());
    format!(
        "{name} ({cidr}: {} of {} in use, {reserved} reserved, {} rest{next})",
        found.used, found.usable, rest.addresses
    )
}

/// The addresses that are reserved for a port.
fn reserved_for(subnet: &Subnet, port: &PortName) -> Vec<RangeInclusive<u128>> {
    let own = subnet.reservations.iter().filter(|reservation| reservation.port.as_ref() == Some(port));
    own.map(|reservation| reservation.cidr.range()).collect()
}

/// The addresses outside of all reservations, in order.
fn pool(subnet: &Subnet) -> Vec<RangeInclusive<u128>> {
    let mut taken: Vec<_> = subnet.reservations.iter().map(|reservation| reservation.cidr.range()).collect();
    taken.sort_by_key(|range| *range.start());
    let (mut next, last) = (Some(*subnet.cidr.range().start()), *subnet.cidr.range().end());
    let mut ranges = Vec::with_capacity(taken.len().saturating_add(1));
    for range in taken {
        if let Some((next, before)) = next.zip(range.start().checked_sub(1))
            && next <= before
        {
            ranges.push(next..=before);
        }
        next = range.end().checked_add(1);
    }
    ranges.extend(next.filter(|next| *next <= last).map(|next| next..=last));
    ranges
}

/// The first address of the ranges that nobody has, from where the seed points to on, and then from the beginning.
fn free(subnet: &Subnet, ranges: &[RangeInclusive<u128>], seed: u64, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let (first, last) = subnet.cidr.range().into_inner();
    // The first address stands for the subnet; the last of IPv4 is its broadcast address.
    let (first, last) = (first.checked_add(1)?, last.checked_sub(u128::from(subnet.cidr.is_ipv4()))?);
    let size = last.checked_sub(first)?.checked_add(1)?;
    // Where it begins depends on the subnet alone: other reservations lead a name to the same address.
    let begin = first + u128::from(seed) % size;
    let behind = ranges.iter().map(|range| (*range.start()).max(begin)..=*range.end());
    let before = ranges.iter().map(|range| *range.start()..=(*range.end()).min(begin.saturating_sub(1)));
    let v4 = subnet.cidr.is_ipv4();
    behind.chain(before).flatten().take(TRIED).map(|bits| address(bits, v4)).find(|address| !taken(*address))
}

/// A number that only the name decides: FNV-1a.
fn seed(name: &PortName) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::Reservation;

    fn subnet(cidr: &str, reserved: &[Prefix]) -> Subnet {
        let cidr = cidr.parse().unwrap();
        let name = "tenants/t/networks/n/subnets/s".parse().unwrap();
        let reservation = |(number, cidr): (usize, &Prefix)| {
            let name = format!("r{number}").parse().unwrap();
            Reservation { name, cidr: *cidr, port: None, description: String::new() }
        };
        let reservations = reserved.iter().enumerate().map(reservation).collect();
        Subnet { reservations, ..Subnet::new(name, cidr) }
    }

    /// The first free address of the pool that is not given yet.
    fn next(subnet: &Subnet, seed: u64, given: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let nobodys = |address| subnet.nobodys().any(|nobodys| nobodys == address);
        free(subnet, &pool(subnet), seed, |address| given.contains(&address) || nobodys(address))
    }

    proptest! {
        #[test]
        fn every_address_is_given_once_and_none_that_belongs_to_nobody(
            seeds in prop::collection::vec(any::<u64>(), 0..300), length in 24_u8..=30,
            reserved in prop::collection::btree_set(0_u8..16, 0..5),
        ) {
            // Sixteenths of 10.0.0.0/24: those that are outside of the subnet are left out.
            let whole: Prefix = format!("10.0.0.0/{length}").parse().unwrap();
            let parts = reserved.into_iter().map(|part| format!("10.0.0.{}/28", part * 16).parse::<Prefix>().unwrap());
            let parts: Vec<Prefix> = parts.filter(|part| whole.covers(*part)).collect();
            let subnet = subnet(&whole.to_string(), &parts);
            let outside = |address: &IpAddr| parts.iter().all(|part| !part.contains(*address));
            let all = (0..1_u32 << (32 - length)).map(|bits| address(u128::from(0x0a00_0000 + bits), true));
            let room = all.filter(|it| outside(it) && subnet.nobodys().all(|nobodys| nobodys != *it)).count();
            let mut given = BTreeSet::new();
            for (number, seed) in seeds.into_iter().enumerate() {
                let found = next(&subnet, seed, &given);
                prop_assert_eq!(found.is_some(), number < room);
                let Some(found) = found else { continue };
                prop_assert!(subnet.cidr.contains(found) && found != subnet.gateway && outside(&found));
                prop_assert!(found != subnet.cidr.address() && found != subnet.cidr.last());
                prop_assert!(given.insert(found));
            }
        }

        #[test]
        fn large_subnets_do_as_well(seed in any::<u64>(), length in 0_u8..=126) {
            let cidr = format!("fd00::/{}", length.max(8)).parse::<Prefix>().unwrap();
            let whole = subnet(&cidr.to_string(), &[]);
            let found = next(&whole, seed, &BTreeSet::new()).unwrap();
            prop_assert!(cidr.contains(found) && found != whole.gateway && found != cidr.address());
            // The half in which the search would begin is reserved.
            let half = Prefix::new(cidr.address(), cidr.length() + 1).unwrap();
            let found = next(&subnet(&cidr.to_string(), &[half]), seed, &BTreeSet::new()).unwrap();
            prop_assert!(cidr.contains(found) && !half.contains(found));
        }
    }

    #[test]
    fn a_reservation_elsewhere_changes_nothing_for_a_name() {
        let found = next(&subnet("10.0.0.0/24", &[]), 77, &BTreeSet::new()).unwrap();
        let part = "10.0.0.128/25".parse().unwrap();
        assert_eq!(next(&subnet("10.0.0.0/24", &[part]), 77, &BTreeSet::new()).unwrap(), found);
        let own: Prefix = format!("{found}/32").parse().unwrap();
        assert_ne!(next(&subnet("10.0.0.0/24", &[own]), 77, &BTreeSet::new()).unwrap(), found);
    }
}
