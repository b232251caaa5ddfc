//! The stages that stand alone, as global functions: the verifier checks each once, and by itself. They take plain numbers only and
//! look the scratch space up again, because Linux 6.1 forgets of a pointer argument that it is one into a map.

use core::arch::asm;

use andromede_abi::HostConfig;
use andromede_pipeline::{Recognised, Scratch, Stages, ask, carry_out, follow, is_asked, judge, part};

use crate::{host, kept, maps, tables::Maps};

impl Stages for Maps {
    #[inline(always)]
    fn meet(&self, scratch: &mut Scratch) {
        share(scratch);
    }

    #[inline(always)]
    fn follow(&self, host: &HostConfig, now: u64, scratch: &mut Scratch) -> Recognised {
        follow(self, host, now, scratch)
    }

    #[inline(always)]
    fn part(&self, now: u64, scratch: &mut Scratch) -> Recognised {
        Recognised::from_number(shared(scratch, || stage_part(now)))
    }

    #[inline(always)]
    fn judge(&self, _host: &HostConfig, now: u64, scratch: &mut Scratch) {
        shared(scratch, || stage_judge(now));
    }

    #[inline(always)]
    fn recall(&self, scratch: &mut Scratch) -> bool {
        kept::recall(scratch)
    }

    #[inline(always)]
    fn keep(&self, scratch: &Scratch) {
        kept::keep(scratch);
    }

    #[inline(always)]
    fn ask(&self, scratch: &mut Scratch) {
        shared(scratch, || stage_ask());
    }

    #[inline(always)]
    fn carry_out(&self, now: u64, scratch: &mut Scratch) {
        share(scratch);
        if is_asked(scratch) {
            shared(scratch, || stage_carry_out(now));
        }
    }
}

/// Runs what reads and writes the scratch space by itself.
#[inline(always)]
fn shared<R>(scratch: &mut Scratch, stage: impl FnOnce() -> R) -> R {
    share(scratch);
    let result = stage();
    share(scratch);
    result
}

/// Tells the compiler that others read and write what is behind the reference. One instruction that does nothing: with none at all,
/// two lines of the source would stand at one place, which the kernel refuses (`check_btf_line`, kernel/bpf/verifier.c).
#[inline(always)]
fn share(scratch: &mut Scratch) {
    // SAFETY: a register keeps what it holds.
    unsafe { asm!("{0} = {0}", in(reg) core::ptr::from_mut(scratch), options(nostack, preserves_flags)) }
}

/// The scratch space of this processor.
#[inline(always)]
fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: the one row of this processor; who calls a stage does not touch it until the stage is done.
    maps::SCRATCH.get_ptr_mut(0).map(|desk| unsafe { &mut (*desk).scratch })
}

/// See [`Stages::part`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stage_part(now: u64) -> u32 {
    scratch().map_or(0, |scratch| part(&Maps, now, scratch) as u32)
}

/// See [`Stages::judge`]. Global functions return a number, even if it says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stage_judge(now: u64) -> u32 {
    scratch().map_or(0, |scratch| {
        judge(&Maps, host(), now, scratch);
        1
    })
}

/// See [`Stages::ask`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stage_ask() -> u32 {
    scratch().map_or(0, |scratch| {
        ask(&Maps, scratch);
        1
    })
}

/// See [`Stages::carry_out`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stage_carry_out(now: u64) -> u32 {
    scratch().map_or(0, |scratch| {
        carry_out(&Maps, now, scratch);
        1
    })
}
