//! Which rules are counted: those in force on this host, from their first packet on.
//!
//! A rule's row is made before a compiled set says it, and forgotten when the rule is gone and no set says it any more: while the rule
//! is there, its hits only grow, also over changes of its group and restarts of the agent. Counting stands in no rule's way: where a
//! row cannot be made, the rule is in force all the same, and the next pass tries again.

use std::collections::BTreeSet;

use andromede_abi::RuleNumber;
use andromede_dataplane::{RuleHits, TableError};
use andromede_plan::{Row, Step, Wanted};

/// The table of hits, as far as it is needed here.
pub trait HitTable {
    /// The rules that are counted.
    fn counted(&self) -> Result<BTreeSet<RuleNumber>, TableError>;
    /// Counts a rule from now on.
    fn begin(&self, rule: RuleNumber) -> Result<(), TableError>;
    /// Forgets a rule.
    fn forget(&self, rule: RuleNumber) -> Result<(), TableError>;
}

impl HitTable for RuleHits {
    fn counted(&self) -> Result<BTreeSet<RuleNumber>, TableError> {
        Ok(self.all()?.into_iter().map(|(rule, _)| rule).collect())
    }

    fn begin(&self, rule: RuleNumber) -> Result<(), TableError> {
        Self::begin(self, rule).map(drop)
    }

    fn forget(&self, rule: RuleNumber) -> Result<(), TableError> {
        Self::forget(self, rule).map(drop)
    }
}

/// The rules that are counted.
#[derive(Debug, Default)]
pub struct Hits {
    /// As last read and since written; none: to be read.
    counted: Option<BTreeSet<RuleNumber>>,
    /// Rules in force are not counted: the table was full, or the kernel refused.
    is_behind: bool,
}

impl Hits {
    /// Counts the rules that steps bring into force.
    pub fn begin(&mut self, table: &impl HitTable, steps: &[Step], wanted: &Wanted) {
        if let Err(error) = self.try_begin(table, steps, wanted) {
            tracing::error!(%error, "some rules are not counted");
            self.is_behind = true;
        }
    }

    fn try_begin(&mut self, table: &impl HitTable, steps: &[Step], wanted: &Wanted) -> Result<(), TableError> {
        let counted = if let Some(counted) = self.counted.take() {
            counted
        } else {
            self.is_behind = true;
            table.counted()?
        };
        let counted = self.counted.insert(counted);
        let written = steps.iter().filter_map(|step| match step {
            Step::Insert(Row::PolicyCell(_, cell)) => Some(cell.rule),
            _ => None,
        });
        let rules = if std::mem::take(&mut self.is_behind) { in_force(wanted) } else { written.collect() };
        for rule in rules {
            if !counted.contains(&rule) {
                table.begin(rule)?;
                counted.insert(rule);
            }
        }
        Ok(())
    }

    /// Forgets the rules that are gone, once the steps are carried out.
    pub fn forget(&mut self, table: &impl HitTable, wanted: &Wanted) {
        let Some(counted) = &mut self.counted else { return };
        // Both are sorted, and there may be 100,000 of them at each change: they are walked side by side.
        let mut named = wanted.names.rules.keys().peekable();
        let mut is_named = |rule: &RuleNumber| {
            while named.next_if(|name| *name < rule).is_some() {}
            named.peek() == Some(&rule)
        };
        let mut gone: Vec<_> = counted.iter().filter(|rule| !is_named(rule)).copied().collect();
        if gone.is_empty() {
            return;
        }
        // The rows of a network of which nothing is known at present stay, and so do its rules.
        let in_force = in_force(wanted);
        gone.retain(|rule| !in_force.contains(rule));
        for rule in gone {
            match table.forget(rule) {
                Ok(()) => drop(counted.remove(&rule)),
                Err(error) => tracing::error!(%error, rule, "the hits of a rule that is gone stay"),
            }
        }
    }
}

/// The rules that the compiled sets say.
fn in_force(wanted: &Wanted) -> BTreeSet<RuleNumber> {
    wanted.rows.policy_cells.values().map(|cell| cell.rule).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::cell::RefCell;

    use andromede_abi::{Action, CellKey, CellRow};

    use super::*;

    /// A table with room for so many rules.
    struct Small(usize, RefCell<BTreeSet<RuleNumber>>);

    impl HitTable for Small {
        fn counted(&self) -> Result<BTreeSet<RuleNumber>, TableError> {
            Ok(self.1.borrow().clone())
        }

        fn begin(&self, rule: RuleNumber) -> Result<(), TableError> {
            if self.1.borrow().len() >= self.0 {
                return Err(TableError::Full { table: "RULE_HITS", rows: 0 });
            }
            self.1.borrow_mut().insert(rule);
            Ok(())
        }

        fn forget(&self, rule: RuleNumber) -> Result<(), TableError> {
            self.1.borrow_mut().remove(&rule);
            Ok(())
        }
    }

    /// Rules in force, and those that are named besides; and the steps that bring the former.
    fn wanted(rules: &[RuleNumber], named: &[RuleNumber]) -> (Wanted, Vec<Step>) {
        let mut wanted = Wanted::default();
        let mut steps = Vec::new();
        for rule in rules {
            let key = CellKey { set: 1, remote: *rule, service: 0, remote_level: 0, service_level: 0 };
            let cell = CellRow { order: *rule, rule: *rule, action: Action::Allow as u8, flags: 0, reserved: 0 };
            wanted.rows.policy_cells.insert(key, cell);
            steps.push(Step::Insert(Row::PolicyCell(key, cell)));
        }
        let group = "tenants/t/networks/n/securityGroups/g".parse::<andromede_model::AnyName>().unwrap();
        for rule in named {
            wanted.names.rules.insert(*rule, (group.clone(), "r".parse().unwrap()));
        }
        (wanted, steps)
    }

    fn pass(hits: &mut Hits, table: &Small, (wanted, steps): &(Wanted, Vec<Step>)) -> Vec<RuleNumber> {
        hits.begin(table, steps, wanted);
        hits.forget(table, wanted);
        table.1.borrow().iter().copied().collect()
    }

    #[test]
    fn a_rule_is_counted_as_long_as_it_is_there_and_no_port_need_have_it() {
        let (mut hits, table) = (Hits::default(), Small(10, RefCell::default()));
        assert_eq!(pass(&mut hits, &table, &wanted(&[1, 2], &[1, 2, 3])), [1, 2], "those in force");
        assert_eq!(pass(&mut hits, &table, &wanted(&[2], &[1, 2, 3])), [1, 2], "the rule is still there");
        assert_eq!(pass(&mut hits, &table, &wanted(&[2], &[2, 3])), [2], "it is gone");
        assert_eq!(
            pass(&mut hits, &table, &wanted(&[2, 3], &[])),
            [2, 3],
            "what cannot be named at present is in force"
        );
        assert_eq!(
            pass(&mut Hits::default(), &table, &(wanted(&[3, 4], &[3, 4]).0, Vec::new())),
            [3, 4],
            "after a start"
        );
    }

    #[test]
    fn a_full_table_counts_the_others_once_there_is_room() {
        let (mut hits, table) = (Hits::default(), Small(2, RefCell::default()));
        assert_eq!(pass(&mut hits, &table, &wanted(&[1, 2, 3], &[1, 2, 3])), [1, 2]);
        assert_eq!(pass(&mut hits, &table, &wanted(&[2, 3], &[2, 3])), [2], "no room before the first is forgotten");
        let quiet = (wanted(&[2, 3], &[2, 3]).0, Vec::new());
        assert_eq!(pass(&mut hits, &table, &quiet), [2, 3], "the next pass tries again");
    }
}
