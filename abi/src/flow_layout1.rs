//! Layout 1 of `flows`, as far as an upgrade must read it.

use crate::{
    flow::{EndpointMark, FlowKey, FlowRow, NextHop, flow_state},
    identifiers::{Mac, RuleNumber},
    network::Timeouts,
    pod::row,
};

/// A row of layout 1: without a lifetime, a tenant and budgets.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRow1 {
    /// As in [`FlowRow`].
    pub owner: u64,
    /// As in [`FlowRow`].
    pub connection: u64,
    /// As in [`FlowRow`].
    pub low: EndpointMark,
    /// As in [`FlowRow`].
    pub high: EndpointMark,
    /// As in [`FlowRow`].
    pub seen: u64,
    /// As in [`FlowRow`]; the bits that layout 1 knew mean the same.
    pub state: u32,
    /// As in [`FlowRow`].
    pub flags: u16,
    /// As in [`FlowRow`].
    pub low_kind: u8,
    /// As in [`FlowRow`].
    pub high_kind: u8,
    /// As in [`FlowRow`].
    pub egress_rule: RuleNumber,
    /// As in [`FlowRow`].
    pub ingress_rule: RuleNumber,
    /// As in [`FlowRow`].
    pub low_ifindex: u32,
    /// As in [`FlowRow`].
    pub high_ifindex: u32,
    /// As in [`FlowRow`].
    pub low_mac: Mac,
    /// As in [`FlowRow`].
    pub high_mac: Mac,
    /// As in [`FlowRow`].
    pub cut_rule: RuleNumber,
    /// As in [`FlowRow`].
    pub next_hop: NextHop,
    /// Zero.
    pub reserved: [u32; 16],
}
row!(
    FlowRow1,
    192,
    u64,
    u64,
    EndpointMark,
    EndpointMark,
    u64,
    u32,
    u16,
    u8,
    u8,
    [u32; 4],
    Mac,
    Mac,
    u32,
    NextHop,
    [u32; 16]
);

/// The mark of a judgement before this one: epochs only grow.
const fn before(mark: EndpointMark) -> EndpointMark {
    EndpointMark { epoch: mark.epoch.wrapping_sub(1), ..mark }
}

/// TCP (RFC 9293).
const TCP: u8 = 6;

impl FlowRow1 {
    /// The same connection in the present layout. What layout 1 did not know, it counts on and lives by from its next packet on: its marks
    /// are older than any epoch that is to come, so that it is judged again then.
    pub const fn upgrade(&self, key: &FlowKey) -> FlowRow {
        const CLOSING: u32 = flow_state::BOTH_FINS | flow_state::RESET | flow_state::CUT;
        let established = key.protocol == TCP && self.state & flow_state::ESTABLISHED != 0 && self.state & CLOSING == 0;
        let timeouts = Timeouts::DEFAULT;
        FlowRow {
            owner: self.owner,
            connection: self.connection,
            low: before(self.low),
            high: before(self.high),
            seen: self.seen,
            state: self.state,
            lifetime: if established { timeouts.tcp_established } else { timeouts.udp_replied },
            flags: self.flags & crate::flow_flag::HIGH_INITIATED,
            low_kind: self.low_kind,
            high_kind: self.high_kind,
            egress_rule: self.egress_rule,
            ingress_rule: self.ingress_rule,
            low_ifindex: self.low_ifindex,
            high_ifindex: self.high_ifindex,
            low_mac: self.low_mac,
            high_mac: self.high_mac,
            cut_rule: self.cut_rule,
            tenant: 0,
            next_hop: self.next_hop,
            initiator_budget: 0,
            answerer_budget: 0,
            hold: 0,
            meter: 0,
            low_place: 0,
            high_place: 0,
            reserved: [0; 9],
        }
    }
}
