//! The kernel half of the packet path: hooks, maps, frame access, apply. What is decided is decided in `pipeline`.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod apply;
mod context;
mod copy;
mod count;
mod frame;
mod kept;
mod key;
mod maps;
mod measure;
mod microflow;
mod reap;
mod rule_events;
mod stages;
mod tables;

use andromede_abi::{HostConfig, hook};
use aya_ebpf::{macros::classifier, programs::TcContext};

/// What the programs know of their host; the loader fills it before the kernel sees it.
#[unsafe(no_mangle)]
static HOST: HostConfig = HostConfig {
    host: 0,
    underlay_v4: 0,
    underlay_ifindex: 0,
    overlay_ifindex: 0,
    vxlan_port: 0,
    underlay_mac: [0; 6],
    features: 0,
    underlay_mtu: 0,
};

/// The global, by a pointer that the compiler knows nothing about: it saw zeroes, the kernel sees what the loader wrote.
#[inline(always)]
fn host() -> &'static HostConfig {
    let mut host = &raw const HOST;
    // SAFETY: the pointer stays what it is. It is an instruction, because the kernel refuses two lines of the source at one place.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) host, options(nomem, nostack, preserves_flags));
        &*host
    }
}

/// Ingress of the host side of a workload's interface.
#[classifier]
pub fn from_workload(ctx: TcContext) -> i32 {
    apply::run::<{ hook::FROM_WORKLOAD }>(&ctx, host())
}

/// Ingress of the underlay interface.
#[classifier]
pub fn from_underlay(ctx: TcContext) -> i32 {
    apply::run::<{ hook::FROM_UNDERLAY }>(&ctx, host())
}

/// Ingress of the external vxlan device.
#[classifier]
pub fn from_overlay(ctx: TcContext) -> i32 {
    apply::run::<{ hook::FROM_OVERLAY }>(&ctx, host())
}

/// Egress of the host side of a workload's interface.
#[classifier]
pub fn from_host(ctx: TcContext) -> i32 {
    apply::run::<{ hook::FROM_HOST }>(&ctx, host())
}

/// Removes connections that are over; attached nowhere, run by the agent.
#[classifier]
pub fn reap(ctx: TcContext) -> i32 {
    reap::run(&ctx)
}

/// No panic survives in a program that the verifier accepts: there is nothing to jump to.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are for programs under a licence that is compatible with the kernel's; the EUPL-1.2 is, by its appendix.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
