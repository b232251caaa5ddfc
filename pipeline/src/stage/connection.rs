//! Is this packet part of a connection that may go on?

use andromede_abi::{Direction, DropReason, EndpointMark, FlowRow, RuleNumber, Stage, flow_flag, flow_state};

use crate::{packet::Packet, tables::Tables, verdict::Refusal};

/// The time of a row is written once a second at most, unless the state changes.
pub(crate) const TOUCH_INTERVAL: u64 = 1_000_000_000;

/// What a row means for a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The row's action holds.
    Fresh,
    /// A port or location changed since: the opening packet is to be judged again.
    Stale,
    /// The row is over: the packet is judged as if there were none.
    Over,
    /// The connection was cut, and this packet cannot open it again.
    Cut,
}

/// Did the packet's sender open the connection?
#[inline(always)]
pub(crate) const fn is_forward(row: &FlowRow, direction: Direction) -> bool {
    matches!(direction, Direction::HighToLow) == (row.flags & flow_flag::HIGH_INITIATED != 0)
}

/// What the row means for this packet.
#[inline(always)]
pub(crate) fn standing<T: Tables>(
    tables: &T,
    row: &FlowRow,
    packet: &Packet,
    direction: Direction,
    now: u64,
) -> Standing {
    if row.is_over(now) {
        return Standing::Over;
    }
    if row.state & flow_state::CUT != 0 {
        // Only the initiator may open the flow again; where a handshake opens, either side may, and is judged as what it is.
        let again = packet.opens() && (packet.has_handshake() || is_forward(row, direction));
        return if again { Standing::Over } else { Standing::Cut };
    }
    if knocks(packet) && flow_state::is_closed(row.state) {
        return Standing::Over;
    }
    if is_fresh(tables, row) { Standing::Fresh } else { Standing::Stale }
}

/// The refusal of a packet whose connection was cut by this rule.
#[inline(always)]
pub(crate) const fn refuse_cut(rule: RuleNumber) -> Refusal {
    Refusal::by_rule(Stage::Flow, DropReason::ConnectionCut, rule)
}

/// The refusal of a packet that has no connection and cannot open one.
#[inline(always)]
pub(crate) const fn refuse_unknown(packet: &Packet) -> Refusal {
    let reason = if packet.is_syn_ack() { DropReason::UnaskedSynAck } else { DropReason::NoConnection };
    Refusal::new(Stage::Flow, reason)
}

/// Do both ends still have the epochs by which the row was judged?
#[inline(always)]
pub(crate) fn is_fresh<T: Tables>(tables: &T, row: &FlowRow) -> bool {
    let holds = |mark: EndpointMark| tables.epoch(mark.slot) == Some(mark.epoch);
    holds(row.low) && holds(row.high)
}

/// When a connection is opened now: in steps of about a millisecond, as its number has it.
#[inline(always)]
pub(crate) const fn moment(now: u64) -> u32 {
    (now >> 20) as u32
}

/// How long ago the connection of this row was opened, in such steps.
#[inline(always)]
pub(crate) const fn age(row: &FlowRow, now: u64) -> u32 {
    moment(now).wrapping_sub(row.connection as u32)
}

/// Would the packet open a connection by a handshake? It shows nothing of one that is there, and keeps no row alive.
#[inline(always)]
pub(crate) const fn knocks(packet: &Packet) -> bool {
    packet.has_handshake() && packet.opens()
}

/// Must the row be written?
#[inline(always)]
pub(crate) const fn is_due(row: &FlowRow, next: u32, packet: &Packet, now: u64) -> bool {
    next != row.state || (!knocks(packet) && now.saturating_sub(row.seen) > TOUCH_INTERVAL)
}
