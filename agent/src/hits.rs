//! Which rules are counted: those in force on this host, from their first packet on.
//!
//! A rule's row is made before a compiled set says it, and forgotten when the rule is gone and no set says it any more: while the rule
//! is there, its hits only grow, also over changes of its group and restarts of the agent.

use std::collections::BTreeSet;

use andromede_abi::RuleNumber;
use andromede_dataplane::{RuleHits, TableError};
use andromede_plan::{Row, Step, Wanted};

/// The rules that are counted.
#[derive(Debug, Default)]
pub struct Hits {
    /// As last read and since written; none: to be read.
    counted: Option<BTreeSet<RuleNumber>>,
}

impl Hits {
    /// Counts the rules that steps bring into force. Where that fails, they are in force all the same.
    pub fn begin(&mut self, table: &RuleHits, steps: &[Step], wanted: &Wanted) {
        if let Err(error) = self.try_begin(table, steps, wanted) {
            tracing::error!(%error, "some rules are not counted");
            // The next pass tries again.
            self.counted = None;
        }
    }

    fn try_begin(&mut self, table: &RuleHits, steps: &[Step], wanted: &Wanted) -> Result<(), TableError> {
        let (mut counted, new): (BTreeSet<_>, BTreeSet<RuleNumber>) = match self.counted.take() {
            Some(counted) => {
                let written = steps.iter().filter_map(|step| match step {
                    Step::Insert(Row::PolicyCell(_, cell)) => Some(cell.rule),
                    _ => None,
                });
                (counted, written.collect())
            }
            None => (table.all()?.into_iter().map(|(rule, _)| rule).collect(), in_force(wanted)),
        };
        for rule in new {
            if !counted.contains(&rule) {
                table.begin(rule)?;
                counted.insert(rule);
            }
        }
        self.counted = Some(counted);
        Ok(())
    }

    /// Forgets the rules that are gone, once the steps are carried out.
    pub fn forget(&mut self, table: &RuleHits, wanted: &Wanted) {
        let Some(counted) = &mut self.counted else { return };
        let mut gone: Vec<_> = counted.iter().filter(|rule| !wanted.names.rules.contains_key(rule)).copied().collect();
        if gone.is_empty() {
            return;
        }
        // The rows of a network of which nothing is known at present stay, and so do its rules.
        let in_force = in_force(wanted);
        gone.retain(|rule| !in_force.contains(rule));
        for rule in gone {
            match table.forget(rule) {
                Ok(_) => drop(counted.remove(&rule)),
                Err(error) => tracing::error!(%error, rule, "the hits of a rule that is gone stay"),
            }
        }
    }
}

/// The rules that the compiled sets say.
fn in_force(wanted: &Wanted) -> BTreeSet<RuleNumber> {
    wanted.rows.policy_cells.values().map(|cell| cell.rule).collect()
}
