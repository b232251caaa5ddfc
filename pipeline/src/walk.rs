//! The walk of a packet: the one page on which the order can be read.
//!
//! ```text
//! from_workload   ethernet -> source guard -> hairpin (ARP, ND) -> connection -> forward -> translation, towards the node
//! from_underlay   outer -> sender guard -> connection -> forward
//! from_overlay            sender guard -> connection -> forward
//! from_host       the node's own? forwarded? -> translation -> connection -> the interface at which it was met
//! ICMP error      the row of the quoted packet, fresh: its action
//! connection      row? fresh: its action; stale or none: locate -> next hop -> egress -> ingress -> a row is claimed
//! fragment        a later one, without ports: the datagram whose first was judged, or what a rule allows for any port
//! ```
//!
//! What passes is charged to the budgets of its port and tenant, and rows are written, when the verdict is carried out.

use andromede_abi::{DropReason, Stage, hook, rule};

use crate::{
    context::Context,
    frame::Frame,
    hooks::{from_host, from_overlay, from_underlay, from_workload, to_own_port},
    packet::Packet,
    passage::Recognised,
    related,
    scratch::Scratch,
    stage::{arp, fragment, neighbor},
    stages::Stages,
    tables::Tables,
    too_big,
    verdict::{Refusal, Target, TargetKind, Verdict},
};

/// Decides about a frame: writes the verdict, and the row or the tunnel of which it speaks, into the scratch space.
#[inline(always)]
pub fn decide<F: Frame, T: Stages>(frame: &F, context: &Context<'_>, tables: &T, scratch: &mut Scratch) {
    (scratch.packet, scratch.verdict, scratch.keeps_fragment) = (Packet::UNREAD, Verdict::UNDECIDED, false);
    (scratch.logged, scratch.reported) = (0, 0);
    // The hook is a constant in each program: only one of these is in it.
    let recognised = match context.hook {
        hook::FROM_WORKLOAD => recognise::<F, T, { hook::FROM_WORKLOAD }>(frame, context, tables, scratch),
        hook::FROM_UNDERLAY => recognise::<F, T, { hook::FROM_UNDERLAY }>(frame, context, tables, scratch),
        hook::FROM_OVERLAY => recognise::<F, T, { hook::FROM_OVERLAY }>(frame, context, tables, scratch),
        _ => recognise::<F, T, { hook::FROM_HOST }>(frame, context, tables, scratch),
    };
    let outcome = match recognised {
        Recognised::Unjudged => {
            tables.judge(context.host, context.now, scratch);
            Ok(())
        }
        Recognised::Error => related::pass(frame, context, tables, scratch),
        // Only workloads are answered: the programs of other hooks do without what it takes.
        Recognised::Arp | Recognised::Discovery if context.hook == hook::FROM_WORKLOAD => {
            answer(recognised, frame, context, tables, scratch)
        }
        _ => Ok(()),
    };
    if let Err(refusal) = outcome {
        scratch.verdict.refuse(refusal);
    }
    if context.hook == hook::FROM_HOST {
        to_own_port(context, scratch);
    }
    if context.hook == hook::FROM_WORKLOAD && matches!(scratch.verdict.target.kind, TargetKind::Host) {
        tables.outward(context.ifindex, scratch);
    }
    if context.hook == hook::FROM_WORKLOAD && matches!(scratch.verdict.reason, Some(DropReason::TooBig)) {
        too_big::tell(context.host, scratch);
    }
    if scratch.packet.fragment.is_part() && scratch.verdict.reason.is_none() {
        fragment::remember(scratch, context.now);
    }
}

/// The walk up to the flow table, and along the row of the connection. In the kernel it is a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn recognise<F: Frame, T: Stages, const HOOK: u8>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
) -> Recognised {
    let recognised = match HOOK {
        hook::FROM_WORKLOAD => from_workload(frame, context, tables, scratch),
        hook::FROM_UNDERLAY => from_underlay(frame, context, tables, scratch),
        hook::FROM_OVERLAY => from_overlay(frame, context, tables, scratch),
        _ => from_host(frame, context, tables, scratch),
    };
    let recognised = match recognised {
        Ok(Recognised::Fragment) => tables.part(context.now, scratch),
        Ok(other) => other,
        Err(refusal) => {
            scratch.verdict.refuse(refusal);
            Recognised::Decided
        }
    };
    match recognised {
        Recognised::Connected => tables.follow(context.host, context.now, scratch),
        other => other,
    }
}

/// Answers an ARP packet or a neighbour discovery message of a workload.
#[inline(always)]
fn answer<F: Frame, T: Tables>(
    recognised: Recognised,
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
) -> Result<(), Refusal> {
    if !tables.copy_port(context.ifindex, &mut scratch.port) {
        return Err(Refusal::new(Stage::SourceGuard, DropReason::UnknownPort));
    }
    let Scratch { port, packet, verdict, location, .. } = scratch;
    let edit = match recognised {
        Recognised::Arp => arp::answer(frame, tables, port, location)?,
        _ => neighbor::answer(frame, tables, port, packet, location)?,
    };
    verdict.pass(Stage::Hairpin, Target::reply(port.ifindex), edit, rule::NONE);
    Ok(())
}
