//! What was decided about a packet a moment ago, kept by this processor for the next one: see `andromede_pipeline::Microflow`.

use andromede_abi::{HostConfig, hook};
use andromede_pipeline::{Context, Microflow, Scratch, Sight};
use aya_ebpf::bindings::__sk_buff;

use crate::{
    context,
    frame::Buffer,
    host,
    kept::{forget, generation},
    maps::{self, Desk},
};

/// Decisions that a processor keeps; a power of two. Two that belong into the same place take turns.
pub const MICROFLOWS: usize = 1024;

/// What was decided about the last packet of a connection, and the generation that was read before it was. While one is decided about,
/// the generation waits.
#[repr(C)]
pub struct KeptMicroflow {
    generation: u64,
    next: u64,
    microflow: Microflow,
}

/// No place for what will be decided.
const NOWHERE: u32 = u32::MAX;

/// Decides about a workload's frame as about the last one of its connection, if that can be; says whether it did. The frame's headers
/// are linear.
///
/// A global function, as the stages: the verifier follows none of its ways on into the walk.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn resume_from_workload(skb: *mut __sk_buff) -> u32 {
    resume::<{ hook::FROM_WORKLOAD }>(skb)
}

/// The same, about a frame from the underlay.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn resume_from_underlay(skb: *mut __sk_buff) -> u32 {
    resume::<{ hook::FROM_UNDERLAY }>(skb)
}

#[inline(always)]
fn resume<const HOOK: u8>(skb: *mut __sk_buff) -> u32 {
    let Some(desk) = maps::SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: the one row of this processor; who calls this does not touch it until it is done.
    let Desk { scratch, clock, place } = unsafe { &mut *desk };
    *place = NOWHERE;
    let frame = Buffer::as_is(skb);
    let now = context::now(clock);
    // SAFETY: words of the context of a running program.
    let context = unsafe {
        Context {
            gso_size: (*skb).gso_size,
            tagged: (*skb).vlan_present != 0,
            ..Context::at(HOOK, (*skb).ifindex, now, host())
        }
    };
    let sight = Sight::of(&frame, &context);
    if !sight.is_plain() {
        return 0;
    }
    let index = sight.place() & (MICROFLOWS as u32 - 1);
    let Some(kept) = maps::MICROFLOWS.get_ptr_mut(index) else { return 0 };
    // SAFETY: the place of this processor; programs of one processor do not interrupt each other at these hooks.
    let kept = unsafe { &mut *kept };
    if sight.changes() {
        forget(&mut kept.generation);
        return 0;
    }
    let generation = generation();
    if generation != 0 && kept.generation == generation && kept.microflow.is_of(&sight, now) {
        kept.microflow.apply(scratch);
        return 1;
    }
    forget(&mut kept.generation);
    kept.next = generation;
    kept.microflow.begin(&sight);
    *place = index;
    0
}

/// Keeps what was decided about the packet that did not resume just now, if it holds for the next one.
#[inline(always)]
pub fn keep(place: u32, scratch: &Scratch, host: &HostConfig) {
    if place != NOWHERE && Microflow::may_be_kept(scratch) {
        write(place, scratch, host);
    }
}

/// A function of its own, for its stack.
#[inline(never)]
fn write(place: u32, scratch: &Scratch, host: &HostConfig) {
    if let Some(kept) = maps::MICROFLOWS.get_ptr_mut(place) {
        // SAFETY: as in `resume`.
        let kept = unsafe { &mut *kept };
        kept.microflow.keep(scratch, host);
        kept.generation = kept.next;
    }
}
