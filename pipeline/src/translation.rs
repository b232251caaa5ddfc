//! The translation at a port. A pod of a tenant's own network has its tenant's address inside, which others may have too; its node knows
//! it by an infrastructure address. One stands for the other, in the header of each packet between the two and in what an ICMP error
//! quotes (RFC 3022, section 2.1: basic NAT; RFC 5508, section 4.2). Nothing is remembered: the row of the port says all of it.
//!
//! Rules, connections and meters see the tenant's address alone: what the node sends is translated before the walk, and what goes to the
//! node after it.

use andromede_abi::{Address, DropReason, PortRow, Stage, port_flag};

use crate::{
    frame::{Checksum, Frame},
    packet::{Packet, Transport},
    scratch::Scratch,
    tables::Tables,
    verdict::{Claim, Edit, EditKind, Refusal},
    wire::{checksum, ethernet, icmp, ip, ip_protocol, tcp, udp},
};

/// The side of a header whose address is replaced: 0 is the source, this the destination.
const DESTINATION: usize = 1;

/// The side that this edit replaces. Without a branch: the verifier would follow all that is done with it once for each.
#[inline(always)]
const fn side(kind: EditKind) -> usize {
    const { assert!(EditKind::TranslateDestination as usize & 1 == 0 && EditKind::TranslateSource as usize & 1 == 1) }
    (kind as usize & 1) ^ DESTINATION
}

/// Offsets of the source in the headers of both families; the destination follows it.
const V4_SOURCE: usize = 12;
const V6_SOURCE: usize = 8;

/// The addresses of a port that stand for each other, of one family.
struct Pair {
    /// That of the workload.
    own: Address,
    /// That by which the node knows it.
    known: Address,
    /// Has the port both?
    is_there: bool,
}

impl Pair {
    #[inline(always)]
    const fn of(port: &PortRow, is_v4: bool) -> Self {
        if is_v4 {
            let (own, known) = (Address::from_v4_word(port.v4), Address::from_v4_word(port.infrastructure_v4));
            return Self { own, known, is_there: port.infrastructure_v4 != 0 };
        }
        let Address([a, b, c, d]) = port.infrastructure_v6;
        Self { own: port.v6, known: port.infrastructure_v6, is_there: a | b | c | d != 0 }
    }
}

/// Are both the same? In one comparison: the verifier follows each.
#[inline(always)]
const fn is_same(one: Address, other: Address) -> bool {
    let (Address([a, b, c, d]), Address([w, x, y, z])) = (one, other);
    (a ^ w) | (b ^ x) | (c ^ y) | (d ^ z) == 0
}

/// A packet to the infrastructure address of this port is one to its workload's own address, for all that follows. False if it is to
/// another address.
#[inline(always)]
pub(crate) fn inward(port: &PortRow, scratch: &mut Scratch) -> bool {
    let Scratch { packet, infrastructure, translated, .. } = scratch;
    *infrastructure = packet.destination;
    let pair = Pair::of(port, packet.destination.is_v4());
    (packet.destination, *translated) = (pair.own, pair.own);
    pair.is_there && is_same(pair.known, *infrastructure)
}

/// The packet that an error of the node quotes is one of the workload's own.
#[inline(always)]
pub(crate) fn inward_quote(scratch: &mut Scratch) {
    let Scratch { packet, opening_packet: quoted, infrastructure, .. } = scratch;
    if quoted.source == *infrastructure && !infrastructure.is_unspecified() {
        quoted.source = packet.destination;
    }
}

/// A packet of the workload behind this interface that goes to the node, or by way of it, goes from the infrastructure address, if the port
/// has any.
#[inline(always)]
pub fn outward<T: Tables>(tables: &T, ifindex: u32, scratch: &mut Scratch) {
    let Scratch { packet, verdict, translated, .. } = scratch;
    let is_known = tables.with_port(ifindex, |port| {
        if port.flags & port_flag::TRANSLATED == 0 {
            return true;
        }
        let pair = Pair::of(port, packet.source.is_v4());
        let is_known = pair.is_there && is_same(pair.own, packet.source);
        if is_known {
            *translated = pair.known;
            verdict.edit = Edit::new(EditKind::TranslateSource, [0; 6]);
        }
        is_known
    });
    if is_known == Some(false) {
        verdict.claim = Claim::None;
        verdict.refuse(Refusal::new(Stage::Apply, DropReason::NoInfrastructureAddress));
    }
}

/// Writes the address into the frame that is translated. In the kernel a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn write<F: Frame>(frame: &mut F, scratch: &Scratch) -> Option<()> {
    let Scratch { packet, opening_packet: quoted, verdict, translated: new, .. } = scratch;
    let side = side(verdict.edit.kind);
    let change = replace(frame, ethernet::HEADER, side, *new)?;
    if packet.fragment.is_headless() {
        return Some(());
    }
    let at = packet.transport_at();
    let is_error = matches!(packet.transport, Transport::Error);
    let (within, rest) = if is_error { replace_quoted(frame, at, quoted, side ^ DESTINATION, *new)? } else { (0, 0) };
    let (place, change, checksum) = match packet.protocol {
        ip_protocol::TCP => (tcp::CHECKSUM, change, Checksum::Addressed),
        ip_protocol::UDP => (udp::CHECKSUM, change, Checksum::AddressedOrNone),
        ip_protocol::ICMPV6 => (icmp::CHECKSUM, change.wrapping_add(within).wrapping_add(rest), Checksum::Addressed),
        // What is quoted of an IPv4 header sums to what it did.
        ip_protocol::ICMP if is_error => (icmp::CHECKSUM, rest, Checksum::Message),
        _ => return Some(()),
    };
    frame.amend(at.wrapping_add(place), change, checksum)
}

/// Replaces an address of the IP header at this offset; by what the sum of the addresses has changed. The checksum of an IPv4 header changes
/// with it, so that the sum of all of that header stays.
#[inline(always)]
fn replace<F: Frame>(frame: &mut F, at: usize, side: usize, new: Address) -> Option<u32> {
    if new.is_v4() {
        let place = at.wrapping_add(V4_SOURCE).wrapping_add(side.wrapping_mul(4));
        let change = checksum::change(frame.load(place)?, new.v4_word());
        frame.store(place, new.v4_word())?;
        checksum::amend(frame, at.wrapping_add(ip::V4_CHECKSUM), change, false)?;
        return Some(change);
    }
    let place = at.wrapping_add(V6_SOURCE).wrapping_add(side.wrapping_mul(16));
    let ([a, b, c, d], [w, x, y, z]): ([u32; 4], _) = (frame.load(place)?, new.0);
    frame.store(place, new.0)?;
    let change = checksum::change(a, w).wrapping_add(checksum::change(b, x));
    Some(change.wrapping_add(checksum::change(c, y)).wrapping_add(checksum::change(d, z)))
}

/// Replaces an address of the packet that the ICMP error at this offset quotes. By what the sum of its addresses has changed, and by what
/// that of the rest has: its checksum, where that is quoted too.
#[inline(always)]
fn replace_quoted<F: Frame>(
    frame: &mut F,
    at: usize,
    quoted: &Packet,
    side: usize,
    new: Address,
) -> Option<(u32, u32)> {
    let change = replace(frame, at.wrapping_add(icmp::HEADER), side, new)?;
    let upper = quoted.transport_at();
    let place = match quoted.protocol {
        ip_protocol::TCP => upper.wrapping_add(tcp::CHECKSUM),
        ip_protocol::UDP => upper.wrapping_add(udp::CHECKSUM),
        ip_protocol::ICMPV6 => upper.wrapping_add(icmp::CHECKSUM),
        _ => return Some((change, 0)),
    };
    let Some(before) = frame.load::<u16>(place) else { return Some((change, 0)) };
    checksum::amend(frame, place, change, quoted.protocol == ip_protocol::UDP)?;
    let after = frame.load(place)?;
    Some((change, checksum::change_half(before, after)))
}
