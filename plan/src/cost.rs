//! How large tables become, and whether they may.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Add, Sub},
};

use andromede_abi::maps::{self, Table};
use andromede_model::{Host, NetworkView, Port};
use thiserror::Error;

use crate::{Attachment, HostFacts, Rows, compile};

/// A table that would have more rows than it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "table {table} would have {rows} rows and holds {most}; let ports share groups, or spread networks over more hosts"
)]
pub struct TooLarge {
    /// Name of the table, or of what is bounded while rules are compiled.
    pub table: &'static str,
    /// Rows that it would have.
    pub rows: usize,
    /// Rows that it holds.
    pub most: u32,
}

/// The tables that the control path fills, in the order of [`Cost`].
const TABLES: [Table; 12] = [
    maps::PORTS,
    maps::SOURCES,
    maps::LOCATIONS,
    maps::PREFIXES,
    maps::HOSTS,
    maps::MEMBERS,
    maps::NETWORKS,
    maps::EPOCHS,
    maps::POLICY_IDENTITIES,
    maps::POLICY_PREFIXES,
    maps::POLICY_SERVICES,
    maps::POLICY_CELLS,
];

/// Number of rows in each table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost([u32; TABLES.len()]);

impl Cost {
    /// What networks cost on a host when the workloads of all its ports are attached: asked before a write is committed. It takes
    /// as long as compiling them.
    pub fn of_host(views: &[NetworkView], host: &Host) -> Result<Self, TooLarge> {
        let here = |port: &&Port| port.host.as_ref() == Some(&host.name);
        let ports = views.iter().flat_map(|view| view.ports.values()).filter(here);
        let attachment =
            |(ifindex, port): (u32, &Port)| (port.name.clone(), Attachment { ifindex, ..Attachment::default() });
        let attachments = (1..).zip(ports).map(attachment).collect();
        let gateways = BTreeMap::new();
        let facts = HostFacts {
            host: host.index,
            underlay: host.underlay,
            underlay_ifindex: 1,
            gateways,
            addresses: BTreeSet::new(),
            flow_rows: maps::FLOWS.rows,
            meters: BTreeMap::new(),
        };
        Ok(Self::of(&compile(views, &facts, &attachments, &Rows::default())?.rows))
    }

    /// What these rows cost.
    pub fn of(rows: &Rows) -> Self {
        let rows = [
            rows.ports.len(),
            rows.sources.len(),
            rows.locations.len(),
            rows.prefixes.len(),
            rows.hosts.len(),
            rows.members.len(),
            rows.networks.len(),
            rows.highest_slot().map_or(0, |slot| slot as usize + 1),
            rows.policy_identities.len(),
            rows.policy_prefixes.len(),
            rows.policy_services.len(),
            rows.policy_cells.len(),
        ];
        Self(rows.map(|rows| u32::try_from(rows).unwrap_or(u32::MAX)))
    }

    /// Each table and its rows.
    pub fn tables(&self) -> impl Iterator<Item = (Table, usize)> + '_ {
        TABLES.into_iter().zip(self.0.map(|rows| rows as usize))
    }

    /// Counts further rows of a table; of one that the control path does not fill, none.
    pub fn add(&mut self, table: &Table, rows: usize) {
        if let Some(mine) = self.of_table(table) {
            *mine = mine.saturating_add(u32::try_from(rows).unwrap_or(u32::MAX));
        }
    }

    /// Counts fewer rows of a table.
    pub fn remove(&mut self, table: &Table, rows: usize) {
        if let Some(mine) = self.of_table(table) {
            *mine = mine.saturating_sub(u32::try_from(rows).unwrap_or(u32::MAX));
        }
    }

    fn of_table(&mut self, table: &Table) -> Option<&mut u32> {
        TABLES.iter().zip(&mut self.0).find(|(one, _)| *one == table).map(|(_, rows)| rows)
    }

    /// The rows of one table; 0 of a table that the control path does not fill.
    pub fn rows(&self, table: &Table) -> usize {
        self.tables().find(|(one, _)| one == table).map(|(_, rows)| rows).unwrap_or_default()
    }

    /// Bytes of memory that the rows of rules take at most, with what the kernel adds to each: a hash element has 48 bytes before
    /// its key (`kernel/bpf/hashtab.c`), a node of a longest-prefix table 40 (`kernel/bpf/lpm_trie.c`), all are rounded up to the
    /// next size that is handed out (`kernel/bpf/memalloc.c`), and each prefix may want a node that joins it to its neighbour.
    pub fn rule_bytes(&self) -> usize {
        let (hash, prefix) = (96, 2 * 96);
        let of = |table: &Table, bytes: usize| self.rows(table).saturating_mul(bytes);
        of(&maps::POLICY_IDENTITIES, hash)
            + of(&maps::POLICY_PREFIXES, prefix)
            + of(&maps::POLICY_SERVICES, prefix)
            + of(&maps::POLICY_CELLS, hash)
    }

    /// Most rows of each table that a host may be given.
    ///
    /// While a change is carried out, old and new compiled sets, hosts and networks stand side by side, whichever revision the host had
    /// before: half of these tables is left free for that. Of slots an eighth is: those of ports that are gone are given to others only
    /// when no connection counts on them any more. A longest-prefix table that is full takes no row of the same key either (Linux
    /// 6.1, `trie_update_elem`), so that one row stays free.
    pub fn limits() -> Self {
        Self(TABLES.map(|table| match table {
            maps::POLICY_IDENTITIES
            | maps::POLICY_PREFIXES
            | maps::POLICY_SERVICES
            | maps::POLICY_CELLS
            | maps::HOSTS
            | maps::NETWORKS => table.rows / 2,
            maps::EPOCHS => table.rows - table.rows / 8,
            maps::SOURCES | maps::PREFIXES => table.rows - 1,
            _ => table.rows,
        }))
    }

    /// The first table that would be too large, if there is one.
    pub fn fits(&self) -> Result<(), TooLarge> {
        let over = self.tables().find(|(table, rows)| *rows > table.rows as usize);
        over.map_or(Ok(()), |(table, rows)| Err(TooLarge { table: table.name, rows, most: table.rows }))
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one = one.saturating_add(other));
        self
    }
}

impl Sub for Cost {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one = one.saturating_sub(other));
        self
    }
}
