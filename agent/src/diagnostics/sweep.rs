//! The end of connections that are over, and the check that budgets count what is there.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{FlowKey, FlowRow, Slot, TENANT_USAGE, Usage, UsageRow, flow_hold};
use andromede_dataplane::{ReapError, Reaper, TableError, Tables};

/// Why a sweep ended early.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The program that removes connections.
    #[error(transparent)]
    Reap(#[from] ReapError),
}

/// A word of a row of usage.
type Word = (u32, usize);

/// Sweeps, and remembers between two sweeps what was strange.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    /// Slots on which connections counted although no port has them.
    vacant: BTreeSet<Slot>,
    /// Words that counted other than the rows did, and by how much.
    off: BTreeMap<Word, i64>,
    /// Rows of usage on which nothing counted, and whose port or tenant is not here.
    idle: BTreeSet<u32>,
}

impl Sweeper {
    /// Removes connections that are over, and those of ports that are gone; corrects counts that are wrong; forgets budgets of whom is gone.
    ///
    /// The counts are changed by the packet path while this reads them. One that was wrong by the same number twice, and did not move while
    /// the rows were read, is wrong.
    pub(super) fn sweep(&mut self, tables: &Tables, reaper: &Reaper, now: u64) -> Result<(), SweepError> {
        reaper.beat()?;
        let before = usage(tables)?;
        let rows = tables.ports.all()?;
        let ports: BTreeSet<Slot> = rows.iter().map(|(_, row)| row.slot).collect();
        let owners = rows.iter().flat_map(|(_, row)| [row.slot, row.tenant | TENANT_USAGE]).collect();
        let mut found = Found { ports, ..Found::default() };
        tables.flows.for_each(|key, row| found.take(key, &row, now, &self.vacant))?;
        let after = usage(tables)?;
        let (over, gone) = (reaper.reap(&found.over)?, reaper.evict(&found.orphans)?);
        if over > 0 || gone > 0 {
            tracing::debug!(
                over,
                gone,
                kept = found.rows.saturating_sub(over).saturating_sub(gone),
                "connections swept"
            );
        }
        self.vacant = found.vacant;
        self.correct(reaper, &before, &after, &found.counts)?;
        for key in self.forgettable(&after, &owners) {
            tables.usage.remove(&key)?;
        }
        Ok(())
    }

    /// Rows of usage that were idle the time before too: by now no packet counts on them.
    fn forgettable(&mut self, usage: &BTreeMap<u32, UsageRow>, owners: &BTreeSet<u32>) -> Vec<u32> {
        let is_idle = |row: &UsageRow| Usage::COUNTS.iter().all(|count| row.get(*count) == 0);
        let idle = usage.iter().filter(|(key, row)| !owners.contains(key) && is_idle(row)).map(|(key, _)| *key);
        let before = std::mem::replace(&mut self.idle, idle.collect());
        self.idle.intersection(&before).copied().collect()
    }

    fn correct(
        &mut self,
        reaper: &Reaper,
        before: &BTreeMap<u32, UsageRow>,
        after: &BTreeMap<u32, UsageRow>,
        counts: &BTreeMap<Word, i64>,
    ) -> Result<(), SweepError> {
        let mut off = BTreeMap::new();
        for (key, row) in after {
            for usage in Usage::COUNTS {
                let (counted, word) = (row.get(usage), (*key, usage as usize));
                let by = counted.cast_signed().wrapping_sub(counts.get(&word).copied().unwrap_or(0));
                if by == 0 || before.get(key).map_or(0, |row| row.get(usage)) != counted {
                    continue;
                }
                if self.off.get(&word) == Some(&by) {
                    tracing::warn!(
                        key = format!("{key:#x}"),
                        ?usage,
                        by,
                        "a budget counted what is not there; it is corrected"
                    );
                    reaper.correct(*key, usage, by.wrapping_neg())?;
                } else {
                    off.insert(word, by);
                }
            }
        }
        self.off = off;
        Ok(())
    }
}

fn usage(tables: &Tables) -> Result<BTreeMap<u32, UsageRow>, TableError> {
    Ok(tables.usage.all()?.into_iter().collect())
}

/// What one look through the table found.
#[derive(Default)]
struct Found {
    ports: BTreeSet<Slot>,
    rows: usize,
    over: Vec<FlowKey>,
    /// Connections of ports that were gone the time before too.
    orphans: Vec<FlowKey>,
    vacant: BTreeSet<Slot>,
    counts: BTreeMap<Word, i64>,
}

impl Found {
    fn take(&mut self, key: FlowKey, row: &FlowRow, now: u64, vacant_before: &BTreeSet<Slot>) {
        self.rows = self.rows.saturating_add(1);
        self.count(row);
        let slots = [row.initiator_budget, row.answerer_budget];
        let vacant = slots.into_iter().filter(|slot| *slot != 0 && !self.ports.contains(slot));
        let vacant: Vec<Slot> = vacant.collect();
        if row.is_over(now) {
            self.over.push(key);
        } else if vacant.iter().any(|slot| vacant_before.contains(slot)) {
            self.orphans.push(key);
        }
        self.vacant.extend(vacant);
    }

    /// What this row should count on.
    fn count(&mut self, row: &FlowRow) {
        if row.hold & !flow_hold::BITS == 0 {
            return;
        }
        let half_open = row.hold & flow_hold::HALF_OPEN != 0;
        self.add(row.initiator_budget, Usage::Outbound);
        self.add(row.answerer_budget, Usage::Inbound);
        if half_open {
            self.add(row.initiator_budget, Usage::OutboundHalfOpen);
            self.add(row.answerer_budget, Usage::InboundHalfOpen);
        }
        if row.tenant != 0 {
            self.add(row.tenant | TENANT_USAGE, Usage::Inbound);
        }
    }

    fn add(&mut self, key: u32, usage: Usage) {
        if key != 0 {
            let count = self.counts.entry((key, usage as usize)).or_default();
            *count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_counts_on_is_forgotten_at_the_second_look() {
        let mut busy = UsageRow::NONE;
        busy.words[Usage::Inbound as usize] = 1;
        let usage = BTreeMap::from([(1, UsageRow::NONE), (2, UsageRow::NONE), (3, busy), (7 | TENANT_USAGE, busy)]);
        let owners = BTreeSet::from([1, 7 | TENANT_USAGE]);
        let mut sweeper = Sweeper::default();
        assert!(sweeper.forgettable(&usage, &owners).is_empty(), "a packet may still be on its way");
        assert_eq!(
            sweeper.forgettable(&usage, &owners),
            [2],
            "a port that is here keeps its row, and so does what counts"
        );
        assert!(sweeper.forgettable(&usage, &BTreeSet::from([1, 2, 3])).is_empty(), "the slot is somebody's again");
    }
}
