//! The translation at a port. A pod of a tenant's own network has its tenant's address inside, which others may have too; its node knows
//! it by an infrastructure address. One stands for the other, in the header of each packet between the two and in what an ICMP error
//! quotes (RFC 3022, section 2.1: basic NAT; RFC 5508, section 4.2). Nothing is remembered: the row of the port says all of it.
//!
//! Rules, connections and meters see the tenant's address alone: what the node sends is translated before the walk, and what goes to the
//! node after it.

use andromede_abi::{Address, DropReason, PortRow, Stage, port_flag};

use crate::{
    context::Context,
    frame::{Checksum, Frame},
    packet::{Packet, Transport},
    scratch::Scratch,
    tables::Tables,
    verdict::{Claim, Edit, EditKind, Refusal},
    wire::{checksum, ethernet, icmp, ip, ip_protocol, tcp, udp},
};

/// Offsets of the source in the headers of both families; the destination follows it.
const V4_SOURCE: usize = 12;
const V6_SOURCE: usize = 8;

/// A packet to the infrastructure address of this port is one to its workload's own address, for all that follows. False if it is to
/// another address.
#[inline(always)]
pub(crate) fn inward(port: &PortRow, scratch: &mut Scratch) -> bool {
    let Scratch { packet, infrastructure, .. } = scratch;
    *infrastructure = packet.destination;
    let (known, own) = if packet.destination.is_v4() {
        (Address::from_v4_word(port.infrastructure_v4), Address::from_v4_word(port.v4))
    } else {
        (port.infrastructure_v6, port.v6)
    };
    packet.destination = own;
    known == *infrastructure && !known.is_unspecified() && !own.is_unspecified()
}

/// The packet that an error of the node quotes is one of the workload's own.
#[inline(always)]
pub(crate) fn inward_quote(scratch: &mut Scratch) {
    let Scratch { packet, opening_packet: quoted, infrastructure, .. } = scratch;
    if quoted.source == *infrastructure && !infrastructure.is_unspecified() {
        quoted.source = packet.destination;
    }
}

/// A packet that goes to the node, or by way of it, goes from the infrastructure address, if the port has any. In the kernel a function of
/// its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn outward<T: Tables>(context: &Context<'_>, tables: &T, scratch: &mut Scratch) {
    let Scratch { packet, verdict, infrastructure, .. } = scratch;
    let is_known = tables.with_port(context.ifindex, |port| {
        if port.flags & port_flag::TRANSLATED == 0 {
            return true;
        }
        let (own, known) = if packet.source.is_v4() {
            (Address::from_v4_word(port.v4), Address::from_v4_word(port.infrastructure_v4))
        } else {
            (port.v6, port.infrastructure_v6)
        };
        *infrastructure = known;
        verdict.edit = Edit::new(EditKind::TranslateSource, [0; 6]);
        packet.source == own && !known.is_unspecified()
    });
    if is_known == Some(false) {
        verdict.claim = Claim::None;
        verdict.refuse(Refusal::new(Stage::Apply, DropReason::NoInfrastructureAddress));
    }
}

/// Writes the address into the frame that is translated. In the kernel a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn write<F: Frame>(frame: &mut F, scratch: &Scratch) -> Option<()> {
    let Scratch { packet, opening_packet: quoted, verdict, infrastructure, .. } = scratch;
    let is_inward = matches!(verdict.edit.kind, EditKind::TranslateDestination);
    let new = if is_inward { packet.destination } else { *infrastructure };
    let change = replace(frame, ethernet::HEADER, is_inward, new)?;
    if packet.fragment.is_headless() {
        return Some(());
    }
    let at = packet.transport_at();
    let is_error = matches!(packet.transport, Transport::Error);
    match packet.protocol {
        ip_protocol::TCP => frame.amend(at.wrapping_add(tcp::CHECKSUM), change, Checksum::Addressed),
        ip_protocol::UDP => frame.amend(at.wrapping_add(udp::CHECKSUM), change, Checksum::AddressedOrNone),
        ip_protocol::ICMP if is_error => {
            let (_, rest) = replace_quoted(frame, at, quoted, !is_inward, new)?;
            frame.amend(at.wrapping_add(icmp::CHECKSUM), rest, Checksum::Message)
        }
        ip_protocol::ICMPV6 if is_error => {
            let (quoted, rest) = replace_quoted(frame, at, quoted, !is_inward, new)?;
            let change = change.wrapping_add(quoted).wrapping_add(rest);
            frame.amend(at.wrapping_add(icmp::CHECKSUM), change, Checksum::Addressed)
        }
        ip_protocol::ICMPV6 => frame.amend(at.wrapping_add(icmp::CHECKSUM), change, Checksum::Addressed),
        _ => Some(()),
    }
}

/// Replaces an address of the IP header at this offset; by what the sum of the addresses has changed. The checksum of an IPv4 header changes
/// with it, so that the sum of all of that header stays.
#[inline(always)]
fn replace<F: Frame>(frame: &mut F, at: usize, is_destination: bool, new: Address) -> Option<u32> {
    if new.is_v4() {
        let place = at.wrapping_add(V4_SOURCE).wrapping_add(if is_destination { 4 } else { 0 });
        let change = checksum::change(frame.load(place)?, new.v4_word());
        frame.store(place, new.v4_word())?;
        checksum::amend(frame, at.wrapping_add(ip::V4_CHECKSUM), change, false)?;
        return Some(change);
    }
    let place = at.wrapping_add(V6_SOURCE).wrapping_add(if is_destination { 16 } else { 0 });
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
    is_destination: bool,
    new: Address,
) -> Option<(u32, u32)> {
    let change = replace(frame, at.wrapping_add(icmp::HEADER), is_destination, new)?;
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
