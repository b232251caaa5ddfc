//! Does the source of a frame belong to the port that sent it?

use andromede_abi::{Address, DropReason, PortRow, SourceKey, Stage, port_flag};

use crate::{frame::Frame, tables::Tables, verdict::Refusal, wire::ethernet};

#[inline(always)]
const fn refuse(reason: DropReason) -> Refusal {
    Refusal::new(Stage::SourceGuard, reason)
}

/// Compares the Ethernet source with the port's address and returns the type, network byte order.
#[inline(always)]
pub(crate) fn ethernet<F: Frame>(frame: &F, port: &PortRow) -> Result<u16, Refusal> {
    let header: [u16; 7] = frame.load(0).ok_or(Refusal::new(Stage::Parse, DropReason::Truncated))?;
    let [_, _, _, m0, m1, m2, kind] = header;
    if [m0, m1, m2] != ethernet::words(port.mac) {
        return Err(refuse(DropReason::SpoofedMac));
    }
    debug_assert!(!ethernet::is_group(port.mac));
    Ok(kind)
}

/// Is this one of the port's addresses?
#[inline(always)]
pub(crate) fn holds<T: Tables>(tables: &T, port: &PortRow, address: Address) -> bool {
    if address.is_unspecified() {
        return false;
    }
    let main = if address.is_v4() { address.v4_word() == port.v4 } else { address == port.v6 };
    main || (port.flags & port_flag::FURTHER_SOURCES != 0
        && tables.source_allowed(&SourceKey { slot: port.slot, address }))
}

/// Refuses a packet whose source is not one of the port's addresses.
#[inline(always)]
pub(crate) fn ip<T: Tables>(tables: &T, port: &PortRow, source: Address) -> Result<(), Refusal> {
    if holds(tables, port, source) {
        return Ok(());
    }
    Err(refuse(if source.is_v6_link_local() { DropReason::LinkLocal } else { DropReason::SpoofedSource }))
}
