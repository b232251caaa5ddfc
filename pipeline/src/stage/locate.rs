//! Where is this address of the network?

use andromede_abi::{
    Address, DropReason, LocationKey, LocationRow, NetworkIndex, PrefixKey, Stage, location_flag, location_kind,
};

use crate::{tables::Tables, verdict::Refusal};

/// Writes the location of an address to `into`: its own row, else that of the longest prefix that covers it. False if there is none.
#[inline(always)]
pub(crate) fn locate<T: Tables>(tables: &T, network: NetworkIndex, address: Address, into: &mut LocationRow) -> bool {
    let key = LocationKey { network, address };
    if tables.copy_location(&key, into) {
        return true;
    }
    // A row that is given to another address at this moment must not be taken for one that is not there: the packet would
    // follow a prefix that covers the address.
    if tables.has_location(&key) {
        return false;
    }
    tables.copy_prefix(&PrefixKey::new(network, address), into)
}

/// Writes the location of one end of a connection to `into`.
///
/// # Errors
/// Why there is none.
#[inline(always)]
pub(crate) fn end<T: Tables>(
    tables: &T,
    network: NetworkIndex,
    address: Address,
    into: &mut LocationRow,
) -> Result<(), Refusal> {
    let refuse = |reason| Err(Refusal::new(Stage::Locate, reason));
    if !locate(tables, network, address, into) {
        return refuse(DropReason::UnknownDestination);
    }
    if into.flags & location_flag::INFRASTRUCTURE != 0 {
        return refuse(DropReason::InfrastructureAddress);
    }
    match into.kind {
        location_kind::PORT | location_kind::HOST | location_kind::VTEP => Ok(()),
        location_kind::GATEWAY => refuse(DropReason::NoService),
        _ => refuse(DropReason::UnknownDestination),
    }
}
