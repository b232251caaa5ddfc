//! Loading the programs: new tables, or those of the process before.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use andromede_abi::{
    HostConfig, Pod, bytes_of,
    maps::{self, Table},
};
use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapData, RingBuf},
    programs::{Program, ProgramError, SchedClassifier},
};

use crate::{
    Hook, OBJECT,
    events::{DropEvents, Events, RuleEvents},
    layout::{Difference, LAYOUTS},
    measure::{Measure, Measures},
    pins::{PinError, PinLock, Pins},
    sys::{self, RawMap},
    tables::{Maps, Tables},
    upgrade::{self, Upgraded},
};

/// Why the programs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder of pins cannot be used.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// A pinned table is not one that this build can adopt.
    #[error("cannot adopt {path}: {difference}; stop the instance, or run the version that made it", path = .path.display())]
    Adopt {
        /// The pin.
        path: PathBuf,
        /// What differs.
        #[source]
        difference: Difference,
    },
    /// The object does not agree with the row formats: the build is broken.
    #[error("the object's table {table} does not match its rows: {difference}")]
    Object {
        /// Which table.
        table: &'static str,
        /// What differs.
        #[source]
        difference: Difference,
    },
    /// The object has no program or table of this name: the build is broken.
    #[error("the object has no {0}")]
    Absent(&'static str),
    /// A table cannot be opened.
    #[error("cannot open table {table}")]
    Table {
        /// Which table.
        table: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A size was given for something that is not a table.
    #[error("{0:?} is no table; the tables are those of `andromede_abi::maps`")]
    UnknownTable(String),
    /// The kernel refused the object.
    #[error("the kernel refused the object")]
    Ebpf(#[source] Box<EbpfError>),
    /// The kernel refused a program.
    #[error("the kernel refused program {program}")]
    Program {
        /// Which program.
        program: &'static str,
        /// What the verifier said.
        #[source]
        source: Box<ProgramError>,
    },
}

/// Numbers of rows that differ from those of `abi::maps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes(BTreeMap<&'static str, u32>);

impl Sizes {
    /// Small tables, for tests: 4096 rows in those that are larger.
    pub fn small() -> Self {
        let larger = |table: &&Table| table.rows > 4096 && ![&maps::EVENTS, &maps::RULE_EVENTS].contains(table);
        Self(maps::ALL.iter().filter(larger).map(|table| (table.name, 4096)).collect())
    }

    /// Sets the number of rows of a table (for `EVENTS` and `RULE_EVENTS`: bytes, a power of two and a multiple of the page size).
    pub fn set(&mut self, table: &str, rows: u32) -> Result<(), LoadError> {
        let known = maps::ALL.iter().find(|known| known.name == table);
        let name = known.ok_or_else(|| LoadError::UnknownTable(table.to_owned()))?.name;
        self.0.insert(name, rows);
        Ok(())
    }

    /// Number of rows of a table.
    pub fn of(&self, table: &Table) -> u32 {
        self.0.get(table.name).copied().unwrap_or(table.rows)
    }
}

/// A loaded program.
#[derive(Debug)]
pub(crate) struct LoadedProgram {
    fd: OwnedFd,
    /// The kernel's number of the program.
    pub(crate) id: u32,
}

impl LoadedProgram {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The loaded packet path of one instance.
///
/// Dropping it closes descriptors and nothing else: what is attached stays attached and what is pinned stays pinned.
#[derive(Debug)]
pub struct Dataplane {
    pub(crate) pins: Option<Pins>,
    programs: BTreeMap<Hook, LoadedProgram>,
    /// The tables.
    pub tables: Tables,
    events: Option<DropEvents>,
    rule_events: Option<RuleEvents>,
    pub(crate) reap: OwnedFd,
    pub(crate) verdicts: RawMap,
    /// Shared with those that [`Dataplane::reload`] made.
    lock: Option<Arc<PinLock>>,
}

impl Dataplane {
    /// Loads the programs for this host. Tables that `pins` has are adopted, the others are made and pinned there;
    /// without `pins` nothing is pinned, and all is gone with the process (tests).
    pub fn load(pins: Option<&Pins>, host: &HostConfig, sizes: &Sizes) -> Result<Self, LoadError> {
        let lock = match pins {
            None => None,
            Some(pins) => {
                pins.prepare()?;
                Some(Arc::new(pins.lock()?))
            }
        };
        Self::load_locked(pins, lock, host, sizes)
    }

    /// Loads the programs anew, in the same folder of pins, because what they know of the host has changed. This one keeps
    /// running: where it is attached its programs stay until those of the new one are attached in their place. The folder's
    /// lock is taken once for a process and not once for each load, so both hold it.
    pub fn reload(&self, host: &HostConfig, sizes: &Sizes) -> Result<Self, LoadError> {
        Self::load_locked(self.pins.as_ref(), self.lock.clone(), host, sizes)
    }

    fn load_locked(
        pins: Option<&Pins>,
        lock: Option<Arc<PinLock>>,
        host: &HostConfig,
        sizes: &Sizes,
    ) -> Result<Self, LoadError> {
        if let Some(pins) = pins {
            check_pinned(pins, sizes)?;
        }
        Self::of_object(&mut load_object(pins, host, sizes)?, pins, lock, sizes)
    }

    /// Loads the programs, unpinned, and beside them those for measurements, over the same tables.
    pub fn load_with_measures(host: &HostConfig, sizes: &Sizes) -> Result<(Self, Measures), LoadError> {
        let mut ebpf = load_object(None, host, sizes)?;
        let dataplane = Self::of_object(&mut ebpf, None, None, sizes)?;
        let measure = |measure: Measure| Ok((measure, load_program(&mut ebpf, measure.program())?));
        let measures: Result<BTreeMap<_, _>, LoadError> = Measure::ALL.into_iter().map(measure).collect();
        Ok((dataplane, Measures(measures?)))
    }

    fn of_object(
        ebpf: &mut Ebpf,
        pins: Option<&Pins>,
        lock: Option<Arc<PinLock>>,
        sizes: &Sizes,
    ) -> Result<Self, LoadError> {
        let mut programs = BTreeMap::new();
        for hook in Hook::ALL {
            programs.insert(hook, load_program(ebpf, hook.program())?);
        }
        let reap = load_program(ebpf, maps::program::REAP)?.fd;
        let events: DropEvents = ring_buffer(ebpf, &maps::EVENTS)?;
        let rule_events: RuleEvents = ring_buffer(ebpf, &maps::RULE_EVENTS)?;
        let maps = Maps::open(sizes, |table| match table.name {
            name if name == maps::EVENTS.name => events.as_fd().try_clone_to_owned(),
            name if name == maps::RULE_EVENTS.name => rule_events.as_fd().try_clone_to_owned(),
            name => data(ebpf, name).ok_or(io::ErrorKind::NotFound)?.fd().as_fd().try_clone_to_owned(),
        })?;
        let verdicts = data(ebpf, maps::VERDICTS).ok_or(LoadError::Absent(maps::VERDICTS))?.fd().as_fd();
        let verdicts = verdicts
            .try_clone_to_owned()
            .and_then(RawMap::new)
            .map_err(|source| LoadError::Table { table: maps::VERDICTS, source })?;
        let tables = maps.into_tables()?;
        if let Some(pins) = pins {
            upgrade::flows(pins, &tables.flows)?;
        }
        let (pins, events, rule_events) = (pins.cloned(), Some(events), Some(rule_events));
        Ok(Self { pins, programs, tables, events, rule_events, reap, verdicts, lock })
    }

    /// The pins, if there are any.
    pub fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// Copies the connections that programs of an older layout opened since this was loaded, and removes their table: to be called when the
    /// programs of this one are in the place of all of theirs.
    pub fn finish_upgrade(&self) -> Result<Upgraded, LoadError> {
        self.pins.as_ref().map_or(Ok(Upgraded::default()), |pins| upgrade::finish(pins, &self.tables.flows))
    }

    /// Do programs of an older layout of the rules stand where these belong? Then these are to take their places before rows are written:
    /// without rows they refuse new connections, while the ones before would go by rows that are not meant for them.
    pub fn comes_before_rows(&self) -> Result<bool, LoadError> {
        self.pins.as_ref().map_or(Ok(false), upgrade::changes_rules)
    }

    /// Takes the reader of reports of drops; there is one.
    pub fn take_events(&mut self) -> Option<DropEvents> {
        self.events.take()
    }

    /// Takes the reader of reports of rules; there is one.
    pub fn take_rule_events(&mut self) -> Option<RuleEvents> {
        self.rule_events.take()
    }

    pub(crate) fn program(&self, hook: Hook) -> Result<&LoadedProgram, LoadError> {
        self.programs.get(&hook).ok_or(LoadError::Absent(hook.program()))
    }
}

/// aya adopts whatever map a pin leads to; this looks first.
fn check_pinned(pins: &Pins, sizes: &Sizes) -> Result<(), LoadError> {
    for layout in LAYOUTS {
        let path = pins.table(layout.table);
        let map = match sys::open_pin(&path) {
            Ok(fd) => RawMap::new(fd),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(error),
        };
        let map = map.map_err(|source| LoadError::Table { table: layout.table.name, source })?;
        layout.check(&map, sizes.of(layout.table)).map_err(|difference| LoadError::Adopt { path, difference })?;
    }
    Ok(())
}

fn load_object(pins: Option<&Pins>, host: &HostConfig, sizes: &Sizes) -> Result<Ebpf, LoadError> {
    let mut loader = EbpfLoader::new();
    loader.override_global(maps::HOST_CONFIG, bytes_of(host), true);
    for table in maps::ALL {
        loader.map_max_entries(table.name, sizes.of(table));
        if let Some(pins) = pins {
            loader.map_pin_path(table.name, pins.table(table));
        }
    }
    loader.load(OBJECT).map_err(|error| LoadError::Ebpf(Box::new(error)))
}

fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<LoadedProgram, LoadError> {
    let refused = |source| LoadError::Program { program: name, source: Box::new(source) };
    let program: &mut Program = ebpf.program_mut(name).ok_or(LoadError::Absent(name))?;
    let program: &mut SchedClassifier = program.try_into().map_err(refused)?;
    program.load().map_err(refused)?;
    let fd = program.fd().map_err(refused)?.as_fd();
    // A descriptor of our own: nothing that aya drops takes the program away.
    let fd = fd.try_clone_to_owned().map_err(|error| refused(error.into()))?;
    let id = sys::program_id(fd.as_fd()).map_err(|error| refused(error.into()))?;
    Ok(LoadedProgram { fd, id })
}

fn data<'a>(ebpf: &'a Ebpf, name: &str) -> Option<&'a MapData> {
    match ebpf.map(name)? {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data) => Some(data),
        _ => None,
    }
}

fn ring_buffer<E: Pod>(ebpf: &mut Ebpf, table: &Table) -> Result<Events<E>, LoadError> {
    let map = ebpf.take_map(table.name).ok_or(LoadError::Absent(table.name))?;
    let ring = RingBuf::try_from(map).map_err(|error| LoadError::Ebpf(Box::new(error.into())))?;
    Ok(Events::new(ring))
}
