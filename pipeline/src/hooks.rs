//! Where a packet is met, and who answers for its source.

use andromede_abi::{Address, DropReason, FORWARDED, PortRow, Stage, port_flag, rule};

use crate::{
    context::{Context, Tunnel},
    encapsulate::OVERHEAD,
    frame::Frame,
    parse,
    passage::{Arrival, Recognised, pass},
    scratch::Scratch,
    stage::{neighbor, sender_guard, source_guard},
    stages::Stages,
    translation,
    verdict::{Claim, Edit, EditKind, Refusal, Target, TargetKind},
    wire::{ethernet, ip_protocol},
};

#[inline(always)]
pub(crate) fn from_workload<F: Frame, T: Stages>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
) -> Result<Recognised, Refusal> {
    let passed = tables.with_port(context.ifindex, |port| of_port(frame, context, tables, port, scratch));
    passed.unwrap_or(Err(Refusal::new(Stage::SourceGuard, DropReason::UnknownPort)))
}

/// A frame of the workload behind this port.
#[inline(always)]
fn of_port<F: Frame, T: Stages>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    port: &PortRow,
    scratch: &mut Scratch,
) -> Result<Recognised, Refusal> {
    (scratch.verdict.port, scratch.verdict.network) = (port.slot, port.network);
    let ethertype = source_guard::ethernet(frame, port)?;
    if context.tagged {
        return Err(Refusal::new(Stage::Parse, DropReason::BadEthernet));
    }
    if ethertype == ethernet::TYPE_ARP {
        return Ok(Recognised::Arp);
    }
    parse::ip_packet(frame, 0, ethertype, context.gso_size, &mut scratch.packet)?;
    tables.meet(scratch);
    let packet = &scratch.packet;
    if neighbor::is_discovery(packet) {
        return Ok(Recognised::Discovery);
    }
    // A workload that has no address yet looks for multicast listeners and for DHCP: that is no forgery.
    if packet.source.is_unspecified() && packet.destination.is_group() {
        return Err(Refusal::new(Stage::Locate, DropReason::Group));
    }
    source_guard::ip(tables, port, packet.source)?;
    let arrival = Arrival {
        network: port.network,
        network_slot: port.network_slot,
        vni: port.vni,
        sender: 0,
        policed: if port.flags & port_flag::TRANSMIT_POLICED != 0 { context.ifindex } else { 0 },
        frame_length: frame.len(),
    };
    pass(&arrival, scratch)
}

#[inline(always)]
pub(crate) fn from_underlay<F: Frame, T: Stages>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
) -> Result<Recognised, Refusal> {
    // The tag names another network of the link, which has an interface of its own.
    let outer = if context.tagged { sender_guard::Outer::NotOurs } else { sender_guard::outer(frame, context.host)? };
    match outer {
        sender_guard::Outer::NotOurs => {
            scratch.verdict.pass(Stage::Parse, Target::HOST, Edit::NONE, rule::NONE);
            Ok(Recognised::Decided)
        }
        sender_guard::Outer::Vxlan(tunnel) => overlay(frame, OVERHEAD, &tunnel, context, tables, scratch),
    }
}

#[inline(always)]
pub(crate) fn from_overlay<F: Frame, T: Stages>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
) -> Result<Recognised, Refusal> {
    if context.tagged {
        return Err(Refusal::new(Stage::Parse, DropReason::BadEthernet));
    }
    // The device listens on every interface and address; only the underlay's program knows what may come to it.
    if !context.marked {
        return Err(Refusal::new(Stage::SenderGuard, DropReason::NotFromUnderlay));
    }
    if context.tunnel.sender.is_unspecified() {
        return Err(Refusal::new(Stage::SenderGuard, DropReason::NoTunnelKey));
    }
    overlay(frame, 0, &context.tunnel, context, tables, scratch)
}

/// A tenant's frame from the underlay, at this offset behind its outer header.
#[inline(always)]
fn overlay<F: Frame, T: Stages>(
    frame: &F,
    offset: usize,
    tunnel: &Tunnel,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
) -> Result<Recognised, Refusal> {
    let member = sender_guard::member(tables, tunnel)?;
    scratch.verdict.network = member.network;
    let at = offset.wrapping_add(ethernet::TYPE);
    let ethertype: u16 = frame.load(at).ok_or(Refusal::new(Stage::Parse, DropReason::Truncated))?;
    parse::ip_packet(frame, offset, ethertype, context.gso_size, &mut scratch.packet)?;
    tables.meet(scratch);
    // Address resolution never leaves a host: whatever claims to be of it is forged.
    if neighbor::is_discovery(&scratch.packet) {
        return Err(Refusal::new(Stage::Hairpin, DropReason::NeighborIgnored));
    }
    // The kernel removes the outer header of a datagram train right; `adjust_room` leaves marks by which it is lost.
    if offset != 0 && context.gso_size != 0 && scratch.packet.protocol == ip_protocol::UDP {
        scratch.verdict.pass(Stage::SenderGuard, Target::OVERLAY_DEVICE, Edit::NONE, rule::NONE);
        return Ok(Recognised::Decided);
    }
    let arrival = Arrival {
        network: member.network,
        network_slot: member.network_slot,
        vni: tunnel.vni,
        sender: member.host,
        policed: 0,
        frame_length: frame.len().wrapping_sub(offset as u32),
    };
    pass(&arrival, scratch)
}

/// What the node sends to a workload. What the packet path delivers was judged before; of the rest, what the node itself made is
/// admitted to pods, and what it forwards is judged by their rules.
#[inline(always)]
pub(crate) fn from_host<F: Frame, T: Stages>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    scratch: &mut Scratch,
) -> Result<Recognised, Refusal> {
    if context.marked {
        scratch.verdict.pass(Stage::Apply, Target::HOST, Edit::NONE, rule::NONE);
        return Ok(Recognised::Decided);
    }
    let passed = tables.with_port(context.ifindex, |port| of_node(frame, context, tables, port, scratch));
    passed.unwrap_or(Err(NOT_ADMITTED))
}

/// A frame of the node to the workload behind this port.
#[inline(always)]
fn of_node<F: Frame, T: Stages>(
    frame: &F,
    context: &Context<'_>,
    tables: &T,
    port: &PortRow,
    scratch: &mut Scratch,
) -> Result<Recognised, Refusal> {
    (scratch.verdict.port, scratch.verdict.network) = (port.slot, port.network);
    if port.flags & port_flag::NODE_ADMITTED == 0 {
        return Err(NOT_ADMITTED);
    }
    if context.tagged {
        return Err(Refusal::new(Stage::Parse, DropReason::BadEthernet));
    }
    let ethertype: u16 = frame.load(ethernet::TYPE).ok_or(Refusal::new(Stage::Parse, DropReason::Truncated))?;
    parse::ip_packet(frame, 0, ethertype, context.gso_size, &mut scratch.packet)?;
    scratch.infrastructure = Address::UNSPECIFIED;
    if port.flags & port_flag::TRANSLATED != 0 && !translation::inward(port, scratch) {
        return Err(NOT_ADMITTED);
    }
    tables.meet(scratch);
    // The node is told where its pods are: it has nothing to ask.
    if neighbor::is_discovery(&scratch.packet) {
        return Err(Refusal::new(Stage::Hairpin, DropReason::NeighborIgnored));
    }
    let arrival = Arrival {
        network: port.network,
        network_slot: port.network_slot,
        vni: port.vni,
        sender: if context.own { context.host.host } else { FORWARDED },
        policed: 0,
        frame_length: frame.len(),
    };
    pass(&arrival, scratch)
}

/// A frame of the node goes on to the interface at which it was met, or nowhere; and the node sends in nobody's name that the network knows.
#[inline(always)]
pub(crate) fn to_own_port(context: &Context<'_>, scratch: &mut Scratch) {
    let Scratch { verdict, infrastructure, .. } = scratch;
    let strays = matches!(verdict.target.kind, TargetKind::Deliver) && verdict.target.ifindex != context.ifindex;
    if strays || matches!(verdict.reason, Some(DropReason::SenderNotHolder)) {
        verdict.claim = Claim::None;
        verdict.refuse(NOT_ADMITTED);
    }
    if matches!(verdict.target.kind, TargetKind::Deliver) && !infrastructure.is_unspecified() {
        verdict.edit.kind = EditKind::TranslateDestination;
    }
}

/// The refusal of what the node sends and the port does not admit.
const NOT_ADMITTED: Refusal = Refusal::new(Stage::SourceGuard, DropReason::HostNotAdmitted);
