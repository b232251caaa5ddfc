//! What a workload is told whose packet is larger than the underlay carries: the largest that passes (RFC 1191; RFC 8201).

use andromede_abi::HostConfig;

use crate::{
    encapsulate::OVERHEAD,
    frame::Frame,
    packet::Transport,
    scratch::Scratch,
    verdict::{Edit, Target},
    wire::{ethernet, icmp, ip, ip_protocol},
};

/// Bytes of the IP packet that are quoted: its header and the ports behind it.
const V4_QUOTE: usize = ip::V4_HEADER + 8;
const V6_QUOTE: usize = ip::V6_HEADER + 8;
/// Hop limit of what this host sends.
const HOP_LIMIT: u32 = 64;

/// Turns the refusal into an answer; the packet stays dropped, and is counted as that. An error is not answered by another, nor is
/// a later fragment (RFC 1122, section 3.2.2).
#[inline(always)]
pub(crate) const fn tell(host: &HostConfig, scratch: &mut Scratch) {
    let Scratch { packet, port, verdict, .. } = scratch;
    if matches!(packet.transport, Transport::Error) || packet.fragment.is_headless() {
        return;
    }
    // The outer IP packet holds the outer header but its Ethernet part, and the inner one: together as much as all of the outer.
    let largest = host.underlay_mtu.wrapping_sub(OVERHEAD as u32);
    verdict.target = Target::reply(port.ifindex);
    verdict.edit = Edit::too_big(largest);
}

/// Turns the frame into the ICMP message that says so, from the packet's destination to its source. In the kernel a function of its
/// own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn write<F: Frame>(frame: &mut F, edit: Edit) -> Option<()> {
    let [a, b, c, d, ..] = edit.mac;
    let largest = u32::from_be_bytes([a, b, c, d]);
    let kind: u16 = frame.load(ethernet::TYPE)?;
    if kind == ethernet::TYPE_IPV4 {
        v4(frame, largest)?;
    } else {
        v6(frame, largest)?;
    }
    let [d0, d1, d2, s0, s1, s2]: [u16; 6] = frame.load(ethernet::DESTINATION)?;
    frame.store(ethernet::DESTINATION, [s0, s1, s2, d0, d1, d2])
}

/// Fragmentation needed (RFC 792, RFC 1191).
#[inline(always)]
fn v4<F: Frame>(frame: &mut F, largest: u32) -> Option<()> {
    const IP: usize = ethernet::HEADER;
    const MESSAGE: usize = IP + ip::V4_HEADER;
    const LENGTH: u32 = (ip::V4_HEADER + icmp::HEADER + V4_QUOTE) as u32;
    const FRAME: u32 = IP as u32 + LENGTH;
    let quote: [u32; V4_QUOTE / 4] = frame.load(IP)?;
    let [_, _, _, source, destination, ..] = quote;
    frame.resize(FRAME)?;
    let first = (0x4500 << 16 | LENGTH).to_be();
    let third = (HOP_LIMIT << 24 | (ip_protocol::ICMP as u32) << 16).to_be();
    let sum = ip::halves(first).wrapping_add(ip::halves(third));
    let sum = sum.wrapping_add(ip::halves(source)).wrapping_add(ip::halves(destination));
    frame.store(IP, [first, 0, third, destination, source])?;
    frame.store(IP + ip::V4_CHECKSUM, ip::checksum(sum))?;
    let kind = ((icmp::UNREACHABLE as u16) << 8 | icmp::FRAGMENTATION_NEEDED as u16).to_be();
    let mtu = largest.to_be();
    let sum = total(&quote).wrapping_add(kind as u32).wrapping_add(ip::halves(mtu));
    frame.store(MESSAGE, [kind, ip::checksum(sum)])?;
    frame.store(MESSAGE + 4, mtu)?;
    frame.store(MESSAGE + icmp::HEADER, quote)
}

/// Packet too big (RFC 4443, section 3.2).
#[inline(always)]
fn v6<F: Frame>(frame: &mut F, largest: u32) -> Option<()> {
    const IP: usize = ethernet::HEADER;
    const MESSAGE: usize = IP + ip::V6_HEADER;
    const LENGTH: u32 = (icmp::HEADER + V6_QUOTE) as u32;
    const FRAME: u32 = MESSAGE as u32 + LENGTH;
    let quote: [u32; V6_QUOTE / 4] = frame.load(IP)?;
    let [_, _, s0, s1, s2, s3, d0, d1, d2, d3, ..] = quote;
    frame.resize(FRAME)?;
    let second = (LENGTH << 16 | (ip_protocol::ICMPV6 as u32) << 8 | HOP_LIMIT).to_be();
    frame.store(IP, [0x6000_0000_u32.to_be(), second, d0, d1, d2, d3, s0, s1, s2, s3])?;
    let kind = ((icmp::V6_PACKET_TOO_BIG as u16) << 8).to_be();
    let mtu = largest.to_be();
    // The pseudo-header of RFC 8200, section 8.1: addresses, length, protocol.
    let mut sum = total(&quote).wrapping_add(total(&[s0, s1, s2, s3, d0, d1, d2, d3]));
    sum = sum.wrapping_add((LENGTH as u16).to_be() as u32).wrapping_add((ip_protocol::ICMPV6 as u16).to_be() as u32);
    sum = sum.wrapping_add(kind as u32).wrapping_add(ip::halves(mtu));
    frame.store(MESSAGE, [kind, ip::checksum(sum)])?;
    frame.store(MESSAGE + 4, mtu)?;
    frame.store(MESSAGE + icmp::HEADER, quote)
}

/// Sum of the 16-bit words.
#[inline(always)]
fn total<const N: usize>(words: &[u32; N]) -> u32 {
    let mut sum = 0_u32;
    for word in words {
        sum = sum.wrapping_add(ip::halves(*word));
    }
    sum
}
