//! Which addresses and prefixes workloads may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Prefix;

/// Ranges that no workload has (RFC 6890 and its registries): "this" network, loopback, link-local, multicast, reserved.
const V4: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The same for IPv6: unspecified, loopback and IPv4-mapped are in the first, then link-local and multicast.
const V6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::UNSPECIFIED, 8),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// The reserved range that the prefix touches, if it touches one.
pub(super) fn reserved(prefix: Prefix) -> Option<Prefix> {
    let v4 = V4.into_iter().map(|(address, length)| (IpAddr::V4(address), length));
    let v6 = V6.into_iter().map(|(address, length)| (IpAddr::V6(address), length));
    v4.chain(v6).filter_map(|(address, length)| Prefix::new(address, length).ok()).find(|range| range.overlaps(prefix))
}
