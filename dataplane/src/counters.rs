//! Counters that each processor keeps for itself.

use andromede_abi::{
    DropCounterKey, DropReason, EventBudget, MeterIndex, MeterRow, Pod, RuleNumber, bytes_of, from_bytes,
};

use crate::{
    batch,
    rows::{Rows, TableError},
};

/// The parts of a per-CPU value, one for each processor that may ever be there.
fn parts<V: Pod>(value: &[u8]) -> impl Iterator<Item = V> + '_ {
    let stride = size_of::<V>().next_multiple_of(8);
    value.chunks_exact(stride).filter_map(|part| part.get(..size_of::<V>()).and_then(from_bytes))
}

fn sum(value: &[u8]) -> u64 {
    parts::<u64>(value).fold(0, u64::wrapping_add)
}

/// Dropped packets by port, network, rule and reason.
#[derive(Debug)]
pub struct Drops(pub(crate) Rows<DropCounterKey, u64>);

impl Drops {
    /// Most counters that the table holds.
    pub fn capacity(&self) -> u32 {
        self.0.capacity()
    }

    /// Every counter, summed over the processors.
    pub fn all(&self) -> Result<Vec<(DropCounterKey, u64)>, TableError> {
        let mut found = Vec::new();
        let map = &self.0.map;
        let rows = batch::for_each_batch(map, |keys, values| {
            for (key, value) in keys.chunks_exact(map.key_size.max(1)).zip(values.chunks_exact(map.copy_size.max(1))) {
                found.extend(from_bytes(key).map(|key| (key, sum(value))));
            }
            Ok(())
        });
        rows.map_err(|source| self.0.error("read", source))?;
        Ok(found)
    }

    /// Forgets a counter, when its port or rule is gone; says whether there was one.
    pub fn remove(&self, key: &DropCounterKey) -> Result<bool, TableError> {
        self.0.remove(key)
    }
}

/// Dropped packets by reason, also those for which [`Drops`] had no room.
#[derive(Debug)]
pub struct DropTotals(pub(crate) Rows<u32, u64>);

impl DropTotals {
    /// How many packets were dropped for this reason.
    pub fn get(&self, reason: DropReason) -> Result<u64, TableError> {
        let mut value = vec![0; self.0.map.copy_size];
        let index = u32::from(reason as u16);
        self.0.map.lookup(bytes_of(&index), &mut value).map_err(|source| self.0.error("read", source))?;
        Ok(sum(&value))
    }

    /// The reasons for which packets were dropped, with how many.
    pub fn all(&self) -> Result<Vec<(DropReason, u64)>, TableError> {
        let mut found = Vec::new();
        for reason in DropReason::ALL {
            let packets = self.get(*reason)?;
            if packets > 0 {
                found.push((*reason, packets));
            }
        }
        Ok(found)
    }
}

/// The processors' budgets for events.
#[derive(Debug)]
pub struct EventBudgets(pub(crate) Rows<u32, EventBudget>);

impl EventBudgets {
    /// Events that were counted but not sent, for want of a token or of room.
    pub fn suppressed(&self) -> Result<u64, TableError> {
        let mut value = vec![0; self.0.map.copy_size];
        self.0.map.lookup(bytes_of(&0_u32), &mut value).map_err(|source| self.0.error("read", source))?;
        Ok(parts::<EventBudget>(&value).fold(0, |sum, budget| sum.wrapping_add(budget.suppressed)))
    }
}

/// What networks have used, by the index of their row.
#[derive(Debug)]
pub struct Meters(pub(crate) Rows<u32, MeterRow>);

impl Meters {
    /// How many rows there are; the first is that of networks without one of their own.
    pub fn capacity(&self) -> u32 {
        self.0.capacity()
    }

    /// The kernel's number of the table. While the machine runs no other table gets it: what is read of a table with another number
    /// does not go on from what was read before.
    pub fn id(&self) -> u32 {
        self.0.map.id
    }

    /// What was counted in a row, summed over the processors. It only grows.
    pub fn get(&self, index: MeterIndex) -> Result<MeterRow, TableError> {
        let mut value = vec![0; self.0.map.copy_size];
        let index = u32::from(index);
        self.0.map.lookup(bytes_of(&index), &mut value).map_err(|source| self.0.error("read", source))?;
        let mut sum = MeterRow::default();
        for part in parts::<MeterRow>(&value) {
            for (sum, part) in sum.places.iter_mut().zip(part.places) {
                sum.packets = sum.packets.wrapping_add(part.packets);
                sum.bytes = sum.bytes.wrapping_add(part.bytes);
                sum.flows = sum.flows.wrapping_add(part.flows);
            }
        }
        Ok(sum)
    }
}

/// Connections that rules let in or out, and packets that they refused, by the number of the rule.
#[derive(Debug)]
pub struct RuleHits(pub(crate) Rows<RuleNumber, u64>);

impl RuleHits {
    /// Most rules that are counted.
    pub fn capacity(&self) -> u32 {
        self.0.capacity()
    }

    /// Every rule that is counted, and its hits.
    pub fn all(&self) -> Result<Vec<(RuleNumber, u64)>, TableError> {
        self.0.all()
    }

    /// Counts a rule from now on; one that is counted already goes on from where it is. Says whether it is new.
    pub fn begin(&self, rule: RuleNumber) -> Result<bool, TableError> {
        let begun = self.0.map.insert_new(bytes_of(&rule), bytes_of(&0_u64));
        begun.map_err(|source| self.0.error("write to", source))
    }

    /// Forgets a rule; says whether it was counted.
    pub fn forget(&self, rule: RuleNumber) -> Result<bool, TableError> {
        self.0.remove(&rule)
    }
}
