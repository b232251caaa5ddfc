//! Children that end with their parent.

use std::{
    fs::{self, OpenOptions},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait::patience;

/// How long a child may take to end after SIGTERM before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program. It is ended (SIGTERM, then SIGKILL) and waited for when the value is dropped,
/// and killed by the kernel if the thread that started it dies first: start it from a thread that lives on.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    left: bool,
}

/// How long a child may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// No longer than the thread that started it.
    Parent,
    /// Until it is ended, or for good if it is [left](Process::leave).
    Own,
}

impl Process {
    /// Starts `command`; what it writes is appended to `log`.
    pub fn start(command: Command, log: &Path) -> Result<Self> {
        Self::start_for(command, log, Lifetime::Parent)
    }

    /// Starts `command` for as long as told.
    pub fn start_for(mut command: Command, log: &Path, lifetime: Lifetime) -> Result<Self> {
        let name = command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
        let out = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        match lifetime {
            Lifetime::Parent => die_with_parent(&mut command),
            // A process group of its own keeps a terminal's Ctrl-C away: the parent ends it in its own time.
            Lifetime::Own => drop(command.process_group(0)),
        }
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, name, log: log.to_owned(), left: false })
    }

    /// Leaves it running, if its lifetime is its own.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Does it still run?
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// An error with the end of the log if it no longer runs.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}); it wrote:\n{}", self.name, self.tail());
        }
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)
            .with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Sends a signal and waits until it has ended.
    pub fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(signal)?;
        self.wait(PATIENCE)
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let limit = limit * patience();
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!("{} has not ended after {} s; it wrote:\n{}", self.name, limit.as_secs_f32(), self.tail());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines that it wrote, and of a line longer than a screen its two ends.
    pub fn tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(40));
        last.map(|line| format!("    {}", shorten(line))).collect::<Vec<_>>().join("\n") + "\n"
    }
}

/// Both ends of a text that is too long to be read.
pub fn shorten(text: &str) -> String {
    const END: usize = 600;
    let length = text.chars().count();
    if length <= 2 * END {
        return text.to_owned();
    }
    let head: String = text.chars().take(END).collect();
    let tail: String = text.chars().skip(length - END).collect();
    format!("{head} [...] {tail}")
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        if self.end(Signal::SIGTERM).is_err() {
            // Nobody is left to tell, should even this fail.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- {} wrote last:\n{}", self.name, self.tail());
        }
    }
}

/// Makes the kernel kill `command` when the thread that starts it ends.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only `prctl` is called, which is a bare system call.
    unsafe {
        command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
    }
}
