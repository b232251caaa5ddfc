//! Telling userspace about rules that say `log`.

use andromede_abi::{Usage, rule_direction};
use andromede_pipeline::{Scratch, Tables as _, UsageRef as _, rule_event};

use crate::{maps, tables::Maps};

/// Sends the events that were granted. A function of its own, for its stack.
#[inline(never)]
pub fn send(now: u64, scratch: &Scratch) {
    if scratch.reported & rule_direction::EGRESS != 0 {
        send_one::<{ rule_direction::EGRESS }>(now, scratch);
    }
    if scratch.reported & rule_direction::INGRESS != 0 {
        send_one::<{ rule_direction::INGRESS }>(now, scratch);
    }
}

#[inline(always)]
fn send_one<const DIRECTION: u8>(now: u64, scratch: &Scratch) {
    if let Some(mut entry) = maps::RULE_EVENTS.reserve(0) {
        entry.write(rule_event(scratch, DIRECTION, now));
        entry.submit(0);
        return;
    }
    // Whoever reads is behind.
    if let Some(usage) = Maps.usage(rule_event(scratch, DIRECTION, now).port) {
        usage.add(Usage::RuleEventsLost, 1);
    }
}
