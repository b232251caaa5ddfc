//! Metering: what networks use on this host is read out of the kernel, kept day by day, and told to the controller when it asks.

mod book;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use andromede_abi::{MeterIndex, NetworkIndex};
use andromede_dataplane::{Meters as MeterTable, TableError};
use andromede_model::{Day, NetworkView};
use andromede_proto::{
    agent::v1::{NetworkUsage, PlaceUsage, Usage, UsageQuestion},
    v1::UsagePlace,
};

use self::book::{Book, Metered, Record, Table};
use crate::state::disk::{self, DiskError};

/// How often the kernel's table is read and the book written: what a host that crashes loses at most, and half of what is promised.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Where the kernel tells since when it runs.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// Where the kernel gives numbers by chance.
const CHANCE: &str = "/proc/sys/kernel/random/uuid";

/// Which network has which row.
pub type Seats = BTreeMap<NetworkIndex, MeterIndex>;

/// Why metering does not go on.
#[derive(Debug, thiserror::Error)]
pub enum MeterError {
    /// The kernel's table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The book.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The kernel does not say when it was started.
    #[error("{path}: {source}")]
    Kernel {
        /// What cannot be read.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// The meters of this host.
#[derive(Debug)]
pub struct Meters {
    path: PathBuf,
    book: Mutex<Book>,
}

impl Meters {
    /// Reads the book in this state folder, or begins one. A damaged one is set aside: what it had that no controller took is lost, and said.
    ///
    /// # Errors
    /// The folder or the kernel cannot be read.
    pub fn open(folder: &Path) -> Result<Self, MeterError> {
        let path = folder.join("usage");
        let read = match disk::read_sealed(&path) {
            Ok(Some(content)) => serde_json::from_slice::<Book>(&content)
                .map(Some)
                .map_err(|error| disk::damaged(&path, error.to_string())),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let book = match read {
            Ok(Some(book)) => book,
            Ok(None) => Book::new(kernel(CHANCE)?),
            Err(damaged @ DiskError::Damaged { .. }) => {
                tracing::error!(%damaged, "usage that the controller had not taken yet is lost; metering begins anew");
                Book::new(kernel(CHANCE)?)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, book: Mutex::new(book) })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // What a panic leaves half done is not written, and the next reading finds it in the kernel's table again.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The packet path was loaded: its table goes on from where it was read, or begins.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn begin(&self, table: &MeterTable) -> Result<(), MeterError> {
        let now = Table { boot: kernel(BOOT)?, id: table.id() };
        Ok(self.book().begin(now, table.capacity(), |index| table.get(index))?)
    }

    /// Gives the networks that the host holds rows of a table with so many, and notes that on disk before rows say it. What cannot be noted
    /// is not given: those networks are not metered until the next pass. `in_use` are rows that networks are said to be metered in.
    pub fn seat(&self, views: &[NetworkView], in_use: &BTreeSet<MeterIndex>, rows: u32) -> Seats {
        let of = |view: &NetworkView| Metered {
            network: view.network.name.to_string(),
            index: view.network.index,
            tenant_index: view.network.tenant_index,
        };
        let networks: Vec<Metered> = views.iter().map(of).collect();
        let mut book = self.book();
        let mut next = book.clone();
        let (given, without, changed) = next.seat(&networks, in_use, rows);
        if without > 0 {
            tracing::error!(networks = without, rows, "networks are not metered: there are no rows left for them");
        }
        if !changed {
            return given;
        }
        // The table does not survive a power cut either.
        if let Err(error) = self.write(&next, false) {
            tracing::error!(%error, "new networks are not metered");
            return book.seats();
        }
        *book = next;
        given
    }

    /// Adds what is new in the kernel's table to the book, and has it on disk.
    ///
    /// # Errors
    /// The table cannot be read, or the book not be written: then nothing has changed.
    pub fn fold(&self, table: &MeterTable) -> Result<(), MeterError> {
        let mut book = self.book();
        let mut next = book.clone();
        if next.fold(today(), |index| table.get(index))? {
            // A controller that never asks must not fill the disk.
            tell_lost(next.forget(0, today()));
            self.write(&next, true)?;
            *book = next;
        }
        Ok(())
    }

    /// What the controller asks: the records that it does not have. Those that it has may go.
    ///
    /// # Errors
    /// As [`Meters::fold`], which comes first: what is told is on disk.
    pub fn told(&self, table: &MeterTable, question: &UsageQuestion) -> Result<Usage, MeterError> {
        self.fold(table)?;
        let mut book = self.book();
        let taken = if question.book == book.id() { question.after_sequence } else { 0 };
        tell_lost(book.forget(taken, today()));
        let records = book.after(taken).map(usage).collect();
        Ok(Usage { book: book.id().to_owned(), sequence: book.sequence(), records })
    }

    fn write(&self, book: &Book, wait: bool) -> Result<(), DiskError> {
        let content = serde_json::to_vec(book).map_err(|error| DiskError::Io {
            path: self.path.clone(),
            action: "encode",
            source: error.into(),
        })?;
        if wait {
            disk::write_sealed(&self.path, &content)
        } else {
            disk::write_sealed_for_this_boot(&self.path, &content)
        }
    }
}

/// A record in the words of the conversation.
fn usage(record: &Record) -> NetworkUsage {
    let place = |(place, count): (i32, &book::Count)| PlaceUsage {
        place: UsagePlace::try_from(place).unwrap_or(UsagePlace::Unspecified).into(),
        packets: count.packets,
        bytes: count.bytes,
        flows: count.flows,
    };
    let counts = (0..).zip(&record.counts).filter(|(_, count)| !count.is_nothing());
    NetworkUsage {
        day: record.day.to_string(),
        network: record.of.network.clone(),
        network_index: record.of.index,
        tenant_index: record.of.tenant_index,
        places: counts.map(place).collect(),
    }
}

/// Says that records are lost.
fn tell_lost(records: usize) {
    if records > 0 {
        tracing::error!(records, "usage of days that no controller took is lost: there is no room for more");
    }
}

/// The day that it is.
fn today() -> Day {
    Day::of_unix_seconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn kernel(path: &'static str) -> Result<String, MeterError> {
    let text = fs::read_to_string(path).map_err(|source| MeterError::Kernel { path, source })?;
    Ok(text.trim().to_owned())
}
