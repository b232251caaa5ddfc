//! Reading the headers. A frame that is cut short or malformed is refused here, with its reason.

use andromede_abi::{Address, DropReason, Stage};

use crate::{
    fragment::{Claimed, Fragment, least_header},
    frame::{Frame, MAX_OFFSET},
    packet::{Packet, Transport},
    verdict::Refusal,
    wire::{ethernet, icmp, ip, ip_protocol, neighbor, sctp, tcp},
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
    packet.gso_size = gso_size;
    let at = offset.wrapping_add(ethernet::HEADER);
    match ethertype {
        ethernet::TYPE_IPV4 => ipv4(frame, at, gso_size, packet)?,
        ethernet::TYPE_IPV6 => ipv6(frame, at, gso_size, packet)?,
        ethernet::TYPE_VLAN | ethernet::TYPE_SERVICE_VLAN => return Err(refuse(DropReason::BadEthernet)),
        _ => return Err(refuse(DropReason::UnknownEtherType)),
    }
    let transport_at = packet.transport_at();
    let header = transport_at.wrapping_sub(at) as u16;
    packet.header_length = header;
    if packet.fragment.is_headless() {
        return Ok(());
    }
    packet.fragment.holds(least_header(packet.protocol))?;
    transport(frame, transport_at, packet)?;
    packet.fragment.holds(packet.header_length.wrapping_sub(header))?;
    if packet.fragment.is_part() && is_control(packet) {
        return Err(refuse(DropReason::FragmentedControl));
    }
    Ok(())
}

/// Is this a message about the network, which is short and therefore comes whole (RFC 6980; RFC 1122, section 3.2.2)?
#[inline(always)]
const fn is_control(packet: &Packet) -> bool {
    let kind = (u16::from_be(packet.service_port) >> 8) as u8;
    match packet.protocol {
        ip_protocol::ICMP => icmp::is_error(kind),
        ip_protocol::ICMPV6 => icmp::v6_is_error(kind) || neighbor::is_discovery(kind),
        _ => false,
    }
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, at: usize, gso_size: u32, packet: &mut Packet) -> Result<(), Refusal> {
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
    let second = u32::from_be(second);
    packet.fragment = Fragment::WHOLE;
    if second & ip::V4_FRAGMENT != 0 {
        let claimed = Claimed {
            offset: second & ip::V4_FRAGMENT_OFFSET,
            more: second & ip::V4_MORE_FRAGMENTS != 0,
            length: total.wrapping_sub(header),
            before: header,
            identification: second >> 16,
        };
        packet.fragment = Fragment::read(&claimed, gso_size)?;
    }
    let third = u32::from_be(third);
    packet.source = Address::from_v4_word(source);
    packet.destination = Address::from_v4_word(destination);
    packet.protocol = (third >> 16) as u8;
    packet.hop_limit = (third >> 24) as u8;
    packet.transport_offset = at.wrapping_add(header as usize) as u16;
    Ok(())
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F, at: usize, gso_size: u32, packet: &mut Packet) -> Result<(), Refusal> {
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
    packet.fragment = Fragment::WHOLE;
    let headers = at.wrapping_add(ip::V6_HEADER);
    if !is_extension(packet.protocol) {
        packet.transport_offset = headers as u16;
        return Ok(());
    }
    extensions(frame, headers, headers.wrapping_add(payload as usize), gso_size, packet)
}

/// "No next header" (RFC 8200, section 4.7).
const NO_NEXT_HEADER: u8 = 59;

/// Bytes of a fragment header (RFC 8200, section 4.5).
const FRAGMENT_HEADER: usize = 8;

/// Follows extension headers to the upper layer, whose protocol and offset it writes. `at` is where the
/// headers begin, `end` where the packet ends.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn extensions<F: Frame>(
    frame: &F,
    at: usize,
    end: usize,
    gso_size: u32,
    packet: &mut Packet,
) -> Result<(), Refusal> {
    let mut offset = at;
    let mut count = 0;
    while is_extension(packet.protocol) {
        // Routing headers of type 0 let a sender steer packets around guards (RFC 5095); none is needed here. Behind the header
        // of a fragment the upper layer follows at once: its protocol is then known of later fragments too.
        if count == MAX_EXTENSIONS || packet.protocol == ip_protocol::ROUTING || packet.fragment.is_part() {
            return Err(refuse(DropReason::ExtensionHeaders));
        }
        count = count.wrapping_add(1);
        let [next, length]: [u8; 2] = frame.load(offset).ok_or(refuse(DropReason::Truncated))?;
        let mut bytes = (length as usize).wrapping_add(1).wrapping_mul(8);
        if packet.protocol == ip_protocol::FRAGMENT {
            bytes = FRAGMENT_HEADER;
            fragment_header(frame, offset, (at, end), gso_size, packet)?;
        }
        packet.protocol = next;
        offset = offset.wrapping_add(bytes);
        if offset > MAX_OFFSET - TRANSPORT_ROOM {
            return Err(refuse(DropReason::ExtensionHeaders));
        }
    }
    packet.transport_offset = offset as u16;
    Ok(())
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        ip_protocol::HOP_BY_HOP | ip_protocol::DESTINATION_OPTIONS | ip_protocol::ROUTING | ip_protocol::FRAGMENT
    )
}

/// Reads the fragment header at `offset` of a packet whose extension headers and payload lie between `at` and `end`.
#[inline(always)]
fn fragment_header<F: Frame>(
    frame: &F,
    offset: usize,
    (at, end): (usize, usize),
    gso_size: u32,
    packet: &mut Packet,
) -> Result<(), Refusal> {
    let [_, place, high, low]: [u16; 4] = frame.load(offset).ok_or(refuse(DropReason::Truncated))?;
    let place = u16::from_be(place);
    let more = place & ip::V6_MORE_FRAGMENTS != 0;
    let units = place >> 3;
    // The whole datagram in one fragment (RFC 6946).
    if units == 0 && !more {
        return Ok(());
    }
    let payload = offset.wrapping_add(FRAGMENT_HEADER);
    if payload > end {
        return Err(refuse(DropReason::BadFragment));
    }
    let claimed = Claimed {
        offset: units as u32,
        more,
        length: end.wrapping_sub(payload) as u32,
        before: offset.wrapping_sub(at) as u32,
        identification: (u16::from_be(high) as u32) << 16 | u16::from_be(low) as u32,
    };
    packet.fragment = Fragment::read(&claimed, gso_size)?;
    Ok(())
}

#[inline(always)]
fn transport<F: Frame>(frame: &F, at: usize, packet: &mut Packet) -> Result<(), Refusal> {
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
        ip_protocol::ICMP | ip_protocol::ICMPV6 => icmp(frame, at, packet),
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

/// Reads an ICMP message of the family of the packet's addresses.
#[inline(always)]
pub(crate) fn icmp<F: Frame>(frame: &F, at: usize, packet: &mut Packet) -> Result<(), Refusal> {
    let v4 = packet.source.is_v4();
    // ICMP of the other family means nothing and is refused before a rule for it could.
    if v4 != (packet.protocol == ip_protocol::ICMP) {
        return Err(refuse(DropReason::BadTransport));
    }
    let [service, _, identifier, _]: [u16; icmp::HEADER / 2] =
        frame.load(at).ok_or(refuse(DropReason::BadTransport))?;
    let kind = (u16::from_be(service) >> 8) as u8;
    packet.service_port = service;
    packet.header_length = packet.header_length.wrapping_add(icmp::HEADER as u16);
    packet.transport = match (v4, kind) {
        (true, icmp::ECHO_REQUEST) | (false, icmp::V6_ECHO_REQUEST) => Transport::EchoRequest,
        (true, icmp::ECHO_REPLY) | (false, icmp::V6_ECHO_REPLY) => Transport::EchoReply,
        (true, kind) if icmp::is_matched(kind) => Transport::Error,
        (false, kind) if icmp::v6_is_error(kind) => Transport::Error,
        _ => Transport::Message,
    };
    // Both directions of an echo carry the same identifier.
    let is_echo = matches!(packet.transport, Transport::EchoRequest | Transport::EchoReply);
    let name = if is_echo { identifier } else { service };
    (packet.source_port, packet.destination_port) = (name, name);
    Ok(())
}
