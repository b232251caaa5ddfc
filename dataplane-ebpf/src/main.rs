//! The kernel half of the packet path.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

mod maps;

use andromede_abi::HostConfig;
use aya_ebpf::{bindings::TC_ACT_OK, macros::classifier, programs::TcContext};

#[unsafe(no_mangle)]
static HOST: HostConfig = HostConfig {
    host: 0, underlay_v4: 0, underlay_ifindex: 0, overlay_ifindex: 0, vxlan_port: 0, underlay_mac: [0; 6], features: 0, underlay_mtu: 0,
};

macro_rules! stub { ($($name:ident)*) => { $(
    #[classifier]
    pub fn $name(_ctx: TcContext) -> i32 {
        let host = unsafe { core::ptr::read_volatile(&raw const HOST) };
        if host.host == 0 { 2 } else { TC_ACT_OK as i32 }
    }
)* } }
stub!(from_workload from_underlay from_overlay from_host);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
