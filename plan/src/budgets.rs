//! How the places of a host's flow table are shared out.
//!
//! A tenant may have so many that all tenants of the host together have fewer than the table, and one more share stays free for the
//! tenant that comes next. The places of a tenant are shared out among its ports on this host in the same way, with a least
//! share: where that is too much for all of them, they share what their tenant has. Numbers of sharers are rounded up to
//! powers of two, so that few rows change when one more comes.

use std::collections::BTreeMap;

use andromede_abi::PortLimits;
use andromede_model::NetworkView;

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

    /// What a port of this tenant may have where nobody said anything else.
    pub(crate) fn port(&self, tenant: u32) -> PortLimits {
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
