//! What connections take of budgets, as the kernel counts it.

use std::collections::BTreeMap;

use andromede_abi::{FlowKey, FlowRow, TENANT_USAGE, Usage, flow_hold};
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
    tables(fabric, number, counts)?
}

/// Looks into the tables of host `h{number}`.
pub fn tables<T: Send>(fabric: &Fabric, number: u8, look: impl FnOnce(&Tables) -> T + Send) -> Result<T> {
    let place = fabric.agent(number)?.place();
    let mount = place.pins.as_ref().context("the agent has a bpffs of its own")?;
    let pins = Pins::new(mount.folder(), &place.instance.parse::<InstanceName>()?);
    mount.run(|| Ok(look(&Tables::open(&pins, &Sizes::default())?)))?
}

/// What the rows of connections say that should be counted.
pub fn recount(flows: &[(FlowKey, FlowRow)]) -> Counts {
    let mut counts = Counts::new();
    let mut add = |key: u32, usage: Usage| {
        if key & !TENANT_USAGE != 0 {
            *counts.entry((key, usage as usize)).or_default() += 1;
        }
    };
    for (_, row) in flows.iter().filter(|(_, row)| row.hold & !flow_hold::BITS != 0) {
        add(row.initiator_budget, Usage::Outbound);
        add(row.answerer_budget, Usage::Inbound);
        add(row.tenant | TENANT_USAGE, Usage::Inbound);
        if row.hold & flow_hold::HALF_OPEN != 0 {
            add(row.initiator_budget, Usage::OutboundHalfOpen);
            add(row.answerer_budget, Usage::InboundHalfOpen);
        }
    }
    counts
}
