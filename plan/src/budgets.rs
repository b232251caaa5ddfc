//! How the places of a host's flow table are shared out.
//!
//! Each tenant of the host has a share that it is sure of: all of them together are fewer than the table, and one more share stays free for
//! the tenant that comes next. A tenant that is given less has less; one that is given more has it as far as what is left over suffices for all
//! that are given more. So the bounds of all tenants together are never more than the table.
//!
//! The places of a tenant are shared out among its ports on this host in the same way, with a least share: where that is too much for all of
//! them, they share what their tenant has. Numbers of sharers are rounded up to powers of two, so that few rows change when one more comes.

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
    /// The tenants with a port on this host, by number.
    tenants: BTreeMap<u32, Sharer>,
    /// Places that each tenant is sure of.
    fair: u32,
    /// Places beyond those that can be had, and that are asked for.
    more: u64,
    wanted: u64,
}

/// A tenant with ports on this host.
#[derive(Clone, Copy, Default)]
struct Sharer {
    /// How many.
    ports: u32,
    /// The connections that it was given; 0: its share.
    given: u32,
    /// Revision of the tenant that says so: views of several networks may be of different ones for a moment.
    revision: u64,
}

impl Sharer {
    /// What it may have, where each tenant is sure of `fair` places and `more` of `wanted` places beyond that can be had.
    fn flows(&self, fair: u32, more: u64, wanted: u64) -> u32 {
        let beyond = u64::from(self.given.saturating_sub(fair));
        match self.given {
            0 => fair,
            given if given <= fair => given,
            _ if wanted <= more => self.given,
            // No more than is given: what is shared out in parts is rounded down.
            _ => fair.saturating_add(u32::try_from(beyond * more / wanted.max(1)).unwrap_or(0)),
        }
    }
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
        let mut tenants = BTreeMap::<u32, Sharer>::new();
        for view in views {
            let here =
                |host: &andromede_model::HostName| view.hosts.get(host).is_some_and(|host| host.index == facts.host);
            let count = view.ports.values().filter(|port| port.host.as_ref().is_some_and(here)).count();
            let sharer = tenants.entry(view.network.tenant_index).or_default();
            sharer.ports = sharer.ports.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            if let Some(tenant) = view.tenant.as_ref().filter(|tenant| tenant.revision >= sharer.revision) {
                (sharer.given, sharer.revision) = (tenant.limits.flows_per_host, tenant.revision);
            }
        }
        tenants.retain(|_, sharer| sharer.ports > 0);
        Self::new(tenants, facts.flow_rows)
    }

    fn new(tenants: BTreeMap<u32, Sharer>, flow_rows: u32) -> Self {
        let fair = share(flow_rows, u32::try_from(tenants.len()).unwrap_or(u32::MAX)).max(1);
        let sum = |of: &dyn Fn(&Sharer) -> u32| tenants.values().map(|sharer| u64::from(of(sharer))).sum::<u64>();
        let sure = sum(&|sharer| if sharer.given == 0 { fair } else { sharer.given.min(fair) });
        let wanted = sum(&|sharer| sharer.given.saturating_sub(fair));
        // One share stays free.
        let more = u64::from(flow_rows).saturating_sub(sure).saturating_sub(u64::from(fair));
        Self { tenants, fair, more, wanted }
    }

    /// Most connections of a tenant.
    pub(crate) fn tenant_flows(&self, tenant: u32) -> u32 {
        let Self { fair, more, wanted, .. } = *self;
        self.tenants.get(&tenant).map_or(fair, |sharer| sharer.flows(fair, more, wanted))
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
        let tenant_flows = self.tenant_flows(tenant);
        let fair = share(tenant_flows, self.tenants.get(&tenant).map_or(1, |sharer| sharer.ports));
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
        let tenants = (1..).zip(ports).map(|(tenant, ports)| (tenant, Sharer { ports: *ports, ..Sharer::default() }));
        Sharers::new(tenants.collect(), flow_rows)
    }

    /// Tenants with one port each, of which the first are given so many connections.
    fn given(flows: &[u32], tenants: usize, flow_rows: u32) -> Sharers {
        let mut tenants = sharers(&vec![1; tenants], flow_rows).tenants;
        tenants.values_mut().zip(flows).for_each(|(sharer, flows)| sharer.given = *flows);
        Sharers::new(tenants, flow_rows)
    }

    #[test]
    fn a_tenant_has_what_it_is_given_as_far_as_the_table_reaches() {
        // Three tenants: each is sure of a quarter, and a quarter is free.
        let flows = |given_flows: &[u32], tenant| given(given_flows, 3, 131_072).tenant_flows(tenant);
        assert_eq!([1, 2, 3].map(|tenant| flows(&[], tenant)), [32_768; 3]);
        assert_eq!([1, 2, 3].map(|tenant| flows(&[100], tenant)), [100, 32_768, 32_768]);
        // Nothing is left over, and a share stays free: the table does not reach for more.
        assert_eq!([1, 2].map(|tenant| flows(&[50_000], tenant)), [32_768; 2]);
        // What one does not want, others may be given.
        assert_eq!([1, 2].map(|tenant| flows(&[60_000, 1_000], tenant)), [60_000, 1_000]);
        // Two want more than that: in proportion to what they want.
        let two = [1, 2].map(|tenant| given(&[60_000, 46_384, 10_000], 3, 131_072).tenant_flows(tenant));
        assert!(two[0] > two[1] && two[1] > 32_768 && two[0] + two[1] + 10_000 + 32_768 <= 131_072, "{two:?}");
    }

    #[test]
    fn whatever_is_given_the_bounds_fit_the_table_and_nobody_is_denied_its_share() {
        for tenants in 1..40_u32 {
            for seed in 0..20_u32 {
                let of = |tenant: u32| tenant.wrapping_mul(2_654_435_761).wrapping_add(seed * 77_777) % 300_000;
                let flows: Vec<u32> = (0..tenants).map(|tenant| if tenant % 3 == 0 { 0 } else { of(tenant) }).collect();
                let sharers = given(&flows, tenants as usize, 131_072);
                let fair = sharers.fair;
                let bounds: Vec<u32> = (1..=tenants).map(|tenant| sharers.tenant_flows(tenant)).collect();
                let sum: u64 = bounds.iter().copied().map(u64::from).sum();
                assert!(sum + u64::from(fair) <= 131_072, "{flows:?}: {bounds:?}");
                for (given, bound) in flows.iter().zip(&bounds) {
                    let sure = if *given == 0 { fair } else { fair.min(*given) };
                    assert!(*bound >= sure && (*given == 0 || bound <= given), "{given} of {fair}: {bound}");
                }
            }
        }
    }

    #[test]
    fn guarantees_of_tenants_are_less_than_the_table_and_leave_one_free() {
        for tenants in 1..200_u32 {
            let sharers = sharers(&vec![1; tenants as usize], 131_072);
            assert!((tenants + 1) * sharers.tenant_flows(1) <= 131_072, "{tenants}");
            let before = sharers.tenant_flows(1);
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
        assert_eq!(few.tenant_flows(1), 32_768);
        assert_eq!(few.port(1).flows_inbound, 4_096);
        assert_eq!(few.port(2).flows_outbound, 16_384);
        assert_eq!(few.port(2).half_open, 4_096);
        let many = sharers(&[500], 131_072);
        assert_eq!(many.port(1).flows_inbound, PORT_FLOWS_LEAST);
        let small = sharers(&[100; 4], 4_096);
        assert_eq!((small.tenant_flows(1), small.port(1).flows_inbound), (512, 256));
    }
}
