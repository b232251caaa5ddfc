//! The way of an ICMP error: along the connection whose packet it quotes, back to who sent that packet.
//!
//! No rule is asked: the error is part of a connection that they permit. It neither opens a connection nor changes or keeps one
//! (RFC 5508, REQ-4 and REQ-6), and passes only where the connection's row holds as it is.

use andromede_abi::{Direction, DropReason, Stage, flow_state, hook, location_kind};

use crate::{
    context::Context,
    frame::Frame,
    packet::flow_key,
    passage::along,
    quote,
    scratch::Scratch,
    stage::{connection, locate, sender_guard},
    tables::{FlowRef, Tables},
    translation,
    verdict::Refusal,
    wire::ethernet,
};

const UNRELATED: Refusal = Refusal::new(Stage::Flow, DropReason::UnrelatedIcmpError);

/// Lets an error pass to who sent the packet that it quotes.
#[inline(always)]
pub(crate) fn pass<F: Frame, T: Tables>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
) -> Result<(), Refusal> {
    let length = scratch.opening.frame_length.wrapping_sub(ethernet::HEADER as u32);
    quote::read(frame, &scratch.packet, length, &mut scratch.opening_packet)?;
    if context.hook == hook::FROM_HOST {
        translation::inward_quote(scratch);
    }
    // From the underlay no row vouches for the sender, which may be any address on the way: its location must.
    guard(tables, scratch)?;
    find(context, tables, scratch)?;
    along(context.host, scratch, Stage::Flow)
}

/// The location of the error's source must name the host that sent it over the underlay. And the source must be the destination of the
/// quoted packet, or lie on the way to it: as ports do not forward, only what is behind a foreign tunnel endpoint does. In the kernel a
/// function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn guard<T: Tables>(tables: &T, scratch: &mut Scratch) -> Result<(), Refusal> {
    let Scratch { packet, opening_packet: quoted, opening, location, .. } = scratch;
    let is_known = locate::locate(tables, opening.network, packet.source, location);
    if opening.sender != 0 {
        if !is_known {
            return Err(sender_guard::NOT_HOLDER);
        }
        sender_guard::holds(opening.sender, location)?;
    }
    let is_on_the_way = packet.source == quoted.destination || (is_known && location.kind == location_kind::VTEP);
    if is_on_the_way { Ok(()) } else { Err(UNRELATED) }
}

/// Finds the connection of the quoted packet. In the kernel a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn find<T: Tables>(context: &Context<'_>, tables: &T, scratch: &mut Scratch) -> Result<(), Refusal> {
    let Scratch { row, key, packet, opening_packet: quoted, opening, .. } = scratch;
    if quoted.source != packet.destination {
        return Err(UNRELATED);
    }
    opening.direction = match flow_key(opening.network, quoted, key) {
        Direction::LowToHigh => Direction::HighToLow,
        Direction::HighToLow => Direction::LowToHigh,
    };
    let flow = tables.flow(key).ok_or(UNRELATED)?;
    let holds = flow.copy_to(row)
        && !row.is_over(context.now)
        && row.state & flow_state::CUT == 0
        && connection::is_fresh(tables, row);
    if holds { Ok(()) } else { Err(UNRELATED) }
}
