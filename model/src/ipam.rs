//! Addresses for ports that choose none.
//!
//! A port gets one address of each family for which its network has subnets that are leased to no host. The search begins
//! where the port's name says: a port that is made anew under its name gets its old address if nobody has it, and addresses
//! that became free are not the next to be given out. What a port shall not get is held by a port without a host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Port, PortName, Subnet, draft::Draft, limits};

/// Addresses of a subnet that are tried: more than the ports of a network can hold, with those that belong to nobody.
const TRIED: u128 = 2 * limits::PORTS_PER_NETWORK as u128;

/// Says which addresses a port must not be given yet, because another had them a moment ago.
pub type Quarantine<'a> = &'a dyn Fn(&PortName, IpAddr) -> bool;

impl Draft<'_> {
    /// Addresses for a port that has none; nothing if its network has no subnets for it. An error names the subnets that are full.
    pub(crate) fn free_addresses(&self, port: &Port, quarantined: Quarantine<'_>) -> Result<Vec<IpAddr>, String> {
        let Some(state) = self.after.networks.get(&port.name.network()) else { return Ok(Vec::new()) };
        let mut addresses = Vec::new();
        for v4 in [true, false] {
            let of_family = |subnet: &&Subnet| subnet.host.is_none() && subnet.cidr.is_ipv4() == v4;
            let subnets: Vec<&Subnet> = state.subnets.values().filter(of_family).collect();
            let taken = |address| state.by_address(address).is_some() || quarantined(&port.name, address);
            let found = subnets.iter().find_map(|subnet| free(subnet, seed(&port.name), taken));
            match found {
                Some(address) => addresses.push(address),
                None if subnets.is_empty() => {}
                None => {
                    let names: Vec<&str> = subnets.iter().map(|subnet| subnet.name.as_str()).collect();
                    return Err(names.join(", "));
                }
            }
        }
        Ok(addresses)
    }
}

/// The first address from the seed on that a port may have and nobody has.
fn free(subnet: &Subnet, seed: u64, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let (first, last) = (bits(subnet.cidr.address()), bits(subnet.cidr.last()));
    // The first address stands for the subnet; the last of IPv4 is its broadcast address.
    let (first, last) = (first.checked_add(1)?, last.checked_sub(u128::from(subnet.cidr.is_ipv4()))?);
    let size = last.checked_sub(first)?.checked_add(1)?;
    let begin = u128::from(seed) % size;
    (0..size.min(TRIED))
        .map(|step| address(first + (begin + step) % size, subnet.cidr.is_ipv4()))
        .find(|address| *address != subnet.gateway && !taken(*address))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(bits: u128, v4: bool) -> IpAddr {
    if v4 { IpAddr::V4(Ipv4Addr::from_bits(bits as u32)) } else { IpAddr::V6(Ipv6Addr::from_bits(bits)) }
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
    use crate::Labels;

    fn subnet(cidr: &str) -> Subnet {
        let cidr = cidr.parse().unwrap();
        let name = "tenants/t/networks/n/subnets/s".parse().unwrap();
        let gateway = Subnet::default_gateway(cidr);
        Subnet { name, cidr, gateway, host: None, revision: 0, labels: Labels::default() }
    }

    proptest! {
        #[test]
        fn every_address_is_given_once_and_none_that_belongs_to_nobody(
            seeds in prop::collection::vec(any::<u64>(), 0..300), length in 24_u8..=30,
        ) {
            let subnet = subnet(&format!("10.0.0.0/{length}"));
            let room = (1_usize << (32 - length)) - 3;
            let mut given = BTreeSet::new();
            for (number, seed) in seeds.into_iter().enumerate() {
                let found = free(&subnet, seed, |address| given.contains(&address));
                prop_assert_eq!(found.is_some(), number < room);
                let Some(found) = found else { continue };
                prop_assert!(subnet.cidr.contains(found) && found != subnet.gateway);
                prop_assert!(found != subnet.cidr.address() && found != subnet.cidr.last());
                prop_assert!(given.insert(found));
            }
        }

        #[test]
        fn large_subnets_do_as_well(seed in any::<u64>(), length in 0_u8..=126) {
            let cidr = format!("fd00::/{}", length.max(8)).parse::<crate::Prefix>().unwrap();
            let subnet = Subnet { cidr, gateway: Subnet::default_gateway(cidr), ..subnet("fd00::/64") };
            let found = free(&subnet, seed, |_| false).unwrap();
            prop_assert!(cidr.contains(found) && found != subnet.gateway && found != cidr.address());
        }
    }
}
