//! Rows of a host, as it sent them, into tables in memory.

use andromede_abi::{FlowKey, FlowRow, HostConfig, Pod, from_bytes, maps};
use andromede_pipeline::{Put, memory};
use andromede_proto::agent::v1::{NetworkRows, TableRows};

/// Why a host's rows cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// The host has other tables.
    #[error(
        "table {table} has layout {found}, this controller knows {known}; run agents and controllers of one version"
    )]
    Layout {
        /// Name of the table.
        table: String,
        /// Layout of the host's.
        found: u32,
        /// Layout of this program's.
        known: u32,
    },
    /// A key or a value has not the length that its layout says.
    #[error("table {0} holds a row that its layout does not allow; run agents and controllers of one version")]
    Malformed(String),
}

/// The tables of one host that concern one network, and what its programs know.
#[derive(Clone, Debug)]
pub struct HostRows {
    /// The tables.
    pub tables: memory::Tables,
    /// What the programs know of their host.
    pub config: HostConfig,
    /// Nanoseconds since the host's boot.
    pub now: u64,
}

/// The table of this name and layout, if the host sent it, as pairs of row bytes.
fn rows<'a>(
    message: &'a NetworkRows,
    table: &maps::Table,
) -> Result<impl Iterator<Item = (&'a [u8], &'a [u8])>, RowsError> {
    let of_table = |rows: &&TableRows| rows.table == table.name;
    for found in message.tables.iter().filter(of_table) {
        if found.layout != table.layout {
            let (found, known) = (found.layout, table.layout);
            return Err(RowsError::Layout { table: table.name.to_owned(), found, known });
        }
        if found.keys.len() != found.values.len() {
            return Err(RowsError::Malformed(table.name.to_owned()));
        }
    }
    let all = message.tables.iter().filter(of_table);
    Ok(all.flat_map(|rows| rows.keys.iter().map(Vec::as_slice).zip(rows.values.iter().map(Vec::as_slice))))
}

fn decode<K: Pod, V: Pod, C: FromIterator<(K, V)>>(message: &NetworkRows, table: &maps::Table) -> Result<C, RowsError> {
    let row = |(key, value): (&[u8], &[u8])| Some((from_bytes(key)?, from_bytes(value)?));
    let malformed = || RowsError::Malformed(table.name.to_owned());
    rows(message, table)?.map(|bytes| row(bytes).ok_or_else(malformed)).collect()
}

impl HostRows {
    /// Reads what a host sent.
    pub fn read(message: &NetworkRows) -> Result<Self, RowsError> {
        let flows: Vec<(FlowKey, FlowRow)> = decode(message, &maps::FLOWS)?;
        let tables = memory::Tables {
            ports: decode(message, &maps::PORTS)?,
            sources: decode(message, &maps::SOURCES)?,
            locations: decode(message, &maps::LOCATIONS)?,
            prefixes: decode(message, &maps::PREFIXES)?,
            hosts: decode(message, &maps::HOSTS)?,
            members: decode(message, &maps::MEMBERS)?,
            networks: decode(message, &maps::NETWORKS)?,
            epochs: decode(message, &maps::EPOCHS)?,
            policy_identities: decode(message, &maps::POLICY_IDENTITIES)?,
            policy_prefixes: decode(message, &maps::POLICY_PREFIXES)?,
            policy_services: decode(message, &maps::POLICY_SERVICES)?,
            policy_cells: decode(message, &maps::POLICY_CELLS)?,
            ..memory::Tables::default()
        };
        for (key, row) in &flows {
            // Tables in memory have room for all.
            let _ = andromede_pipeline::Tables::put_flow(&tables, key, row, Put::New);
        }
        let config =
            from_bytes(&message.host_config).ok_or_else(|| RowsError::Malformed(maps::HOST_CONFIG.to_owned()))?;
        Ok(Self { tables, config, now: message.now })
    }
}
