//! What rules decided, counted and reported, in both worlds.

use std::collections::BTreeMap;

use andromede_abi::{RuleEvent, RuleNumber, rule_direction};
use andromede_pipeline::{Scratch, rule_event};
use anyhow::{Context as _, Result, ensure};

use super::Twin;

impl Twin {
    /// The hits of rules, which are the same in both worlds.
    pub fn hits(&self) -> Result<BTreeMap<RuleNumber, u64>> {
        let memory = self.memory.rule_hits.borrow().clone();
        let kernel: BTreeMap<RuleNumber, u64> = self.kernel.tables.rule_hits.all()?.into_iter().collect();
        ensure!(kernel == memory, "hits differ\nkernel {kernel:?}\nmemory {memory:?}");
        Ok(memory)
    }

    /// The events that rules sent since this was asked last, which are the same in both worlds but for the moment, and the number of the
    /// connection that tells it.
    pub fn rule_events(&self) -> Result<Vec<RuleEvent>> {
        let timeless = |event: RuleEvent| RuleEvent { time: 0, connection: u64::from(event.connection != 0), ..event };
        let memory: Vec<RuleEvent> = self.told.take().into_iter().map(timeless).collect();
        let mut reader = self.rule_events.borrow_mut();
        let reader = reader.as_mut().context("the kernel's events are read here")?;
        let kernel: Vec<RuleEvent> = std::iter::from_fn(|| reader.next()).map(timeless).collect();
        ensure!(kernel == memory, "events differ\nkernel {kernel:?}\nmemory {memory:?}");
        Ok(memory)
    }

    /// The events that a packet in memory sends.
    pub(super) fn tell(&self, scratch: &Scratch, now: u64) {
        let directions = [rule_direction::EGRESS, rule_direction::INGRESS].into_iter();
        let reported = directions.filter(|direction| scratch.reported & direction != 0);
        self.told.borrow_mut().extend(reported.map(|direction| rule_event(scratch, direction, now)));
    }
}
