//! Carrying a verdict out: the only place that edits, grows, shrinks or redirects.

use andromede_abi::{DropReason, HostConfig, NextHop, OWN_MARK, Stage, feature, hook};
use andromede_pipeline::{
    Context, Frame, OUTER_TTL, OVERHEAD, Packet, Scratch, Stages as _, Target, TargetKind, apply_plain_edit, decide,
    outer_header, readdress,
};
use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_ADJ_ROOM_NO_CSUM_RESET, BPF_F_DONT_FRAGMENT, BPF_F_ZERO_CSUM_TX, TC_ACT_OK,
        TC_ACT_SHOT, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1,
        bpf_tunnel_key,
    },
    helpers::{
        bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer, bpf_skb_adjust_room, bpf_skb_change_type,
        bpf_skb_set_tunnel_key,
    },
    programs::TcContext,
};

use crate::{
    context, count,
    frame::Buffer,
    maps::{self, Desk},
    microflow, rule_events,
    stages::{shared, translate},
    tables::Maps,
};

/// Bytes of the Ethernet header, as words.
type Ethernet = [u16; 7];
/// Bytes of the outer header.
const ROOM: i32 = OVERHEAD as i32;
/// `BPF_F_ADJ_ROOM_ENCAP_L2(14)`: the inner frame begins with an Ethernet header (linux/bpf.h).
const INNER_ETHERNET: u64 = 14 << 56;
/// As whole words: the verifier wants accesses to the stack aligned.
#[repr(C, align(8))]
struct TunnelKey(bpf_tunnel_key);
/// Flags for making room for VXLAN over IPv4.
const GROW: u64 = GROW_UNMARKED
    | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 as u64
    | BPF_F_ADJ_ROOM_ENCAP_L4_UDP as u64
    | BPF_F_ADJ_ROOM_ENCAP_L2_ETH as u64
    | INNER_ETHERNET;
/// The same without saying what the room is for: only to be timed.
pub const GROW_UNMARKED: u64 = BPF_F_ADJ_ROOM_FIXED_GSO as u64 | BPF_F_ADJ_ROOM_NO_CSUM_RESET as u64;
/// Flag for removing it.
const SHRINK: u64 = BPF_F_ADJ_ROOM_FIXED_GSO as u64;
/// Keep what the hardware said about checksums: right only if the outer header had none.
const KEEP_CHECKSUM: u64 = BPF_F_ADJ_ROOM_NO_CSUM_RESET as u64;
/// `BPF_F_ADJ_ROOM_DECAP_L3_IPV6`: what is left is IPv6 (Linux 6.3).
const SHRINK_TO_IPV6: u64 = 1 << 8;
/// What the vxlan device writes is what is written here: DF set, no UDP checksum.
const AS_DIRECT: u64 = BPF_F_ZERO_CSUM_TX as u64 | BPF_F_DONT_FRAGMENT as u64;
/// Offset of the outer UDP checksum.
const OUTER_CHECKSUM: usize = 14 + 20 + 6;
/// Offset of the Ethernet type.
const ETHERNET_TYPE: usize = 12;
/// IPv6, network byte order.
const IPV6: u16 = 0x86dd_u16.to_be();
/// `AF_INET`.
const INET: u32 = 2;
/// `PACKET_HOST` (linux/if_packet.h): addressed to whoever receives it.
const PACKET_HOST: u32 = 0;

/// The whole way of a frame at a hook.
#[inline(always)]
pub fn run<const HOOK: u8>(ctx: &TcContext, host: &HostConfig) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let Some(desk) = maps::SCRATCH.get_ptr_mut(0) else { return TC_ACT_SHOT };
    // SAFETY: the one row of this processor; programs of one processor do not interrupt each other at these hooks.
    let Desk { scratch, clock, next } = unsafe { &mut *desk };
    let mut frame = Buffer::new(skb, if HOOK == hook::FROM_UNDERLAY { OVERHEAD } else { 0 });
    if resume::<HOOK>(skb, scratch) {
        return go_on::<HOOK>(&mut frame, host, scratch);
    }
    let context = context::read(skb, HOOK, host, clock);
    decide(&frame, &context, &Maps, scratch);
    // What the verifier knows of the data differs by the way that was gone: read anew, it is the same for all that follows.
    frame.reload();
    Maps.carry_out(context.now, scratch);
    microflow::keep::<HOOK>(skb, next, context.now, scratch);
    if host.features & feature::RECORD != 0 {
        record(HOOK, scratch);
    }
    if scratch.reported != 0 {
        rule_events::send(context.now, scratch);
    }
    // Of a packet that is dropped and answered the length is told with which it came.
    let length = frame.len();
    let action = act::<HOOK>(&mut frame, host, scratch);
    if scratch.verdict.reason.is_some() {
        count::dropped(&mut frame, length, &context, scratch);
    } else {
        count::passed(scratch);
    }
    action
}

/// Decides about the frame as about the last one of its connection, if it can; says whether it did.
#[inline(always)]
pub fn resume<const HOOK: u8>(skb: *mut __sk_buff, scratch: &mut Scratch) -> bool {
    match HOOK {
        hook::FROM_WORKLOAD => shared(scratch, || microflow::resume_from_workload(skb)) != 0,
        hook::FROM_UNDERLAY => shared(scratch, || microflow::resume_from_underlay(skb)) != 0,
        _ => false,
    }
}

/// Sends a frame where the last one of its connection went: nothing is asked of a table.
#[inline(always)]
fn go_on<const HOOK: u8>(frame: &mut Buffer, host: &HostConfig, scratch: &mut Scratch) -> i32 {
    if host.features & feature::RECORD != 0 {
        record(HOOK, scratch);
    }
    let length = frame.len();
    let action = act::<HOOK>(frame, host, scratch);
    if scratch.verdict.reason.is_some() {
        fail::<HOOK>(frame, length, host, scratch);
    } else {
        count::passed(scratch);
    }
    action
}

/// Counts a frame that could not go on. A function of its own, for its stack.
#[inline(never)]
fn fail<const HOOK: u8>(frame: &mut Buffer, length: u32, host: &HostConfig, scratch: &mut Scratch) {
    // Its headers were not read: what stands there is of another packet.
    scratch.packet = Packet::UNREAD;
    let now = maps::SCRATCH.get_ptr(0).map_or(0, |desk| {
        // SAFETY: a word of the one row of this processor.
        unsafe { (&raw const (*desk).clock.now).read() }
    });
    count::dropped(frame, length, &Context::at(HOOK, 0, now, host), scratch);
}

/// Writes the verdict down, for tests. A function of its own, for its stack.
#[inline(never)]
fn record(hook: u8, scratch: &Scratch) {
    if let Some(record) = maps::VERDICTS.get_ptr_mut(0) {
        // SAFETY: the one row of this processor.
        unsafe { *record = scratch.verdict.record(hook, scratch) };
    }
}

/// Carries out where the frame goes; what fails becomes a drop. A function of its own, so that its stack is not added to that of the walk.
#[inline(never)]
fn act<const HOOK: u8>(frame: &mut Buffer, host: &HostConfig, scratch: &mut Scratch) -> i32 {
    let is_between = HOOK == hook::FROM_WORKLOAD || HOOK == hook::FROM_HOST;
    let sent = if is_between && scratch.verdict.edit.is_translation() {
        translated::<HOOK>(frame, scratch)
    } else {
        send::<HOOK>(frame, host, scratch)
    };
    match sent {
        Ok(action) => action,
        Err(reason) => {
            let verdict = &mut scratch.verdict;
            if verdict.reason.is_none() {
                (verdict.reason, verdict.stage) = (Some(reason), Stage::Apply);
            }
            TC_ACT_SHOT
        }
    }
}

/// Translates what passes between a workload and the node, and sends it on; what was refused since it was decided upon stays so.
#[inline(always)]
fn translated<const HOOK: u8>(frame: &Buffer, scratch: &mut Scratch) -> Result<i32, DropReason> {
    if shared(scratch, || translate(frame.skb())) == 0 {
        return Err(DropReason::ReplyFailed);
    }
    // What the node sends is on its way to the workload's interface.
    Ok(if HOOK == hook::FROM_WORKLOAD { to_node(frame) } else { TC_ACT_OK })
}

#[inline(always)]
fn send<const HOOK: u8>(frame: &mut Buffer, host: &HostConfig, scratch: &Scratch) -> Result<i32, DropReason> {
    let verdict = &scratch.verdict;
    let Target { kind, source_port, ifindex } = verdict.target;
    let through_device = match kind {
        TargetKind::Drop => return Err(verdict.reason.unwrap_or(DropReason::UnknownPort)),
        TargetKind::Host if HOOK == hook::FROM_WORKLOAD => return Ok(to_node(frame)),
        TargetKind::Host => return Ok(TC_ACT_OK),
        TargetKind::OverlayDevice => return Ok(to_overlay_device(frame)),
        TargetKind::Deliver if HOOK == hook::FROM_UNDERLAY => decapsulate(frame, host)?,
        // Nothing goes from one tunnel into another.
        TargetKind::Encap if HOOK != hook::FROM_WORKLOAD => return Err(DropReason::EncapFailed),
        TargetKind::Deliver | TargetKind::Reply | TargetKind::Encap => false,
    };
    // Only workloads are answered.
    let edited = match HOOK {
        hook::FROM_WORKLOAD => apply_plain_edit(frame, &verdict.edit),
        _ => readdress(frame, &verdict.edit),
    };
    edited.ok_or(DropReason::ReplyFailed)?;
    if HOOK == hook::FROM_HOST {
        // It is on its way to this interface.
        return Ok(TC_ACT_OK);
    }
    if HOOK == hook::FROM_WORKLOAD && kind == TargetKind::Encap {
        return encapsulate(frame, host, &scratch.row.next_hop, source_port);
    }
    Ok(if through_device { through_interface(frame, ifindex) } else { to_workload(frame, ifindex) })
}

/// To the workload's side of its interface, past the host's side.
#[inline(always)]
fn to_workload(frame: &Buffer, ifindex: u32) -> i32 {
    address_to_receiver(frame);
    // SAFETY: a helper of this program type.
    unsafe { bpf_redirect_peer(ifindex, 0) as i32 }
}

/// To the node's own network stack, which takes only what is addressed to it: the workload sent the frame to its router.
#[inline(always)]
fn to_node(frame: &Buffer) -> i32 {
    address_to_receiver(frame);
    TC_ACT_OK
}

/// Whoever receives the frame takes it as its own.
#[inline(always)]
fn address_to_receiver(frame: &Buffer) {
    let skb = frame.skb();
    // SAFETY: a helper of this program type, on its own context.
    unsafe {
        if (*skb).pkt_type != PACKET_HOST {
            bpf_skb_change_type(skb, PACKET_HOST);
        }
    }
}

/// To the kernel's vxlan device, whose program takes only what has this mark.
#[inline(always)]
fn to_overlay_device(frame: &Buffer) -> i32 {
    // SAFETY: a word of the context of a running program.
    unsafe { (*frame.skb()).mark = OWN_MARK };
    TC_ACT_OK
}

/// To the workload through the host's side of its interface, which sets the buffer's protocol anew.
#[inline(always)]
fn through_interface(frame: &Buffer, ifindex: u32) -> i32 {
    let skb = frame.skb();
    // SAFETY: helpers of this program type, on its own context.
    unsafe {
        (*skb).mark = OWN_MARK;
        bpf_redirect(ifindex, 0) as i32
    }
}

/// Removes the outer header. True if the buffer's protocol is wrong after it: IPv6 was in IPv4, and this kernel cannot say so.
#[inline(always)]
pub fn decapsulate(frame: &mut Buffer, host: &HostConfig) -> Result<bool, DropReason> {
    let inner: Ethernet = frame.load(OVERHEAD).ok_or(DropReason::Truncated)?;
    let checksum: u16 = frame.load(OUTER_CHECKSUM).ok_or(DropReason::Truncated)?;
    let ipv6 = frame.load::<u16>(OVERHEAD + ETHERNET_TYPE) == Some(IPV6);
    let can_say = host.features & feature::DECAP_L3 != 0;
    let mut flags = SHRINK;
    if checksum == 0 {
        flags |= KEEP_CHECKSUM;
    }
    if ipv6 && can_say {
        flags |= SHRINK_TO_IPV6;
    }
    // SAFETY: a helper of this program type, on its own context.
    if unsafe { bpf_skb_adjust_room(frame.skb(), -ROOM, BPF_ADJ_ROOM_MAC, flags) } != 0 {
        return Err(DropReason::DecapFailed);
    }
    frame.reload();
    frame.store(0, inner).ok_or(DropReason::DecapFailed)?;
    Ok(ipv6 && !can_say)
}

/// Lets the kernel's vxlan device encapsulate what `bpf_skb_adjust_room` does not: frames of a tunnel that the workload made itself
/// (`skb->encapsulation` is set: -EALREADY, `bpf_skb_net_grow` in net/core/filter.c). The device cuts large ones into segments
/// first, chooses the source port by the inner flow, and sends by the host's routes. A function of its own, for its stack.
#[inline(never)]
fn by_overlay_device(frame: &Buffer, host: &HostConfig, next_hop: &NextHop) -> Result<i32, DropReason> {
    let skb = frame.skb();
    // SAFETY: plain integers; zero is a value of each.
    let mut aligned: TunnelKey = unsafe { core::mem::zeroed() };
    let key = &mut aligned.0;
    key.tunnel_id = next_hop.vni;
    key.tunnel_ttl = OUTER_TTL;
    // The helper takes addresses in host byte order.
    key.__bindgen_anon_1.remote_ipv4 = u32::from_be(next_hop.underlay.v4_word());
    key.__bindgen_anon_3.local_ipv4 = u32::from_be(host.underlay_v4);
    // SAFETY: helpers of this program type, on its own context; the size is that of the key.
    unsafe {
        if bpf_skb_set_tunnel_key(skb, &raw mut *key, size_of::<bpf_tunnel_key>() as u32, AS_DIRECT) != 0 {
            return Err(DropReason::EncapFailed);
        }
        Ok(bpf_redirect(host.overlay_ifindex, 0) as i32)
    }
}

/// Puts the outer header before the frame; `grow` are the flags of `bpf_skb_adjust_room`. False if that refuses, and nothing is done.
#[inline(always)]
pub fn wrap(
    frame: &mut Buffer,
    host: &HostConfig,
    next_hop: &NextHop,
    source_port: u16,
    grow: u64,
) -> Result<bool, DropReason> {
    let inner: Ethernet = frame.load(0).ok_or(DropReason::Truncated)?;
    let outer = outer_header(host, next_hop, source_port, frame.len());
    // SAFETY: a helper of this program type, on its own context.
    if unsafe { bpf_skb_adjust_room(frame.skb(), ROOM, BPF_ADJ_ROOM_MAC, grow) } != 0 {
        return Ok(false);
    }
    frame.reload();
    frame.store(0, outer).ok_or(DropReason::EncapFailed)?;
    frame.store(OVERHEAD, inner).ok_or(DropReason::EncapFailed)?;
    Ok(true)
}

/// Puts the outer header before the frame and sends it off.
#[inline(always)]
fn encapsulate(frame: &mut Buffer, host: &HostConfig, next_hop: &NextHop, source_port: u16) -> Result<i32, DropReason> {
    if !wrap(frame, host, next_hop, source_port, GROW)? {
        return by_overlay_device(frame, host, next_hop);
    }
    let mut neighbor = bpf_redir_neigh {
        nh_family: INET,
        __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv4_nh: next_hop.gateway.v4_word() },
    };
    let size = size_of::<bpf_redir_neigh>() as i32;
    // SAFETY: the size is that of the parameters.
    Ok(unsafe { bpf_redirect_neigh(next_hop.ifindex, &raw mut neighbor, size, 0) } as i32)
}
