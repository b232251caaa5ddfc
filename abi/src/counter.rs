//! Words that several processors write.

use core::sync::atomic::AtomicU64;
#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::Ordering;

/// A 64-bit word that several processors read, add to and set.
/// Relaxed order: nothing else is published by it.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n` in one atomic instruction.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        #[cfg(target_arch = "bpf")]
        // SAFETY: the pointer is to an aligned u64 that lives as long as `self`.
        unsafe {
            core::arch::asm!("lock *(u64 *)({p} + 0) += {n}", p = in(reg) self.0.as_ptr(), n = in(reg) n);
        }
        #[cfg(not(target_arch = "bpf"))]
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Reads the word.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        #[cfg(target_arch = "bpf")]
        // SAFETY: as in `add`; an aligned load is atomic on every machine that runs BPF.
        return unsafe { self.0.as_ptr().read_volatile() };
        #[cfg(not(target_arch = "bpf"))]
        self.0.load(Ordering::Relaxed)
    }

    /// Writes the word.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        #[cfg(target_arch = "bpf")]
        // SAFETY: as in `get`.
        unsafe {
            self.0.as_ptr().write_volatile(value);
        }
        #[cfg(not(target_arch = "bpf"))]
        self.0.store(value, Ordering::Relaxed);
    }
}
