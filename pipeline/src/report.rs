//! What rules decide is counted, and what is reported of it chosen.

use andromede_abi::{Action, RuleEvent, RuleNumber, rule, rule_direction};

use crate::{lifetime, scratch::Scratch, stages::Stages, tables::Tables};

/// A packet was refused, or a connection opened or judged again: counts it for the rules that decided, and chooses which of those that
/// say `log` may report it. In the kernel a function of its own: no established packet comes here.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn settle<T: Stages>(tables: &T, now: u64, scratch: &mut Scratch) {
    let Scratch { row, verdict, opening, .. } = scratch;
    if verdict.reason.is_some() {
        count(tables, verdict.rule);
        // What its rules allowed, and something else refused, none of them decided.
        if verdict.rule < rule::FIRST {
            scratch.logged = 0;
        }
    } else if !opening.is_known {
        count(tables, row.egress_rule);
        count(tables, row.ingress_rule);
    }
    if scratch.logged != 0 {
        choose(tables, now, scratch);
    }
}

/// Counts a hit of a rule that somebody wrote.
#[inline(always)]
fn count<T: Tables>(tables: &T, rule: RuleNumber) {
    if rule >= rule::FIRST {
        tables.hit(rule);
    }
}

/// Takes the tokens of the ports whose rules say `log`.
#[inline(always)]
fn choose<T: Stages>(tables: &T, now: u64, scratch: &mut Scratch) {
    let Scratch { packet, opening, row, terms, .. } = scratch;
    // Who is refused was not told its tenant yet.
    lifetime::ask(tables, opening.network, packet.protocol, row.state, terms);
    if scratch.logged & rule_direction::EGRESS != 0
        && tables.may_report(scratch.initiator.slot(), scratch.terms.tenant, now)
    {
        scratch.reported |= rule_direction::EGRESS;
    }
    if scratch.logged & rule_direction::INGRESS != 0
        && tables.may_report(scratch.answerer.slot(), scratch.terms.tenant, now)
    {
        scratch.reported |= rule_direction::INGRESS;
    }
}

/// The event that a rule of this direction sends, as [`Scratch::reported`] says. `now` is the time of the packet.
#[inline(always)]
pub const fn rule_event(scratch: &Scratch, direction: u8, now: u64) -> RuleEvent {
    let Scratch { packet, verdict, row, opening, initiator, answerer, .. } = scratch;
    let is_refused = verdict.reason.is_some();
    let (port, rule) = match direction {
        rule_direction::EGRESS => (initiator.slot(), row.egress_rule),
        _ => (answerer.slot(), row.ingress_rule),
    };
    RuleEvent {
        time: now,
        connection: if is_refused { 0 } else { row.connection },
        rule: if is_refused { verdict.rule } else { rule },
        port,
        network: verdict.network,
        length: opening.frame_length,
        source: packet.source,
        destination: packet.destination,
        source_port: packet.source_port,
        destination_port: packet.service_port,
        protocol: packet.protocol,
        tcp_flags: packet.tcp_flags,
        direction,
        action: if is_refused { Action::Deny as u8 } else { Action::Allow as u8 },
    }
}
