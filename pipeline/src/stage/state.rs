//! Does a packet fit the state of its connection, and what is the state after it?
//!
//! A connection is followed from the side that opened it: *forward* is from the initiator to the answerer. What is not followed here
//! is left to the ends: sequence numbers, windows, tags.

use andromede_abi::{
    DropReason,
    flow_state::{CROSSED, ESTABLISHED, FIN_BACKWARD, FIN_FORWARD, REPLIED, RESET_BACKWARD, RESET_FORWARD},
};

use crate::{
    packet::{Packet, Transport},
    wire::{
        sctp::chunk,
        tcp::{ACK, FIN, RST, SYN},
    },
};

/// Why a packet does not fit a connection of this state, if it does not.
#[inline(always)]
pub(crate) const fn misfit(state: u32, packet: &Packet, forward: bool) -> Option<DropReason> {
    match packet.transport {
        Transport::Tcp => tcp_misfit(state, packet.tcp_flags, forward),
        Transport::Sctp => sctp_misfit(state, packet.chunk, forward),
        _ => None,
    }
}

/// The state of the connection after this packet.
#[inline(always)]
pub(crate) const fn after(state: u32, packet: &Packet, forward: bool) -> u32 {
    match packet.transport {
        Transport::Tcp => after_tcp(state, packet.tcp_flags, forward),
        Transport::Sctp => after_sctp(state, packet.chunk, forward),
        _ if forward => state,
        _ => state | REPLIED,
    }
}

/// The mark of a reset by the sender of a packet.
#[inline(always)]
const fn reset(forward: bool) -> u32 {
    if forward { RESET_FORWARD } else { RESET_BACKWARD }
}

#[inline(always)]
const fn tcp_misfit(state: u32, flags: u8, forward: bool) -> Option<DropReason> {
    if flags & RST != 0 {
        return None;
    }
    match (flags & (SYN | ACK), forward) {
        // The answerer of a live connection cannot open it; while it is half-open both may open at once (RFC 9293, section 3.5).
        (SYN, false) if state & ESTABLISHED != 0 || state & (REPLIED | CROSSED) == REPLIED => {
            Some(DropReason::UnexpectedOpen)
        }
        // A retransmission; of an established connection: its end challenges it (RFC 5961, section 4).
        (SYN, _) => None,
        // Only who opened at the same time as the other answers as initiator.
        (flags, true) if flags & SYN != 0 && state & CROSSED == 0 => Some(DropReason::UnaskedSynAck),
        (flags, _) if flags & SYN != 0 => None,
        _ if state & REPLIED != 0 => None,
        // Not answered yet. The answerer may challenge: it knows an older connection of these ports (RFC 5961, section 4).
        (_, false) if flags & FIN == 0 => None,
        _ => Some(DropReason::NotAnswered),
    }
}

/// RST only marks who sent it. Whoever truly reset a connection sends nothing more on it: a later segment of the same side shows that
/// somebody forged the reset, and takes the mark away.
#[inline(always)]
const fn after_tcp(state: u32, flags: u8, forward: bool) -> u32 {
    if flags & RST != 0 {
        return state | reset(forward);
    }
    let alive = state & !reset(forward);
    match (flags & (SYN | ACK), forward) {
        (SYN, true) => state,
        (SYN, false) => state | REPLIED | CROSSED,
        (flags, false) if flags & SYN != 0 => alive | REPLIED,
        _ if state & REPLIED == 0 => alive,
        (_, true) => alive | ESTABLISHED | if flags & FIN != 0 { FIN_FORWARD } else { 0 },
        (_, false) => alive | if flags & FIN != 0 { FIN_BACKWARD } else { 0 },
    }
}

#[inline(always)]
const fn sctp_misfit(state: u32, first: u8, forward: bool) -> Option<DropReason> {
    match (first, forward) {
        // Both may begin at once; an established association is begun anew by its initiator only.
        (chunk::INIT, false) if state & ESTABLISHED != 0 => Some(DropReason::UnexpectedOpen),
        (chunk::INIT | chunk::ABORT, _) | (chunk::INIT_ACK, false) => None,
        _ if state & REPLIED != 0 => None,
        _ => Some(DropReason::NotAnswered),
    }
}

#[inline(always)]
const fn after_sctp(state: u32, first: u8, forward: bool) -> u32 {
    match (first, forward) {
        (chunk::ABORT | chunk::SHUTDOWN_COMPLETE, _) => state | reset(forward),
        (chunk::INIT, true) => state,
        (chunk::INIT, false) => state | REPLIED | CROSSED,
        (chunk::INIT_ACK, false) => state & !reset(forward) | REPLIED,
        (chunk::COOKIE_ECHO, _) => state & !reset(forward) | ESTABLISHED,
        _ => state & !reset(forward),
    }
}
