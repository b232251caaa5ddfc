//! Counting what passes and what is dropped, and telling userspace about drops.

use andromede_abi::{
    DropCounterKey, DropEvent, EVENT_BURST, EVENT_KIND_DROP, EVENTS_PER_SECOND, EventBudget, Meter, hook,
};
use andromede_pipeline::{Context, Frame, Metered, Packet, Scratch, Verdict};

use crate::{frame::Buffer, key::StackKey, maps};

const SECOND: u64 = 1_000_000_000;

/// Counts a packet that passed for its network.
#[inline(always)]
pub fn passed(scratch: &Scratch) {
    if scratch.verdict.place == 0 {
        return;
    }
    let Metered { meter, place, flows, packets, bytes, .. } = Metered::of(scratch);
    let Some(row) = maps::METERS.get_ptr_mut(u32::from(meter)) else { return };
    // SAFETY: one of the places of the row of this processor, of which there are as many as `Metered::place` has numbers.
    let counted: &mut Meter = unsafe { &mut *row.cast::<Meter>().add(place as usize) };
    counted.packets += u64::from(packets);
    counted.bytes += u64::from(bytes);
    if flows != 0 {
        counted.flows += 1;
    }
}

/// Counts a dropped packet, which came with `length` bytes, and reports it if the budget of this processor allows. A function of its own,
/// for its stack.
#[inline(never)]
pub fn dropped(frame: &mut Buffer, length: u32, context: &Context<'_>, scratch: &Scratch) {
    let Scratch { verdict, packet, .. } = scratch;
    let reason = verdict.reason.map_or(0, |reason| reason as u32);
    if let Some(total) = maps::DROP_TOTALS.get_ptr_mut(reason) {
        // SAFETY: the counter of this processor.
        unsafe { *total += 1 };
    }
    let key = DropCounterKey { port: verdict.port, network: verdict.network, rule: verdict.rule, reason };
    let key = StackKey::of(&key);
    match maps::DROPS.get_ptr_mut(key.get()) {
        // SAFETY: the counter of this processor.
        Some(count) => unsafe { *count += 1 },
        // A full table is no harm: the total was counted.
        None => drop(maps::DROPS.insert(key.get(), 1, 0)),
    }
    // Whatever was tried before may have moved the data.
    frame.reload();
    if may_report(context.now) {
        report(frame, length, context, verdict, packet, reason);
    }
}

/// Takes a token. A flood of drops costs a bucket's arithmetic, no more.
#[inline(always)]
fn may_report(now: u64) -> bool {
    let Some(budget) = maps::EVENT_BUDGET.get_ptr_mut(0) else { return false };
    // SAFETY: the bucket of this processor.
    let budget: &mut EventBudget = unsafe { &mut *budget };
    let since = now.wrapping_sub(budget.filled);
    if since >= SECOND / EVENTS_PER_SECOND {
        let earned = since / (SECOND / EVENTS_PER_SECOND);
        let tokens = budget.tokens + earned;
        budget.tokens = if tokens > EVENT_BURST { EVENT_BURST } else { tokens };
        budget.filled = now;
    }
    if budget.tokens == 0 {
        budget.suppressed += 1;
        return false;
    }
    budget.tokens -= 1;
    true
}

#[inline(always)]
fn report(frame: &Buffer, length: u32, context: &Context<'_>, verdict: &Verdict, packet: &Packet, reason: u32) {
    // The outer source, where there is one: the first thing to know about a stranger.
    let outer_source = match context.hook {
        hook::FROM_OVERLAY => context.tunnel.sender.v4_word(),
        hook::FROM_UNDERLAY => frame.load(14 + 12).unwrap_or(0),
        _ => 0,
    };
    let Some(mut entry) = maps::EVENTS.reserve(0) else { return };
    entry.write(DropEvent {
        time: context.now,
        kind: EVENT_KIND_DROP,
        reason: reason as u16,
        stage: verdict.stage as u8,
        hook: context.hook,
        protocol: packet.protocol,
        tcp_flags: packet.tcp_flags,
        rule: verdict.rule,
        port: verdict.port,
        network: verdict.network,
        length,
        source: packet.source,
        destination: packet.destination,
        source_port: packet.source_port,
        destination_port: packet.service_port,
        outer_source,
    });
    entry.submit(0);
}
