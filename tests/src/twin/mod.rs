//! The same packet path twice: in the kernel and in memory, over the same rows.

mod fabric;
mod flows;
mod frames;
mod rules;
pub mod talk;

use std::{cell::RefCell, time::Duration};

use andromede_abi::{HostConfig, OWN_MARK, RuleEvent, VerdictRecord, feature, hook, maps, target};
use andromede_dataplane::{Dataplane, FrameContext, Hook, Kernel, RuleEvents, Sizes, TestBench};
use andromede_pipeline::{
    Context, Scratch, apply_edit, carry_out, decide,
    memory::{Bytes, Tables},
    outer_header,
};
use andromede_plan::Rows;
use anyhow::{Context as _, Result, ensure};
use nix::time::{ClockId, clock_gettime};

pub use fabric::{
    END_INFRASTRUCTURE, END_LOCAL_A, END_LOCAL_B, END_NODE, END_REMOTE, END_VTEP, End, SmallFabric, UNDERLAY_IFINDEX,
    ifindex, write,
};
pub use frames::Generator;

/// Fewest bytes of a frame that `bpf_prog_test_run` takes: an Ethernet header, and that of the IP version named there.
fn shortest(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => 14 + 20,
        Some([0x86, 0xdd]) => 14 + 40,
        _ => 14 + 1,
    }
}

/// Bytes of the outer header.
const OVERHEAD: usize = 50;
/// Claims in a record: none, and the writing of state and time.
const CLAIM_NONE: u8 = 0;
const CLAIM_TOUCH: u8 = 1;

/// One frame at one hook.
#[derive(Clone, Debug)]
pub struct Met {
    /// Where it is met.
    pub hook: Hook,
    /// At which interface.
    pub ifindex: u32,
    /// Payload bytes of each segment, or 0.
    pub gso_size: u32,
    /// It has the mark that the packet path gives.
    pub marked: bool,
    /// The node itself made it.
    pub own: bool,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Met {
    /// A frame that is one segment.
    pub const fn new(hook: Hook, ifindex: u32, frame: Vec<u8>) -> Self {
        Self { hook, ifindex, gso_size: 0, marked: false, own: false, frame }
    }
}

/// What became of a frame: the verdict, and the bytes as they go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict.
    pub record: VerdictRecord,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

/// The packet path in the kernel and in memory.
pub struct Twin {
    kernel: Dataplane,
    memory: Tables,
    host: HostConfig,
    /// Events of rules, in memory and in the kernel.
    told: RefCell<Vec<RuleEvent>>,
    rule_events: RefCell<Option<RuleEvents>>,
}

impl Twin {
    /// Both with these rows. The calling thread must be in a namespace that has the interfaces.
    pub fn new(host: HostConfig, rows: &Rows) -> Result<Self> {
        Self::with_flows(host, rows, 65_536)
    }

    /// The same with room for so many connections.
    pub fn with_flows(host: HostConfig, rows: &Rows, flows: u32) -> Result<Self> {
        let features = Kernel::probe().features() | feature::RECORD;
        let host = HostConfig { features, ..host };
        let mut sizes = Sizes::small();
        sizes.set(maps::FLOWS.name, flows)?;
        let kernel = Dataplane::load(None, &host, &sizes)?;
        let mut twin = Self::of(kernel, host, rows)?;
        twin.memory.flows_max = flows as usize;
        Ok(twin)
    }

    /// Of a packet path that was loaded for this host, without rows.
    pub fn of(mut kernel: Dataplane, host: HostConfig, rows: &Rows) -> Result<Self> {
        let rule_events = RefCell::new(kernel.take_rule_events());
        let mut twin = Self { kernel, memory: Tables::default(), host, told: RefCell::default(), rule_events };
        twin.write(rows)?;
        Ok(twin)
    }

    /// The one in the kernel.
    pub const fn kernel(&self) -> &Dataplane {
        &self.kernel
    }

    /// The tables of the one in memory.
    pub const fn memory(&self) -> &Tables {
        &self.memory
    }

    /// The same, to be written to.
    pub const fn memory_mut(&mut self) -> &mut Tables {
        &mut self.memory
    }

    /// Writes rows into both, over those that are there.
    pub fn write(&mut self, rows: &Rows) -> Result<()> {
        write_rows(&self.kernel, rows)?;
        macro_rules! table {
            ($($table:ident)*) => { $( self.memory.$table.extend(rows.$table.iter().map(|(key, row)| (*key, *row))); )* };
        }
        table!(ports sources locations prefixes hosts members networks policy_identities policy_prefixes policy_services policy_cells epochs);
        for rule in rows.policy_cells.values().map(|cell| cell.rule) {
            self.memory.rule_hits.get_mut().entry(rule).or_default();
        }
        Ok(())
    }

    /// Runs frames through both and compares; the outcome in memory for each.
    pub fn compare_all(
        &self,
        frames: impl IntoIterator<Item = Met>,
        mut each: impl FnMut(&Met, &Outcome),
    ) -> Result<()> {
        let bench = self.kernel.test_bench()?;
        for met in frames {
            let outcome = self.compare_one(&bench, &met)?;
            each(&met, &outcome);
        }
        Ok(())
    }

    /// Runs one frame through both and compares.
    pub fn compare(&self, met: &Met) -> Result<Outcome> {
        self.compare_one(&self.kernel.test_bench()?, met)
    }

    fn compare_one(&self, bench: &TestBench<'_>, met: &Met) -> Result<Outcome> {
        let kernel_takes_it = met.frame.len() >= shortest(&met.frame);
        let mine = self.in_memory(met, kernel_takes_it);
        if !kernel_takes_it {
            return Ok(mine);
        }
        let context = FrameContext {
            ifindex: met.ifindex,
            gso_size: met.gso_size,
            gso_segments: u32::from(met.gso_size != 0) * 2,
            mark: if met.marked { OWN_MARK } else { 0 },
            own: met.own,
        };
        let run = bench.run(met.hook, &met.frame, context)?;
        let record = run.verdict.context("the program wrote no verdict")?;
        // A test run cannot say which kind of GSO frame it is, without which the kernel neither adds nor removes a header.
        let frame = if met.gso_size == 0 { run.frame } else { mine.frame.clone() };
        let theirs = Outcome { record, frame };
        let clocks_differ = claims(&mine.record, &theirs.record) == (CLAIM_NONE, CLAIM_TOUCH)
            || claims(&mine.record, &theirs.record) == (CLAIM_TOUCH, CLAIM_NONE);
        let same_but_for_claim =
            Outcome { record: VerdictRecord { claim: mine.record.claim, ..theirs.record }, ..theirs.clone() };
        // A row is written once a second: a tick of the clock may fall between the two runs.
        ensure!(
            theirs == mine || (clocks_differ && same_but_for_claim == mine),
            "kernel and memory differ\nframe  {met:02x?}\nkernel {theirs:02x?}\nmemory {mine:02x?}"
        );
        if met.gso_size != 0 {
            return Ok(mine);
        }
        let expected_action = match mine.record.target {
            target::DROP => 2,
            target::HOST | target::OVERLAY_DEVICE => 0,
            // It is on its way to the interface already.
            target::DELIVER if met.hook == Hook::FromHost => 0,
            _ => 7,
        };
        ensure!(run.action == expected_action, "the program returned {} for {mine:02x?}", run.action);
        Ok(mine)
    }

    /// The outcome in memory; what it asks of the flow table is done only if the kernel will do the same.
    fn in_memory(&self, met: &Met, carries_out: bool) -> Outcome {
        let context = Context {
            gso_size: met.gso_size,
            marked: met.marked,
            own: met.own,
            ..Context::at(met.hook.number(), met.ifindex, coarse_now(), &self.host)
        };
        let mut scratch = Scratch::EMPTY;
        let mut frame = Bytes(met.frame.clone());
        decide(&frame, &context, &self.memory, &mut scratch);
        if carries_out {
            carry_out(&self.memory, context.now, &mut scratch);
            self.tell(&scratch, context.now);
        }
        let verdict = scratch.verdict;
        let record = verdict.record(context.hook, &scratch);
        if record.target == target::DELIVER && context.hook == hook::FROM_UNDERLAY {
            frame.0.drain(..OVERHEAD);
        }
        if record.target != target::DROP {
            assert_eq!(apply_edit(&mut frame, &scratch), Some(()), "an edit that was decided can be made");
        }
        if record.target == target::ENCAP {
            let length = frame.0.len() as u32;
            let outer = outer_header(&self.host, &record.next_hop, record.outer_port, length);
            let header = outer.iter().flat_map(|word| word.to_ne_bytes());
            frame.0.splice(..0, header);
        }
        Outcome { record, frame: frame.0 }
    }
}

/// Writes rows into the tables of a loaded packet path, over those that are there.
pub fn write_rows(kernel: &Dataplane, rows: &Rows) -> Result<()> {
    macro_rules! table {
        ($($table:ident)*) => { $(
            for (key, row) in &rows.$table {
                kernel.tables.$table.insert(key, row)?;
            }
        )* };
    }
    table!(ports sources locations prefixes hosts members networks policy_identities policy_prefixes policy_services policy_cells);
    for rule in rows.policy_cells.values().map(|cell| cell.rule) {
        kernel.tables.rule_hits.begin(rule)?;
    }
    for (slot, value) in &rows.epochs {
        kernel.tables.epochs.set(*slot, *value)?;
    }
    Ok(())
}

const fn claims(one: &VerdictRecord, other: &VerdictRecord) -> (u8, u8) {
    (one.claim, other.claim)
}

/// The clock that the programs use.
fn coarse_now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
    now.as_nanos() as u64
}
