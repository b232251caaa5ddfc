//! Where a walk writes what is too large for its stack.

use andromede_abi::{
    Address, EndpointMark, FlowKey, FlowRow, FragmentKey, FragmentRow, HostRow, LocationRow, NextHop, PortLimits,
    PortRow, Slot,
};

use crate::{
    budget::Account,
    lifetime::Terms,
    packet::Packet,
    stage::{
        judge::{End, Opening},
        policy::Inquiry,
        side::Side,
    },
    verdict::Verdict,
};

/// What the walk reads and makes on its way. It is given by the caller, because a kernel program has a stack of 512 bytes;
/// nothing in it outlives the packet, and nothing is read before it was written for this packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// The row of the packet's connection: a copy of what was found, or the one to insert. Its next hop is where to
    /// encapsulate to, if that is the target.
    pub row: FlowRow,
    /// The port whose workload is answered, or whose rates are asked.
    pub port: PortRow,
    /// The key of the packet's connection.
    pub key: FlowKey,
    /// The headers of the packet, as far as the walk got.
    pub packet: Packet,
    /// The headers of the packet that opens the connection: this one, or the one that it answers; or those that an ICMP error quotes.
    pub opening_packet: Packet,
    /// The infrastructure address to which the node sends; unspecified if what it sends is not translated.
    pub(crate) infrastructure: Address,
    /// The address that is written into a packet that is translated.
    pub(crate) translated: Address,
    /// The place of the packet's datagram, if it is a fragment.
    pub fragment_key: FragmentKey,
    /// The row of the packet's datagram, if it is a fragment: a copy of what was found, or the one to write.
    pub fragment: FragmentRow,
    /// The row of the datagram is to be written.
    pub keeps_fragment: bool,
    /// The rules that say `log` of what was decided: see [`andromede_abi::rule_direction`].
    pub logged: u8,
    /// Those of them that may send an event.
    pub reported: u8,
    /// What the row that was found, stale or over, holds of its budgets.
    pub(crate) account: Account,
    /// The port whose budget did not suffice.
    pub(crate) blamed: Slot,
    /// What the network says about the connection.
    pub(crate) terms: Terms,
    /// What was decided so far.
    pub verdict: Verdict,
    /// What a set of rules is asked.
    pub(crate) inquiry: Inquiry,
    /// The connection that is to be judged.
    pub(crate) opening: Opening,
    /// Where an address is: a copy of what was found last.
    pub(crate) location: LocationRow,
    /// How to reach the host of the other end: a copy of what was found.
    pub(crate) host: HostRow,
    /// The end that opens the connection.
    pub(crate) initiator: End,
    /// The end that answers.
    pub(crate) answerer: End,
}

impl Scratch {
    /// Nothing was written yet.
    pub const EMPTY: Self = Self {
        row: FlowRow {
            owner: 0,
            connection: 0,
            low: EndpointMark { slot: 0, epoch: 0 },
            high: EndpointMark { slot: 0, epoch: 0 },
            seen: 0,
            state: 0,
            lifetime: 0,
            flags: 0,
            low_kind: 0,
            high_kind: 0,
            egress_rule: 0,
            ingress_rule: 0,
            low_ifindex: 0,
            high_ifindex: 0,
            low_mac: [0; 6],
            high_mac: [0; 6],
            cut_rule: 0,
            tenant: 0,
            next_hop: NextHop::NONE,
            initiator_budget: 0,
            answerer_budget: 0,
            hold: 0,
            meter: 0,
            low_place: 0,
            high_place: 0,
            reserved: [0; 9],
        },
        port: PortRow {
            owner: 0,
            network: 0,
            vni: 0,
            slot: 0,
            network_slot: 0,
            identity: 0,
            ifindex: 0,
            egress_set: 0,
            ingress_set: 0,
            tenant: 0,
            zone: 0,
            mac: [0; 6],
            flags: 0,
            v4: 0,
            epoch: 0,
            v6: Address::UNSPECIFIED,
            limits: PortLimits {
                flows_inbound: 0,
                flows_outbound: 0,
                half_open: 0,
                new_flows_per_second: 0,
                transmit_packets: 0,
                transmit_kilobits: 0,
                receive_packets: 0,
                receive_kilobits: 0,
            },
            operator_egress_set: 0,
            operator_ingress_set: 0,
            infrastructure_v4: 0,
            reserved: 0,
            infrastructure_v6: Address::UNSPECIFIED,
        },
        key: FlowKey {
            network: 0,
            low: Address::UNSPECIFIED,
            high: Address::UNSPECIFIED,
            low_port: 0,
            high_port: 0,
            protocol: 0,
            class: 0,
            reserved: [0; 2],
        },
        packet: Packet::UNREAD,
        opening_packet: Packet::UNREAD,
        infrastructure: Address::UNSPECIFIED,
        translated: Address::UNSPECIFIED,
        fragment_key: FragmentKey { slot: 0, way: 0, place: 0 },
        fragment: FragmentRow::unknown(0),
        keeps_fragment: false,
        logged: 0,
        reported: 0,
        account: Account::NONE,
        blamed: 0,
        terms: Terms::NONE,
        verdict: Verdict::UNDECIDED,
        inquiry: Inquiry::NONE,
        opening: Opening::NONE,
        location: LocationRow::UNKNOWN,
        host: HostRow::UNKNOWN,
        initiator: End::UNKNOWN,
        answerer: End::UNKNOWN,
    };

    /// The end of the connection on this side.
    #[inline(always)]
    pub(crate) const fn end(&self, side: Side) -> &End {
        match side {
            Side::Initiator => &self.initiator,
            Side::Answerer => &self.answerer,
        }
    }
}
