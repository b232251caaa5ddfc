//! What a port, and a tenant, may take of a host.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::ValueError;

/// Packets and bits a second of one direction; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    /// Packets a second.
    pub packets_per_second: u32,
    /// Bits a second, from the Ethernet header on.
    pub bits_per_second: u64,
}

/// What a port may take. 0 in a number of connections, or of new ones a second: the share that its host computes.
/// Each has a range of its own: see [`PortLimits::RANGES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortLimits {
    /// Connections that others opened to it.
    pub flows_inbound: u32,
    /// Connections that it opened.
    pub flows_outbound: u32,
    /// Connections that are not answered yet, of each direction.
    pub half_open_flows: u32,
    /// New connections a second.
    pub new_flows_per_second: u32,
    /// What it sends.
    pub transmit: RateLimits,
    /// What it receives.
    pub receive: RateLimits,
}

/// The name of a limit, its value, and its range.
type Field = (&'static str, fn(&PortLimits) -> u64, RangeInclusive<u64>);

impl PortLimits {
    /// The limits by name, each with its range. A policed bit rate below 64 kbit/s would let whole seconds pass between two frames.
    pub const RANGES: [Field; 8] = [
        ("flows_inbound", |it| it.flows_inbound as u64, 1..=1_048_576),
        ("flows_outbound", |it| it.flows_outbound as u64, 1..=1_048_576),
        ("half_open_flows", |it| it.half_open_flows as u64, 1..=1_048_576),
        ("new_flows_per_second", |it| it.new_flows_per_second as u64, 1..=1_000_000),
        ("transmit.packets_per_second", |it| it.transmit.packets_per_second as u64, 10..=1_000_000_000),
        ("transmit.bits_per_second", |it| it.transmit.bits_per_second, 64_000..=4_000_000_000_000),
        ("receive.packets_per_second", |it| it.receive.packets_per_second as u64, 10..=1_000_000_000),
        ("receive.bits_per_second", |it| it.receive.bits_per_second, 64_000..=4_000_000_000_000),
    ];

    /// The limits that are given and out of their range, with their names.
    pub fn wrong(&self) -> impl Iterator<Item = (&'static str, ValueError)> + '_ {
        Self::RANGES.into_iter().filter_map(|(name, value, range)| Some((name, out_of(&range, value(self))?)))
    }
}

/// What a tenant may take of each host on which it has a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantLimits {
    /// Connections of all its ports on a host together, in whichever of its networks; 0: the share that the host computes.
    pub flows_per_host: u32,
}

impl TenantLimits {
    /// The range of [`TenantLimits::flows_per_host`].
    pub const FLOWS_PER_HOST: RangeInclusive<u32> = 1..=1_048_576;

    /// The limits that are given and out of their range, with their names.
    pub fn wrong(&self) -> impl Iterator<Item = (&'static str, ValueError)> + use<> {
        let (least, most) = (*Self::FLOWS_PER_HOST.start(), *Self::FLOWS_PER_HOST.end());
        let error = out_of(&(u64::from(least)..=u64::from(most)), u64::from(self.flows_per_host));
        error.map(|error| ("flows_per_host", error)).into_iter()
    }
}

/// The error of a limit that is given and out of its range.
fn out_of(range: &RangeInclusive<u64>, value: u64) -> Option<ValueError> {
    let rule = || format!("this limit is {} to {}", range.start(), range.end());
    let error = || ValueError::new(value, rule(), "give one in this range, or 0 for what holds without it");
    (value != 0 && !range.contains(&value)).then(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_has_a_range() {
        assert_eq!(PortLimits::default().wrong().count(), 0);
        let rate = RateLimits { packets_per_second: 9, bits_per_second: 64_000 };
        let limits = PortLimits { transmit: rate, flows_inbound: 1_048_577, ..PortLimits::default() };
        let wrong: Vec<&str> = limits.wrong().map(|(name, _)| name).collect();
        assert_eq!(wrong, ["flows_inbound", "transmit.packets_per_second"]);
        let of_tenant =
            |flows_per_host| TenantLimits { flows_per_host }.wrong().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!([of_tenant(0), of_tenant(1_048_576)], [Vec::<&str>::new(), Vec::new()]);
        assert_eq!(of_tenant(1_048_577), ["flows_per_host"]);
    }
}
