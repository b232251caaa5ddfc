//! What networks have used on this host, day by day, and which row of the kernel's table counts for which network.
//!
//! The kernel's words only grow, and nobody sets them back: what is new since they were last read is added to the day. The words as they
//! were last read and the sums stand in one file, which is written at once: whoever goes on from it counts nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{Meter, MeterIndex, MeterRow, NetworkIndex, meter_place};
use andromede_model::Day;
use serde::{Deserialize, Serialize};

use super::Seats;

/// Days for which what the controller has taken is kept all the same, beside the present one: so that it can be told again to one whose
/// store was set back.
const KEPT_DAYS: u32 = 2;
/// Most records that are kept while no controller takes them; behind that the oldest days are lost.
const MOST_RECORDS: usize = 20_000;
/// Times that a row must be read without anything new in it before another network gets it.
const QUIET: u32 = 2;

/// What is counted of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Count {
    /// Packets.
    #[serde(default, rename = "p")]
    pub packets: u64,
    /// Their bytes.
    #[serde(default, rename = "b")]
    pub bytes: u64,
    /// Connections.
    #[serde(default, rename = "f")]
    pub flows: u64,
}

impl Count {
    const fn of(meter: &Meter) -> Self {
        Self { packets: meter.packets, bytes: meter.bytes, flows: meter.flows }
    }

    /// Is it nothing?
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What came since it was `before`. The kernel's words only grow: where they did not, they are those of another table.
    const fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
            flows: self.flows.saturating_sub(before.flows),
        }
    }

    const fn plus(self, more: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(more.packets),
            bytes: self.bytes.saturating_add(more.bytes),
            flows: self.flows.saturating_add(more.flows),
        }
    }
}

/// Counts by [`meter_place`].
pub(super) type Counts = [Count; meter_place::COUNT];

/// A network, as it is told apart from an earlier one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Metered {
    /// Its name.
    pub network: String,
    /// Its number.
    pub index: NetworkIndex,
    /// Number of its tenant.
    pub tenant_index: u32,
}

/// A row of the kernel's table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seat {
    /// Whose it is.
    owner: Option<Metered>,
    /// The host does not hold the network any more.
    left: bool,
    /// How often it was read since without anything new.
    quiet: u32,
    /// As it was last read.
    read: Counts,
}

/// What a network used on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The day.
    pub day: Day,
    /// The network.
    pub of: Metered,
    /// The book's number when it was last changed.
    pub sequence: u64,
    /// All of the day so far.
    pub counts: Counts,
}

/// Which table of the kernel was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    /// The kernel's name for the time since it was started.
    pub boot: String,
    /// Its number for the table.
    pub id: u32,
}

/// The book of a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Book {
    /// Tells it from another book of this host, which counts from 0.
    id: String,
    /// The table that was last read; none: none was.
    table: Option<Table>,
    /// Raised whenever a record changes.
    sequence: u64,
    seats: BTreeMap<MeterIndex, Seat>,
    records: Vec<Record>,
}

impl Book {
    /// A book in which nothing stands.
    pub(super) fn new(id: String) -> Self {
        Self { id, table: None, sequence: 0, seats: BTreeMap::new(), records: Vec::new() }
    }

    /// What tells it from others.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The number of its last change.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// From now on this table is read. One that it knows goes on from where it was read; one that was made since begins at 0. A book that
    /// knows of no table begins with what the table says now: who counted that, it cannot know.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(super) fn begin<E>(
        &mut self,
        table: Table,
        rows: u32,
        mut read: impl FnMut(MeterIndex) -> Result<MeterRow, E>,
    ) -> Result<(), E> {
        if self.table.as_ref() == Some(&table) {
            return Ok(());
        }
        if self.table.is_none() {
            for index in 1..=last(rows) {
                let found = counts(&read(index)?);
                if found != Counts::default() {
                    self.seats.entry(index).or_default().read = found;
                }
            }
        } else {
            self.seats.values_mut().for_each(|seat| seat.read = Counts::default());
        }
        self.table = Some(table);
        Ok(())
    }

    /// The networks that have a row, and which.
    pub(super) fn seats(&self) -> Seats {
        let given = self.seats.iter().filter(|(_, seat)| !seat.left);
        given.filter_map(|(index, seat)| Some((seat.owner.as_ref()?.index, *index))).collect()
    }

    /// Gives every network that the host holds a row, of a table with so many, and says which. One that has one keeps it; the row of one
    /// that is gone waits until no network is said to be metered `in` it, and nothing comes in it any more. The second answer: how many have
    /// none, because all are taken; the third: whether anything changed.
    pub(super) fn seat(
        &mut self,
        networks: &[Metered],
        in_use: &BTreeSet<MeterIndex>,
        rows: u32,
    ) -> (Seats, usize, bool) {
        let wanted: BTreeSet<&Metered> = networks.iter().collect();
        let mut changed = false;
        for (index, seat) in &mut self.seats {
            let Some(owner) = &seat.owner else { continue };
            let left = !wanted.contains(owner) && !in_use.contains(index);
            if left != seat.left {
                (seat.left, seat.quiet, changed) = (left, 0, true);
            }
        }
        let mut given = self.seats();
        let mut free = (1..=last(rows)).filter(|index| self.seats.get(index).is_none_or(|seat| seat.owner.is_none()));
        let mut seated = Vec::new();
        let mut without = 0_usize;
        for network in networks {
            if given.contains_key(&network.index) {
                continue;
            }
            match free.next() {
                Some(index) => {
                    given.insert(network.index, index);
                    seated.push((index, network.clone()));
                }
                None => without = without.saturating_add(1),
            }
        }
        changed |= !seated.is_empty();
        for (index, network) in seated {
            let seat = self.seats.entry(index).or_default();
            (seat.owner, seat.left, seat.quiet) = (Some(network), false, 0);
        }
        (given, without, changed)
    }

    /// Reads the rows that are somebody's, and adds what is new to the day. Says whether anything changed.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(super) fn fold<E>(
        &mut self,
        day: Day,
        mut read: impl FnMut(MeterIndex) -> Result<MeterRow, E>,
    ) -> Result<bool, E> {
        let mut found = Vec::new();
        for (index, seat) in &self.seats {
            if seat.owner.is_some() {
                found.push((*index, counts(&read(*index)?)));
            }
        }
        let mut changed = false;
        for (index, now) in found {
            changed |= self.fold_one(day, index, &now);
        }
        Ok(changed)
    }

    fn fold_one(&mut self, day: Day, index: MeterIndex, now: &Counts) -> bool {
        let Some(seat) = self.seats.get_mut(&index) else { return false };
        let Some(owner) = &seat.owner else { return false };
        let mut new = Counts::default();
        for ((new, now), before) in new.iter_mut().zip(now).zip(&seat.read) {
            *new = now.since(*before);
        }
        if new.iter().all(Count::is_nothing) {
            if !seat.left {
                return false;
            }
            seat.quiet = seat.quiet.saturating_add(1);
            if seat.quiet >= QUIET {
                seat.owner = None;
            }
            return true;
        }
        (seat.read, seat.quiet) = (*now, 0);
        self.sequence = self.sequence.saturating_add(1);
        let sequence = self.sequence;
        let place = self.records.iter().position(|record| record.day == day && record.of == *owner);
        let place = place.unwrap_or_else(|| {
            self.records.push(Record { day, of: owner.clone(), sequence, counts: Counts::default() });
            self.records.len().saturating_sub(1)
        });
        let Some(record) = self.records.get_mut(place) else { return true };
        record.sequence = sequence;
        for (sum, new) in record.counts.iter_mut().zip(new) {
            *sum = sum.plus(new);
        }
        true
    }

    /// The records that changed after this number.
    pub(super) fn after(&self, sequence: u64) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.sequence > sequence)
    }

    /// The controller has all records up to this number: those of days that are over go. So do the oldest, if there are too many; how many
    /// of those nobody had taken.
    pub(super) fn forget(&mut self, taken: u64, today: Day) -> usize {
        let kept = today.before(KEPT_DAYS);
        self.records.retain(|record| record.sequence > taken || record.day >= kept);
        let over = self.records.len().saturating_sub(MOST_RECORDS);
        if over == 0 {
            return 0;
        }
        self.records.sort_by_key(|record| (record.day, record.sequence));
        self.records.drain(..over).filter(|record| record.sequence > taken).count()
    }
}

/// The last row of a table of so many. The first is nobody's own.
fn last(rows: u32) -> MeterIndex {
    MeterIndex::try_from(rows.saturating_sub(1)).unwrap_or(MeterIndex::MAX)
}

fn counts(row: &MeterRow) -> Counts {
    row.places.each_ref().map(Count::of)
}

#[cfg(test)]
mod tests;
