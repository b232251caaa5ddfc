//! The stages that stand alone, as global functions: the verifier checks each once, and by itself. They take plain numbers only and
//! look the scratch space up again, because Linux 6.1 forgets of a pointer argument that it is one into a map.

use core::arch::asm;

use andromede_abi::{HostConfig, Slot};
use andromede_pipeline::{
    Account, Entry, Lack, Recognised, Scratch, Stages, TargetKind, ask, carry_out, change, enter_port, follow,
    is_asked, judge, may_report, outward, part,
};
use aya_ebpf::bindings::__sk_buff;

use crate::{frame::Buffer, host, kept, maps, tables::Maps};

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
    fn change(&self, account: &Account, by: i64) {
        let ends = u64::from(account.initiator) << 32 | u64::from(account.answerer);
        stage_change(account.hold, ends, account.tenant.into(), by.cast_unsigned());
    }

    #[inline(always)]
    fn enter(&self, entry: &Entry, now: u64) -> Lack {
        let kinds = u64::from(entry.is_outbound) << 33 | u64::from(entry.is_half_open) << 32;
        let most = u64::from(entry.flows_most) << 32 | u64::from(entry.half_open_most);
        Lack::from_number(stage_enter(kinds | u64::from(entry.slot), most, entry.new_flows_per_second.into(), now))
    }

    #[inline(always)]
    fn may_report(&self, slot: Slot, tenant: u32, now: u64) -> bool {
        stage_may_report(slot.into(), tenant.into(), now) != 0
    }

    #[inline(always)]
    fn outward(&self, ifindex: u32, scratch: &mut Scratch) {
        shared(scratch, || stage_outward(ifindex.into()));
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
pub fn shared<R>(scratch: &mut Scratch, stage: impl FnOnce() -> R) -> R {
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

/// See [`andromede_pipeline::translate`]; 0: the packet does not pass, or its frame is too short. What the caller knows of the frame's data
/// is over.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn translate(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch() else { return 0 };
    // A claim can fail after the decision: then the edit is there still, and the target is not.
    if matches!(scratch.verdict.target.kind, TargetKind::Drop) {
        return 0;
    }
    andromede_pipeline::translate(&mut Buffer::as_is(skb), scratch).is_some().into()
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

/// See [`Stages::outward`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stage_outward(ifindex: u64) -> u32 {
    scratch().map_or(0, |scratch| {
        outward(&Maps, ifindex as u32, scratch);
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

/// See [`Stages::change`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stage_change(hold: u64, ends: u64, tenant: u64, by: u64) -> u32 {
    let (initiator, answerer) = ((ends >> 32) as u32, ends as u32);
    change(&Maps, &Account { hold, initiator, answerer, tenant: tenant as u32, row: 1 }, by.cast_signed());
    1
}

/// See [`Stages::enter`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stage_enter(port: u64, most: u64, new_flows_per_second: u64, now: u64) -> u32 {
    let entry = Entry {
        slot: port as u32,
        flows_most: (most >> 32) as u32,
        half_open_most: most as u32,
        new_flows_per_second: new_flows_per_second as u32,
        is_outbound: port & 1 << 33 != 0,
        is_half_open: port & 1 << 32 != 0,
    };
    enter_port(&Maps, &entry, now) as u32
}

/// See [`Stages::may_report`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stage_may_report(slot: u64, tenant: u64, now: u64) -> u32 {
    may_report(&Maps, slot as u32, tenant as u32, now) as u32
}
