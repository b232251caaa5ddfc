//! To which judged datagram does a fragment belong?
//!
//! A first fragment is judged like any packet, and a row keeps its ports. A later one gets them from there, and then goes the way
//! of every packet of that connection: a rule change reaches it too. If there is no row, only a rule that allows its protocol
//! whatever the ports lets it pass, and then a row keeps how far it reached down, so that no first fragment overlaps it.

use andromede_abi::{
    Address, Datagram, DropReason, FRAGMENT_LIFETIME, FragmentRow, LocationRow, NetworkIndex, Slot, Stage,
    fragment_way, location_flag,
};

use crate::{
    fragment::FragmentKind,
    packet::{Packet, Transport},
    scratch::Scratch,
    stage::locate,
    tables::Tables,
    verdict::Refusal,
    wire::tcp,
};

/// Looks the datagram up: a later fragment gets the ports of its first, or becomes an early one.
#[inline(always)]
pub(crate) fn recognise<T: Tables>(tables: &T, now: u64, scratch: &mut Scratch) -> Result<(), Refusal> {
    let Scratch { packet, verdict, opening, fragment_key: key, fragment: row, location, .. } = scratch;
    let network = opening.network;
    let (slot, way) = if opening.sender == 0 {
        (verdict.port, fragment_way::SENT)
    } else {
        (receiver(tables, network, &packet.destination, location), fragment_way::RECEIVED)
    };
    let datagram = datagram(network, packet);
    let owner = datagram.owner();
    *key = datagram.key(slot, way);
    let known = tables.fragment(key, owner, row) && now.saturating_sub(row.seen) <= FRAGMENT_LIFETIME;
    if !known {
        *row = FragmentRow::unknown(owner);
    }
    let overlaps = match packet.fragment.kind {
        FragmentKind::First => row.first_end != 0 || row.lowest < packet.fragment.end,
        _ => packet.fragment.start < row.first_end,
    };
    if overlaps {
        return Err(Refusal::new(Stage::Flow, DropReason::FragmentOverlap));
    }
    if matches!(packet.fragment.kind, FragmentKind::Later) {
        if row.first_end == 0 {
            packet.fragment.kind = FragmentKind::Early;
        } else {
            restore(row, packet);
        }
    }
    Ok(())
}

#[inline(always)]
fn datagram(network: NetworkIndex, packet: &Packet) -> Datagram<'_> {
    Datagram {
        network,
        source: &packet.source,
        destination: &packet.destination,
        identification: packet.fragment.identification,
        protocol: if packet.source.is_v4() { packet.protocol } else { 0 },
    }
}

/// The slot of the local port that has this address; 0 if none has, and then the walk ends at that.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn receiver<T: Tables>(tables: &T, network: NetworkIndex, address: &Address, location: &mut LocationRow) -> Slot {
    let is_known = locate::locate(tables, network, *address, location);
    if is_known && location.flags & location_flag::LOCAL != 0 { location.slot } else { 0 }
}

/// Gives a later fragment what its first one said. A connection changes its state by the first fragment alone.
#[inline(always)]
fn restore(row: &FragmentRow, packet: &mut Packet) {
    packet.protocol = row.protocol;
    packet.transport = Transport::from_number(row.transport);
    packet.chunk = row.chunk;
    packet.tcp_flags = row.tcp_flags & !(tcp::FIN | tcp::RST);
    packet.source_port = row.source_port;
    packet.destination_port = row.destination_port;
    packet.service_port = row.service_port;
}

/// Completes the row of a datagram of which a fragment may pass, if there is something new to keep.
#[inline(always)]
pub(crate) const fn remember(scratch: &mut Scratch, now: u64) {
    let Scratch { packet, fragment_key: key, fragment: row, keeps_fragment, .. } = scratch;
    match packet.fragment.kind {
        FragmentKind::First => {
            row.first_end = packet.fragment.end;
            row.protocol = packet.protocol;
            row.transport = packet.transport as u8;
            row.tcp_flags = packet.tcp_flags;
            row.chunk = packet.chunk;
            row.source_port = packet.source_port;
            row.destination_port = packet.destination_port;
            row.service_port = packet.service_port;
        }
        FragmentKind::Early if packet.fragment.start < row.lowest => row.lowest = packet.fragment.start,
        FragmentKind::Whole | FragmentKind::Later | FragmentKind::Early => return,
    }
    row.seen = now;
    *keeps_fragment = key.slot != 0;
}

/// Why an early fragment does not pass, if rules refuse it: those that name ports might have let it.
#[inline(always)]
pub(crate) const fn refused(refusal: Refusal) -> Refusal {
    match refusal.reason {
        DropReason::EgressRule | DropReason::IngressRule => {
            Refusal::by_rule(refusal.stage, DropReason::Fragment, refusal.rule)
        }
        _ => refusal,
    }
}
