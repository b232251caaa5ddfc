//! Removing connections that are over.
//!
//! The agent runs the program `reap` with keys of connections that it found to be over. When no agent has done so for a while, a timer
//! of the kernel looks through the whole table instead: expiry does not need an agent.

use core::ffi::{c_long, c_void};

use andromede_abi::{FlowKey, FlowRow, ReapRequest, Usage, reap_operation};
use andromede_pipeline::{Tables, UsageRef, reap};
use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::{
        bpf_for_each_map_elem, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_loop, bpf_skb_load_bytes, bpf_timer_init,
        bpf_timer_set_callback, bpf_timer_start,
    },
    programs::TcContext,
};

use crate::{
    kept,
    key::StackKey,
    maps,
    tables::{Flow, Maps},
};

/// Nanoseconds without a sign of an agent after which the kernel looks through the table, and between two such times.
const PERIOD: u64 = 10_000_000_000;
/// Nanoseconds until it goes on, if it could not remove all that was over in one go.
const SOON: u64 = 1_000_000_000;
/// Connections that the timer removes in one go at most.
const REAPED_MOST: u64 = 16_384;
/// `CLOCK_MONOTONIC` (linux/time.h).
const CLOCK_MONOTONIC: u64 = 1;
/// `EINVAL`: the request is not one.
const EINVAL: i32 = 22;

/// The program: carries a request out. What it returns is said at [`reap_operation`].
#[inline(always)]
pub fn run(ctx: &TcContext) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context of a running program.
    let (data, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    let body = data + size_of::<ReapRequest>();
    if body > end {
        return EINVAL;
    }
    // SAFETY: inside the data by the check above; any bytes are a request.
    let request = unsafe { (data as *const ReapRequest).read_unaligned() };
    match request.operation {
        reap_operation::BEAT => beat(),
        reap_operation::REAP => keys(skb, request.count, false),
        reap_operation::EVICT => keys(skb, request.count, true),
        reap_operation::CORRECT => correct(body, end),
        _ => EINVAL,
    }
}

/// An agent is there: the timer has nothing to do for a while.
#[inline(always)]
fn beat() -> i32 {
    let Some(reaper) = maps::REAPER.get_ptr_mut(0) else { return EINVAL };
    // SAFETY: the one row of the array, and its timer. To start a timer that is there already is no error.
    unsafe {
        (&raw mut (*reaper).heartbeat).write_volatile(bpf_ktime_get_coarse_ns());
        let timer = &raw mut (*reaper).timer;
        bpf_timer_init(timer, (&raw const maps::REAPER).cast_mut().cast(), CLOCK_MONOTONIC);
        let set = bpf_timer_set_callback(timer, tick as *mut c_void);
        if set != 0 {
            return -set as i32;
        }
        -bpf_timer_start(timer, PERIOD, 0) as i32
    }
}

/// What the look through a request carries along.
#[repr(C)]
struct Request {
    skb: *mut __sk_buff,
    now: u64,
    even_live: u64,
    removed: u64,
}

/// The connections whose keys stand in the request. The kernel's own loop: the verifier looks at one round of it.
#[inline(always)]
fn keys(skb: *mut __sk_buff, count: u32, even_live: bool) -> i32 {
    let count = if count as usize > ReapRequest::KEYS_MAX { ReapRequest::KEYS_MAX as u32 } else { count };
    // SAFETY: the clock has no precondition; the callback gets what it is given here.
    let removed = unsafe {
        let mut request = Request { skb, now: bpf_ktime_get_coarse_ns(), even_live: even_live as u64, removed: 0 };
        bpf_loop(count, one as *mut c_void, (&raw mut request).cast(), 0);
        request.removed as i32
    };
    if even_live {
        // What was decided about them a moment ago does not count any more.
        kept::advance();
    }
    removed
}

/// The callback for one key of a request. Anything but 0 ends the loop.
unsafe extern "C" fn one(index: u32, request: *mut Request) -> c_long {
    let mut key = StackKey::<FlowKey>::unread();
    let at = size_of::<ReapRequest>() as u32 + index * size_of::<FlowKey>() as u32;
    // SAFETY: `keys` handed the request over; the size is that of the key, which any bytes are.
    unsafe {
        if bpf_skb_load_bytes((*request).skb.cast(), at, key.as_mut_ptr().cast(), size_of::<FlowKey>() as u32) != 0 {
            return 1;
        }
        let key = key.get();
        if let Some(flow) = Maps.flow(key)
            && reap(&Maps, key, &flow, (*request).even_live != 0, (*request).now)
        {
            (*request).removed += 1;
        }
    }
    0
}

/// Adds to a word of a usage row.
#[inline(always)]
fn correct(body: usize, end: usize) -> i32 {
    if body + 16 > end {
        return EINVAL;
    }
    // SAFETY: inside the data by the check above.
    let (slot, word, by) = unsafe {
        (
            (body as *const u32).read_unaligned(),
            ((body + 4) as *const u32).read_unaligned(),
            ((body + 8) as *const i64).read_unaligned(),
        )
    };
    let Some(row) = Maps.usage(slot) else { return EINVAL };
    match word {
        0 => row.add(Usage::Inbound, by),
        1 => row.add(Usage::Outbound, by),
        2 => row.add(Usage::InboundHalfOpen, by),
        3 => row.add(Usage::OutboundHalfOpen, by),
        _ => return EINVAL,
    };
    0
}

/// What the look through the table carries along. What is counted stands in the row, of whose content the verifier knows nothing:
/// it would follow a number on the stack through all its values.
#[repr(C)]
struct Walk {
    now: u64,
    reaper: *mut maps::Reaper,
}

/// The timer's callback.
unsafe extern "C" fn tick(_map: *mut c_void, _key: *mut u32, reaper: *mut maps::Reaper) -> c_long {
    // SAFETY: the kernel calls this with the row of the timer.
    unsafe {
        let now = bpf_ktime_get_coarse_ns();
        let mut next = PERIOD;
        if now.wrapping_sub((&raw const (*reaper).heartbeat).read_volatile()) > PERIOD {
            let begun = bpf_ktime_get_ns();
            (&raw mut (*reaper).round).write_volatile(0);
            let mut walk = Walk { now, reaper };
            let flows = (&raw const maps::FLOWS).cast_mut().cast();
            bpf_for_each_map_elem(flows, each as *mut c_void, (&raw mut walk).cast(), 0);
            (*reaper).ran = now;
            (*reaper).took = bpf_ktime_get_ns() - begun;
            let round = (&raw const (*reaper).round).read_volatile();
            (*reaper).reaped += round;
            if round >= REAPED_MOST {
                next = SOON;
            }
        }
        bpf_timer_start(&raw mut (*reaper).timer, next, 0);
    }
    0
}

/// The callback for one connection. Anything but 0 ends the look through the table.
unsafe extern "C" fn each(_map: *mut c_void, key: *const FlowKey, row: *mut FlowRow, walk: *mut Walk) -> c_long {
    // SAFETY: the kernel calls this with a key and its row, and with what `tick` handed over.
    unsafe {
        let flow = Flow::of(row, (*key).owner());
        if !reap(&Maps, &*key, &flow, false, (*walk).now) {
            return 0;
        }
        let round = &raw mut (*(*walk).reaper).round;
        let reaped = round.read_volatile() + 1;
        round.write_volatile(reaped);
        (reaped >= REAPED_MOST) as c_long
    }
}
