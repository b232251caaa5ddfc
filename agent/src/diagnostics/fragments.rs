//! The end of datagrams in pieces whose fragments stopped coming.

use andromede_abi::FRAGMENT_LIFETIME;
use andromede_dataplane::{TableError, Tables};

/// Removes rows that say nothing any more. The packet path does not look at them and writes over them; what this gives back is the
/// room of ports that are gone.
pub(super) fn sweep(tables: &Tables, now: u64) -> Result<(), TableError> {
    let over = |seen: u64| now.saturating_sub(seen) > FRAGMENT_LIFETIME;
    let mut keys = Vec::new();
    tables.fragments.for_each(|key, row| {
        if over(row.seen) {
            keys.push(key);
        }
    })?;
    for key in &keys {
        // Another datagram may have taken the place since.
        if tables.fragments.get(key)?.is_some_and(|row| over(row.seen)) {
            tables.fragments.remove(key)?;
        }
    }
    Ok(())
}
