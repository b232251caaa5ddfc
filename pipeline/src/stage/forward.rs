//! Where does a packet of a permitted connection go?

use andromede_abi::{Direction, DropReason, FlowRow, HostConfig, Stage, side_kind};

use crate::{
    encapsulate::OVERHEAD,
    packet::Packet,
    verdict::{Edit, EditKind, Refusal, Target},
    wire::{ethernet, vxlan},
};

/// The target of a packet that goes this way along the row, and the edit of its header.
#[inline(always)]
pub(crate) fn along(row: &FlowRow, direction: Direction) -> (Target, Edit) {
    let (kind, ifindex, mac) = match direction {
        Direction::LowToHigh => (row.high_kind, row.high_ifindex, row.high_mac),
        Direction::HighToLow => (row.low_kind, row.low_ifindex, row.low_mac),
    };
    if kind == side_kind::HOST {
        return (Target::HOST, Edit::NONE);
    }
    let target = if kind == side_kind::LOCAL { Target::deliver(ifindex) } else { Target::encap(source_port(row)) };
    (target, Edit::new(EditKind::Destination, mac))
}

/// Outer UDP source port from the inner flow, within the range that RFC 7348 recommends; network byte order.
#[inline(always)]
fn source_port(row: &FlowRow) -> u16 {
    // The lower half of the owner word is the key's tag.
    (vxlan::FIRST_SOURCE_PORT | ((row.owner >> 16) as u16 & 0x3fff)).to_be()
}

/// Refuses what the underlay cannot carry once it is encapsulated: nothing is ever fragmented.
#[inline(always)]
pub(crate) fn fits(host: &HostConfig, packet: &Packet, frame_length: u32) -> Result<(), Refusal> {
    if largest(packet.gso_size, packet.header_length as u32, frame_length) > carried(host) {
        return Err(Refusal::new(Stage::Apply, DropReason::TooBig));
    }
    Ok(())
}

/// Bytes of the largest frame that a frame of this length becomes: each segment of a GSO frame repeats `headers` bytes behind the Ethernet
/// header.
#[inline(always)]
pub(crate) const fn largest(gso_size: u32, headers: u32, frame_length: u32) -> u32 {
    if gso_size == 0 { frame_length } else { (ethernet::HEADER as u32).wrapping_add(headers).wrapping_add(gso_size) }
}

/// Bytes of the largest frame that the underlay carries once it is encapsulated.
#[inline(always)]
pub(crate) const fn carried(host: &HostConfig) -> u32 {
    // The outer IP packet holds the inner frame and all of the outer header but its Ethernet part.
    const OUTER: u32 = (OVERHEAD - ethernet::HEADER) as u32;
    host.underlay_mtu.saturating_sub(OUTER)
}
