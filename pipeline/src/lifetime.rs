//! When a connection is over for want of packets.

use andromede_abi::{
    NetworkIndex, Timeouts,
    flow_state::{self, BOTH_FINS, ESTABLISHED, REPLIED, is_closed},
};

use crate::{tables::Tables, wire::ip_protocol};

/// Seconds for which a cut connection is remembered, so that its answerer cannot open it again: as long as UDP that was answered.
pub(crate) const CUT: u32 = 300;

/// What a network says about a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Seconds without a packet after which it is over in its present state.
    pub(crate) lifetime: u32,
    /// Number of the network's tenant.
    pub(crate) tenant: u32,
    /// The most connections that the tenant may have; 0: no limit.
    pub(crate) tenant_flows: u32,
    /// The row of the network's meter. A whole word: the verifier wants accesses to the stack aligned.
    pub(crate) meter: u32,
}

impl Terms {
    /// What holds for a connection of a network that says nothing.
    pub(crate) const NONE: Self = Self { lifetime: 0, tenant: 0, tenant_flows: 0, meter: 0 };
}

/// What its network says about a connection of this state. Asked only where a row is made or its state changes. In the kernel a
/// function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn ask<T: Tables>(tables: &T, network: NetworkIndex, protocol: u8, state: u32, terms: &mut Terms) {
    *terms = match tables.network(network) {
        Some(row) => Terms {
            lifetime: seconds(protocol, state, &row.timeouts),
            tenant: row.tenant,
            tenant_flows: row.tenant_flows,
            meter: row.meter as u32,
        },
        None => Terms { lifetime: seconds(protocol, state, &Timeouts::DEFAULT), ..Terms::NONE },
    };
}

/// Seconds without a packet after which a connection of this state is over.
#[inline(always)]
const fn seconds(protocol: u8, state: u32, timeouts: &Timeouts) -> u32 {
    if state & flow_state::CUT != 0 {
        return CUT;
    }
    match protocol {
        ip_protocol::TCP | ip_protocol::SCTP if is_closed(state) => timeouts.tcp_closed,
        ip_protocol::TCP if state & (ESTABLISHED | BOTH_FINS) == ESTABLISHED => timeouts.tcp_established,
        ip_protocol::TCP => timeouts.tcp_transitory,
        ip_protocol::SCTP if state & ESTABLISHED != 0 => timeouts.udp_replied,
        ip_protocol::UDP if state & REPLIED != 0 => timeouts.udp_replied,
        ip_protocol::UDP | ip_protocol::SCTP => timeouts.udp_one_way,
        _ => timeouts.other,
    }
}

#[cfg(test)]
mod tests {
    use andromede_abi::flow_state::{FIN_BACKWARD, FIN_FORWARD, RESET_BACKWARD, RESET_FORWARD};

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documents() {
        let of = |protocol, state| seconds(protocol, state, &Timeouts::DEFAULT);
        assert_eq!(of(ip_protocol::TCP, REPLIED | ESTABLISHED), 2 * 3_600 + 4 * 60, "RFC 5382, REQ-5");
        for transitory in [0, REPLIED, REPLIED | ESTABLISHED | FIN_FORWARD, REPLIED | ESTABLISHED | FIN_BACKWARD] {
            assert_eq!(of(ip_protocol::TCP, transitory), 4 * 60, "RFC 5382, REQ-5");
        }
        for closed in [RESET_FORWARD, RESET_BACKWARD, BOTH_FINS] {
            assert_eq!(of(ip_protocol::TCP, REPLIED | ESTABLISHED | closed), 10);
        }
        assert_eq!(of(ip_protocol::UDP, REPLIED), 5 * 60, "RFC 4787, REQ-5: recommended");
        assert_eq!(of(ip_protocol::UDP, 0), 2 * 60, "RFC 4787, REQ-5: not less");
        assert_eq!(of(ip_protocol::ICMP, 0), 60, "RFC 5508, REQ-1");
        assert_eq!(of(ip_protocol::SCTP, REPLIED), 2 * 60);
        assert_eq!(of(ip_protocol::SCTP, REPLIED | ESTABLISHED), 5 * 60);
        assert_eq!(of(ip_protocol::SCTP, REPLIED | ESTABLISHED | RESET_FORWARD), 10);
        assert_eq!(of(ip_protocol::UDP, flow_state::CUT), CUT);
    }
}
