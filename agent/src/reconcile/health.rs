//! Looking after what is in place: programs, static drops, rows.

use std::time::Instant;

use super::{FULL_EVERY, ReconcileError, Reconciler};
use crate::{error::causes, host::static_drop, programs::Programs};

/// Rows that are read anew in one of these times, on average: large tables are verified less often.
const ROWS_VERIFIED: usize = 20_000;

impl Reconciler {
    /// Every how many times the tables are read anew.
    pub(super) fn verify_every(&self) -> u32 {
        let rows = self.programs.as_ref().map_or(0, Programs::remembered);
        FULL_EVERY.saturating_add(u32::try_from(rows / ROWS_VERIFIED).unwrap_or(u32::MAX))
    }

    pub(super) async fn report_health(&mut self, full: bool) {
        if let Err(error) = self.look_after(full).await {
            tracing::error!(%error, "cannot look after the packet path");
        }
    }

    /// Looks after programs and static drops; with `full` after the rows in the tables too.
    async fn look_after(&mut self, full: bool) -> Result<(), ReconcileError> {
        let Some(programs) = &mut self.programs else { return Ok(()) };
        let (repaired, errors) = tokio::task::block_in_place(|| programs.check_places());
        for error in errors {
            tracing::error!(error = causes(&error), "program cannot be put back");
        }
        if full && tokio::task::block_in_place(|| programs.verify_rows())? {
            tracing::error!("rows were changed by somebody else; they are corrected");
        }
        // Who takes a program away may have taken the whole qdisc, and the static drop with it.
        if full || repaired > 0 {
            for workload in self.shared.attached().values() {
                static_drop::install(&self.netlink, workload.ifindex).await?;
                if workload.configured.as_ref().is_some_and(|workload| workload.node_access) {
                    static_drop::install_outwards(&self.netlink, workload.ifindex).await?;
                }
            }
        }
        Ok(())
    }

    /// Gives one program of a workload that has lived for a while its lasting form; says whether there was one.
    pub(super) fn settle(&mut self) -> bool {
        let Some(programs) = &mut self.programs else { return false };
        tokio::task::block_in_place(|| programs.settle(Instant::now())).unwrap_or_else(|error| {
            tracing::warn!(error = causes(&error), "a program keeps the form of a filter");
            true
        })
    }
}
