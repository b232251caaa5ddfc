//! `ipBlock`: a prefix without others, as the prefixes that remain.
//!
//! An exception is no refusal: what one policy excepts another may allow. So nothing is denied; the block is divided.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use andromede_model::{Prefix, Violation, limits};

/// The prefix of a text such as `10.0.0.0/8`. As Kubernetes does, bits behind the length are ignored.
pub(crate) fn parse(field: &str, text: &str) -> Result<Prefix, Violation> {
    let wrong =
        || Violation::new(field, text, "a block is an IPv4 or IPv6 prefix", "write it as 10.0.0.0/24 or 2001:db8::/64");
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    if length.is_empty() || length.len() > 3 || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let (address, length): (IpAddr, u8) = (address.parse().map_err(|_| wrong())?, length.parse().map_err(|_| wrong())?);
    let masked = match address {
        IpAddr::V4(v4) if length <= 32 => {
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)))
        }
        IpAddr::V6(v6) if length <= 128 => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)))
        }
        _ => return Err(wrong()),
    };
    Prefix::new(masked, length).map_err(|error| error.violation(field))
}

/// What remains of a block: the fewest prefixes, in order. An error if they are more than a list may have.
pub(crate) fn without(field: &str, block: Prefix, except: &[Prefix]) -> Result<Vec<Prefix>, Violation> {
    let mut remains = Vec::new();
    if divide(block, except, &mut remains) {
        return Ok(remains);
    }
    let rule = format!("a block without its exceptions is at most {} prefixes", limits::PREFIXES_PER_LIST);
    Err(Violation::new(field, except.len(), rule, "join exceptions, or give several blocks"))
}

/// Adds what remains; no if it is too much. The depth is that of an address: 128 at most.
fn divide(block: Prefix, except: &[Prefix], remains: &mut Vec<Prefix>) -> bool {
    let inside: Vec<Prefix> = except.iter().copied().filter(|one| one.overlaps(block)).collect();
    if inside.iter().any(|one| one.covers(block)) {
        return true;
    }
    if inside.is_empty() {
        remains.push(block);
        return remains.len() <= limits::PREFIXES_PER_LIST;
    }
    halves(block).into_iter().flatten().all(|half| divide(half, &inside, remains))
}

/// Both halves of a prefix. One of IPv4 written as IPv6 is left out: no packet has such addresses.
fn halves(block: Prefix) -> [Option<Prefix>; 2] {
    let Some(length) = block.length().checked_add(1) else { return [None, None] };
    let upper = match block.address() {
        IpAddr::V4(v4) => {
            let bit = 1_u32.checked_shl(32_u32.saturating_sub(u32::from(length))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | bit))
        }
        IpAddr::V6(v6) => {
            let bit = 1_u128.checked_shl(128_u32.saturating_sub(u32::from(length))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | bit))
        }
    };
    [block.address(), upper].map(|address| Prefix::new(address, length).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn exceptions_are_cut_out() {
        let remains = |block: &str, except: &[&str]| without("", block.parse().unwrap(), &prefixes(except)).unwrap();
        assert_eq!(remains("10.0.0.0/24", &[]), prefixes(&["10.0.0.0/24"]));
        assert_eq!(remains("10.0.0.0/24", &["10.0.0.0/24"]), []);
        assert_eq!(remains("10.0.0.0/30", &["10.0.0.1/32"]), prefixes(&["10.0.0.0/32", "10.0.0.2/31"]));
        assert_eq!(remains("0.0.0.0/0", &["0.0.0.0/1"]), prefixes(&["128.0.0.0/1"]));
        assert_eq!(remains("::/0", &["fd00::1/128"]).len(), 128);
        assert_eq!(remains("10.0.0.0/24", &["fd00::/8"]), prefixes(&["10.0.0.0/24"]), "another family");
        // The neighbour of this exception is IPv4 written as IPv6.
        assert_eq!(remains("::fffe:0:0/95", &["::fffe:0:0/96"]), []);
    }

    #[test]
    fn blocks_are_read_as_kubernetes_does() {
        assert_eq!(parse("cidr", "10.1.2.3/8").unwrap(), "10.0.0.0/8".parse().unwrap());
        assert_eq!(parse("cidr", "2001:db8::7/32").unwrap(), "2001:db8::/32".parse().unwrap());
        assert_eq!(parse("cidr", "0.0.0.0/0").unwrap(), "0.0.0.0/0".parse().unwrap());
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/", "10.0.0.0/+8", "::ffff:10.0.0.0/104", ""] {
            assert!(parse("cidr", bad).is_err(), "{bad}");
        }
    }

    fn prefix(bits: u32, length: u8) -> Prefix {
        parse("", &format!("{}/{length}", Ipv4Addr::from_bits(bits))).unwrap()
    }

    proptest! {
        #[test]
        fn an_address_remains_if_no_exception_has_it(
            block in (any::<u32>(), 0_u8..=32), except in prop::collection::vec((any::<u32>(), 0_u8..=32, any::<bool>()), 0..6),
            probes in prop::collection::vec((any::<u32>(), any::<bool>()), 20),
        ) {
            let block = prefix(block.0, block.1);
            let IpAddr::V4(first) = block.address() else { unreachable!() };
            let width = u32::MAX.checked_shr(u32::from(block.length())).unwrap_or(0);
            // Half of all addresses are drawn inside the block.
            let near = |bits: u32, inside: bool| if inside { first.to_bits() | (bits & width) } else { bits };
            let except: Vec<Prefix> =
                except.iter().map(|(bits, length, inside)| prefix(near(*bits, *inside), (*length).max(block.length()))).collect();
            let remains = without("", block, &except).unwrap();
            for (bits, inside) in probes {
                let address = IpAddr::V4(Ipv4Addr::from_bits(near(bits, inside)));
                let expected = block.contains(address) && !except.iter().any(|one| one.contains(address));
                prop_assert_eq!(remains.iter().filter(|one| one.contains(address)).count(), usize::from(expected));
            }
        }
    }
}
