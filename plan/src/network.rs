//! The row of a network.

use andromede_abi::{NetworkRow, Slot, Timeouts, ZoneSet, network_flag};
use andromede_model::{Admitted, NetworkView};

/// What holds for the whole network.
pub(crate) fn network_row(view: &NetworkView, network_slot: Slot, tenant_flows: u32) -> NetworkRow {
    let network = &view.network;
    let timeouts = network.timeouts;
    let (flags, zones) = match &view.zones {
        Admitted::Anywhere => (0, ZoneSet::NONE),
        Admitted::Zones(zones) => (network_flag::BOUND, zones.iter().copied().fold(ZoneSet::NONE, ZoneSet::with)),
    };
    NetworkRow {
        owner: NetworkRow::owner_of(network.index),
        tenant: network.tenant_index,
        network_slot,
        flags,
        meter: 0,
        timeouts: Timeouts {
            tcp_established: timeouts.tcp_established,
            tcp_transitory: timeouts.tcp_transitory,
            tcp_closed: timeouts.tcp_closed,
            udp_replied: timeouts.udp_replied,
            udp_one_way: timeouts.udp_one_way,
            other: timeouts.other,
        },
        tenant_flows,
        zones,
    }
}
