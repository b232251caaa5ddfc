//! The way of a packet whose source was checked: along the row of its connection, or through the rules to a row of its own.

use andromede_abi::{Direction, DropReason, FlowRow, HostConfig, HostIndex, NetworkIndex, Slot, Stage, rule};

use crate::{
    budget::{self, Account},
    judgement::Judgement,
    lifetime, meter,
    packet::{Transport, flow_key},
    scratch::Scratch,
    stage::{
        connection::{self, Standing},
        forward, fragment,
        judge::{self, Opening},
        sender_guard, state,
    },
    stages::Stages,
    tables::{FlowRef, Tables},
    verdict::{Claim, Phase, Refusal, TargetKind},
};

/// How far a packet gets without an answer being made or its connection being judged.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// All the way: the verdict is written.
    Decided,
    /// To its connection: along its row, if there is one.
    Connected,
    /// An ARP packet of a workload.
    Arp,
    /// A neighbour discovery message of a workload.
    Discovery,
    /// A fragment, whose datagram is to be looked up before its connection is.
    Fragment,
    /// An ICMP error, whose connection is that of the packet that it quotes.
    Error,
    /// No fresh row vouches for it: its connection, in the scratch space, is to be judged.
    Unjudged,
}

impl Recognised {
    /// The variant with this number; nothing more is done about a packet whose number is none.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            n if n == Self::Connected as u32 => Self::Connected,
            n if n == Self::Arp as u32 => Self::Arp,
            n if n == Self::Discovery as u32 => Self::Discovery,
            n if n == Self::Fragment as u32 => Self::Fragment,
            n if n == Self::Error as u32 => Self::Error,
            n if n == Self::Unjudged as u32 => Self::Unjudged,
            _ => Self::Decided,
        }
    }
}

/// Where a packet is met and who answers for its source.
pub(crate) struct Arrival {
    pub(crate) network: NetworkIndex,
    pub(crate) network_slot: Slot,
    pub(crate) vni: u32,
    /// The host that sent it over the underlay; this host if the node itself made it, [`andromede_abi::FORWARDED`] if the node forwards it; 0
    /// if the packet comes from a workload.
    pub(crate) sender: HostIndex,
    /// The interface of a workload whose sending is policed; otherwise 0.
    pub(crate) policed: u32,
    /// Bytes of the frame that the workload sees.
    pub(crate) frame_length: u32,
}

/// A packet whose source was checked: part of a connection, or the first of one.
#[inline(always)]
pub(crate) fn pass(arrival: &Arrival, scratch: &mut Scratch) -> Result<Recognised, Refusal> {
    if scratch.packet.destination.is_group() {
        return Err(Refusal::new(Stage::Locate, DropReason::Group));
    }
    if scratch.packet.source == scratch.packet.destination {
        return Err(Refusal::new(Stage::Locate, DropReason::Loop));
    }
    scratch.opening = Opening {
        network: arrival.network,
        network_slot: arrival.network_slot,
        vni: arrival.vni,
        frame_length: arrival.frame_length,
        sender: arrival.sender,
        policed: arrival.policed,
        ..Opening::NONE
    };
    scratch.account = Account::NONE;
    if scratch.packet.fragment.is_part() {
        return Ok(Recognised::Fragment);
    }
    if matches!(scratch.packet.transport, Transport::Error) {
        return Ok(Recognised::Error);
    }
    Ok(Recognised::Connected)
}

/// A fragment: its datagram is looked up, and with what that says it goes the way of its connection.
#[inline(always)]
pub fn part<T: Tables>(tables: &T, now: u64, scratch: &mut Scratch) -> Recognised {
    if let Err(refusal) = fragment::recognise(tables, now, scratch) {
        scratch.verdict.refuse(refusal);
        return Recognised::Decided;
    }
    // It has no ports, so no connection is its own: the rules are asked whether they let all of its protocol pass.
    if scratch.packet.fragment.is_early() {
        scratch.opening.direction = flow_key(scratch.opening.network, &scratch.packet, &mut scratch.key);
        return Recognised::Unjudged;
    }
    Recognised::Connected
}

/// A packet that has the ports of its connection: along its row, if there is one. The verdict is written, or its connection is to be
/// judged.
#[inline(always)]
pub fn follow<T: Stages>(tables: &T, host: &HostConfig, now: u64, scratch: &mut Scratch) -> Recognised {
    connected(tables, host, now, scratch).unwrap_or_else(|refusal| {
        scratch.verdict.refuse(refusal);
        Recognised::Decided
    })
}

#[inline(always)]
fn connected<T: Stages>(tables: &T, host: &HostConfig, now: u64, scratch: &mut Scratch) -> Result<Recognised, Refusal> {
    tables.meet(scratch);
    scratch.opening.direction = flow_key(scratch.opening.network, &scratch.packet, &mut scratch.key);
    tables.meet(scratch);
    if let Some(flow) = tables.flow(&scratch.key) {
        // A row that is given to another connection at this moment says nothing about this one, not even that it is new.
        if !flow.copy_to(&mut scratch.row) {
            return Err(Refusal::new(Stage::Flow, DropReason::ConnectionChanging));
        }
        match connection::standing(tables, &scratch.row, &scratch.packet, scratch.opening.direction, now) {
            Standing::Over => {}
            Standing::Cut => return Err(cut(now, scratch)),
            Standing::Fresh => {
                tables.meet(scratch);
                sender_guard::row(scratch.opening.sender, &scratch.row, scratch.opening.direction)?;
                fits(scratch)?;
                tables.meet(scratch);
                established(tables, host, now, scratch)?;
                return Ok(Recognised::Decided);
            }
            Standing::Stale => {
                fits(scratch)?;
                let Scratch { row, opening, .. } = scratch;
                opening.is_known = true;
                opening.is_answer = !connection::is_forward(row, opening.direction);
                (opening.state, opening.connection) = (row.state, row.connection);
            }
        }
        scratch.account = Account::of(&scratch.row);
    }
    if !scratch.opening.is_known && !scratch.packet.opens() {
        return Err(connection::refuse_unknown(&scratch.packet));
    }
    Ok(Recognised::Unjudged)
}

/// A packet of a connection that was cut. As long as such packets come, it is remembered as cut.
#[inline(always)]
fn cut(now: u64, scratch: &mut Scratch) -> Refusal {
    let Scratch { row, packet, opening, verdict, .. } = scratch;
    if opening.sender != 0 {
        verdict.port = receiver(row, opening.direction);
    }
    if connection::is_due(row, row.state, packet, now) {
        verdict.claim = Claim::Seen;
    }
    connection::refuse_cut(row.cut_rule)
}

/// Refuses a packet that does not fit the state of its connection.
#[inline(always)]
fn fits(scratch: &mut Scratch) -> Result<(), Refusal> {
    let Scratch { row, packet, opening, verdict, .. } = scratch;
    match state::misfit(row.state, packet, connection::is_forward(row, opening.direction)) {
        None => Ok(()),
        Some(reason) => {
            if opening.sender != 0 {
                verdict.port = receiver(row, opening.direction);
            }
            Err(Refusal::new(Stage::Flow, reason))
        }
    }
}

/// The slot of the end that the packet goes to.
#[inline(always)]
const fn receiver(row: &FlowRow, direction: Direction) -> Slot {
    match direction {
        Direction::LowToHigh => row.high.slot,
        Direction::HighToLow => row.low.slot,
    }
}

/// A packet of a connection that was judged by what still holds.
#[inline(always)]
fn established<T: Tables>(tables: &T, host: &HostConfig, now: u64, scratch: &mut Scratch) -> Result<(), Refusal> {
    along(host, scratch, Stage::Flow)?;
    let Scratch { row, packet, opening, verdict, terms, .. } = scratch;
    let state = state::after(row.state, packet, connection::is_forward(row, opening.direction));
    if connection::is_due(row, state, packet, now) {
        // A row whose state stays is not given it again: another packet may have changed it meanwhile.
        verdict.claim = if state == row.state {
            Claim::Seen
        } else {
            lifetime::ask(tables, opening.network, packet.protocol, state, terms);
            Claim::Touch { phase: Phase { state, lifetime: terms.lifetime } }
        };
    }
    Ok(())
}

/// A packet that no fresh row vouches for: its connection is judged, and the verdict written.
#[inline(always)]
pub fn judge<T: Stages>(tables: &T, host: &HostConfig, now: u64, scratch: &mut Scratch) {
    let outcome = match recall_or_judge(tables, scratch) {
        Ok(()) => open(host, now, scratch),
        Err(refusal) => Err(denied(refusal, scratch)),
    };
    if let Err(refusal) = outcome {
        scratch.verdict.refuse(refusal);
    }
}

/// Judges the connection, by itself or as the last one of its kind.
#[inline(always)]
fn recall_or_judge<T: Stages>(tables: &T, scratch: &mut Scratch) -> Result<(), Refusal> {
    let is_one_of_many = Judgement::is_for(scratch);
    if is_one_of_many && tables.recall(scratch) {
        return Ok(());
    }
    judge::judge(tables, scratch)?;
    let Scratch { row, packet, opening, terms, initiator, answerer, .. } = scratch;
    meter::settle(row, initiator, answerer, opening.opening_direction());
    row.state = if opening.is_known { state::after(opening.state, packet, !opening.is_answer) } else { 0 };
    lifetime::ask(tables, opening.network, packet.protocol, row.state, terms);
    (row.lifetime, row.tenant, row.meter) = (terms.lifetime, terms.tenant, terms.meter as u16);
    if is_one_of_many {
        tables.keep(scratch);
    }
    Ok(())
}

/// A connection that may be: its row is completed and claimed.
#[inline(always)]
fn open(host: &HostConfig, now: u64, scratch: &mut Scratch) -> Result<(), Refusal> {
    let Scratch { row, packet, opening, .. } = scratch;
    row.connection = if opening.is_known {
        opening.connection
    } else {
        // Unique on the host while the connection lives: the tag of its key, which the owner word has, and when it was opened, in steps of
        // a millisecond.
        row.owner << 32 | connection::moment(now) as u64
    };
    row.hold = budget::hold(row.connection, packet.protocol, row.state);
    // One that is judged again has the time of its last packet still, and is not kept alive by knocking either.
    if !opening.is_known || row.state != opening.state || !connection::knocks(packet) {
        row.seen = now;
    }
    let stage = if row.ingress_rule == rule::NONE { Stage::Egress } else { Stage::Ingress };
    along(host, scratch, stage)?;
    if scratch.packet.fragment.is_early() {
        // It opens no connection.
        scratch.logged = 0;
    } else {
        scratch.verdict.claim = Claim::Open;
    }
    Ok(())
}

/// A connection that may not be. A rule that denies one that was permitted cuts it. Where an end cannot be found it may come back; until
/// then nothing passes.
#[inline(always)]
const fn denied(refusal: Refusal, scratch: &mut Scratch) -> Refusal {
    let Scratch { packet, opening, answerer, verdict, .. } = scratch;
    // What a port's own rules keep out is counted at that port, wherever it comes from.
    if matches!(refusal.reason, DropReason::IngressRule) {
        verdict.port = answerer.slot();
    }
    let by_rule = matches!(refusal.reason, DropReason::EgressRule | DropReason::IngressRule);
    if !by_rule || !opening.is_known {
        return if packet.fragment.is_early() { fragment::refused(refusal) } else { refusal };
    }
    verdict.claim = Claim::Cut { state: opening.state, rule: refusal.rule };
    connection::refuse_cut(refusal.rule)
}

/// Sends the packet along the row in the scratch space.
#[inline(always)]
pub(crate) fn along(host: &HostConfig, scratch: &mut Scratch, stage: Stage) -> Result<(), Refusal> {
    let Scratch { row, packet, opening, verdict, .. } = scratch;
    let (target, edit) = forward::along(row, opening.direction);
    if target.kind == TargetKind::Encap {
        if opening.sender != 0 {
            return Err(Refusal::new(Stage::Locate, DropReason::NotHere));
        }
        forward::fits(host, packet, opening.frame_length)?;
    }
    let rule = if row.ingress_rule == rule::NONE { row.egress_rule } else { row.ingress_rule };
    verdict.pass(stage, target, edit, rule);
    verdict.place = meter::place(row, opening.direction);
    Ok(())
}
