//! The way of a packet whose source was checked: along the row of its connection, or through the rules to a row of its own.

use andromede_abi::{Direction, DropReason, FlowRow, HostIndex, NetworkIndex, Slot, Stage, rule};

use crate::{
    budget::{self, Account},
    context::Context,
    lifetime::terms,
    packet::{Transport, flow_key},
    scratch::Scratch,
    stage::{
        connection::{self, Standing},
        forward, fragment,
        judge::Opening,
        sender_guard, state,
    },
    tables::{FlowRef, Tables},
    verdict::{Claim, Phase, Refusal, TargetKind, Verdict},
};

/// How far a packet gets without an answer being made or its connection being judged.
#[repr(u32)]
pub(crate) enum Recognised {
    /// All the way: the verdict is written.
    Decided,
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

/// Where a packet is met and who answers for its source.
pub(crate) struct Way {
    pub(crate) network: NetworkIndex,
    pub(crate) network_slot: Slot,
    pub(crate) vni: u32,
    /// The host that sent it over the underlay; 0 if the packet comes from a workload.
    pub(crate) sender: HostIndex,
    /// Bytes of the frame that the workload sees.
    pub(crate) frame_length: u32,
}

/// A packet whose source was checked: part of a connection, or the first of one.
#[inline(always)]
pub(crate) fn pass<T: Tables>(
    context: &Context<'_>,
    tables: &T,
    way: &Way,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Result<Recognised, Refusal> {
    if scratch.packet.destination.is_group() {
        return Err(Refusal::new(Stage::Locate, DropReason::Group));
    }
    if scratch.packet.source == scratch.packet.destination {
        return Err(Refusal::new(Stage::Locate, DropReason::Loop));
    }
    scratch.opening = Opening {
        network: way.network,
        network_slot: way.network_slot,
        vni: way.vni,
        frame_length: way.frame_length,
        sender: way.sender,
        ..Opening::NONE
    };
    scratch.account = Account::NONE;
    if scratch.packet.fragment.is_part() {
        return Ok(Recognised::Fragment);
    }
    if matches!(scratch.packet.transport, Transport::Error) {
        return Ok(Recognised::Error);
    }
    connected(context, tables, scratch, verdict)
}

/// A fragment whose datagram was looked up. In the kernel it is a function of its own: one that is inlined is enough of it.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn part<T: Tables>(
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Recognised {
    // It has no ports, so no connection is its own: the rules are asked whether they let all of its protocol pass.
    if scratch.packet.fragment.is_early() {
        scratch.opening.direction = flow_key(scratch.opening.network, &scratch.packet, &mut scratch.key);
        return Recognised::Unjudged;
    }
    connected(context, tables, scratch, verdict).unwrap_or_else(|refusal| {
        verdict.refuse(refusal);
        Recognised::Decided
    })
}

/// A packet that has the ports of its connection: along its row, if there is one.
#[inline(always)]
fn connected<T: Tables>(
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Result<Recognised, Refusal> {
    let direction = flow_key(scratch.opening.network, &scratch.packet, &mut scratch.key);
    scratch.opening.direction = direction;
    if let Some(flow) = tables.flow(&scratch.key) {
        // A row that is given to another connection at this moment says nothing about this one, not even that it is new.
        if !flow.copy_to(&mut scratch.row) {
            return Err(Refusal::new(Stage::Flow, DropReason::NetworkChanging));
        }
        match connection::standing(tables, &scratch.row, &scratch.packet, direction, context.now) {
            Standing::Over => {}
            Standing::Cut => return Err(cut(context, flow, scratch, verdict)),
            Standing::Fresh => {
                sender_guard::row(scratch.opening.sender, &scratch.row, direction)?;
                fits(scratch, verdict)?;
                established(context, tables, flow, scratch, verdict)?;
                return Ok(Recognised::Decided);
            }
            Standing::Stale => {
                fits(scratch, verdict)?;
                let Scratch { row, opening, .. } = scratch;
                opening.is_known = true;
                opening.is_answer = !connection::is_forward(row, direction);
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
fn cut<F>(context: &Context<'_>, flow: F, scratch: &Scratch, verdict: &mut Verdict<F>) -> Refusal {
    let Scratch { row, packet, opening, .. } = scratch;
    if opening.sender != 0 {
        verdict.port = receiver(row, opening.direction);
    }
    if connection::is_due(row, row.state, packet, context.now) {
        verdict.claim = Claim::Seen { flow };
    }
    connection::refuse_cut(row.cut_rule)
}

/// Refuses a packet that does not fit the state of its connection.
#[inline(always)]
fn fits<F>(scratch: &Scratch, verdict: &mut Verdict<F>) -> Result<(), Refusal> {
    let Scratch { row, packet, opening, .. } = scratch;
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
fn established<T: Tables>(
    context: &Context<'_>,
    tables: &T,
    flow: T::Flow,
    scratch: &Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Result<(), Refusal> {
    let Scratch { row, packet, opening, .. } = scratch;
    along(context, scratch, Stage::Flow, verdict)?;
    let state = state::after(row.state, packet, connection::is_forward(row, opening.direction));
    if connection::is_due(row, state, packet, context.now) {
        // A row whose state stays is not given it again: another packet may have changed it meanwhile.
        verdict.claim = if state == row.state {
            Claim::Seen { flow }
        } else {
            let lifetime = terms(tables, opening.network, packet.protocol, state).lifetime;
            Claim::Touch { flow, phase: Phase { state, lifetime } }
        };
    }
    Ok(())
}

/// A connection that may be: its row is completed and claimed. In the kernel it is a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn open<T: Tables>(
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Result<(), Refusal> {
    let Scratch { row, key, packet, opening, .. } = scratch;
    if opening.is_known {
        row.connection = opening.connection;
        row.state = state::after(opening.state, packet, !opening.is_answer);
    } else {
        // Unique on the host while the connection lives: the key's tag, and when it was opened, in steps of a millisecond.
        row.connection = u64::from(key.tag()) << 32 | (context.now >> 20) & 0xffff_ffff;
        row.state = 0;
    }
    let terms = terms(tables, opening.network, packet.protocol, row.state);
    (row.lifetime, row.tenant) = (terms.lifetime, terms.tenant);
    row.hold = budget::hold(row.connection, key.protocol, row.state);
    row.seen = context.now;
    let stage = if row.ingress_rule == rule::NONE { Stage::Egress } else { Stage::Ingress };
    along(context, scratch, stage, verdict)?;
    if !scratch.packet.fragment.is_early() {
        verdict.claim = Claim::Open;
    }
    Ok(())
}

/// A rule that denies a connection that was permitted cuts it. Where an end cannot be found it may come back; until then
/// nothing passes.
#[inline(always)]
pub(crate) fn cut_if_denied<T: Tables>(
    refusal: Refusal,
    tables: &T,
    scratch: &Scratch,
    claim: &mut Claim<T::Flow>,
) -> Refusal {
    let denied = matches!(refusal.reason, DropReason::EgressRule | DropReason::IngressRule);
    if !denied || !scratch.opening.is_known {
        return if scratch.packet.fragment.is_early() { fragment::refused(refusal) } else { refusal };
    }
    if let Some(flow) = tables.flow(&scratch.key) {
        *claim = Claim::Cut { flow, state: scratch.opening.state, rule: refusal.rule };
    }
    connection::refuse_cut(refusal.rule)
}

/// Sends the packet along the row in the scratch space.
#[inline(always)]
pub(crate) fn along<F>(
    context: &Context<'_>,
    scratch: &Scratch,
    stage: Stage,
    verdict: &mut Verdict<F>,
) -> Result<(), Refusal> {
    let Scratch { row, packet, opening, .. } = scratch;
    let (target, edit) = forward::along(row, opening.direction);
    if target.kind == TargetKind::Encap {
        if opening.sender != 0 {
            return Err(Refusal::new(Stage::Locate, DropReason::NotHere));
        }
        forward::fits(context.host, packet, opening.frame_length, context.gso_size)?;
    }
    let rule = if row.ingress_rule == rule::NONE { row.egress_rule } else { row.ingress_rule };
    verdict.pass(stage, target, edit, rule);
    Ok(())
}
