//! Waiting until no program still uses what it read before.

use std::{io, thread, time::Duration};

/// Longer than any program runs; used only where the kernel cannot be asked.
const FALLBACK: Duration = Duration::from_millis(50);

/// Returns after one RCU grace period: programs that began before the call have ended.
///
/// `membarrier(MEMBARRIER_CMD_GLOBAL)` is `synchronize_rcu` (kernel/sched/membarrier.c), and tc programs run in a section that it waits
/// for. A kernel with full dynticks refuses it; then this sleeps.
pub fn grace_period() {
    if membarrier_global().is_err() {
        thread::sleep(FALLBACK);
    }
}

#[allow(unsafe_code, reason = "membarrier(2)")]
fn membarrier_global() -> io::Result<()> {
    // SAFETY: the call takes three integers and touches no memory of this process.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_ends() {
        let begun = std::time::Instant::now();
        grace_period();
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
