//! The packet that an ICMP error quotes (RFC 792; RFC 4443, section 2.4): its headers as far as they name a connection. Of the upper
//! layer eight bytes are enough, which is what every sender quotes (RFC 1122, section 3.2.2).

use andromede_abi::{Address, DropReason, Stage};

use crate::{
    frame::Frame,
    packet::{Packet, Transport},
    parse,
    verdict::Refusal,
    wire::{icmp, ip, ip_protocol},
};

/// Most bytes of an error with its IP header: the least MTU of IPv6 (RFC 4443, section 2.4 c). Senders of IPv4 keep below 576
/// (RFC 1812, section 4.3.2.3).
const LONGEST: u32 = 1_280;

const REFUSED: Refusal = Refusal::new(Stage::Parse, DropReason::BadIcmpError);

/// Reads what the error quotes; `length` is that of the error's IP packet in bytes. In the kernel a function of its own, for its
/// stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn read<F: Frame>(frame: &F, error: &Packet, length: u32, quote: &mut Packet) -> Result<(), Refusal> {
    *quote = Packet::UNREAD;
    if length > LONGEST {
        return Err(REFUSED);
    }
    let at = error.transport_at().wrapping_add(icmp::HEADER);
    if error.source.is_v4() {
        ipv4(frame, at, quote)?;
    } else {
        ipv6(frame, at, quote)?;
    }
    let upper = quote.transport_at();
    match quote.protocol {
        ip_protocol::TCP | ip_protocol::UDP | ip_protocol::SCTP => {
            [quote.source_port, quote.destination_port] = frame.load(upper).ok_or(REFUSED)?;
            Ok(())
        }
        ip_protocol::ICMP | ip_protocol::ICMPV6 => query(frame, upper, quote),
        _ => Ok(()),
    }
}

/// A quoted ICMP query; nothing is an error about an error (RFC 1122, section 3.2.2; RFC 4443, section 2.4 e).
#[inline(always)]
fn query<F: Frame>(frame: &F, at: usize, quote: &mut Packet) -> Result<(), Refusal> {
    match (parse::icmp(frame, at, quote), quote.transport) {
        (Ok(()), transport) if !matches!(transport, Transport::Error) => Ok(()),
        _ => Err(REFUSED),
    }
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, at: usize, quote: &mut Packet) -> Result<(), Refusal> {
    let [first, second, third, source, destination]: [u32; 5] = frame.load(at).ok_or(REFUSED)?;
    let first = u32::from_be(first);
    let header = ((first >> 24) & 0xf).wrapping_mul(4);
    // Only the first fragment of a datagram is answered by an error.
    let is_later = u32::from_be(second) & ip::V4_FRAGMENT_OFFSET != 0;
    if first >> 28 != 4 || header < ip::V4_HEADER as u32 || is_later {
        return Err(REFUSED);
    }
    quote.source = Address::from_v4_word(source);
    quote.destination = Address::from_v4_word(destination);
    quote.protocol = (u32::from_be(third) >> 16) as u8;
    quote.transport_offset = at.wrapping_add(header as usize) as u16;
    Ok(())
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F, at: usize, quote: &mut Packet) -> Result<(), Refusal> {
    let [first, second, s0, s1, s2, s3, d0, d1, d2, d3]: [u32; 10] = frame.load(at).ok_or(REFUSED)?;
    (quote.source, quote.destination) = (Address([s0, s1, s2, s3]), Address([d0, d1, d2, d3]));
    if u32::from_be(first) >> 28 != 6 || quote.source.is_v4() || quote.destination.is_v4() {
        return Err(REFUSED);
    }
    let second = u32::from_be(second);
    quote.protocol = (second >> 8) as u8;
    let headers = at.wrapping_add(ip::V6_HEADER);
    let end = headers.wrapping_add((second >> 16) as usize);
    match parse::extensions(frame, headers, end, 0, quote) {
        Ok(()) if !quote.fragment.is_headless() => Ok(()),
        _ => Err(REFUSED),
    }
}
