//! How the places of a host's flow table are shared out.
//!
//! A tenant may have so many that all tenants of the host together have fewer than the table, and one more share stays free for the
//! tenant that comes next. The places of a tenant are shared out among its ports on this host in the same way, with a least
//! share: where that is too much for all of them, they share what their tenant has. Numbers of sharers are rounded up to
//! powers of two, so that few rows change when one more comes.

use std::collections::BTreeMap;

use andromede_abi::{PortLimits, port_flag};
use andromede_model::{self as model, NetworkView};

use crate::HostFacts;

/// Least connections of one direction that a port may have, unless its tenant has fewer.
const PORT_FLOWS_LEAST: u32 = 1_024;
/// New connections a second that a port may have.
const NEW_FLOWS_PER_SECOND: u32 = 10_000;

/// Who shares the flow table.
pub(crate) struct Sharers {
    /// Ports on this host, by number of the tenant.
    ports: BTreeMap<u32, u32>,
    flow_rows: u32,
}

/// Whole thousands of bits; a rate that is given is never 0.
fn kilobits(bits: u64) -> u32 {
    u32::try_from(bits / 1_000).unwrap_or(u32::MAX).max(u32::from(bits != 0))
}

/// The flags that say which of these limits packets are held to.
pub(crate) const fn policed(limits: &PortLimits) -> u16 {
    let transmit =
        if limits.transmit_packets | limits.transmit_kilobits == 0 { 0 } else { port_flag::TRANSMIT_POLICED };
    transmit | if limits.receive_packets | limits.receive_kilobits == 0 { 0 } else { port_flag::RECEIVE_POLICED }
}

/// A share, if one more is to stay free.
fn share(places: u32, sharers: u32) -> u32 {
    places / sharers.saturating_add(1).checked_next_power_of_two().unwrap_or(u32::MAX).max(1)
}

impl Sharers {
    /// Those of the networks that this host holds.
    pub(crate) fn of(views: &[NetworkView], facts: &HostFacts) -> Self {
        let mut ports = BTreeMap::<u32, u32>::new();
        for view in views {
            let here =
                |host: &andromede_model::HostName| view.hosts.get(host).is_some_and(|host| host.index == facts.host);
            let count = view.ports.values().filter(|port| port.host.as_ref().is_some_and(here)).count();
            let sum = ports.entry(view.network.tenant_index).or_default();
            *sum = sum.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
        ports.retain(|_, count| *count > 0);
        Self { ports, flow_rows: facts.flow_rows }
    }

    /// Most connections of a tenant.
    pub(crate) fn tenant_flows(&self) -> u32 {
        share(self.flow_rows, u32::try_from(self.ports.len()).unwrap_or(u32::MAX)).max(1)
    }

    /// What a port of this tenant may have: what was given, and for the rest the share.
    pub(crate) fn limits(&self, tenant: u32, given: &model::PortLimits) -> PortLimits {
        let share = self.port(tenant);
        let or = |given: u32, share: u32| if given == 0 { share } else { given };
        PortLimits {
            flows_inbound: or(given.flows_inbound, share.flows_inbound),
            flows_outbound: or(given.flows_outbound, share.flows_outbound),
            half_open: or(given.half_open_flows, share.half_open),
            new_flows_per_second: or(given.new_flows_per_second, share.new_flows_per_second),
            transmit_packets: given.transmit.packets_per_second,
            transmit_kilobits: kilobits(given.transmit.bits_per_second),
            receive_packets: given.receive.packets_per_second,
            receive_kilobits: kilobits(given.receive.bits_per_second),
        }
    }

    /// What a port of this tenant may have where nobody said anything else.
    fn port(&self, tenant: u32) -> PortLimits {
        let tenant_flows = self.tenant_flows();
        let fair = share(tenant_flows, self.ports.get(&tenant).copied().unwrap_or(1));
        let flows = fair.max(PORT_FLOWS_LEAST).min(tenant_flows / 2).max(1);
        PortLimits {
            flows_inbound: flows,
            flows_outbound: flows,
            half_open: (flows / 4).max(1),
            new_flows_per_second: NEW_FLOWS_PER_SECOND,
            ..PortLimits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sharers(ports: &[u32], flow_rows: u32) -> Sharers {
        Sharers { ports: (1..).zip(ports.iter().copied()).collect(), flow_rows }
    }

    #[test]
    fn guarantees_of_tenants_are_less_than_the_table_and_leave_one_free() {
        for tenants in 1..200_u32 {
            let sharers = sharers(&vec![1; tenants as usize], 131_072);
            assert!((tenants + 1) * sharers.tenant_flows() <= 131_072, "{tenants}");
            let before = sharers.tenant_flows();
            assert!(before >= 131_072 / (2 * (tenants + 1)), "{tenants}: rounding costs half at most");
        }
    }

    #[test]
    fn what_is_given_stands_before_the_share() {
        let sharers = sharers(&[1, 1], 131_072);
        let rate = model::RateLimits { packets_per_second: 0, bits_per_second: 64_999 };
        let given = model::PortLimits { flows_inbound: 50_000, receive: rate, ..model::PortLimits::default() };
        let limits = sharers.limits(1, &given);
        assert_eq!((limits.flows_inbound, limits.flows_outbound), (50_000, sharers.port(1).flows_outbound));
        assert_eq!((limits.receive_kilobits, policed(&limits)), (64, port_flag::RECEIVE_POLICED));
        assert_eq!(policed(&sharers.port(1)), 0);
    }

    #[test]
    fn ports_of_a_tenant_share_what_it_has() {
        let few = sharers(&[7, 1], 131_072);
        assert_eq!(few.tenant_flows(), 32_768);
        assert_eq!(few.port(1).flows_inbound, 4_096);
        assert_eq!(few.port(2).flows_outbound, 16_384);
        assert_eq!(few.port(2).half_open, 4_096);
        let many = sharers(&[500], 131_072);
        assert_eq!(many.port(1).flows_inbound, PORT_FLOWS_LEAST);
        let small = sharers(&[100; 4], 4_096);
        assert_eq!((small.tenant_flows(), small.port(1).flows_inbound), (512, 256));
    }
}
