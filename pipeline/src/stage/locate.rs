//! Where is this address of the network?

use andromede_abi::{Address, DropReason, LocationKey, LocationRow, NetworkIndex, PrefixKey, Stage, location_kind};

use crate::{tables::Tables, verdict::Refusal};

/// The location of an address: its own row, else that of the longest prefix that covers it.
#[inline(always)]
pub(crate) fn locate<T: Tables>(tables: &T, network: NetworkIndex, address: Address) -> Option<LocationRow> {
    let key = LocationKey { network, address };
    if let Some(row) = tables.location(&key) {
        return Some(row);
    }
    // A row that is given to another address at this moment must not be taken for one that is not there: the packet would
    // follow a prefix that covers the address.
    if tables.has_location(&key) {
        return None;
    }
    tables.prefix(&PrefixKey::new(network, address))
}

/// The location of one end of a connection, or why there is none.
#[inline(always)]
pub(crate) fn end<T: Tables>(tables: &T, network: NetworkIndex, address: Address) -> Result<LocationRow, Refusal> {
    let refuse = |reason| Err(Refusal::new(Stage::Locate, reason));
    match locate(tables, network, address) {
        Some(row) if matches!(row.kind, location_kind::PORT | location_kind::VTEP) => Ok(row),
        Some(row) if row.kind == location_kind::GATEWAY => refuse(DropReason::NoService),
        _ => refuse(DropReason::UnknownDestination),
    }
}
