//! The ledger: what hosts told of each day, in a file beside the log of commits.

use std::{collections::BTreeMap, fs::Permissions, os::unix::fs::PermissionsExt as _, path::Path};

use andromede_model::{Day, HostName, Network, NetworkName};
use andromede_proto::agent::v1::{NetworkUsage, Usage};
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::{PLACES, RETENTION_DAYS, totals::Places, totals::Used};
use crate::store::StoreError;

/// Words of a record: packets, bytes and connections of each place.
const WORDS: usize = PLACES * 3;
/// Day, tenant and its number, network and its number, host, book of the host.
type Key = (u32, &'static str, u32, &'static str, u32, &'static str, &'static str);
/// What a network used on a day on a host, by one book.
const RECORDS: TableDefinition<'_, Key, [u64; WORDS]> = TableDefinition::new("usage");
/// Up to where a host's book is told: host to (book, number).
const CURSORS: TableDefinition<'_, &str, (&str, u64)> = TableDefinition::new("cursors");
/// Networks that a host holds or held: (host, number of the network) to (network, number of its tenant, last day).
const HELD: TableDefinition<'_, (&str, u32), (&str, u32, u32)> = TableDefinition::new("held");

/// Name of the file in the store's folder.
const FILE: &str = "usage.redb";

/// Up to where a host's book is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The book; empty: none.
    pub book: String,
    /// The number in it.
    pub sequence: u64,
}

/// What a host told, and the networks that it holds.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The host.
    pub host: HostName,
    /// The networks that it holds now.
    pub held: Vec<Network>,
    /// What it told.
    pub usage: Usage,
}

/// What was used of one place, of all hosts together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which it is.
    pub at: Position,
    /// How much.
    pub used: Used,
}

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The day.
    pub day: Day,
    /// The tenant.
    pub tenant: String,
    /// Its number, which tells it from others of its name.
    pub tenant_index: u32,
    /// The network.
    pub network: String,
    /// Its number.
    pub network_index: u32,
    /// See [`andromede_proto::v1::UsagePlace`].
    pub place: usize,
}

/// Whose lines are read.
#[derive(Clone, Debug)]
pub struct OfTenant {
    /// Its name.
    pub name: String,
    /// Its number; none: of all tenants that had the name.
    pub index: Option<u32>,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    database: Database,
}

impl Ledger {
    /// Opens the ledger in the folder of the store, which is there.
    ///
    /// # Errors
    /// The file cannot be made, or read.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let database = Database::create(&path)?;
        let failed = |source| StoreError::Folder { path: folder.to_path_buf(), source };
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        let transaction = database.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(CURSORS)?;
        transaction.open_table(HELD)?;
        transaction.commit()?;
        Ok(Self { database })
    }

    /// Up to where the books of hosts are told, by host.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn questions(&self) -> Result<BTreeMap<String, Question>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(CURSORS)?;
        let mut questions = BTreeMap::new();
        for row in table.iter()? {
            let (host, told) = row?;
            let (book, sequence) = told.value();
            questions.insert(host.value().to_owned(), Question { book: book.to_owned(), sequence });
        }
        Ok(questions)
    }

    /// Takes what hosts told, all of it in one step, and says what is new: by network, how much more. A host speaks of networks that it
    /// holds or held, and of nothing else.
    ///
    /// # Errors
    /// The file cannot be written: then nothing was taken, and the hosts are asked for the same again.
    pub fn take(&self, today: Day, answers: &[Answered]) -> Result<Vec<(String, Places)>, StoreError> {
        let transaction = self.database.begin_write()?;
        let (mut more, mut changed) = (Vec::new(), false);
        {
            let mut records = transaction.open_table(RECORDS)?;
            let mut cursors = transaction.open_table(CURSORS)?;
            let mut held = transaction.open_table(HELD)?;
            for Answered { host, held: networks, usage } in answers {
                for network in networks {
                    changed |= hold(&mut held, host, network, today)?;
                }
                let mut refused = 0_usize;
                for record in &usage.records {
                    match checked(&held, host, record, today)? {
                        Some((day, tenant, places)) => {
                            let of = (day.number(), tenant.as_str(), record.tenant_index);
                            let key = (
                                of.0,
                                of.1,
                                of.2,
                                record.network.as_str(),
                                record.network_index,
                                host.as_str(),
                                usage.book.as_str(),
                            );
                            let before =
                                records.get(key)?.map_or([Used::default(); PLACES], |row| places_of(&row.value()));
                            let (after, added) = merged(&before, &places);
                            if after != before {
                                records.insert(key, words_of(&after))?;
                                more.push((record.network.clone(), added));
                            }
                        }
                        None => refused = refused.saturating_add(1),
                    }
                }
                if refused > 0 {
                    tracing::warn!(%host, records = refused, "usage of networks that the host does not hold, or of no day, is not taken");
                }
                let told = (usage.book.as_str(), usage.sequence);
                let is_known = cursors.get(host.as_str())?.is_some_and(|row| row.value() == told);
                if !is_known {
                    cursors.insert(host.as_str(), told)?;
                    changed = true;
                }
            }
        }
        if changed || !more.is_empty() {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(more)
    }

    /// Forgets days that are too old, networks that hosts left as long ago, and hosts that are gone.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn prune(&self, today: Day, is_there: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let first = first_kept(today).number();
        let transaction = self.database.begin_write()?;
        transaction.open_table(RECORDS)?.retain_in(..(first, "", 0, "", 0, "", ""), |_, _| false)?;
        transaction.open_table(HELD)?.retain(|_, (_, _, day)| day >= first)?;
        transaction.open_table(CURSORS)?.retain(|host, _| is_there(host))?;
        Ok(transaction.commit()?)
    }

    /// The lines of days from `from` to `to`, in order, behind a position: at most `most`. And whether there are more.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines(
        &self,
        (from, to): (Day, Day),
        of: Option<&OfTenant>,
        after: Option<&Position>,
        most: usize,
    ) -> Result<(Vec<Line>, bool), StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let mut lines = Lines { found: Vec::new(), group: None, after, most };
        let first = after.map_or(from, |after| after.day.max(from));
        for day in first.number()..=to.number() {
            let begin = match (after.filter(|after| after.day.number() == day), of) {
                (Some(at), _) => {
                    (day, at.tenant.as_str(), at.tenant_index, at.network.as_str(), at.network_index, "", "")
                }
                (None, Some(of)) => (day, of.name.as_str(), 0, "", 0, "", ""),
                (None, None) => (day, "", 0, "", 0, "", ""),
            };
            for row in table.range(begin..(day.saturating_add(1), "", 0, "", 0, "", ""))? {
                let (key, words) = row?;
                let (_, tenant, tenant_index, network, network_index, _, _) = key.value();
                if of.is_some_and(|of| of.name != tenant) {
                    break;
                }
                if of.is_some_and(|of| of.index.is_some_and(|index| index != tenant_index)) {
                    continue;
                }
                let at = Position {
                    day: Day::from_number(day),
                    tenant: tenant.to_owned(),
                    tenant_index,
                    network: network.to_owned(),
                    network_index,
                    place: 0,
                };
                if !lines.take(at, &places_of(&words.value())) {
                    return Ok((lines.found, true));
                }
            }
        }
        let all = lines.close();
        Ok((lines.found, !all))
    }
}

/// The first day of which records are kept.
pub(super) fn first_kept(today: Day) -> Day {
    today.before(RETENTION_DAYS)
}

/// Lines as they are put together.
struct Lines<'a> {
    found: Vec<Line>,
    /// The records of one network and day, summed up.
    group: Option<(Position, Places)>,
    after: Option<&'a Position>,
    most: usize,
}

impl Lines<'_> {
    /// Adds a record; false: there is no room for the lines before it.
    fn take(&mut self, at: Position, places: &Places) -> bool {
        if let Some((group, sum)) = &mut self.group
            && *group == at
        {
            *sum = sum_of(sum, places);
            return true;
        }
        let room = self.close();
        self.group = Some((at, *places));
        room
    }

    /// Writes the lines of the group; false: there is no room for all of them.
    fn close(&mut self) -> bool {
        let Some((group, sum)) = self.group.take() else { return true };
        for (place, used) in sum.into_iter().enumerate() {
            let at = Position { place, ..group.clone() };
            if used == Used::default() || self.after.is_some_and(|after| at <= *after) {
                continue;
            }
            if self.found.len() >= self.most {
                return false;
            }
            self.found.push(Line { at, used });
        }
        true
    }
}

/// Notes that a host holds a network; says whether that was new today.
fn hold(
    held: &mut Table<'_, (&'static str, u32), (&'static str, u32, u32)>,
    host: &HostName,
    network: &Network,
    today: Day,
) -> Result<bool, StoreError> {
    let key = (host.as_str(), network.index);
    let value = (network.name.as_str(), network.tenant_index, today.number());
    if held.get(key)?.is_some_and(|row| row.value() == value) {
        return Ok(false);
    }
    held.insert(key, value)?;
    Ok(true)
}

/// What a host may say: of which day, of which tenant, and how much. None: it may not, or it is no day of these times.
fn checked(
    held: &impl ReadableTable<(&'static str, u32), (&'static str, u32, u32)>,
    host: &HostName,
    record: &NetworkUsage,
    today: Day,
) -> Result<Option<(Day, String, Places)>, StoreError> {
    let known = held.get((host.as_str(), record.network_index))?.is_some_and(|row| {
        let (network, tenant_index, _) = row.value();
        network == record.network && tenant_index == record.tenant_index
    });
    let (Ok(day), Ok(network)) = (record.day.parse::<Day>(), record.network.parse::<NetworkName>()) else {
        return Ok(None);
    };
    // Clocks may differ by a little.
    let is_now = day >= first_kept(today) && day.before(1) <= today;
    if !known || !is_now {
        return Ok(None);
    }
    let mut places = [Used::default(); PLACES];
    for told in &record.places {
        let place = usize::try_from(told.place).ok().filter(|place| *place != 0);
        if let Some(used) = place.and_then(|place| places.get_mut(place)) {
            *used = Used { packets: told.packets, bytes: told.bytes, flows: told.flows };
        }
    }
    Ok(Some((day, network.tenant().to_string(), places)))
}

/// What is known after a host told the sums of a day, and how much more that is: sums only grow.
fn merged(before: &Places, told: &Places) -> (Places, Places) {
    let (mut after, mut added) = (*before, [Used::default(); PLACES]);
    for ((after, added), told) in after.iter_mut().zip(&mut added).zip(told) {
        let before = *after;
        *after = before.max(*told);
        *added = after.since(before);
    }
    (after, added)
}

fn sum_of(one: &Places, other: &Places) -> Places {
    let mut sum = *one;
    for (sum, other) in sum.iter_mut().zip(other) {
        *sum = sum.plus(*other);
    }
    sum
}

fn places_of(words: &[u64; WORDS]) -> Places {
    let mut places = [Used::default(); PLACES];
    for (used, words) in places.iter_mut().zip(words.chunks_exact(3)) {
        if let [packets, bytes, flows] = words {
            *used = Used { packets: *packets, bytes: *bytes, flows: *flows };
        }
    }
    places
}

fn words_of(places: &Places) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (words, used) in words.chunks_exact_mut(3).zip(places) {
        words.copy_from_slice(&[used.packets, used.bytes, used.flows]);
    }
    words
}

#[cfg(test)]
mod tests;
