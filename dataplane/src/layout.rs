//! What kind of map each table is, and how large its rows are.
//!
//! The names, versions and numbers of rows are in `abi::maps`; this list says the rest, from the row types,
//! and a pinned map that differs from it is not adopted.

use andromede_abi::{
    CellKey, CellRow, DropCounterKey, EventBudget, FlowKey, FlowRow, FragmentKey, FragmentRow, HostRow, IdentityClass,
    IdentityClassKey, LocationKey, LocationRow, MemberKey, MemberRow, MeterRow, NetworkRow, PolicyPrefixKey, PortRow,
    PrefixClasses, PrefixKey, Prefixed, ReaperRow, ServiceClasses, ServiceKey, SourceKey, UsageRow,
    maps::{self, Table},
};

use crate::sys::RawMap;

/// Kinds of maps that the tables are, by their numbers in `enum bpf_map_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Hash = 1,
    Array = 2,
    PerCpuHash = 5,
    PerCpuArray = 6,
    LongestPrefix = 11,
    RingBuffer = 27,
}

/// A table and the shape that its map must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) table: &'static Table,
    kind: Kind,
    key: usize,
    value: usize,
}

const fn rows<K, V>(table: &'static Table, kind: Kind) -> Layout {
    Layout { table, kind, key: size_of::<K>(), value: size_of::<V>() }
}

/// Every table that is pinned.
pub(crate) const LAYOUTS: &[Layout] = &[
    rows::<u32, PortRow>(&maps::PORTS, Kind::Hash),
    rows::<Prefixed<SourceKey>, u32>(&maps::SOURCES, Kind::LongestPrefix),
    rows::<LocationKey, LocationRow>(&maps::LOCATIONS, Kind::Hash),
    rows::<Prefixed<PrefixKey>, LocationRow>(&maps::PREFIXES, Kind::LongestPrefix),
    rows::<u32, HostRow>(&maps::HOSTS, Kind::Hash),
    rows::<MemberKey, MemberRow>(&maps::MEMBERS, Kind::Hash),
    rows::<u32, u32>(&maps::EPOCHS, Kind::Array),
    rows::<IdentityClassKey, IdentityClass>(&maps::POLICY_IDENTITIES, Kind::Hash),
    rows::<Prefixed<PolicyPrefixKey>, PrefixClasses>(&maps::POLICY_PREFIXES, Kind::LongestPrefix),
    rows::<Prefixed<ServiceKey>, ServiceClasses>(&maps::POLICY_SERVICES, Kind::LongestPrefix),
    rows::<CellKey, CellRow>(&maps::POLICY_CELLS, Kind::Hash),
    rows::<u32, NetworkRow>(&maps::NETWORKS, Kind::Hash),
    rows::<FlowKey, FlowRow>(&maps::FLOWS, Kind::Hash),
    rows::<FragmentKey, FragmentRow>(&maps::FRAGMENTS, Kind::Hash),
    rows::<u32, UsageRow>(&maps::USAGE, Kind::Hash),
    rows::<u32, ReaperRow>(&maps::REAPER, Kind::Array),
    rows::<DropCounterKey, u64>(&maps::DROPS, Kind::PerCpuHash),
    rows::<u32, u64>(&maps::DROP_TOTALS, Kind::PerCpuArray),
    rows::<(), ()>(&maps::EVENTS, Kind::RingBuffer),
    rows::<u32, EventBudget>(&maps::EVENT_BUDGET, Kind::PerCpuArray),
    rows::<u32, u64>(&maps::RULE_HITS, Kind::Hash),
    rows::<u32, MeterRow>(&maps::METERS, Kind::PerCpuArray),
    rows::<(), ()>(&maps::RULE_EVENTS, Kind::RingBuffer),
    rows::<u32, u64>(&maps::GENERATION, Kind::Array),
];

/// A property of a pinned map that is not what this build needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{property} is {found}, but this build needs {wanted}")]
pub struct Difference {
    /// Which property.
    pub property: &'static str,
    /// What the map has, as the kernel counts it.
    pub found: u64,
    /// What this build needs.
    pub wanted: u64,
}

impl Layout {
    /// Compares a map with the table; `max_entries` is the number of rows asked for.
    pub(crate) fn check(&self, map: &RawMap, max_entries: u32) -> Result<(), Difference> {
        let properties = [
            ("the map type", u64::from(map.kind), self.kind as u64),
            ("the key size", map.key_size as u64, self.key as u64),
            ("the value size", map.value_size as u64, self.value as u64),
            ("the number of rows", u64::from(map.max_entries), u64::from(max_entries)),
        ];
        match properties.into_iter().find(|(_, found, wanted)| found != wanted) {
            Some((property, found, wanted)) => Err(Difference { property, found, wanted }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_layout() {
        let listed: Vec<&Table> = LAYOUTS.iter().map(|layout| layout.table).collect();
        let all: Vec<&Table> = maps::ALL.iter().collect();
        assert_eq!(listed, all);
    }
}
