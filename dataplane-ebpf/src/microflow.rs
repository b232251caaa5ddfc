//! What was decided about a packet a moment ago, kept by this processor for the next one: see `andromede_pipeline::Microflow`.

use andromede_abi::hook;
use andromede_pipeline::{Context, Microflow, Scratch, Sight};
use aya_ebpf::bindings::__sk_buff;

use crate::{
    context,
    frame::Buffer,
    host,
    kept::{forget, generation},
    maps::{self, Desk},
    stages::shared,
};

/// Decisions that a processor keeps; a power of two. Two that belong into the same place take turns.
pub const MICROFLOWS: usize = 1024;

/// What was decided about the last packet of a connection, and the generation that was read before it was.
#[repr(C)]
pub struct KeptMicroflow {
    generation: u64,
    microflow: Microflow,
}

/// Where what is decided about the present packet may be kept, and the generation that was read before it is.
#[repr(C)]
pub struct Next {
    generation: u64,
    place: u32,
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
    let Desk { scratch, clock, next } = unsafe { &mut *desk };
    next.place = NOWHERE;
    let now = context::now(clock);
    let sight = look::<HOOK>(skb);
    if !sight.is_plain() {
        return 0;
    }
    let index = sight.place() & (MICROFLOWS as u32 - 1);
    let Some(kept) = maps::MICROFLOWS.get_ptr_mut(index) else { return 0 };
    // SAFETY: the place of this processor; programs of one processor do not interrupt each other at these hooks.
    let kept = unsafe { &mut *kept };
    if sight.changes() {
        kept.generation = 0;
        return 0;
    }
    let generation = generation();
    if generation != 0 && kept.generation == generation && kept.microflow.is_of(&sight, now) {
        kept.microflow.apply(&sight, scratch);
        return 1;
    }
    // Before tables are read: on a processor that reads ahead they would else be read as they were before the generation was.
    forget(&mut next.generation);
    (next.generation, next.place) = (generation, index);
    0
}

/// What the headers of the frame say, which are linear.
#[inline(always)]
fn look<const HOOK: u8>(skb: *mut __sk_buff) -> Sight {
    // SAFETY: words of the context of a running program.
    let context = unsafe {
        Context {
            gso_size: (*skb).gso_size,
            tagged: (*skb).vlan_present != 0,
            ..Context::at(HOOK, (*skb).ifindex, 0, host())
        }
    };
    Sight::of(&Buffer::as_is(skb), &context)
}

/// Keeps what was decided about the packet that did not resume just now, if it holds for the next one.
#[inline(always)]
pub fn keep<const HOOK: u8>(skb: *mut __sk_buff, next: &Next, now: u64, scratch: &mut Scratch) {
    if next.place == NOWHERE || !Microflow::may_be_kept(scratch, now) {
        return;
    }
    match HOOK {
        hook::FROM_WORKLOAD => shared(scratch, || keep_from_workload(skb)),
        hook::FROM_UNDERLAY => shared(scratch, || keep_from_underlay(skb)),
        _ => 0,
    };
}

/// Global functions, as those above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn keep_from_workload(skb: *mut __sk_buff) -> u32 {
    write::<{ hook::FROM_WORKLOAD }>(skb)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn keep_from_underlay(skb: *mut __sk_buff) -> u32 {
    write::<{ hook::FROM_UNDERLAY }>(skb)
}

#[inline(always)]
fn write<const HOOK: u8>(skb: *mut __sk_buff) -> u32 {
    let Some(desk) = maps::SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: as in `resume`.
    let Desk { scratch, next, .. } = unsafe { &*desk };
    let Some(kept) = maps::MICROFLOWS.get_ptr_mut(next.place) else { return 0 };
    // SAFETY: as in `resume`.
    let kept = unsafe { &mut *kept };
    kept.generation = 0;
    kept.microflow.keep(&look::<HOOK>(skb), scratch, host());
    kept.generation = next.generation;
    1
}
