//! Processors: keeping a thread on one, and what a measurement cost there.

use std::{
    fs,
    panic::resume_unwind,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// Number of a processor.
pub(crate) type Core = usize;

/// The processors that this process may use, the last first: interrupts and other programs prefer the first.
pub(crate) fn cores() -> Result<Vec<Core>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("asking which processors may be used")?;
    let cores: Vec<Core> = (0..CpuSet::count()).rev().filter(|core| set.is_set(*core).unwrap_or(false)).collect();
    ensure!(
        cores.len() >= 2,
        "two processors are needed, one for each end of a stream; this process may use {cores:?}"
    );
    Ok(cores)
}

/// Does `job` in a thread that stays on this processor.
pub(crate) fn on<T: Send>(core: Core, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let pinned = || {
            stay(core)?;
            job()
        };
        scope.spawn(pinned).join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Keeps the calling thread on this processor.
pub(crate) fn stay(core: Core) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("staying on processor {core}"))
}

/// What a measurement has cost on its processor since it began.
///
/// A packet that a thread sends over veth pairs is received, routed, filtered and queued at its destination in the same
/// system call, as a soft interrupt on the sender's processor, and kernels without `IRQ_TIME_ACCOUNTING` count that as the
/// thread's own time: what other programs do on the machine is not in it. When soft interrupts are too many the kernel
/// moves them to the thread `ksoftirqd` of the processor, whose time is added.
#[derive(Debug)]
pub(crate) struct Meter {
    core: Core,
    thread: Duration,
    soft: Duration,
    begin: Instant,
}

impl Meter {
    /// Begins, on the thread that measures; it must stay on this processor.
    pub(crate) fn start(core: Core) -> Result<Self> {
        Ok(Self { core, thread: thread_time()?, soft: soft_interrupts(core), begin: Instant::now() })
    }

    /// Time of the processor that went into it.
    pub(crate) fn processor(&self) -> Result<Duration> {
        Ok(thread_time()?.saturating_sub(self.thread) + soft_interrupts(self.core).saturating_sub(self.soft))
    }

    /// Time of the clock on the wall.
    pub(crate) fn wall(&self) -> Duration {
        self.begin.elapsed()
    }
}

/// Processor time of the calling thread.
fn thread_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("reading the thread's processor time")?;
    Ok(time.into())
}

/// Process ids of the kernel's `ksoftirqd` threads, by processor.
static SOFT_INTERRUPT_THREADS: LazyLock<Vec<(Core, u32)>> = LazyLock::new(|| {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
        Some((name.trim().strip_prefix("ksoftirqd/")?.parse().ok()?, id))
    };
    entries.filter_map(of).collect()
});

/// Time that `ksoftirqd` of this processor has run; nothing where it cannot be seen.
fn soft_interrupts(core: Core) -> Duration {
    let id = SOFT_INTERRUPT_THREADS.iter().find(|(of, _)| *of == core).map(|(_, id)| *id);
    let text = id.and_then(|id| fs::read_to_string(format!("/proc/{id}/schedstat")).ok());
    let nanoseconds = text.and_then(|text| text.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}
