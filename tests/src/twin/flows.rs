//! The connections of both worlds.

use std::time::Duration;

use andromede_abi::{FlowKey, FlowRow, flow_hold};
use andromede_pipeline::Put;
use anyhow::{Context as _, Result, ensure};

use super::{Twin, coarse_now};

impl Twin {
    /// The connections, which are the same in both worlds but for the moments at which they were opened and seen.
    pub fn flows(&self) -> Result<Vec<(FlowKey, FlowRow)>> {
        let memory = self.memory_flows();
        let mut kernel = self.kernel.tables.flows.all()?;
        kernel.sort_by_key(|(key, _)| *key);
        ensure!(kernel.len() == memory.len(), "{} connections in the kernel, {} in memory", kernel.len(), memory.len());
        for ((kernel_key, kernel), (key, row)) in kernel.iter().zip(&memory) {
            // A connection's number tells when it was opened, and what it holds of its budgets begins with that number.
            let hold = row.hold & !flow_hold::BITS | kernel.hold & flow_hold::BITS;
            let kernel = FlowRow { seen: row.seen, connection: row.connection, hold, ..*kernel };
            ensure!(
                kernel_key == key && kernel == *row,
                "rows differ\nkernel {kernel_key:?} {kernel:?}\nmemory {key:?} {row:?}"
            );
        }
        Ok(memory)
    }

    /// The one connection that there is.
    pub fn flow(&self) -> Result<FlowRow> {
        let flows = self.flows()?;
        ensure!(flows.len() == 1, "there are {} connections", flows.len());
        flows.first().map(|(_, row)| *row).context("there is one connection")
    }

    /// Lets time pass without a packet, in both worlds: connections were seen so much longer ago.
    pub fn rest(&self, time: Duration) -> Result<()> {
        let passed = u64::try_from(time.as_nanos())?;
        let (flows, now) = (self.flows()?, coarse_now());
        for (key, mut row) in flows {
            row.seen = row.seen.min(now).saturating_sub(passed);
            // The kernel's clock begins at boot, which may be less than that ago.
            if now < passed && passed > u64::from(row.lifetime) * 1_000_000_000 {
                (row.seen, row.lifetime) = (0, 0);
            }
            self.kernel.tables.flows.insert(&key, &row)?;
            andromede_pipeline::Tables::put_flow(&self.memory, &key, &row, Put::Replace)
                .ok()
                .context("memory has room")?;
        }
        Ok(())
    }

    fn memory_flows(&self) -> Vec<(FlowKey, FlowRow)> {
        self.memory.flows.borrow().iter().map(|(key, row)| (*key, row.get())).collect()
    }
}
