//! All tables of one instance.

use std::{collections::BTreeMap, io, os::fd::OwnedFd, sync::Arc};

use andromede_abi::{
    CellKey, CellRow, FragmentKey, FragmentRow, HostIndex, HostRow, IdentityClass, IdentityClassKey, LocationKey,
    LocationRow, MemberKey, MemberRow, NetworkIndex, NetworkRow, Pod, PolicyPrefixKey, PortRow, PrefixClasses,
    PrefixKey, Prefixed, ReaperRow, ServiceClasses, ServiceKey, Slot, SourceKey, UsageRow,
    maps::{self, Table},
};

use crate::{
    counters::{DropTotals, Drops, EventBudgets, Meters, RuleHits},
    epochs::Epochs,
    flows::Flows,
    generation::Generation,
    layout::LAYOUTS,
    load::{LoadError, Sizes},
    pins::Pins,
    rows::Rows,
    sys::{self, RawMap},
};

/// The tables of one instance, by the names of `abi::maps`. They stay pinned when this is dropped.
#[derive(Debug)]
#[allow(missing_docs, reason = "each is described in `abi::maps`")]
pub struct Tables {
    pub ports: Rows<u32, PortRow>,
    pub sources: Rows<Prefixed<SourceKey>, u32>,
    pub locations: Rows<LocationKey, LocationRow>,
    pub prefixes: Rows<Prefixed<PrefixKey>, LocationRow>,
    pub hosts: Rows<HostIndex, HostRow>,
    pub members: Rows<MemberKey, MemberRow>,
    pub epochs: Epochs,
    pub policy_identities: Rows<IdentityClassKey, IdentityClass>,
    pub policy_prefixes: Rows<Prefixed<PolicyPrefixKey>, PrefixClasses>,
    pub policy_services: Rows<Prefixed<ServiceKey>, ServiceClasses>,
    pub policy_cells: Rows<CellKey, CellRow>,
    pub networks: Rows<NetworkIndex, NetworkRow>,
    pub flows: Flows,
    pub fragments: Rows<FragmentKey, FragmentRow>,
    pub usage: Rows<Slot, UsageRow>,
    pub reaper: Rows<u32, ReaperRow>,
    pub drops: Drops,
    pub drop_totals: DropTotals,
    pub event_budgets: EventBudgets,
    pub rule_hits: RuleHits,
    pub meters: Meters,
}

/// Open maps by the names of their tables, each compared with its layout.
pub(crate) struct Maps(BTreeMap<&'static str, RawMap>);

impl Maps {
    /// Opens every table by `open`, and compares it with its layout.
    pub(crate) fn open<F>(sizes: &Sizes, mut open: F) -> Result<Self, LoadError>
    where
        F: FnMut(&'static Table) -> io::Result<OwnedFd>,
    {
        let mut maps = BTreeMap::new();
        for layout in LAYOUTS {
            let table = layout.table;
            let map =
                open(table).and_then(RawMap::new).map_err(|source| LoadError::Table { table: table.name, source })?;
            layout
                .check(&map, sizes.of(table))
                .map_err(|difference| LoadError::Object { table: table.name, difference })?;
            maps.insert(table.name, map);
        }
        Ok(Self(maps))
    }

    fn take<K: Pod, V: Pod>(&mut self, table: &'static Table) -> Result<Rows<K, V>, LoadError> {
        let gone = || LoadError::Table { table: table.name, source: io::ErrorKind::NotFound.into() };
        Ok(Rows::new(table, self.0.remove(table.name).ok_or_else(gone)?))
    }

    /// As [`Self::take`], a table of configuration.
    fn advancing<K: Pod, V: Pod>(
        &mut self,
        table: &'static Table,
        generation: &Arc<Generation>,
    ) -> Result<Rows<K, V>, LoadError> {
        Ok(self.take(table)?.advancing(generation))
    }

    /// Gives each map its type.
    pub(crate) fn into_tables(mut self) -> Result<Tables, LoadError> {
        let failed = |source| LoadError::Table { table: maps::GENERATION.name, source };
        let generation = &Arc::new(Generation::of(&self.take::<u32, u64>(&maps::GENERATION)?.map).map_err(failed)?);
        // Whoever wrote before this may have ended between a write and this.
        generation.advance();
        Ok(Tables {
            ports: self.advancing(&maps::PORTS, generation)?,
            sources: self.advancing(&maps::SOURCES, generation)?,
            locations: self.advancing(&maps::LOCATIONS, generation)?,
            prefixes: self.advancing(&maps::PREFIXES, generation)?,
            hosts: self.advancing(&maps::HOSTS, generation)?,
            members: self.advancing(&maps::MEMBERS, generation)?,
            epochs: Epochs(self.advancing(&maps::EPOCHS, generation)?),
            policy_identities: self.advancing(&maps::POLICY_IDENTITIES, generation)?,
            policy_prefixes: self.advancing(&maps::POLICY_PREFIXES, generation)?,
            policy_services: self.advancing(&maps::POLICY_SERVICES, generation)?,
            policy_cells: self.advancing(&maps::POLICY_CELLS, generation)?,
            networks: self.advancing(&maps::NETWORKS, generation)?,
            flows: Flows(self.advancing(&maps::FLOWS, generation)?),
            fragments: self.take(&maps::FRAGMENTS)?,
            usage: self.take(&maps::USAGE)?,
            reaper: self.take(&maps::REAPER)?,
            drops: Drops(self.take(&maps::DROPS)?),
            drop_totals: DropTotals(self.take(&maps::DROP_TOTALS)?),
            event_budgets: EventBudgets(self.take(&maps::EVENT_BUDGET)?),
            rule_hits: RuleHits(self.take(&maps::RULE_HITS)?),
            meters: Meters(self.take(&maps::METERS)?),
        })
    }
}

impl Tables {
    /// Opens the pinned tables of an instance without loading anything.
    pub fn open(pins: &Pins, sizes: &Sizes) -> Result<Self, LoadError> {
        Maps::open(sizes, |table| sys::open_pin(&pins.table(table)))?.into_tables()
    }
}
