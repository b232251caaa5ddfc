//! How large tables become, and whether they may.

use andromede_abi::maps::{self, Table};
use thiserror::Error;

use crate::Rows;

/// A table that would have more rows than it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "table {table} would have {rows} rows and holds {most}; let ports share groups, or spread networks over more hosts"
)]
pub struct TooLarge {
    /// Name of the table.
    pub table: &'static str,
    /// Rows that it would have.
    pub rows: usize,
    /// Rows that it holds.
    pub most: u32,
}

/// Number of rows in each table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The table and its rows.
    pub tables: Vec<(Table, usize)>,
}

impl Cost {
    /// What these rows cost. A change needs room for the old compiled sets beside the new ones: that is what [`Cost::fits`] is
    /// asked with the rows of both.
    pub fn of(rows: &Rows) -> Self {
        Self {
            tables: vec![
                (maps::PORTS, rows.ports.len()),
                (maps::SOURCES, rows.sources.len()),
                (maps::LOCATIONS, rows.locations.len()),
                (maps::PREFIXES, rows.prefixes.len()),
                (maps::HOSTS, rows.hosts.len()),
                (maps::MEMBERS, rows.members.len()),
                (maps::EPOCHS, rows.slots().last().map_or(0, |slot| *slot as usize + 1)),
                (maps::POLICY_IDENTITIES, rows.policy_identities.len()),
                (maps::POLICY_PREFIXES, rows.policy_prefixes.len()),
                (maps::POLICY_SERVICES, rows.policy_services.len()),
                (maps::POLICY_CELLS, rows.policy_cells.len()),
            ],
        }
    }

    /// The first table that would be too large, if there is one.
    pub fn fits(&self) -> Result<(), TooLarge> {
        let over = self.tables.iter().find(|(table, rows)| *rows > table.rows as usize);
        over.map_or(Ok(()), |(table, rows)| Err(TooLarge { table: table.name, rows: *rows, most: table.rows }))
    }
}
