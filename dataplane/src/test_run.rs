//! Runs of a loaded program on a frame that was never sent: `parity` compares them with the pipeline in memory.

use std::{io, marker::PhantomData};

use andromede_abi::{VerdictRecord, bytes_of, from_bytes};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    Dataplane, Hook, LoadError,
    sys::{self, SkBuff},
};

/// Most bytes by which the programs lengthen a frame, with room to spare.
const GROWTH: usize = 256;

/// Why a test run failed.
#[derive(Debug, thiserror::Error)]
pub enum TestRunError {
    /// There is no such program.
    #[error(transparent)]
    Program(#[from] LoadError),
    /// The kernel refused the run: it takes no frame shorter than its Ethernet and IP headers (`EINVAL`), none that
    /// is longer than a page, and no interface that is not there (`ENODEV`).
    #[error("cannot run {hook} on {length} bytes from interface {ifindex}")]
    Refused {
        /// Which program.
        hook: Hook,
        /// Length of the frame.
        length: usize,
        /// Interface that the frame was to come from.
        ifindex: u32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The processor or the verdict's table could not be used.
    #[error("cannot {what}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What the kernel says of a frame beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameContext {
    /// Interface at which it is met, which must exist in this network namespace; 0: the loopback device.
    pub ifindex: u32,
    /// Bytes of payload in each segment, if it is a GSO frame; otherwise 0.
    pub gso_size: u32,
    /// Number of segments, if it is a GSO frame.
    pub gso_segments: u32,
    /// Mark of the packet.
    pub mark: u32,
    /// The node itself made it: it came from no interface.
    pub own: bool,
}

impl From<FrameContext> for SkBuff {
    fn from(context: FrameContext) -> Self {
        let FrameContext { ifindex, gso_size, gso_segments, mark, own } = context;
        let mut buffer = Self::default();
        (buffer.ifindex, buffer.ingress_ifindex, buffer.mark) = (ifindex, if own { 0 } else { ifindex }, mark);
        (buffer.gso_size, buffer.gso_segs) = (gso_size, gso_segments);
        buffer
    }
}

/// What a run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRunOutcome {
    /// What the program returned: a `TC_ACT_` number.
    pub action: i32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// The verdict, if the program was loaded with `feature::RECORD` and wrote one.
    pub verdict: Option<VerdictRecord>,
    /// Mean time of a run in nanoseconds.
    pub nanoseconds: u32,
}

/// Keeps this thread on one processor, where the verdict of each run is then found. It goes back when dropped.
#[derive(Debug)]
pub struct TestBench<'a> {
    dataplane: &'a Dataplane,
    cpu: usize,
    before: CpuSet,
    /// It is about this thread.
    stays_here: PhantomData<*const ()>,
}

impl Dataplane {
    /// Prepares this thread for test runs.
    pub fn test_bench(&self) -> Result<TestBench<'_>, TestRunError> {
        let os = |errno: nix::Error| TestRunError::Os { what: "stay on one processor", source: errno.into() };
        let this_thread = Pid::from_raw(0);
        let before = sched_getaffinity(this_thread).map_err(os)?;
        let cpu = sched_getcpu().map_err(os)?;
        let mut one = CpuSet::new();
        one.set(cpu).map_err(os)?;
        sched_setaffinity(this_thread, &one).map_err(os)?;
        Ok(TestBench { dataplane: self, cpu, before, stays_here: PhantomData })
    }
}

impl TestBench<'_> {
    /// Runs a hook's program once on a frame.
    pub fn run(&self, hook: Hook, frame: &[u8], context: FrameContext) -> Result<TestRunOutcome, TestRunError> {
        self.repeat(hook, frame, context, 1)
    }

    /// Runs a hook's program many times on the same buffer: what the program did to it stays.
    pub fn repeat(
        &self,
        hook: Hook,
        frame: &[u8],
        context: FrameContext,
        times: u32,
    ) -> Result<TestRunOutcome, TestRunError> {
        let verdicts = &self.dataplane.verdicts;
        let none = vec![0_u8; verdicts.copy_size];
        verdicts
            .update(bytes_of(&0_u32), &none)
            .map_err(|source| TestRunError::Os { what: "clear the verdict", source })?;
        let program = self.dataplane.program(hook)?.fd();
        let ifindex = context.ifindex;
        let buffer = SkBuff::from(context);
        let mut output = vec![0_u8; frame.len().saturating_add(GROWTH)];
        let run = sys::program_test_run(program, frame, &buffer, &mut output, times)
            .map_err(|source| TestRunError::Refused { hook, length: frame.len(), ifindex, source })?;
        output.truncate(run.length);
        let (action, verdict) = (run.retval.cast_signed(), self.verdict()?);
        Ok(TestRunOutcome { action, frame: output, verdict, nanoseconds: run.duration })
    }

    fn verdict(&self) -> Result<Option<VerdictRecord>, TestRunError> {
        let verdicts = &self.dataplane.verdicts;
        let mut value = vec![0_u8; verdicts.copy_size];
        verdicts
            .lookup(bytes_of(&0_u32), &mut value)
            .map_err(|source| TestRunError::Os { what: "read the verdict", source })?;
        let stride = size_of::<VerdictRecord>().next_multiple_of(8);
        let record: Option<VerdictRecord> = value
            .chunks_exact(stride)
            .nth(self.cpu)
            .and_then(|part| part.get(..size_of::<VerdictRecord>()))
            .and_then(from_bytes);
        Ok(record.filter(|record| record.hook != 0))
    }
}

impl Drop for TestBench<'_> {
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(Pid::from_raw(0), &self.before) {
            tracing::warn!(%error, "the thread stays on one processor");
        }
    }
}
