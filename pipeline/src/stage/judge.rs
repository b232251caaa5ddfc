//! May this connection be? Both ends are located, and the rules of those that are ports of this host are asked.

use andromede_abi::{
    Address, Direction, DropReason, EndpointMark, FORWARDED, FlowRow, HostIndex, HostRow, Identity, LocationRow, Mac,
    NetworkIndex, NextHop, PolicySet, PortRow, RuleNumber, Slot, Stage, cell_flag, flow_flag, location_flag,
    location_kind, port_flag, rule, side_kind,
};

use crate::{
    scratch::Scratch,
    stage::{
        locate,
        policy::{self, Decision},
        reach, sender_guard,
        side::Side,
    },
    stages::Stages,
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
    /// See `Arrival`.
    pub(crate) sender: HostIndex,
    /// The interface of the workload that sent it, if its sending is policed; otherwise 0.
    pub(crate) policed: u32,
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
        policed: 0,
        frame_length: 0,
        direction: Direction::LowToHigh,
        is_answer: false,
        is_known: false,
        state: 0,
        connection: 0,
    };

    /// Which way the packet goes that opens the connection.
    #[inline(always)]
    pub(crate) const fn opening_direction(&self) -> Direction {
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
    pub(crate) identity: Identity,
    pub(crate) host: HostIndex,
    mac: Mac,
    pub(crate) kind: u8,
    pub(crate) encapsulation: u8,
    pub(crate) key_id: u8,
    pub(crate) default_allow: bool,
    /// Most connections of this end's direction; 0: no limit. Of a port of this host.
    pub(crate) flows_most: u32,
    /// Most of them that are half-open; 0: no limit.
    pub(crate) half_open_most: u32,
    /// Most new ones a second; 0: no limit.
    pub(crate) new_flows_per_second: u32,
    /// What it receives is policed.
    receive_policed: bool,
    /// The node itself may talk to it, and it to the node. Of a port of this host.
    node_admitted: bool,
    /// The connection was permitted once, and this end was the same port then.
    is_known: bool,
}

impl End {
    /// Nothing is known yet.
    pub(crate) const UNKNOWN: Self = Self {
        mark: EndpointMark { slot: 0, epoch: 0 },
        ifindex: 0,
        set: 0,
        operator_set: 0,
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
        node_admitted: false,
        is_known: false,
    };

    /// Is it a port of this host?
    #[inline(always)]
    pub(crate) const fn is_local(&self) -> bool {
        self.kind == side_kind::LOCAL
    }

    /// Is it the node itself? What it forwards is not.
    #[inline(always)]
    pub(crate) const fn is_node(&self) -> bool {
        self.kind == side_kind::HOST && self.host != FORWARDED
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

    /// Is it the port that the row has on this side? An address may have come to another one.
    #[inline(always)]
    const fn was(&self, row: &FlowRow, opened: Direction, side: Side) -> bool {
        let (mark, mac) = match (opened, side) {
            (Direction::LowToHigh, Side::Initiator) | (Direction::HighToLow, Side::Answerer) => (row.low, row.low_mac),
            (Direction::LowToHigh, Side::Answerer) | (Direction::HighToLow, Side::Initiator) => {
                (row.high, row.high_mac)
            }
        };
        // In one comparison: the verifier follows each.
        let ([a, b, c, d, e, f], [u, v, w, x, y, z]) = (mac, self.mac);
        let differing = (a ^ u) | (b ^ v) | (c ^ w) | (d ^ x) | (e ^ y) | (f ^ z);
        mark.slot ^ self.mark.slot | differing as u32 == 0
    }
}

/// Judges the connection in the scratch space and writes its row: marks, sides, next hop and rules; not its number, state and time.
///
/// # Errors
/// Why it may not be.
///
/// In the kernel it is a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn judge<T: Stages>(tables: &T, scratch: &mut Scratch) -> Result<(), Refusal> {
    let Scratch { row, packet, opening, opening_packet, initiator, answerer, location, host, .. } = scratch;
    *opening_packet = *packet;
    if opening.is_answer {
        opening_packet.reverse();
    }
    let before = tables.epoch(opening.network_slot).unwrap_or(1);
    let found = end(tables, opening.network, &opening_packet.source, Side::Initiator, location, initiator);
    if opening.is_answer {
        found?;
    } else {
        guarded(found, opening.sender, location)?;
    }
    let found = end(tables, opening.network, &opening_packet.destination, Side::Answerer, location, answerer);
    if opening.is_answer {
        guarded(found, opening.sender, location)?;
    } else {
        found?;
    }
    // Else the rules of the workload's own port would not be asked.
    let source = if opening.is_answer { answerer.kind } else { initiator.kind };
    if opening.sender == 0 && source != side_kind::LOCAL {
        return Err(sender_guard::MOVING);
    }
    next_hop(tables, opening, [initiator, answerer], host, &mut row.next_hop)?;
    row.flags = if opening.is_known { row.flags & flow_flag::LASTING } else { 0 };
    initiator.is_known = opening.is_known && initiator.was(row, opening.opening_direction(), Side::Initiator);
    answerer.is_known = opening.is_known && answerer.was(row, opening.opening_direction(), Side::Answerer);
    let permitted = permit(tables, scratch, Side::Initiator).and_then(|()| permit(tables, scratch, Side::Answerer));
    let Scratch { row, key, opening, initiator, answerer, .. } = scratch;
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

/// The end that a packet came from: if it came over the underlay, the location of the end must name its sender.
#[inline(always)]
fn guarded(found: Result<(), Refusal>, sender: HostIndex, location: &LocationRow) -> Result<(), Refusal> {
    if sender == 0 {
        return found;
    }
    match found {
        Err(refusal) if refusal.reason as u16 == DropReason::UnknownDestination as u16 => Err(sender_guard::NOT_HOLDER),
        _ => sender_guard::holds(sender, location).and(found),
    }
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

/// What is known of one end. A local port counts only while its workload is attached.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn end<T: Tables>(
    tables: &T,
    network: NetworkIndex,
    address: &Address,
    side: Side,
    location: &mut LocationRow,
    end: &mut End,
) -> Result<(), Refusal> {
    locate::end(tables, network, *address, location)?;
    *end = End {
        mark: EndpointMark { slot: location.slot, epoch: location.epoch },
        mac: location.mac,
        kind: if location.kind == location_kind::HOST { side_kind::HOST } else { side_kind::REMOTE },
        encapsulation: location.encapsulation,
        key_id: location.key_id,
        identity: location.identity,
        host: location.host,
        ..End::UNKNOWN
    };
    if location.flags & location_flag::LOCAL == 0 {
        return Ok(());
    }
    let is_attached =
        tables.with_port(location.ifindex, |port| port.slot == location.slot && attached(port, side, end));
    if is_attached != Some(true) {
        return Err(Refusal::new(Stage::Locate, DropReason::NotAttached));
    }
    end.ifindex = location.ifindex;
    Ok(())
}

/// What is known of an end that is this port.
#[inline(always)]
fn attached(port: &PortRow, side: Side, end: &mut End) -> bool {
    // Both rows are written before the epoch is: the older of them is what the connection was judged by.
    if port.epoch < end.mark.epoch {
        end.mark.epoch = port.epoch;
    }
    end.kind = side_kind::LOCAL;
    end.default_allow = port.flags & side.default_flag() != 0;
    (end.set, end.operator_set, end.flows_most) = match side {
        Side::Initiator => (port.egress_set, port.operator_egress_set, port.limits.flows_outbound),
        Side::Answerer => (port.ingress_set, port.operator_ingress_set, port.limits.flows_inbound),
    };
    end.half_open_most = port.limits.half_open;
    end.new_flows_per_second = port.limits.new_flows_per_second;
    end.receive_policed = port.flags & port_flag::RECEIVE_POLICED != 0;
    end.node_admitted = port.flags & port_flag::NODE_ADMITTED != 0;
    true
}

/// Asks the rules of one end, if it is a port of this host, and notes in the row which let the connection be.
#[inline(always)]
fn permit<T: Stages>(tables: &T, scratch: &mut Scratch, side: Side) -> Result<(), Refusal> {
    let end = scratch.end(side);
    let is_known = end.is_known;
    let decision = if !end.is_local() {
        Decision::NOT_ASKED
    } else if matches!(side, Side::Answerer) && scratch.initiator.is_node() {
        Decision::NODE
    } else {
        policy::decide(tables, scratch, side)?
    };
    let Scratch { row, opening, logged, .. } = scratch;
    let reports = if decision.flags & cell_flag::LOG != 0 { side.rule_direction() } else { 0 };
    if !is_known {
        row.flags &= !side.keeps_flag();
    }
    if decision.allowed {
        let rule = match side {
            Side::Initiator => &mut row.egress_rule,
            Side::Answerer => &mut row.ingress_rule,
        };
        *rule = decision.rule;
        row.flags |= keeping(decision, opening.is_known, side.keeps_flag());
        // What is known already is no new connection.
        if !opening.is_known {
            *logged |= reports;
        }
        return Ok(());
    }
    if is_known && spares(decision, side.default_rule(), row.flags & side.keeps_flag() != 0) {
        return Ok(());
    }
    // Where one side refuses, the other has let nothing pass.
    *logged = reports;
    Err(Refusal::by_rule(side.stage(), side.reason(), decision.rule))
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

/// How to reach the end that is elsewhere, if one is and the network may be there. One at least is here.
#[inline(always)]
fn next_hop<T: Tables>(
    tables: &T,
    opening: &Opening,
    [from, to]: [&End; 2],
    host: &mut HostRow,
    next_hop: &mut NextHop,
) -> Result<(), Refusal> {
    let remote = match (from.kind, to.kind) {
        (side_kind::LOCAL, side_kind::LOCAL) => {
            *next_hop = NextHop::NONE;
            return Ok(());
        }
        (side_kind::LOCAL, side_kind::HOST) if !from.node_admitted || to.host == FORWARDED => {
            return Err(Refusal::new(Stage::Locate, DropReason::UnknownDestination));
        }
        (side_kind::HOST, side_kind::LOCAL) if !to.node_admitted => {
            return Err(Refusal::new(Stage::Locate, DropReason::HostNotAdmitted));
        }
        (side_kind::LOCAL, side_kind::HOST) | (side_kind::HOST, side_kind::LOCAL) => {
            *next_hop = NextHop { host: if from.is_local() { to.host } else { from.host }, ..NextHop::NONE };
            return Ok(());
        }
        (side_kind::LOCAL, side_kind::REMOTE) => to,
        (side_kind::REMOTE, side_kind::LOCAL) => from,
        _ => return Err(Refusal::new(Stage::Locate, DropReason::NotHere)),
    };
    reach::host(tables, opening, remote, host, next_hop)
}
