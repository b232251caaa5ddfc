//! Connections of an older layout.
//!
//! The programs of the process before go on with the table of their layout while this one's are loaded. Its connections are copied
//! twice: before the programs change places, so that the new ones know them at their first packet, and after it, for those that were opened in
//! between. Then the old pin is removed.

use std::{fs, io};

use andromede_abi::{FlowKey, FlowRow1, bytes_of, from_bytes, maps};

use crate::{
    batch,
    flows::Flows,
    load::LoadError,
    pins::{PinError, Pins},
    sys::{self, RawMap},
};

/// What became of the connections of an older layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upgraded {
    /// Connections that are in the new table now, and were not before.
    pub moved: usize,
    /// Connections for which the new table had no room, or that were not whole: they are lost.
    pub lost: usize,
}

/// Copies the connections of an older layout, if there are any, that the present table does not have.
pub(crate) fn flows(pins: &Pins, flows: &Flows) -> Result<Upgraded, LoadError> {
    let failed = |source| LoadError::Table { table: maps::FLOWS.name, source };
    let old = match sys::open_pin(&pins.older_flows()) {
        Ok(fd) => RawMap::new(fd).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Upgraded::default()),
        Err(error) => return Err(failed(error)),
    };
    if (old.key_size, old.value_size) != (size_of::<FlowKey>(), size_of::<FlowRow1>()) {
        return Err(failed(io::ErrorKind::InvalidData.into()));
    }
    let mut upgraded = Upgraded::default();
    batch::for_each_batch(&old, |keys, values| {
        for (key, value) in keys.chunks_exact(old.key_size).zip(values.chunks_exact(old.copy_size)) {
            let (Some(key), Some(row)) = (from_bytes::<FlowKey>(key), from_bytes::<FlowRow1>(value)) else { continue };
            // An element that was given to another key while it was read is read again under that one.
            let put = if row.owner == key.owner() {
                flows.0.map.insert_new(bytes_of(&key), bytes_of(&row.upgrade(&key)))
            } else {
                Err(io::ErrorKind::InvalidData.into())
            };
            match put {
                Ok(is_new) => upgraded.moved = upgraded.moved.saturating_add(usize::from(is_new)),
                Err(_) => upgraded.lost = upgraded.lost.saturating_add(1),
            }
        }
        Ok(())
    })
    .map_err(failed)?;
    let Upgraded { moved, lost } = upgraded;
    if lost > 0 {
        tracing::warn!(
            moved,
            lost,
            layout = maps::FLOWS.layout,
            "connections of an older layout, of which some are lost"
        );
    } else if moved > 0 {
        tracing::info!(moved, lost, layout = maps::FLOWS.layout, "connections of an older layout");
    }
    Ok(upgraded)
}

/// Does an upgrade change the layout of what packets are judged by? Rows that refer from one table into another then do not say the same to
/// the programs before as to the present ones.
pub(crate) fn changes_rules(pins: &Pins) -> Result<bool, LoadError> {
    let flows = pins.older_flows();
    Ok(pins.older()?.into_iter().any(|path| path != flows))
}

/// The same once more, after the programs changed places; then the tables of older layouts go.
pub(crate) fn finish(pins: &Pins, present: &Flows) -> Result<Upgraded, LoadError> {
    let upgraded = flows(pins, present)?;
    for path in pins.older()? {
        match fs::remove_file(&path) {
            Ok(()) => {
                tracing::info!(table = %path.display(), "a table of an older layout is removed; what it counted is lost");
            }
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(PinError::Os { what: "cannot remove", path, source }.into());
            }
            _ => {}
        }
    }
    Ok(upgraded)
}
