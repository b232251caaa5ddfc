//! What does the network answer to an ARP packet?

use andromede_abi::{Address, DropReason, LocationRow, PortRow, Stage, location_kind};

use crate::{
    frame::Frame,
    stage::{locate, source_guard},
    tables::Tables,
    verdict::{Edit, EditKind, Refusal},
    wire::{arp, ethernet},
};

#[inline(always)]
const fn refuse(reason: DropReason) -> Refusal {
    Refusal::new(Stage::Hairpin, reason)
}

/// The answer to an ARP packet of this port, or why there is none.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(crate) fn answer<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    port: &PortRow,
    location: &mut LocationRow,
) -> Result<Edit, Refusal> {
    let fixed: [u16; 3] = frame.load(arp::FIXED).ok_or(refuse(DropReason::Truncated))?;
    let operation: u16 = frame.load(arp::OPERATION).ok_or(refuse(DropReason::Truncated))?;
    let addresses: arp::Addresses = frame.load(arp::ADDRESSES).ok_or(refuse(DropReason::Truncated))?;
    if fixed != arp::FIXED_ETHERNET_IPV4 || !matches!(operation, arp::REQUEST | arp::REPLY) {
        return Err(refuse(DropReason::BadArp));
    }
    let [m0, m1, m2, s0, s1, _, _, _, t0, t1] = addresses;
    let sender = Address::from_v4_word(arp::word(s0, s1));
    let target = Address::from_v4_word(arp::word(t0, t1));
    // A probe (RFC 5227) has no sender address yet.
    let probe = sender.is_unspecified();
    if [m0, m1, m2] != ethernet::words(port.mac) || !(probe || source_guard::holds(tables, port, sender)) {
        return Err(refuse(DropReason::SpoofedNeighbor));
    }
    if operation == arp::REPLY {
        return Err(refuse(DropReason::NeighborIgnored));
    }
    if source_guard::holds(tables, port, target) {
        return Err(refuse(DropReason::DuplicateAddressProbe));
    }
    if !locate::locate(tables, port.network, target, location) || location.kind == location_kind::UNKNOWN {
        return Err(refuse(DropReason::UnknownNeighbor));
    }
    Ok(Edit::new(EditKind::ArpReply, location.mac))
}
