//! Is this packet part of a connection that may go on?

use andromede_abi::{Direction, DropReason, EndpointMark, FlowRow, RuleNumber, Stage, flow_flag, flow_state};

use crate::{
    packet::{Packet, Transport},
    tables::Tables,
    verdict::Refusal,
    wire::tcp,
};

/// State and time of a row are written once a second at most, unless the state changes.
const TOUCH_INTERVAL: u64 = 1_000_000_000;

/// What a row means for a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The row's action holds.
    Fresh,
    /// A port or location changed since: the opening packet is to be judged again.
    Stale,
    /// The row is over: the packet is judged as if there were none.
    Over,
}

/// Did the packet's sender open the connection?
#[inline(always)]
pub(crate) const fn is_forward(row: &FlowRow, direction: Direction) -> bool {
    matches!(direction, Direction::HighToLow) == (row.flags & flow_flag::HIGH_INITIATED != 0)
}

/// What the row means for this packet, or why the packet is refused.
#[inline(always)]
pub(crate) fn standing<T: Tables>(
    tables: &T,
    row: &FlowRow,
    packet: &Packet,
    direction: Direction,
    now: u64,
) -> Result<Standing, Refusal> {
    if row.is_over(now) {
        return Ok(Standing::Over);
    }
    if row.state & flow_state::CUT != 0 {
        return cut(row, packet, direction);
    }
    if packet.is_syn() && is_closed(row.state) {
        return Ok(Standing::Over);
    }
    let fresh = is_fresh(tables, row.low) && is_fresh(tables, row.high);
    Ok(if fresh { Standing::Fresh } else { Standing::Stale })
}

/// After a cut only the initiator may open the flow again, and TCP only by a SYN.
#[inline(always)]
fn cut(row: &FlowRow, packet: &Packet, direction: Direction) -> Result<Standing, Refusal> {
    let again = match packet.transport {
        Transport::Tcp => packet.is_syn(),
        _ => is_forward(row, direction) && packet.opens(),
    };
    if again {
        return Ok(Standing::Over);
    }
    Err(refuse_cut(row.cut_rule))
}

/// The refusal of a packet whose connection was cut by this rule.
#[inline(always)]
pub(crate) const fn refuse_cut(rule: RuleNumber) -> Refusal {
    Refusal::by_rule(Stage::Flow, DropReason::ConnectionCut, rule)
}

#[inline(always)]
fn is_fresh<T: Tables>(tables: &T, mark: EndpointMark) -> bool {
    tables.epoch(mark.slot) == Some(mark.epoch)
}

/// Is the TCP connection over, so that a SYN begins another?
#[inline(always)]
const fn is_closed(state: u32) -> bool {
    const BOTH: u32 = flow_state::FIN_FORWARD | flow_state::FIN_BACKWARD;
    state & flow_state::RESET != 0 || state & BOTH == BOTH
}

/// The state after this packet.
#[inline(always)]
pub(crate) const fn next_state(state: u32, packet: &Packet, forward: bool) -> u32 {
    let mut next = state;
    if !forward {
        next |= flow_state::REPLIED;
    }
    if matches!(packet.transport, Transport::Tcp) {
        if packet.tcp_flags & tcp::FIN != 0 {
            next |= if forward { flow_state::FIN_FORWARD } else { flow_state::FIN_BACKWARD };
        }
        if packet.tcp_flags & tcp::RST != 0 {
            next |= flow_state::RESET;
        }
        if forward && state & flow_state::REPLIED != 0 && packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::ACK {
            next |= flow_state::ESTABLISHED;
        }
    }
    next
}

/// Must the row be written?
#[inline(always)]
pub(crate) const fn is_due(row: &FlowRow, next: u32, now: u64) -> bool {
    next != row.state || now.saturating_sub(row.seen) > TOUCH_INTERVAL
}
