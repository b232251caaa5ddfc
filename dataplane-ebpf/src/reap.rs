use core::ffi::{c_long, c_void};

use andromede_abi::{FlowKey, FlowRow};
use aya_ebpf::helpers::{
    bpf_for_each_map_elem, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_timer_init, bpf_timer_set_callback,
    bpf_timer_start,
};

use crate::maps;

const PERIOD: u64 = 5_000_000_000;
/// `CLOCK_MONOTONIC`.
const CLOCK_MONOTONIC: u64 = 1;

#[inline(always)]
pub fn arm() -> i64 {
    let Some(reaper) = maps::REAPER.get_ptr_mut(0) else { return -1 };
    unsafe {
        let timer = &raw mut (*reaper).timer;
        (&raw mut (*reaper).heartbeat).write_volatile(bpf_ktime_get_coarse_ns());
        bpf_timer_init(timer, (&raw const maps::REAPER).cast_mut().cast(), CLOCK_MONOTONIC);
        bpf_timer_set_callback(timer, tick as *mut c_void);
        bpf_timer_start(timer, PERIOD, 0)
    }
}

/// The timer's callback.
unsafe extern "C" fn tick(_map: *mut c_void, _key: *mut u32, reaper: *mut maps::Reaper) -> c_long {
    unsafe {
        let now = bpf_ktime_get_coarse_ns();
        let mut walk: u64 = now;
        if now.wrapping_sub((&raw const (*reaper).heartbeat).read_volatile()) > PERIOD {
            let t0 = bpf_ktime_get_ns();
            bpf_for_each_map_elem(
                (&raw const maps::FLOWS).cast_mut().cast(),
                each as *mut c_void,
                (&raw mut walk).cast(),
                0,
            );
            (*reaper).ran = now;
            (*reaper).took = bpf_ktime_get_ns() - t0;
            (*reaper).reaped += walk - now;
        }
        bpf_timer_start(&raw mut (*reaper).timer, PERIOD, 0);
    }
    0
}

unsafe extern "C" fn each(_map: *mut c_void, key: *const FlowKey, row: *mut FlowRow, now: *mut u64) -> c_long {
    unsafe {
        if (*row).seen < 100 && (*now).wrapping_sub((*row).seen) > PERIOD {
            let _ = maps::FLOWS.remove(&*key);
            *now += 1;
        }
    }
    0
}
