//! May this sender on the underlay send into this network, and from this address?

use andromede_abi::{
    Address, Direction, DropReason, FlowRow, HostConfig, HostIndex, LocationRow, MemberKey, MemberRow, Stage,
    location_flag, location_kind, side_kind,
};

use crate::{
    context::Tunnel,
    frame::Frame,
    tables::Tables,
    verdict::Refusal,
    wire::{ethernet, ip, ip_protocol, vxlan},
};

#[inline(always)]
const fn refuse(reason: DropReason) -> Refusal {
    Refusal::new(Stage::SenderGuard, reason)
}

/// What a frame from the underlay is.
pub(crate) enum Outer {
    /// Not for the tunnel endpoint: the host's own stack has it.
    NotOurs,
    /// A VXLAN frame for this endpoint.
    Vxlan(Tunnel),
}

/// Reads the outer headers.
#[inline(always)]
pub(crate) fn outer<F: Frame>(frame: &F, host: &HostConfig) -> Result<Outer, Refusal> {
    let Some(kind) = frame.load::<u16>(ethernet::TYPE) else { return Ok(Outer::NotOurs) };
    if kind != ethernet::TYPE_IPV4 {
        return Ok(Outer::NotOurs);
    }
    let Some(words) = frame.load::<[u32; 5]>(ethernet::HEADER) else { return Ok(Outer::NotOurs) };
    let [first, second, third, source, destination] = words;
    let protocol = (u32::from_be(third) >> 16) as u8;
    if destination != host.underlay_v4 || protocol != ip_protocol::UDP {
        return Ok(Outer::NotOurs);
    }
    let header = ((u32::from_be(first) >> 24) & 0xf).wrapping_mul(4) as usize;
    let fragment = u32::from_be(second) & ip::V4_FRAGMENT;
    if fragment & ip::V4_FRAGMENT_OFFSET != 0 {
        // The ports are in the first fragment; without it, which is dropped below, the rest never becomes a datagram.
        return Ok(Outer::NotOurs);
    }
    let udp = ethernet::HEADER.wrapping_add(header);
    let Some([_, port]) = frame.load::<[u16; 2]>(udp) else { return Ok(Outer::NotOurs) };
    if port != host.vxlan_port {
        return Ok(Outer::NotOurs);
    }
    if header != ip::V4_HEADER {
        return Err(refuse(DropReason::OuterOptions));
    }
    if fragment != 0 {
        return Err(refuse(DropReason::OuterFragment));
    }
    vxlan_header(frame, Address::from_v4_word(source))
}

#[inline(always)]
fn vxlan_header<F: Frame>(frame: &F, sender: Address) -> Result<Outer, Refusal> {
    const AT: usize = ethernet::HEADER + ip::V4_HEADER + vxlan::UDP_HEADER;
    let [flags, vni]: [u32; 2] = frame.load(AT).ok_or(refuse(DropReason::BadVxlan))?;
    if u32::from_be(flags) & vxlan::FLAG_VNI == 0 {
        return Err(refuse(DropReason::BadVxlan));
    }
    Ok(Outer::Vxlan(Tunnel::new(u32::from_be(vni) >> 8, sender)))
}

/// Is the sender a member of the network that the frame names?
#[inline(always)]
pub(crate) fn member<T: Tables>(tables: &T, tunnel: &Tunnel) -> Result<MemberRow, Refusal> {
    let key = MemberKey { vni: tunnel.vni, underlay: tunnel.sender };
    // A member without a number could not be told from a workload.
    tables.member(&key).filter(|member| member.host != 0).ok_or(refuse(DropReason::UnknownSender))
}

/// Does the sender hold the inner source address, by the location that this host knows? Of the node itself only this host says so: it is a
/// member of no network towards itself, so no frame from the underlay has it for its sender.
#[inline(always)]
pub(crate) fn holds(sender: HostIndex, location: &LocationRow) -> Result<(), Refusal> {
    let elsewhere = location.flags & location_flag::LOCAL == 0
        && matches!(
            location.kind,
            location_kind::PORT | location_kind::HOST | location_kind::VTEP | location_kind::FORWARD
        );
    let holder = location.host == sender || location.alternate_host == sender;
    if elsewhere && holder { Ok(()) } else { Err(refuse(DropReason::SenderNotHolder)) }
}

/// The refusal of a sender that does not hold the inner source address.
pub(crate) const NOT_HOLDER: Refusal = refuse(DropReason::SenderNotHolder);

/// An established packet: its row must say that its source is where it came from. What a workload sends while its port is still on
/// its way here waits until the tables are the new ones.
#[inline(always)]
pub(crate) fn row(sender: HostIndex, row: &FlowRow, direction: Direction) -> Result<(), Refusal> {
    let from = match direction {
        Direction::LowToHigh => row.low_kind,
        Direction::HighToLow => row.high_kind,
    };
    if sender == 0 {
        return if from == side_kind::LOCAL { Ok(()) } else { Err(MOVING) };
    }
    let is_there = matches!(from, side_kind::REMOTE | side_kind::HOST) && row.next_hop.host == sender;
    if is_there { Ok(()) } else { Err(NOT_HOLDER) }
}

/// The refusal of a workload's packet whose source is not here yet, by the location that this host knows.
pub(crate) const MOVING: Refusal = Refusal::new(Stage::Locate, DropReason::NetworkChanging);
