//! Carrying out what a verdict asks of the flow table and of budgets, and taking rows away.

use andromede_abi::{Direction, DropReason, FlowKey, Stage, flow_flag, flow_hold, flow_state};

use crate::{
    budget::{self, Account, Size, Traffic},
    lifetime, report,
    scratch::Scratch,
    stage::{connection, state},
    stages::Stages,
    tables::{FlowRef, NotPut, Put, Tables},
    verdict::{Claim, Phase, Refusal, TargetKind},
    wire::ethernet,
};

/// Does the verdict in the scratch space ask anything of a table? Most packets do not: they are of a connection that was seen within the
/// second, and their ports have no rates.
#[inline(always)]
pub fn is_asked(scratch: &Scratch) -> bool {
    let verdict = &scratch.verdict;
    !matches!(verdict.claim, Claim::None)
        || verdict.reason.is_some()
        || scratch.keeps_fragment
        || sender_policed(scratch)
        || receiver_policed(scratch)
}

/// Carries out what the verdict in the scratch space asks. Where a budget or a table does not suffice it becomes a drop.
#[inline(always)]
pub fn carry_out<T: Stages>(tables: &T, now: u64, scratch: &mut Scratch) {
    scratch.blamed = scratch.verdict.port;
    let carried = match police(tables, now, scratch) {
        Ok(()) => claim(tables, now, scratch),
        Err(refusal) => {
            scratch.verdict.claim = Claim::None;
            Err(refusal)
        }
    };
    if let Err(refusal) = carried {
        scratch.verdict.port = scratch.blamed;
        scratch.verdict.refuse(refusal);
    }
    if scratch.keeps_fragment && scratch.verdict.reason.is_none() {
        // Without memory for it the fragments that follow are dropped; this one was judged and may pass.
        let _ = tables.put_fragment(&scratch.fragment_key, &scratch.fragment);
    }
    // Of a connection that goes on no rule decides.
    if scratch.verdict.reason.is_some() || matches!(scratch.verdict.claim, Claim::Open) {
        report::settle(tables, now, scratch);
    }
}

#[inline(always)]
fn claim<T: Stages>(tables: &T, now: u64, scratch: &mut Scratch) -> Result<(), Refusal> {
    let claim = scratch.verdict.claim;
    match claim {
        Claim::None => return Ok(()),
        Claim::Open => return open(tables, scratch, now),
        Claim::Seen | Claim::Touch { .. } | Claim::Cut { .. } => {}
    }
    // A connection that ended meanwhile has nothing to be written to.
    let Some(flow) = tables.flow(&scratch.key) else { return Ok(()) };
    match claim {
        Claim::Touch { phase } => touch(tables, &flow, phase, scratch),
        Claim::Cut { state, rule } => {
            flow.set_cut_rule(rule);
            let before = Phase { state, lifetime: scratch.row.lifetime };
            flow.replace_phase(before, Phase { state: state | flow_state::CUT, lifetime: lifetime::CUT });
        }
        Claim::None | Claim::Seen | Claim::Open => {}
    }
    flow.set_seen(now);
    Ok(())
}

/// Writes the state. If another packet of the connection has changed it meanwhile, this one adds to that, once: who loses again leaves it
/// to the next packet. The first answer ends that the connection counts as half-open.
#[inline(always)]
fn touch<T: Tables>(tables: &T, flow: &T::Flow, phase: Phase, scratch: &mut Scratch) {
    let written = flow.replace_phase(Phase::of(&scratch.row), phase) || touch_again(tables, flow, scratch);
    if !written {
        return;
    }
    let account = Account::of(&scratch.row);
    let half_open = account.hold & flow_hold::BITS == flow_hold::HALF_OPEN;
    if half_open
        && budget::is_answered(scratch.key.protocol, phase.state)
        && flow.replace_hold(account.hold, account.hold & !flow_hold::HALF_OPEN)
    {
        budget::give_back_half_open(tables, &account);
    }
}

/// In the kernel a function of its own: it is seldom needed.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn touch_again<T: Tables>(tables: &T, flow: &T::Flow, scratch: &mut Scratch) -> bool {
    let Scratch { row, packet, opening, terms, .. } = scratch;
    if !flow.copy_to(row) {
        return false;
    }
    let state = state::after(row.state, packet, connection::is_forward(row, opening.direction));
    lifetime::ask(tables, opening.network, packet.protocol, state, terms);
    flow.replace_phase(Phase::of(row), Phase { state, lifetime: terms.lifetime })
}

/// Takes the budgets of a connection and puts its row. In the kernel a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn open<T: Stages>(tables: &T, scratch: &mut Scratch, now: u64) -> Result<(), Refusal> {
    let found = if scratch.account.is_of_row() { tables.flow(&scratch.key) } else { None };
    let Some(flow) = found else { return open_anew(tables, scratch, Put::New, now) };
    let before = scratch.account;
    let is_mine = !before.is_locked() && flow.replace_hold(before.hold, before.hold | flow_hold::LOCKED);
    if scratch.opening.is_known {
        // Another processor has just written it, or is removing it: this packet passes by its own judgement.
        if is_mine {
            renew(tables, &flow, &before, scratch);
        }
        return Ok(());
    }
    if !is_mine {
        return Err(Refusal::new(Stage::Claim, DropReason::ConnectionChanging));
    }
    // What was there is over: its places come free before the new connection asks for some.
    budget::give_back(tables, &before);
    let opened = open_anew(tables, scratch, Put::Replace, now);
    if opened.is_err() && !tables.remove_flow(&scratch.key) {
        // It stays, over and free to be taken: nothing is counted on it any more.
        flow.replace_hold(before.hold | flow_hold::LOCKED, 0);
    }
    opened
}

/// A connection that was judged again, whose row is locked: it keeps its places, and is never refused for want of them.
#[inline(always)]
fn renew<T: Stages>(tables: &T, flow: &T::Flow, before: &Account, scratch: &mut Scratch) {
    // Half-open stays what it was, or ends; a row of which nothing was counted begins to count.
    if before.hold != 0 {
        scratch.row.hold &= before.hold | !flow_hold::HALF_OPEN;
    }
    let after = Account::of(&scratch.row);
    budget::take_anyway(tables, &after);
    if tables.put_flow(&scratch.key, &scratch.row, Put::Replace).is_ok() {
        budget::give_back(tables, before);
    } else {
        budget::give_back(tables, &after);
        flow.replace_hold(before.hold | flow_hold::LOCKED, before.hold);
    }
}

/// Takes the places of a new connection and puts its row.
#[inline(always)]
fn open_anew<T: Stages>(tables: &T, scratch: &mut Scratch, put: Put, now: u64) -> Result<(), Refusal> {
    let account = Account::of(&scratch.row);
    let taken = budget::take(tables, &scratch.initiator, &scratch.answerer, &account, scratch.terms.tenant_flows, now);
    if let Err((blamed, refusal)) = taken {
        scratch.blamed = blamed;
        return Err(refusal);
    }
    match tables.put_flow(&scratch.key, &scratch.row, put) {
        Ok(()) => Ok(()),
        Err(error) => {
            budget::give_back(tables, &account);
            match error {
                // Another processor has put the same row at this moment: it was permitted twice.
                NotPut::Otherwise => Ok(()),
                NotPut::Full => {
                    if scratch.initiator.is_local() {
                        scratch.blamed = scratch.initiator.slot();
                    }
                    Err(Refusal::new(Stage::Claim, DropReason::FlowTableFull))
                }
            }
        }
    }
}

/// Takes the tokens of a frame that passes, of a sender and of a receiver of this host, if they are policed.
#[inline(always)]
fn police<T: Tables>(tables: &T, now: u64, scratch: &mut Scratch) -> Result<(), Refusal> {
    let receives = receiver_policed(scratch);
    if sender_policed(scratch) {
        draw(tables, now, scratch, scratch.opening.policed, Traffic::Transmit)?;
    }
    if receives {
        draw(tables, now, scratch, scratch.verdict.target.ifindex, Traffic::Receive)?;
    }
    Ok(())
}

/// Is this a packet that passes, of a workload whose sending is policed?
#[inline(always)]
fn sender_policed(scratch: &Scratch) -> bool {
    let passes = matches!(scratch.verdict.target.kind, TargetKind::Deliver | TargetKind::Encap);
    passes && scratch.opening.policed != 0
}

/// Is this a packet to a workload of this host whose receiving is policed?
#[inline(always)]
fn receiver_policed(scratch: &Scratch) -> bool {
    let policed = match scratch.opening.direction {
        Direction::LowToHigh => flow_flag::HIGH_POLICED,
        Direction::HighToLow => flow_flag::LOW_POLICED,
    };
    matches!(scratch.verdict.target.kind, TargetKind::Deliver) && scratch.row.flags & policed != 0
}

/// The tokens of the port behind this interface. One that has just gone has no rates.
#[inline(always)]
fn draw<T: Tables>(tables: &T, now: u64, scratch: &mut Scratch, ifindex: u32, traffic: Traffic) -> Result<(), Refusal> {
    if !tables.copy_port(ifindex, &mut scratch.port) {
        return Ok(());
    }
    let headers = u32::from(scratch.packet.header_length).wrapping_add(ethernet::HEADER as u32);
    let size = Size::new(scratch.opening.frame_length, scratch.packet.gso_size, headers);
    let port = &scratch.port;
    budget::police(tables, port.slot, &port.limits, traffic, size, now).map_err(|reason| {
        scratch.blamed = port.slot;
        Refusal::new(Stage::Claim, reason)
    })
}

/// Removes a connection that is over, or, if `even_live`, any; says whether it did. Whoever locks the row gives back what it took, and
/// removes it.
#[inline(always)]
pub fn reap<T: Stages>(tables: &T, key: &FlowKey, flow: &T::Flow, even_live: bool, now: u64) -> bool {
    if !even_live && !flow.is_over(now) {
        return false;
    }
    let Some(account) = flow.account() else { return false };
    let locked = account.hold | flow_hold::LOCKED;
    if account.is_locked() || !flow.replace_hold(account.hold, locked) {
        return false;
    }
    // A packet may have come between the two.
    if !even_live && !flow.is_over(now) {
        flow.replace_hold(locked, account.hold);
        return false;
    }
    if !tables.remove_flow(key) {
        flow.replace_hold(locked, account.hold);
        return false;
    }
    budget::give_back(tables, &account);
    true
}
