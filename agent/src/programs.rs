//! The loaded packet path: rows in its tables, and its programs at their devices.

mod places;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use andromede_abi::{HostConfig, Slot, TENANT_USAGE, Usage};
use andromede_dataplane::{
    AttachError, AttachMode, Attachment, Dataplane, DropEvents, Health, Hook, LoadError, Pins, Reaper, RuleEvents,
    Sizes, TableError, Tables, grace_period,
};
use andromede_plan::{Row, RowKey, Rows, Step, Wanted};

use crate::{error::causes, hits::Hits};

/// Where a program shall be.
pub type Place = (Hook, u32);

/// How the packet path is loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is pinned.
    pub pins: Pins,
    /// Sizes of the tables.
    pub sizes: Sizes,
    /// How programs are attached; [`AttachMode::Auto`] only where the kernel has tcx.
    pub mode: AttachMode,
    /// Bits of `HostConfig::features` that this kernel gives.
    pub features: u32,
}

/// What is not as it was put.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No program is loaded.
    #[error("the packet path is not loaded")]
    NotLoaded,
    /// A program is not where it was put.
    #[error("its program {hook} is not in place: {health}")]
    Program {
        /// The program.
        hook: Hook,
        /// What is there.
        health: String,
    },
    /// Somebody else wrote into the tables.
    #[error("its rules are not as they were written")]
    Rows,
    /// The kernel cannot be asked.
    #[error("{}", causes(.0))]
    Attach(#[from] AttachError),
    /// A table cannot be read.
    #[error("{}", causes(.0))]
    Table(#[from] TableError),
}

/// The loaded packet path.
#[derive(Debug)]
pub struct Programs {
    settings: Settings,
    dataplane: Dataplane,
    config: HostConfig,
    /// The rows in the tables, as last read and since written; none: to be read.
    found: Option<Rows>,
    attached: BTreeMap<Place, Attachment>,
    /// Filters that will be tcx links, and since when they are there.
    fresh: BTreeMap<Place, Instant>,
    /// The rules that are counted.
    hits: Hits,
}

impl Programs {
    /// Loads the programs, adopting the tables that are pinned.
    pub fn load(settings: &Settings, config: HostConfig) -> Result<Self, LoadError> {
        let dataplane = Dataplane::load(Some(&settings.pins), &config, &settings.sizes)?;
        let settings = settings.clone();
        Ok(Self::of(settings, dataplane, config))
    }

    fn of(settings: Settings, dataplane: Dataplane, config: HostConfig) -> Self {
        let (attached, fresh) = (BTreeMap::new(), BTreeMap::new());
        Self { settings, dataplane, config, found: None, attached, fresh, hits: Hits::default() }
    }

    /// Loads the programs for a host that has changed. These stay where they are until [`Programs::place`] of the new ones.
    pub fn reload(&self, config: HostConfig) -> Result<Self, LoadError> {
        let dataplane = self.dataplane.reload(&config, &self.settings.sizes)?;
        Ok(Self::of(self.settings.clone(), dataplane, config))
    }

    /// See [`Dataplane::comes_before_rows`].
    pub fn come_before_rows(&self) -> Result<bool, LoadError> {
        self.dataplane.comes_before_rows()
    }

    /// What the programs know of their host.
    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    /// The program that removes connections.
    pub fn reaper(&self) -> Result<Reaper, LoadError> {
        self.dataplane.reaper()
    }

    /// Takes the reader of reports of drops.
    pub fn take_events(&mut self) -> Option<DropEvents> {
        self.dataplane.take_events()
    }

    /// Takes the reader of reports of rules.
    pub fn take_rule_events(&mut self) -> Option<RuleEvents> {
        self.dataplane.take_rule_events()
    }

    /// The rows in the tables; read once, and again by [`Programs::verify_rows`].
    pub fn found(&mut self) -> Result<&Rows, TableError> {
        let mut found = match self.found.take() {
            Some(found) => found,
            None => read_rows(&self.dataplane.tables)?,
        };
        // The packet path changes these.
        found.counted = counted(&self.dataplane.tables)?;
        Ok(self.found.insert(found))
    }

    /// Reads the rows anew before they are used again. Says whether they were other than remembered.
    pub fn verify_rows(&mut self) -> Result<bool, TableError> {
        let found = read_rows(&self.dataplane.tables)?;
        let drifted = self.found.as_ref().is_some_and(|remembered| differ(remembered, &found));
        self.found = Some(found);
        Ok(drifted)
    }

    /// How many rows the tables had when last seen.
    pub fn remembered(&self) -> usize {
        let lengths = |found: &Rows| found.lengths().into_iter().map(|(_, length)| length).sum();
        self.found.as_ref().map_or(0, lengths)
    }

    /// Is this interface's port row in its table, and are both programs at it?
    pub fn serves(&self, ifindex: u32) -> bool {
        let row = self.found.as_ref().is_some_and(|found| found.ports.contains_key(&ifindex));
        row && [Hook::FromWorkload, Hook::FromHost].iter().all(|hook| self.attached.contains_key(&(*hook, ifindex)))
    }

    /// How programs are attached: "tcx" or "clsact". Those of the underlay say it, which come last: a new workload begins with filters.
    pub fn form(&self) -> String {
        self.attached.values().next_back().map(|attachment| attachment.form.to_string()).unwrap_or_default()
    }

    /// Carries steps out, in order, and counts the rules that are in force after them.
    pub fn apply(&mut self, steps: &[Step], wanted: &Wanted) -> Result<(), TableError> {
        self.hits.begin(&self.dataplane.tables.rule_hits, steps, wanted);
        let mut found = self.found.take().unwrap_or_default();
        for step in steps {
            // If a step fails, `found` stays empty and is read anew: what a failed step left behind is not known.
            apply_step(&self.dataplane.tables, step)?;
            found.apply(step);
        }
        self.found = Some(found);
        Ok(())
    }

    /// Counts rules that are gone no more, once no compiled set says them.
    pub fn forget_rules(&mut self, wanted: &Wanted) {
        self.hits.forget(&self.dataplane.tables.rule_hits, wanted);
    }

    /// Asks the kernel whether both programs of an interface run there, and whether the rows are those that were written.
    pub fn verify(&mut self, ifindex: u32) -> Result<(), VerifyError> {
        for hook in [Hook::FromWorkload, Hook::FromHost] {
            let wrong = |health: String| VerifyError::Program { hook, health };
            let attachment =
                self.attached.get(&(hook, ifindex)).ok_or_else(|| wrong("it was never put there".to_owned()))?;
            match self.dataplane.verify(*attachment)? {
                Health::Attached => {}
                health => return Err(wrong(format!("{health:?}"))),
            }
        }
        if self.verify_rows()? { Err(VerifyError::Rows) } else { Ok(()) }
    }
}

/// Absent epochs and those that are 0 mean the same.
fn differ(a: &Rows, b: &Rows) -> bool {
    let without_zeros = |rows: &Rows| {
        let mut rows = rows.clone();
        rows.epochs.retain(|_, value| *value != 0);
        rows.counted.clear();
        rows
    };
    without_zeros(a) != without_zeros(b)
}

fn apply_step(tables: &Tables, step: &Step) -> Result<(), TableError> {
    match step {
        Step::Insert(row) => insert(tables, row),
        Step::Remove(key) => remove(tables, key).map(drop),
        Step::Epoch { slot, value }
        | Step::BeginChange { network_slot: slot, value }
        | Step::EndChange { network_slot: slot, value } => tables.epochs.set(*slot, *value),
        Step::Grace => {
            grace_period();
            Ok(())
        }
    }
}

fn insert(tables: &Tables, row: &Row) -> Result<(), TableError> {
    match row {
        Row::Port(key, value) => tables.ports.insert(key, value),
        Row::Source(key, value) => tables.sources.insert(key, value),
        Row::Location(key, value) => tables.locations.insert(key, value),
        Row::Prefix(key, value) => tables.prefixes.insert(key, value),
        Row::Host(key, value) => tables.hosts.insert(key, value),
        Row::Member(key, value) => tables.members.insert(key, value),
        Row::Network(key, value) => tables.networks.insert(key, value),
        Row::PolicyIdentity(key, value) => tables.policy_identities.insert(key, value),
        Row::PolicyPrefix(key, value) => tables.policy_prefixes.insert(key, value),
        Row::PolicyService(key, value) => tables.policy_services.insert(key, value),
        Row::PolicyCell(key, value) => tables.policy_cells.insert(key, value),
    }
}

fn remove(tables: &Tables, key: &RowKey) -> Result<bool, TableError> {
    match key {
        RowKey::Port(key) => tables.ports.remove(key),
        RowKey::Source(key) => tables.sources.remove(key),
        RowKey::Location(key) => tables.locations.remove(key),
        RowKey::Prefix(key) => tables.prefixes.remove(key),
        RowKey::Host(key) => tables.hosts.remove(key),
        RowKey::Member(key) => tables.members.remove(key),
        RowKey::Network(key) => tables.networks.remove(key),
        RowKey::PolicyIdentity(key) => tables.policy_identities.remove(key),
        RowKey::PolicyPrefix(key) => tables.policy_prefixes.remove(key),
        RowKey::PolicyService(key) => tables.policy_services.remove(key),
        RowKey::PolicyCell(key) => tables.policy_cells.remove(key),
    }
}

/// The slots of ports that connections count on.
fn counted(tables: &Tables) -> Result<BTreeSet<Slot>, TableError> {
    let mut slots = BTreeSet::new();
    tables.usage.for_each(|key, row| {
        if key & TENANT_USAGE == 0 && Usage::COUNTS.iter().any(|usage| row.get(*usage) != 0) {
            slots.insert(key);
        }
    })?;
    Ok(slots)
}

fn read_rows(tables: &Tables) -> Result<Rows, TableError> {
    Ok(Rows {
        ports: tables.ports.all()?.into_iter().collect(),
        sources: tables.sources.all()?.into_iter().collect(),
        locations: tables.locations.all()?.into_iter().collect(),
        prefixes: tables.prefixes.all()?.into_iter().collect(),
        hosts: tables.hosts.all()?.into_iter().collect(),
        members: tables.members.all()?.into_iter().collect(),
        networks: tables.networks.all()?.into_iter().collect(),
        policy_identities: tables.policy_identities.all()?.into_iter().collect(),
        policy_prefixes: tables.policy_prefixes.all()?.into_iter().collect(),
        policy_services: tables.policy_services.all()?.into_iter().collect(),
        policy_cells: tables.policy_cells.all()?.into_iter().collect(),
        epochs: tables.epochs.all()?.into_iter().collect(),
        counted: counted(tables)?,
    })
}
