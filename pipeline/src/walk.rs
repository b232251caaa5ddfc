//! The walk of a packet: the one page on which the order can be read.
//!
//! ```text
//! from_workload   ethernet -> source guard -> hairpin (ARP, ND) -> connection -> forward
//! from_underlay   outer -> sender guard -> connection -> forward
//! from_overlay            sender guard -> connection -> forward
//! from_host       what the node itself sends: admitted nowhere yet
//! connection      row? fresh: its action; stale or none: locate -> next hop -> egress -> ingress -> a row is claimed
//! ```

use andromede_abi::{Direction, DropReason, FlowRow, HostIndex, NetworkIndex, PortRow, Slot, Stage, hook, rule};

use crate::{
    context::{Context, Tunnel},
    encapsulate::OVERHEAD,
    frame::Frame,
    packet::{Packet, flow_key},
    parse,
    scratch::Scratch,
    stage::{
        arp,
        connection::{self, Standing},
        forward,
        judge::{self, Opening},
        neighbor, sender_guard, source_guard,
    },
    tables::{FlowRef, Tables},
    verdict::{Claim, Edit, Refusal, Target, TargetKind, Verdict},
    wire::{ethernet, ip_protocol},
};

/// Decides about a frame. If the verdict claims a new row, or a tunnel, it is in `scratch`.
#[inline(always)]
pub fn decide<F: Frame, T: Tables>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
) -> Verdict<T::Flow> {
    let mut verdict = Verdict::UNDECIDED;
    decide_into(frame, context, tables, scratch, &mut verdict);
    verdict
}

/// As [`decide`], writing the verdict where the caller wants it: the kernel's stack has no room for a second one.
/// `verdict` must be [`Verdict::UNDECIDED`].
#[inline(always)]
pub fn decide_into<F: Frame, T: Tables>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) {
    scratch.packet = Packet::UNREAD;
    // The hook is a constant in each program: only one of these is in it.
    let recognised = match context.hook {
        hook::FROM_WORKLOAD => recognise::<F, T, { hook::FROM_WORKLOAD }>(frame, context, tables, scratch, verdict),
        hook::FROM_UNDERLAY => recognise::<F, T, { hook::FROM_UNDERLAY }>(frame, context, tables, scratch, verdict),
        hook::FROM_OVERLAY => recognise::<F, T, { hook::FROM_OVERLAY }>(frame, context, tables, scratch, verdict),
        _ => recognise::<F, T, { hook::FROM_HOST }>(frame, context, tables, scratch, verdict),
    };
    let outcome = match recognised {
        Recognised::Decided => Ok(()),
        Recognised::Arp => answer(arp::answer(frame, tables, &scratch.port), &scratch.port, verdict),
        Recognised::Discovery => {
            let edit = neighbor::answer(frame, tables, &scratch.port, &scratch.packet);
            answer(edit, &scratch.port, verdict)
        }
        Recognised::Unjudged => match judge::judge(tables, scratch) {
            Ok(()) => open(context, scratch, verdict),
            Err(refusal) => {
                // What a port's own rules keep out is counted at that port, wherever it comes from.
                if matches!(refusal.reason, DropReason::IngressRule) {
                    verdict.port = scratch.answerer.slot();
                }
                Err(cut_if_denied(refusal, tables, scratch, &mut verdict.claim))
            }
        },
    };
    if let Err(refusal) = outcome {
        verdict.refuse(refusal);
    }
}

/// How far a packet gets without an answer being made or its connection being judged.
#[repr(u32)]
enum Recognised {
    /// All the way: the verdict is written.
    Decided,
    /// An ARP packet of a workload.
    Arp,
    /// A neighbour discovery message of a workload.
    Discovery,
    /// No fresh row vouches for it: its connection, in the scratch space, is to be judged.
    Unjudged,
}

/// The walk up to the flow table. In the kernel it is a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn recognise<F: Frame, T: Tables, const HOOK: u8>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Recognised {
    let recognised = match HOOK {
        hook::FROM_WORKLOAD => from_workload(frame, context, tables, scratch, verdict),
        hook::FROM_UNDERLAY => from_underlay(frame, context, tables, scratch, verdict),
        hook::FROM_OVERLAY => from_overlay(frame, context, tables, scratch, verdict),
        _ => from_host(context, verdict),
    };
    recognised.unwrap_or_else(|refusal| {
        verdict.refuse(refusal);
        Recognised::Decided
    })
}

/// Where a packet is met and who answers for its source.
struct Way {
    network: NetworkIndex,
    network_slot: Slot,
    vni: u32,
    /// The host that sent it over the underlay; 0 if the packet comes from a workload.
    sender: HostIndex,
    /// Bytes of the frame that the workload sees.
    frame_length: u32,
}

#[inline(always)]
fn from_workload<F: Frame, T: Tables>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Result<Recognised, Refusal> {
    if !tables.copy_port(context.ifindex, &mut scratch.port) {
        return Err(Refusal::new(Stage::SourceGuard, DropReason::UnknownPort));
    }
    let Scratch { port, packet, .. } = scratch;
    (verdict.port, verdict.network) = (port.slot, port.network);
    let ethertype = source_guard::ethernet(frame, port)?;
    if context.tagged {
        return Err(Refusal::new(Stage::Parse, DropReason::BadEthernet));
    }
    if ethertype == ethernet::TYPE_ARP {
        return Ok(Recognised::Arp);
    }
    parse::ip_packet(frame, 0, ethertype, context.gso_size, packet)?;
    if neighbor::is_discovery(packet) {
        return Ok(Recognised::Discovery);
    }
    // A workload that has no address yet looks for multicast listeners and for DHCP: that is no forgery.
    if packet.source.is_unspecified() && packet.destination.is_group() {
        return Err(Refusal::new(Stage::Locate, DropReason::Group));
    }
    source_guard::ip(tables, port, packet.source)?;
    let way = Way {
        network: port.network,
        network_slot: port.network_slot,
        vni: port.vni,
        sender: 0,
        frame_length: frame.len(),
    };
    pass(context, tables, &way, scratch, verdict)
}

#[inline(always)]
fn from_underlay<F: Frame, T: Tables>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Result<Recognised, Refusal> {
    // The tag names another network of the link, which has an interface of its own.
    let outer = if context.tagged { sender_guard::Outer::NotOurs } else { sender_guard::outer(frame, context.host)? };
    match outer {
        sender_guard::Outer::NotOurs => {
            verdict.pass(Stage::Parse, Target::HOST, Edit::NONE, rule::NONE);
            Ok(Recognised::Decided)
        }
        sender_guard::Outer::Vxlan(tunnel) => overlay(frame, OVERHEAD, &tunnel, context, tables, scratch, verdict),
    }
}

#[inline(always)]
fn from_overlay<F: Frame, T: Tables>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Result<Recognised, Refusal> {
    if context.tagged {
        return Err(Refusal::new(Stage::Parse, DropReason::BadEthernet));
    }
    // The device listens on every interface and address; only the underlay's program knows what may come to it.
    if !context.marked {
        return Err(Refusal::new(Stage::SenderGuard, DropReason::NotFromUnderlay));
    }
    if context.tunnel.sender.is_unspecified() {
        return Err(Refusal::new(Stage::SenderGuard, DropReason::NoTunnelKey));
    }
    overlay(frame, 0, &context.tunnel, context, tables, scratch, verdict)
}

/// A tenant's frame from the underlay, at this offset behind its outer header.
#[inline(always)]
fn overlay<F: Frame, T: Tables>(
    frame: &F,
    offset: usize,
    tunnel: &Tunnel,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
    verdict: &mut Verdict<T::Flow>,
) -> Result<Recognised, Refusal> {
    let member = sender_guard::member(tables, tunnel)?;
    verdict.network = member.network;
    let at = offset.wrapping_add(ethernet::TYPE);
    let ethertype: u16 = frame.load(at).ok_or(Refusal::new(Stage::Parse, DropReason::Truncated))?;
    parse::ip_packet(frame, offset, ethertype, context.gso_size, &mut scratch.packet)?;
    // Address resolution never leaves a host: whatever claims to be of it is forged.
    if neighbor::is_discovery(&scratch.packet) {
        return Err(Refusal::new(Stage::Hairpin, DropReason::NeighborIgnored));
    }
    // The kernel removes the outer header of a datagram train right; `adjust_room` leaves marks by which it is lost.
    if offset != 0 && context.gso_size != 0 && scratch.packet.protocol == ip_protocol::UDP {
        verdict.pass(Stage::SenderGuard, Target::OVERLAY_DEVICE, Edit::NONE, rule::NONE);
        return Ok(Recognised::Decided);
    }
    let way = Way {
        network: member.network,
        network_slot: member.network_slot,
        vni: tunnel.vni,
        sender: member.host,
        frame_length: frame.len().wrapping_sub(offset as u32),
    };
    pass(context, tables, &way, scratch, verdict)
}

/// What the node itself sends to a workload. Its own deliveries were judged before; nothing else is admitted yet.
#[inline(always)]
fn from_host<F>(context: &Context<'_>, verdict: &mut Verdict<F>) -> Result<Recognised, Refusal> {
    if context.marked {
        verdict.pass(Stage::Apply, Target::HOST, Edit::NONE, rule::NONE);
        return Ok(Recognised::Decided);
    }
    Err(Refusal::new(Stage::SourceGuard, DropReason::HostNotAdmitted))
}

/// Sends the answer back to the port.
#[inline(always)]
fn answer<F>(edit: Result<Edit, Refusal>, port: &PortRow, verdict: &mut Verdict<F>) -> Result<(), Refusal> {
    let target = Target::reply(port.ifindex);
    edit.map(|edit| verdict.pass(Stage::Hairpin, target, edit, rule::NONE))
}

/// A packet whose source was checked: part of a connection, or the first of one.
#[inline(always)]
fn pass<T: Tables>(
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
    let direction = flow_key(way.network, &scratch.packet, &mut scratch.key);
    scratch.opening = Opening {
        network: way.network,
        network_slot: way.network_slot,
        vni: way.vni,
        frame_length: way.frame_length,
        direction,
        sender: way.sender,
        ..Opening::NONE
    };
    if let Some(flow) = tables.flow(&scratch.key) {
        // A row that is given to another connection at this moment says nothing about this one, not even that it is new.
        if !flow.copy_to(&mut scratch.row) {
            return Err(Refusal::new(Stage::Flow, DropReason::NetworkChanging));
        }
        let row = &scratch.row;
        let standing = connection::standing(tables, row, &scratch.packet, direction, context.now);
        if standing.is_err() {
            if way.sender != 0 {
                verdict.port = receiver(row, direction);
            }
            // As long as packets of a cut connection come, it is remembered as cut.
            if connection::is_due(row, row.state, context.now) {
                verdict.claim = Claim::Touch { flow: flow.clone(), state: row.state };
            }
        }
        match standing? {
            Standing::Fresh => {
                sender_guard::row(way.sender, row, direction)?;
                established(context, flow, scratch, verdict)?;
                return Ok(Recognised::Decided);
            }
            Standing::Stale => {
                scratch.opening.is_known = true;
                scratch.opening.is_answer = !connection::is_forward(row, direction);
                (scratch.opening.state, scratch.opening.connection) = (row.state, row.connection);
            }
            Standing::Over => {}
        }
    }
    if !scratch.opening.is_known && !scratch.packet.opens() {
        return Err(Refusal::new(Stage::Flow, DropReason::NoConnection));
    }
    Ok(Recognised::Unjudged)
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
fn established<F: FlowRef>(
    context: &Context<'_>,
    flow: F,
    scratch: &Scratch,
    verdict: &mut Verdict<F>,
) -> Result<(), Refusal> {
    let Scratch { row, packet, opening, .. } = scratch;
    along(context, scratch, Stage::Flow, verdict)?;
    let state = connection::next_state(row.state, packet, connection::is_forward(row, opening.direction));
    if connection::is_due(row, state, context.now) {
        verdict.claim = Claim::Touch { flow, state };
    }
    Ok(())
}

/// A connection that may be: its row is completed and claimed. In the kernel it is a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn open<F>(context: &Context<'_>, scratch: &mut Scratch, verdict: &mut Verdict<F>) -> Result<(), Refusal> {
    let Scratch { row, key, packet, opening, .. } = scratch;
    if opening.is_known {
        row.connection = opening.connection;
        row.state = connection::next_state(opening.state, packet, !opening.is_answer);
    } else {
        // Unique on the host while the connection lives: the key's tag, and when it was opened, in steps of a millisecond.
        row.connection = u64::from(key.tag()) << 32 | (context.now >> 20) & 0xffff_ffff;
        row.state = 0;
    }
    row.seen = context.now;
    let stage = if row.ingress_rule == rule::NONE { Stage::Egress } else { Stage::Ingress };
    along(context, scratch, stage, verdict)?;
    verdict.claim = Claim::Open;
    Ok(())
}

/// A rule that denies a connection that was permitted cuts it. Where an end cannot be found it may come back; until then
/// nothing passes.
#[inline(always)]
fn cut_if_denied<T: Tables>(refusal: Refusal, tables: &T, scratch: &Scratch, claim: &mut Claim<T::Flow>) -> Refusal {
    let denied = matches!(refusal.reason, DropReason::EgressRule | DropReason::IngressRule);
    if !denied || !scratch.opening.is_known {
        return refusal;
    }
    if let Some(flow) = tables.flow(&scratch.key) {
        *claim = Claim::Cut { flow, state: scratch.opening.state, rule: refusal.rule };
    }
    connection::refuse_cut(refusal.rule)
}

/// Sends the packet along the row in the scratch space.
#[inline(always)]
fn along<F>(context: &Context<'_>, scratch: &Scratch, stage: Stage, verdict: &mut Verdict<F>) -> Result<(), Refusal> {
    let Scratch { row, key, packet, opening, .. } = scratch;
    let (target, edit) = forward::along(key, row, opening.direction);
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
