//! Programs that `./x bench walk` runs and no host ever loads: parts of the packet path, so that each can be run again and again
//! on one frame and timed alone.

use andromede_abi::{HostConfig, hook};
use andromede_pipeline::{Frame, OVERHEAD, Put, Stages as _, Tables, decide};
use aya_ebpf::{EbpfContext, bindings::__sk_buff, macros::classifier, programs::TcContext};

use crate::{
    apply, context, count,
    frame::Buffer,
    host,
    maps::{self, Desk},
    microflow,
    tables::Maps,
};

/// Where the source port of a UDP datagram over IPv4 without options stands.
const SOURCE_PORT: usize = 14 + 20;
/// Where its destination stands.
const DESTINATION: usize = 14 + 16;
/// Where its payload begins: a mask and the state of the generator below, a u32 each, in the byte order of the machine.
const PAYLOAD: usize = SOURCE_PORT + 8;
/// First byte of the destinations that `measure_opening_random` draws.
const REMOTE: u32 = 11 << 24;
/// Second byte of the first of those of `measure_random`.
const FLOWS: u8 = 16;
/// Source port of the tunnels.
const TUNNEL_PORT: u16 = 50_000_u16.to_be();

/// The cost of running a program at all.
#[classifier]
pub fn measure_nothing(_ctx: TcContext) -> i32 {
    0
}

/// A workload's frame is decided about and counted, and nothing else is done.
#[classifier]
pub fn measure_workload(ctx: TcContext) -> i32 {
    recognise_only::<{ hook::FROM_WORKLOAD }>(&ctx, host())
}

/// A frame from the underlay is decided about and counted, and nothing else is done.
#[classifier]
pub fn measure_underlay(ctx: TcContext) -> i32 {
    recognise_only::<{ hook::FROM_UNDERLAY }>(&ctx, host())
}

/// As [`measure_workload`], without what was decided about the packet before.
#[classifier]
pub fn measure_workload_lookup(ctx: TcContext) -> i32 {
    decide_only(&ctx, hook::FROM_WORKLOAD, host())
}

/// As [`measure_underlay`], likewise.
#[classifier]
pub fn measure_underlay_lookup(ctx: TcContext) -> i32 {
    decide_only(&ctx, hook::FROM_UNDERLAY, host())
}

/// A UDP datagram of a workload becomes one of a flow by chance, and is decided about: the lower sixteen bits of the number are
/// its source port, the others are added to the second byte of its destination.
#[classifier]
pub fn measure_random(ctx: TcContext) -> i32 {
    let mut frame = Buffer::new(ctx.as_ptr().cast(), 0);
    let Some(number) = draw(&mut frame) else { return -1 };
    if frame.store(SOURCE_PORT, number as u16).is_none() {
        return -1;
    }
    if frame.store(DESTINATION + 1, FLOWS.wrapping_add((number >> 16) as u8)).is_none() {
        return -1;
    }
    decide_only(&ctx, hook::FROM_WORKLOAD, host())
}

/// Draws a number below or at the mask in the frame's payload (a linear congruence, of which the upper bits are used).
#[inline(always)]
fn draw(frame: &mut Buffer) -> Option<u32> {
    let [mask, state]: [u32; 2] = frame.load(PAYLOAD)?;
    let state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    frame.store(PAYLOAD + 4, state)?;
    Some(state >> 8 & mask)
}

#[inline(always)]
fn recognise_only<const HOOK: u8>(ctx: &TcContext, host: &HostConfig) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let Some(Desk { scratch, clock, next }) = desk() else { return -1 };
    let frame = Buffer::new(skb, if HOOK == hook::FROM_UNDERLAY { OVERHEAD } else { 0 });
    if !apply::resume::<HOOK>(skb, scratch) {
        let context = context::read(skb, HOOK, host, clock);
        decide(&frame, &context, &Maps, scratch);
        microflow::keep::<HOOK>(skb, next, context.now, scratch);
    }
    count::passed(scratch);
    scratch.verdict.target.kind as i32
}

#[inline(always)]
fn decide_only(ctx: &TcContext, hook: u8, host: &HostConfig) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let Some(Desk { scratch, clock, .. }) = desk() else { return -1 };
    let frame = Buffer::new(skb, if hook == hook::FROM_UNDERLAY { OVERHEAD } else { 0 });
    let context = context::read(skb, hook, host, clock);
    decide(&frame, &context, &Maps, scratch);
    count::passed(scratch);
    scratch.verdict.target.kind as i32
}

/// A UDP datagram of a workload becomes one of another flow, which is opened.
#[classifier]
pub fn measure_opening(ctx: TcContext) -> i32 {
    open_next(&ctx)
}

/// The same, towards a destination by chance: the number is the lower three bytes of its address.
#[classifier]
pub fn measure_opening_random(ctx: TcContext) -> i32 {
    let mut frame = Buffer::new(ctx.as_ptr().cast(), 0);
    let Some(number) = draw(&mut frame) else { return -1 };
    if frame.store(DESTINATION, (REMOTE | number).to_be()).is_none() {
        return -1;
    }
    open_next(&ctx)
}

#[inline(always)]
fn open_next(ctx: &TcContext) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let Some(Desk { scratch, clock, .. }) = desk() else { return -1 };
    let mut frame = Buffer::new(skb, 0);
    let Some(port) = frame.load::<u16>(SOURCE_PORT) else { return -1 };
    if frame.store(SOURCE_PORT, port.wrapping_add(1)).is_none() {
        return -1;
    }
    let context = context::read(skb, hook::FROM_WORKLOAD, host(), clock);
    decide(&frame, &context, &Maps, scratch);
    Maps.carry_out(context.now, scratch);
    scratch.verdict.target.kind as i32
}

/// A row is put into the flow table, of another flow each time: the key that the last walk of this processor left counts on.
#[classifier]
pub fn measure_insert(_ctx: TcContext) -> i32 {
    let Some(Desk { scratch, .. }) = desk() else { return -1 };
    scratch.key.low_port = scratch.key.low_port.wrapping_add(1);
    // It counts on no budget, and whoever removes it must know it for its own.
    (scratch.row.owner, scratch.row.hold) = (scratch.key.owner(), 0);
    if Maps.put_flow(&scratch.key, &scratch.row, Put::New).is_err() { -1 } else { 0 }
}

/// The outer header of a tunnel is put before the frame and removed again; where to is left by the last walk of this processor.
#[classifier]
pub fn measure_tunnel(ctx: TcContext) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let Some(Desk { scratch, .. }) = desk() else { return -1 };
    let mut frame = Buffer::new(skb, 0);
    // The kernel marks a buffer as encapsulated for good, and refuses to do so twice: here the marks are left out.
    let wrapped = apply::wrap(&mut frame, host(), &scratch.row.next_hop, TUNNEL_PORT, apply::GROW_UNMARKED);
    if !matches!(wrapped, Ok(true)) {
        return -1;
    }
    if apply::decapsulate(&mut frame, host()).is_err() { -1 } else { 0 }
}

#[inline(always)]
fn desk() -> Option<&'static mut Desk> {
    // SAFETY: the one row of this processor; programs of one processor do not interrupt each other here.
    maps::SCRATCH.get_ptr_mut(0).map(|desk| unsafe { &mut *desk })
}
