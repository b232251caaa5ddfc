//! May this connection be? Both ends are located, and the rules of those that are ports of this host are asked.

use andromede_abi::{
    Address, CellRow, Direction, DropReason, EndpointMark, FlowRow, HostIndex, Identity, Mac, NetworkIndex, NextHop,
    PolicySet, RuleNumber, Slot, Stage, cell_flag, flow_flag, location_flag, port_flag, rule, side_kind,
};

use crate::{
    packet::Packet,
    scratch::Scratch,
    stage::{
        locate,
        policy::{self, Decision, Question},
        sender_guard,
    },
    tables::Tables,
    verdict::Refusal,
};

/// A connection to be judged, and what its packet is to it. Its key and the packet that opens it stand beside it in the
/// scratch space.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The network.
    pub(crate) network: NetworkIndex,
    /// The network's word in `epochs`.
    pub(crate) network_slot: Slot,
    /// Name of the network on the wire.
    pub(crate) vni: u32,
    /// The host that sent it over the underlay; 0 if the packet comes from a workload.
    pub(crate) sender: HostIndex,
    /// Bytes of the frame as a workload sees it.
    pub(crate) frame_length: u32,
    /// Which way this packet goes.
    pub(crate) direction: Direction,
    /// The packet goes from answerer to initiator: it is the one that it answers that is judged.
    pub(crate) is_answer: bool,
    /// A stale row was found: the connection was permitted once.
    pub(crate) is_known: bool,
    /// State of the stale row.
    pub(crate) state: u32,
    /// Number of the stale row.
    pub(crate) connection: u64,
}

impl Opening {
    /// Nothing is to be judged.
    pub(crate) const NONE: Self = Self {
        network: 0,
        network_slot: 0,
        vni: 0,
        sender: 0,
        frame_length: 0,
        direction: Direction::LowToHigh,
        is_answer: false,
        is_known: false,
        state: 0,
        connection: 0,
    };

    /// Which way the packet goes that opens the connection.
    #[inline(always)]
    const fn opening_direction(&self) -> Direction {
        match (self.direction, self.is_answer) {
            (Direction::LowToHigh, false) | (Direction::HighToLow, true) => Direction::LowToHigh,
            (Direction::HighToLow, false) | (Direction::LowToHigh, true) => Direction::HighToLow,
        }
    }
}

/// One end of a connection: what the row and the rules need of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    mark: EndpointMark,
    ifindex: u32,
    pub(crate) set: PolicySet,
    pub(crate) operator_set: PolicySet,
    /// What the rules of the set asked last say.
    pub(crate) answer: CellRow,
    pub(crate) identity: Identity,
    host: HostIndex,
    mac: Mac,
    kind: u8,
    encapsulation: u8,
    key_id: u8,
    pub(crate) default_allow: bool,
    /// Most connections of this end's direction; 0: no limit. Of a port of this host.
    pub(crate) flows_most: u32,
    /// Most of them that are half-open; 0: no limit.
    pub(crate) half_open_most: u32,
    /// Most new ones a second; 0: no limit.
    pub(crate) new_flows_per_second: u32,
    /// What it receives is policed.
    receive_policed: bool,
}

impl End {
    /// Nothing is known yet.
    pub(crate) const UNKNOWN: Self = Self {
        mark: EndpointMark { slot: 0, epoch: 0 },
        ifindex: 0,
        set: 0,
        operator_set: 0,
        answer: policy::NO_RULE,
        identity: 0,
        host: 0,
        mac: [0; 6],
        kind: 0,
        encapsulation: 0,
        key_id: 0,
        default_allow: false,
        flows_most: 0,
        half_open_most: 0,
        new_flows_per_second: 0,
        receive_policed: false,
    };

    /// Is it a port of this host?
    #[inline(always)]
    pub(crate) const fn is_local(&self) -> bool {
        self.kind == side_kind::LOCAL
    }

    /// The slot whose budget it takes a place of; 0: none.
    #[inline(always)]
    pub(crate) const fn budget(&self) -> Slot {
        if self.is_local() { self.mark.slot } else { 0 }
    }

    /// The end's slot.
    pub(crate) const fn slot(&self) -> Slot {
        self.mark.slot
    }
}

/// Judges the connection and writes its row: marks, sides, next hop and rules; not its number, state and time.
///
/// In the kernel it is a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn judge<T: Tables>(tables: &T, scratch: &mut Scratch) -> Result<(), Refusal> {
    let Scratch { row, key, packet, opening, opening_packet, initiator, answerer, .. } = scratch;
    guard_location(tables, opening, &packet.source)?;
    *opening_packet = *packet;
    if opening.is_answer {
        opening_packet.reverse();
    }
    let packet = opening_packet;
    let before = tables.epoch(opening.network_slot).unwrap_or(1);
    end(tables, opening.network, &packet.source, port_flag::EGRESS_DEFAULT_ALLOW, initiator)?;
    end(tables, opening.network, &packet.destination, port_flag::INGRESS_DEFAULT_ALLOW, answerer)?;
    next_hop(tables, opening.vni, initiator, answerer, &mut row.next_hop)?;
    row.flags = if opening.is_known { row.flags & flow_flag::LASTING } else { 0 };
    let permitted = permit(tables, initiator, answerer, packet, opening.is_known, row);
    let after = tables.epoch(opening.network_slot).unwrap_or(1);
    // Odd, or another word than before: several tables were changing together while they were read. Neither a permission nor a
    // refusal by rules counts then: a refusal would cut a connection that the old rules and the new ones permit.
    if before & 1 != 0 || before != after {
        return Err(Refusal::new(Stage::Ingress, DropReason::NetworkChanging));
    }
    permitted?;
    row.owner = key.owner();
    row.cut_rule = rule::NONE;
    (row.initiator_budget, row.answerer_budget) = (initiator.budget(), answerer.budget());
    match opening.opening_direction() {
        Direction::LowToHigh => {
            row.flags |= policed(initiator, answerer);
            write_sides(row, initiator, answerer);
        }
        Direction::HighToLow => {
            row.flags |= policed(answerer, initiator) | flow_flag::HIGH_INITIATED;
            write_sides(row, answerer, initiator);
        }
    }
    Ok(())
}

/// Any packet from the underlay that no fresh row vouches for: the location of its source must name the sender.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn guard_location<T: Tables>(tables: &T, opening: &Opening, source: &Address) -> Result<(), Refusal> {
    if opening.sender == 0 {
        return Ok(());
    }
    let location = locate::locate(tables, opening.network, *source).ok_or(sender_guard::NOT_HOLDER)?;
    sender_guard::holds(opening.sender, &location)
}

/// The flags that say whose receiving is policed.
#[inline(always)]
const fn policed(low: &End, high: &End) -> u16 {
    let low = if low.receive_policed { flow_flag::LOW_POLICED } else { 0 };
    low | if high.receive_policed { flow_flag::HIGH_POLICED } else { 0 }
}

#[inline(always)]
fn write_sides(row: &mut FlowRow, low: &End, high: &End) {
    (row.low, row.low_kind, row.low_ifindex, row.low_mac) = (low.mark, low.kind, low.ifindex, low.mac);
    (row.high, row.high_kind, row.high_ifindex, row.high_mac) = (high.mark, high.kind, high.ifindex, high.mac);
}

/// What is known of one end. A local port counts only while its workload is attached; `default` is the flag that says
/// what holds for it where no rule matches, which also says whether its egress or its ingress rules are asked.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn end<T: Tables>(
    tables: &T,
    network: NetworkIndex,
    address: &Address,
    default: u16,
    end: &mut End,
) -> Result<(), Refusal> {
    let location = locate::end(tables, network, *address)?;
    *end = End {
        mark: EndpointMark { slot: location.slot, epoch: location.epoch },
        mac: location.mac,
        kind: side_kind::REMOTE,
        encapsulation: location.encapsulation,
        key_id: location.key_id,
        identity: location.identity,
        host: location.host,
        ..End::UNKNOWN
    };
    if location.flags & location_flag::LOCAL == 0 {
        return Ok(());
    }
    let port = tables.port(location.ifindex).filter(|port| port.slot == location.slot);
    let Some(port) = port else { return Err(Refusal::new(Stage::Locate, DropReason::NotAttached)) };
    // Both rows are written before the epoch is: the older of them is what the connection was judged by.
    if port.epoch < end.mark.epoch {
        end.mark.epoch = port.epoch;
    }
    end.kind = side_kind::LOCAL;
    end.ifindex = location.ifindex;
    end.default_allow = port.flags & default != 0;
    let is_initiator = default == port_flag::EGRESS_DEFAULT_ALLOW;
    (end.set, end.operator_set) = if is_initiator {
        (port.egress_set, port.operator_egress_set)
    } else {
        (port.ingress_set, port.operator_ingress_set)
    };
    end.flows_most = if is_initiator { port.limits.flows_outbound } else { port.limits.flows_inbound };
    end.half_open_most = port.limits.half_open;
    end.new_flows_per_second = port.limits.new_flows_per_second;
    end.receive_policed = port.flags & port_flag::RECEIVE_POLICED != 0;
    Ok(())
}

/// Asks the rules of both ends that are ports of this host, and notes in the row which let it be.
#[inline(always)]
fn permit<T: Tables>(
    tables: &T,
    from: &mut End,
    to: &mut End,
    packet: &Packet,
    is_known: bool,
    row: &mut FlowRow,
) -> Result<(), Refusal> {
    if from.kind == side_kind::LOCAL {
        let default_rule = rule::DEFAULT_EGRESS;
        let mut question = Question { port: from, other: to, packet, remote: &packet.destination, default_rule };
        let decision = policy::decide(tables, &mut question);
        if decision.allowed {
            row.egress_rule = decision.rule;
            row.flags |= keeping(decision, is_known, flow_flag::EGRESS_KEEPS);
        } else if !is_known || !spares(decision, default_rule, row.flags & flow_flag::EGRESS_KEEPS != 0) {
            return Err(Refusal::by_rule(Stage::Egress, DropReason::EgressRule, decision.rule));
        }
    } else {
        row.egress_rule = rule::NONE;
    }
    if to.kind == side_kind::LOCAL {
        let default_rule = rule::DEFAULT_INGRESS;
        let mut question = Question { port: to, other: from, packet, remote: &packet.source, default_rule };
        let decision = policy::decide(tables, &mut question);
        if decision.allowed {
            row.ingress_rule = decision.rule;
            row.flags |= keeping(decision, is_known, flow_flag::INGRESS_KEEPS);
        } else if !is_known || !spares(decision, default_rule, row.flags & flow_flag::INGRESS_KEEPS != 0) {
            return Err(Refusal::by_rule(Stage::Ingress, DropReason::IngressRule, decision.rule));
        }
    } else {
        row.ingress_rule = rule::NONE;
    }
    Ok(())
}

/// The mark of a connection that survives the rule by which it is opened, if the rule says so.
#[inline(always)]
const fn keeping(decision: Decision, is_known: bool, mark: u16) -> u16 {
    if !is_known && decision.flags & cell_flag::KEEP != 0 { mark } else { 0 }
}

/// Does a live connection survive this refusal? One by no rule at all, if it was opened by a rule that keeps; one by a rule, if that
/// rule spares what lives. An explicit denial that does neither cuts, and so does the operator's.
#[inline(always)]
const fn spares(decision: Decision, default_rule: RuleNumber, is_kept: bool) -> bool {
    if decision.rule == default_rule { is_kept } else { decision.flags & cell_flag::KEEP != 0 }
}

/// How to reach the end that is elsewhere, if one is. One at least is here.
#[inline(always)]
fn next_hop<T: Tables>(tables: &T, vni: u32, from: &End, to: &End, next_hop: &mut NextHop) -> Result<(), Refusal> {
    let remote = match (from.kind, to.kind) {
        (side_kind::LOCAL, side_kind::LOCAL) => {
            *next_hop = NextHop::NONE;
            return Ok(());
        }
        (side_kind::LOCAL, _) => to,
        (_, side_kind::LOCAL) => from,
        _ => return Err(Refusal::new(Stage::Locate, DropReason::NotHere)),
    };
    let host = tables.host(remote.host).ok_or(Refusal::new(Stage::Locate, DropReason::UnknownHost))?;
    *next_hop = NextHop {
        host: remote.host,
        ifindex: host.ifindex,
        vni,
        encapsulation: remote.encapsulation,
        key_id: remote.key_id,
        reserved: 0,
        underlay: host.underlay,
        gateway: host.gateway,
    };
    Ok(())
}
