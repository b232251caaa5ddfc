//! What connections take of budgets, as the kernel counts it.

use std::collections::BTreeMap;

use andromede_abi::Usage;
use andromede_dataplane::{InstanceName, Pins, Sizes, Tables};
use andromede_testkit::Fabric;
use anyhow::{Context as _, Result};

/// Counts by the key of their row, and the number of a [`Usage`].
pub type Counts = BTreeMap<(u32, usize), u64>;

/// The counts that are not zero.
pub fn counts(tables: &Tables) -> Result<Counts> {
    let rows = tables.usage.all()?;
    let words = rows.iter().flat_map(|(key, row)| Usage::COUNTS.map(|usage| ((*key, usage as usize), row.get(usage))));
    Ok(words.filter(|(_, count)| *count != 0).collect())
}

/// The same of host `h{number}`.
pub fn counted(fabric: &Fabric, number: u8) -> Result<Counts> {
    let place = fabric.agent(number)?.place();
    let mount = place.pins.as_ref().context("the agent has a bpffs of its own")?;
    let pins = Pins::new(mount.folder(), &place.instance.parse::<InstanceName>()?);
    mount.run(|| counts(&Tables::open(&pins, &Sizes::default())?))?
}
