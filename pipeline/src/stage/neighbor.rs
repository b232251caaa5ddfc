//! What does the network answer to a neighbour discovery message?

use andromede_abi::{Address, DropReason, LocationRow, PortRow, Stage, location_kind};

use crate::{
    frame::Frame,
    packet::Packet,
    stage::{locate, source_guard},
    tables::Tables,
    verdict::{Edit, EditKind, Refusal},
    wire::{ethernet, ip, ip_protocol, neighbor},
};

#[inline(always)]
const fn refuse(reason: DropReason) -> Refusal {
    Refusal::new(Stage::Hairpin, reason)
}

/// Is this a neighbour discovery message?
#[inline(always)]
pub(crate) const fn is_discovery(packet: &Packet) -> bool {
    let kind = (u16::from_be(packet.service_port) >> 8) as u8;
    packet.protocol == ip_protocol::ICMPV6 && neighbor::is_discovery(kind)
}

/// The answer to a neighbour discovery message of this port, or why there is none.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn answer<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    port: &PortRow,
    packet: &Packet,
    location: &mut LocationRow,
) -> Result<Edit, Refusal> {
    /// No extension header stands before a message that is answered.
    const MESSAGE: usize = ethernet::HEADER + ip::V6_HEADER;
    if u16::from_be(packet.service_port) != (neighbor::SOLICITATION as u16) << 8 {
        return Err(refuse(DropReason::NeighborIgnored));
    }
    let at = packet.transport_at();
    if packet.hop_limit != neighbor::HOP_LIMIT || at != MESSAGE {
        return Err(refuse(DropReason::BadNeighbor));
    }
    let message: [u32; neighbor::MESSAGE / 4] = frame.load(MESSAGE).ok_or(refuse(DropReason::Truncated))?;
    let [_, _, t0, t1, t2, t3] = message;
    let target = Address([t0, t1, t2, t3]);
    if target.is_group() || target.is_v4() {
        return Err(refuse(DropReason::BadNeighbor));
    }
    sender(frame, tables, port, packet)?;
    if source_guard::holds(tables, port, target) {
        return Err(refuse(DropReason::DuplicateAddressProbe));
    }
    if target.is_v6_link_local() {
        return Err(refuse(DropReason::LinkLocal));
    }
    if !locate::locate(tables, port.network, target, location) || location.kind == location_kind::UNKNOWN {
        return Err(refuse(DropReason::UnknownNeighbor));
    }
    let router = location.kind == location_kind::GATEWAY;
    let kind = if router { EditKind::RouterAdvertisement } else { EditKind::HostAdvertisement };
    Ok(Edit::new(kind, location.mac))
}

/// The sender is the port: by its address, or by none yet, and by the Ethernet address that it claims.
#[inline(always)]
fn sender<F: Frame, T: Tables>(frame: &F, tables: &T, port: &PortRow, packet: &Packet) -> Result<(), Refusal> {
    const OPTION: usize = ethernet::HEADER + ip::V6_HEADER + neighbor::MESSAGE;
    let source = packet.source;
    let own = source.is_unspecified() || source.is_v6_link_local() || source_guard::holds(tables, port, source);
    if !own {
        return Err(refuse(DropReason::SpoofedNeighbor));
    }
    let Some([option, m0, m1, m2]) = frame.load::<[u16; neighbor::OPTION / 2]>(OPTION) else { return Ok(()) };
    if option == neighbor::SOURCE_ADDRESS_OPTION && [m0, m1, m2] != ethernet::words(port.mac) {
        return Err(refuse(DropReason::SpoofedNeighbor));
    }
    if u16::from_be(option) as u8 == 0 {
        return Err(refuse(DropReason::BadNeighbor));
    }
    Ok(())
}
