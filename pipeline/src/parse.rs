//! Reading the headers. A frame that is cut short or malformed is refused here, with its reason.

use andromede_abi::{Address, DropReason, Stage};

use crate::{
    frame::{Frame, MAX_OFFSET},
    packet::{Packet, Transport},
    verdict::Refusal,
    wire::{ethernet, icmp, ip, ip_protocol, sctp, tcp},
};

/// IPv6 extension headers that are followed at most.
const MAX_EXTENSIONS: u32 = 4;

/// Bytes after the last extension header that must stay below [`MAX_OFFSET`].
const TRANSPORT_ROOM: usize = 64;

#[inline(always)]
const fn refuse(reason: DropReason) -> Refusal {
    Refusal::new(Stage::Parse, reason)
}

/// Reads the IP packet behind the Ethernet header at `offset`; `ethertype` is in network byte order.
#[inline(always)]
pub(crate) fn ip_packet<F: Frame>(
    frame: &F,
    offset: usize,
    ethertype: u16,
    gso_size: u32,
    packet: &mut Packet,
) -> Result<(), Refusal> {
    let at = offset.wrapping_add(ethernet::HEADER);
    let transport_at = match ethertype {
        ethernet::TYPE_IPV4 => ipv4(frame, at, gso_size, packet)?,
        ethernet::TYPE_IPV6 => ipv6(frame, at, gso_size, packet)?,
        ethernet::TYPE_VLAN | ethernet::TYPE_SERVICE_VLAN => return Err(refuse(DropReason::BadEthernet)),
        _ => return Err(refuse(DropReason::UnknownEtherType)),
    };
    packet.transport_offset = transport_at as u16;
    packet.header_length = transport_at.wrapping_sub(at) as u16;
    transport(frame, transport_at, packet)
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, at: usize, gso_size: u32, packet: &mut Packet) -> Result<usize, Refusal> {
    let words: [u32; 5] = frame.load(at).ok_or(refuse(DropReason::Truncated))?;
    let [first, second, third, source, destination] = words;
    let first = u32::from_be(first);
    let header = ((first >> 24) & 0xf).wrapping_mul(4);
    let total = first & 0xffff;
    if first >> 28 != 4 || header < ip::V4_HEADER as u32 {
        return Err(refuse(DropReason::BadIpHeader));
    }
    // A GSO frame of more than 64 KB says 0 (Linux: BIG TCP).
    let there = frame.len().wrapping_sub(at as u32);
    let whole = total >= header || (total == 0 && gso_size != 0);
    if !whole {
        return Err(refuse(DropReason::BadIpHeader));
    }
    if total > there {
        return Err(refuse(DropReason::Truncated));
    }
    if u32::from_be(second) & ip::V4_FRAGMENT != 0 {
        return Err(refuse(DropReason::Fragment));
    }
    let third = u32::from_be(third);
    packet.source = Address::from_v4_word(source);
    packet.destination = Address::from_v4_word(destination);
    packet.protocol = (third >> 16) as u8;
    packet.hop_limit = (third >> 24) as u8;
    Ok(at.wrapping_add(header as usize))
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F, at: usize, gso_size: u32, packet: &mut Packet) -> Result<usize, Refusal> {
    let words: [u32; 10] = frame.load(at).ok_or(refuse(DropReason::Truncated))?;
    let [first, second, s0, s1, s2, s3, d0, d1, d2, d3] = words;
    if u32::from_be(first) >> 28 != 6 {
        return Err(refuse(DropReason::BadIpHeader));
    }
    let second = u32::from_be(second);
    let payload = second >> 16;
    let there = frame.len().wrapping_sub(at as u32).wrapping_sub(ip::V6_HEADER as u32);
    if payload > there {
        return Err(refuse(DropReason::Truncated));
    }
    if payload == 0 && gso_size == 0 && there != 0 && (second >> 8) as u8 != NO_NEXT_HEADER {
        return Err(refuse(DropReason::BadIpHeader));
    }
    let source = Address([s0, s1, s2, s3]);
    let destination = Address([d0, d1, d2, d3]);
    // An IPv4 address in IPv6 clothes would be taken for the IPv4 address in every table (RFC 4291, section 2.5.5.2).
    if source.is_v4() || destination.is_v4() {
        return Err(refuse(DropReason::BadIpHeader));
    }
    (packet.source, packet.destination, packet.hop_limit) = (source, destination, second as u8);
    packet.protocol = (second >> 8) as u8;
    extensions(frame, at.wrapping_add(ip::V6_HEADER), packet)
}

/// "No next header" (RFC 8200, section 4.7).
const NO_NEXT_HEADER: u8 = 59;

/// Follows extension headers to the upper layer, whose protocol it writes and whose offset it returns.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn extensions<F: Frame>(frame: &F, at: usize, packet: &mut Packet) -> Result<usize, Refusal> {
    let mut next = packet.protocol;
    let mut offset = at;
    let mut count = 0;
    while matches!(next, ip_protocol::HOP_BY_HOP | ip_protocol::DESTINATION_OPTIONS | ip_protocol::ROUTING) {
        // Routing headers of type 0 let a sender steer packets around guards (RFC 5095); none is needed here.
        if count == MAX_EXTENSIONS || next == ip_protocol::ROUTING {
            return Err(refuse(DropReason::ExtensionHeaders));
        }
        count = count.wrapping_add(1);
        let [following, length]: [u8; 2] = frame.load(offset).ok_or(refuse(DropReason::Truncated))?;
        next = following;
        offset = offset.wrapping_add((length as usize).wrapping_add(1).wrapping_mul(8));
        if offset > MAX_OFFSET - TRANSPORT_ROOM {
            return Err(refuse(DropReason::ExtensionHeaders));
        }
    }
    if next == ip_protocol::FRAGMENT {
        return Err(refuse(DropReason::Fragment));
    }
    packet.protocol = next;
    Ok(offset)
}

#[inline(always)]
fn transport<F: Frame>(frame: &F, at: usize, packet: &mut Packet) -> Result<(), Refusal> {
    let v4 = packet.source.is_v4();
    match packet.protocol {
        ip_protocol::TCP => tcp_header(frame, at, packet),
        ip_protocol::UDP => {
            let words: [u16; 4] = frame.load(at).ok_or(refuse(DropReason::BadTransport))?;
            let [source, destination, ..] = words;
            packet.transport = Transport::Udp;
            (packet.source_port, packet.destination_port, packet.service_port) = (source, destination, destination);
            packet.header_length = packet.header_length.wrapping_add(8);
            Ok(())
        }
        ip_protocol::SCTP => sctp_header(frame, at, packet),
        ip_protocol::ICMP if v4 => icmp_header(frame, at, packet, icmp::ECHO_REQUEST, icmp::ECHO_REPLY),
        ip_protocol::ICMPV6 if !v4 => icmp_header(frame, at, packet, icmp::V6_ECHO_REQUEST, icmp::V6_ECHO_REPLY),
        // ICMP of the other family means nothing and is refused before a rule for it could.
        ip_protocol::ICMP | ip_protocol::ICMPV6 => Err(refuse(DropReason::BadTransport)),
        _ => Ok(()),
    }
}

#[inline(always)]
fn tcp_header<F: Frame>(frame: &F, at: usize, packet: &mut Packet) -> Result<(), Refusal> {
    let words: [u16; tcp::HEADER / 2] = frame.load(at).ok_or(refuse(DropReason::BadTransport))?;
    let [source, destination, _, _, _, _, flags, ..] = words;
    let flags = u16::from_be(flags);
    let header = (flags >> 12).wrapping_mul(4);
    packet.transport = Transport::Tcp;
    packet.tcp_flags = flags as u8 & 0x3f;
    if header < tcp::HEADER as u16 || tcp::impossible(packet.tcp_flags) {
        return Err(refuse(DropReason::BadTransport));
    }
    (packet.source_port, packet.destination_port, packet.service_port) = (source, destination, destination);
    packet.header_length = packet.header_length.wrapping_add(header);
    Ok(())
}

#[inline(always)]
fn sctp_header<F: Frame>(frame: &F, at: usize, packet: &mut Packet) -> Result<(), Refusal> {
    let words: [u16; sctp::HEADER / 2] = frame.load(at).ok_or(refuse(DropReason::BadTransport))?;
    let [source, destination, tag_high, tag_low, _, _, chunk, _] = words;
    packet.transport = Transport::Sctp;
    packet.chunk = (u16::from_be(chunk) >> 8) as u8;
    // An INIT has no verification tag, and nothing else is without one (RFC 9260, section 8.5.1).
    let is_untagged = (tag_high | tag_low) == 0;
    if is_untagged != (packet.chunk == sctp::chunk::INIT) {
        return Err(refuse(DropReason::BadTransport));
    }
    (packet.source_port, packet.destination_port, packet.service_port) = (source, destination, destination);
    packet.header_length = packet.header_length.wrapping_add(sctp::HEADER as u16);
    Ok(())
}

#[inline(always)]
fn icmp_header<F: Frame>(frame: &F, at: usize, packet: &mut Packet, request: u8, reply: u8) -> Result<(), Refusal> {
    let words: [u16; 4] = frame.load(at).ok_or(refuse(DropReason::BadTransport))?;
    let [service, _, identifier, _] = words;
    let kind = (u16::from_be(service) >> 8) as u8;
    packet.service_port = service;
    packet.header_length = packet.header_length.wrapping_add(8);
    if kind == request || kind == reply {
        // Both directions of an echo carry the same identifier.
        (packet.source_port, packet.destination_port) = (identifier, identifier);
        packet.transport = if kind == request { Transport::EchoRequest } else { Transport::EchoReply };
    } else {
        (packet.source_port, packet.destination_port) = (service, service);
        packet.transport = Transport::Message;
    }
    Ok(())
}
