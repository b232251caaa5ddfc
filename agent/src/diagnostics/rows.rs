//! The rows of one network as bytes, for the controller's trace.

use std::collections::BTreeSet;

use andromede_abi::{
    HostConfig, Pod, bytes_of,
    maps::{self, Table},
};
use andromede_dataplane::{TableError, Tables};
use andromede_proto::agent::v1::{NetworkRows, TableRows};

use super::{DiagnosticsError, HostNames};

fn encode<K: Pod, V: Pod>(table: &Table, rows: impl IntoIterator<Item = (K, V)>) -> TableRows {
    let (keys, values) =
        rows.into_iter().map(|(key, value)| (bytes_of(&key).to_vec(), bytes_of(&value).to_vec())).unzip();
    TableRows { table: table.name.to_owned(), layout: table.layout, keys, values }
}

/// The rows of `all` that are `wanted`.
fn select<K: Pod, V: Pod>(
    all: Result<Vec<(K, V)>, TableError>,
    wanted: impl Fn(&K, &V) -> bool,
) -> Result<Vec<(K, V)>, TableError> {
    Ok(all?.into_iter().filter(|(key, value)| wanted(key, value)).collect())
}

/// The rows that concern one network, read from the tables themselves, and nothing of any other network.
pub(super) fn of_network(
    tables: &Tables,
    config: &HostConfig,
    names: &HostNames,
    network: &str,
    now: u64,
) -> Result<NetworkRows, DiagnosticsError> {
    let index = names.network_index(network).ok_or_else(|| DiagnosticsError::NotHeld(network.to_owned()))?;
    let ports = select(tables.ports.all(), |_, row| row.network == index)?;
    let locations = select(tables.locations.all(), |key, _| key.network == index)?;
    let prefixes = select(tables.prefixes.all(), |key, _| key.data.network == index)?;
    let members = select(tables.members.all(), |_, row| row.network == index)?;
    let flows = select(tables.flows.all(), |key, _| key.network == index)?;

    let local: BTreeSet<u32> = ports.iter().map(|(_, row)| row.slot).collect();
    let sets: BTreeSet<u32> = ports.iter().flat_map(|(_, row)| row.sets()).collect();
    let places = || locations.iter().map(|(_, row)| row).chain(prefixes.iter().map(|(_, row)| row));
    let hosts: BTreeSet<u32> = places().map(|row| row.host).chain(members.iter().map(|(_, row)| row.host)).collect();
    let slots: BTreeSet<u32> = places()
        .map(|row| row.slot)
        .chain(ports.iter().flat_map(|(_, row)| [row.slot, row.network_slot]))
        .chain(members.iter().map(|(_, row)| row.network_slot))
        .collect();

    let tables = vec![
        encode(&maps::SOURCES, select(tables.sources.all(), |key, _| local.contains(&key.data.slot))?),
        encode(&maps::HOSTS, select(tables.hosts.all(), |key, _| hosts.contains(key))?),
        encode(&maps::NETWORKS, select(tables.networks.all(), |key, _| *key == index)?),
        encode(&maps::EPOCHS, select(tables.epochs.all(), |slot, _| slots.contains(slot))?),
        encode(&maps::POLICY_IDENTITIES, select(tables.policy_identities.all(), |key, _| sets.contains(&key.set))?),
        encode(&maps::POLICY_PREFIXES, select(tables.policy_prefixes.all(), |key, _| sets.contains(&key.data.set))?),
        encode(&maps::POLICY_SERVICES, select(tables.policy_services.all(), |key, _| sets.contains(&key.data.set))?),
        encode(&maps::POLICY_CELLS, select(tables.policy_cells.all(), |key, _| sets.contains(&key.set))?),
        encode(&maps::PORTS, ports),
        encode(&maps::LOCATIONS, locations),
        encode(&maps::PREFIXES, prefixes),
        encode(&maps::MEMBERS, members),
        encode(&maps::FLOWS, flows),
    ];
    let prefix = format!("{network}/");
    let port_slots =
        names.slots().filter(|(port, _)| port.starts_with(&prefix)).map(|(port, slot)| (port.to_owned(), slot));
    Ok(NetworkRows { tables, host_config: bytes_of(config).to_vec(), port_slots: port_slots.collect(), now })
}
