//! What the walk is told, read from the socket buffer.

use core::arch::asm;

use andromede_abi::{Address, HostConfig, OWN_MARK, hook};
use andromede_pipeline::{Context, Tunnel};
use aya_ebpf::{
    bindings::{__sk_buff, bpf_tunnel_key},
    helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_skb_get_tunnel_key},
};

use crate::maps::Clock;

/// The context of a frame at this hook.
#[inline(always)]
pub fn read<'a>(skb: *mut __sk_buff, hook: u8, host: &'a HostConfig, clock: &mut Clock) -> Context<'a> {
    // SAFETY: `skb` is the context of a running program.
    unsafe {
        Context {
            hook,
            ifindex: (*skb).ifindex,
            gso_size: (*skb).gso_size,
            now: now(clock),
            tunnel: if hook == hook::FROM_OVERLAY { tunnel(skb) } else { Tunnel::NONE },
            marked: !is_any((*skb).mark ^ OWN_MARK),
            own: hook == hook::FROM_HOST && is_any(is_own(skb)),
            tagged: is_any((*skb).vlan_present),
            host,
        }
    }
}

/// Is any bit set? Without a branch: the verifier would follow all of the walk once for each answer, and these two are asked first.
#[inline(always)]
fn is_any(word: u32) -> bool {
    let mut carry = (word as u64 + u32::MAX as u64) >> 32;
    // SAFETY: a register keeps what it holds; the compiler is not told that it is an answer.
    unsafe { asm!("{0} = {0}", inout(reg) carry, options(nomem, nostack, preserves_flags)) }
    carry & 1 != 0
}

/// Did the node itself make the frame? What it forwards came from an interface, and has lost the socket of whoever made it: the kernel
/// forwards nothing that has one (`ip_forward`, net/ipv4/ip_forward.c). The interface alone does not tell: pieces into which IPv6
/// cuts what it forwards have none (`ip6_copy_metadata`, net/ipv6/ip6_output.c).
///
/// A global function: the verifier forgets which answer it was, as in [`is_any`]; a pointer cannot be calculated with.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_own(skb: *mut __sk_buff) -> u32 {
    // SAFETY: words of the context of a running program; the socket is compared with none, and not looked into.
    unsafe { ((*skb).ingress_ifindex == 0 && !(*skb).__bindgen_anon_2.sk.is_null()).into() }
}

/// The time by the coarse clock. The kernel moves that once a tick: within a tick it is what it was when it was read first. The number of
/// the tick is a word that the program reads (the verifier writes that in place of the call); the clock is two calls.
#[inline(always)]
pub fn now(clock: &mut Clock) -> u64 {
    // SAFETY: neither has a precondition.
    unsafe {
        let tick = bpf_jiffies64();
        if tick != clock.tick {
            // The tick before the time: what is read between two ticks is read again in the second.
            (clock.tick, clock.now) = (tick, bpf_ktime_get_coarse_ns());
        }
    }
    clock.now
}

/// The tunnel key that the kernel's vxlan device left. IPv6 tunnels have none here: the flag for them is not given.
/// A function of its own, for its stack.
#[inline(never)]
fn tunnel(skb: *mut __sk_buff) -> Tunnel {
    // SAFETY: plain integers; zero is a value of each.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    // SAFETY: the size is that of the key.
    let failed = unsafe { bpf_skb_get_tunnel_key(skb, &raw mut key, size_of::<bpf_tunnel_key>() as u32, 0) };
    if failed != 0 {
        return Tunnel::NONE;
    }
    // SAFETY: without the IPv6 flag the kernel fills the IPv4 form.
    let sender = unsafe { key.__bindgen_anon_1.remote_ipv4 };
    Tunnel::new(key.tunnel_id, Address::from_v4_word(sender.to_be()))
}
