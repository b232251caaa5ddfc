//! Programs that `./x bench walk` runs and no host ever loads: parts of the packet path, so that each can be run again and again
//! on one frame and timed alone.

use andromede_abi::{HostConfig, hook};
use andromede_pipeline::{Frame, OVERHEAD, Put, Scratch, Tables, Verdict, carry_out, decide_into};
use aya_ebpf::{EbpfContext, bindings::__sk_buff, macros::classifier, programs::TcContext};

use crate::{apply, context, frame::Buffer, host, maps, tables::Maps};

/// Where the source port of a UDP datagram over IPv4 without options stands.
const SOURCE_PORT: usize = 14 + 20;
/// Source port of the tunnels.
const TUNNEL_PORT: u16 = 50_000_u16.to_be();

/// The cost of running a program at all.
#[classifier]
pub fn measure_nothing(_ctx: TcContext) -> i32 {
    0
}

/// A workload's frame is decided about, and nothing is done.
#[classifier]
pub fn measure_workload(ctx: TcContext) -> i32 {
    decide_only(&ctx, hook::FROM_WORKLOAD, host())
}

/// A frame from the underlay is decided about, and nothing is done.
#[classifier]
pub fn measure_underlay(ctx: TcContext) -> i32 {
    decide_only(&ctx, hook::FROM_UNDERLAY, host())
}

#[inline(always)]
fn decide_only(ctx: &TcContext, hook: u8, host: &HostConfig) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let Some(scratch) = scratch() else { return -1 };
    let frame = Buffer::new(skb, if hook == hook::FROM_UNDERLAY { OVERHEAD } else { 0 });
    let context = context::read(skb, hook, host);
    let mut verdict = Verdict::UNDECIDED;
    decide_into(&frame, &context, &Maps, scratch, &mut verdict);
    // All of it counts as used: nothing may be left out because nobody asks.
    core::hint::black_box(&verdict).target.kind as i32
}

/// A UDP datagram of a workload becomes one of another flow, which is opened.
#[classifier]
pub fn measure_opening(ctx: TcContext) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let Some(scratch) = scratch() else { return -1 };
    let mut frame = Buffer::new(skb, 0);
    let Some(port) = frame.load::<u16>(SOURCE_PORT) else { return -1 };
    if frame.store(SOURCE_PORT, port.wrapping_add(1)).is_none() {
        return -1;
    }
    let context = context::read(skb, hook::FROM_WORKLOAD, host());
    let mut verdict = Verdict::UNDECIDED;
    decide_into(&frame, &context, &Maps, scratch, &mut verdict);
    carry_out(&Maps, &context, scratch, &mut verdict);
    core::hint::black_box(&verdict).target.kind as i32
}

/// A row is put into the flow table, of another flow each time: the key that the last walk of this processor left counts on.
#[classifier]
pub fn measure_insert(_ctx: TcContext) -> i32 {
    let Some(scratch) = scratch() else { return -1 };
    scratch.key.low_port = scratch.key.low_port.wrapping_add(1);
    // It counts on no budget, and whoever removes it must know it for its own.
    (scratch.row.owner, scratch.row.hold) = (scratch.key.owner(), 0);
    if Maps.put_flow(&scratch.key, &scratch.row, Put::New).is_err() { -1 } else { 0 }
}

/// The outer header of a tunnel is put before the frame and removed again; where to is left by the last walk of this processor.
#[classifier]
pub fn measure_tunnel(ctx: TcContext) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let Some(scratch) = scratch() else { return -1 };
    let mut frame = Buffer::new(skb, 0);
    // The kernel marks a buffer as encapsulated for good, and refuses to do so twice: here the marks are left out.
    if apply::wrap(&mut frame, host(), &scratch.row.next_hop, TUNNEL_PORT, apply::GROW_UNMARKED).is_err() {
        return -1;
    }
    if apply::decapsulate(&mut frame, host()).is_err() { -1 } else { 0 }
}

#[inline(always)]
fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: the one row of this processor; programs of one processor do not interrupt each other here.
    maps::SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}
