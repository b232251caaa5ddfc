//! The walk of a packet: the one page on which the order can be read.
//!
//! ```text
//! from_workload   ethernet -> source guard -> hairpin (ARP, ND) -> connection -> forward
//! from_underlay   outer -> sender guard -> connection -> forward
//! from_overlay            sender guard -> connection -> forward
//! from_host       what the node itself sends: admitted nowhere yet
//! ICMP error      the row of the quoted packet, fresh: its action
//! connection      row? fresh: its action; stale or none: locate -> next hop -> egress -> ingress -> a row is claimed
//! ```

use andromede_abi::{DropReason, PortRow, Stage, hook, rule};

use crate::{
    context::Context,
    frame::Frame,
    hooks::{from_host, from_overlay, from_underlay, from_workload},
    packet::Packet,
    passage::{Recognised, cut_if_denied, open, part},
    related,
    scratch::Scratch,
    stage::{arp, fragment, judge, neighbor},
    tables::Tables,
    too_big,
    verdict::{Edit, Refusal, Target, Verdict},
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
    (scratch.packet, scratch.keeps_fragment) = (Packet::UNREAD, false);
    // The hook is a constant in each program: only one of these is in it.
    let recognised = match context.hook {
        hook::FROM_WORKLOAD => recognise::<F, T, { hook::FROM_WORKLOAD }>(frame, context, tables, scratch, verdict),
        hook::FROM_UNDERLAY => recognise::<F, T, { hook::FROM_UNDERLAY }>(frame, context, tables, scratch, verdict),
        hook::FROM_OVERLAY => recognise::<F, T, { hook::FROM_OVERLAY }>(frame, context, tables, scratch, verdict),
        _ => recognise::<F, T, { hook::FROM_HOST }>(frame, context, tables, scratch, verdict),
    };
    let recognised = match recognised {
        Recognised::Fragment => match fragment::recognise(tables, context.now, scratch) {
            Ok(()) => part(context, tables, scratch, verdict),
            Err(refusal) => {
                verdict.refuse(refusal);
                Recognised::Decided
            }
        },
        other => other,
    };
    let outcome = match recognised {
        Recognised::Decided | Recognised::Fragment => Ok(()),
        Recognised::Arp => answer(arp::answer(frame, tables, &scratch.port), &scratch.port, verdict),
        Recognised::Discovery => {
            let edit = neighbor::answer(frame, tables, &scratch.port, &scratch.packet);
            answer(edit, &scratch.port, verdict)
        }
        Recognised::Error => related::pass(frame, context, tables, scratch, verdict),
        Recognised::Unjudged => match judge::judge(tables, scratch) {
            Ok(()) => open(context, tables, scratch, verdict),
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
    if matches!(verdict.reason, Some(DropReason::TooBig)) {
        too_big::tell(context, scratch, verdict);
    }
    if scratch.packet.fragment.is_part() && verdict.reason.is_none() {
        fragment::remember(scratch, context.now);
    }
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

/// Sends the answer back to the port.
#[inline(always)]
fn answer<F>(edit: Result<Edit, Refusal>, port: &PortRow, verdict: &mut Verdict<F>) -> Result<(), Refusal> {
    let target = Target::reply(port.ifindex);
    edit.map(|edit| verdict.pass(Stage::Hairpin, target, edit, rule::NONE))
}
