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

    /// Adds `n` (a negative number in two's complement takes away) in one atomic instruction, and returns what the word was before.
    #[inline(always)]
    pub fn fetch_add(&self, n: u64) -> u64 {
        #[cfg(target_arch = "bpf")]
        // SAFETY: as in `add`.
        unsafe {
            let mut word = n;
            core::arch::asm!("{n} = atomic_fetch_add((u64 *)({p} + 0), {n})", p = in(reg) self.0.as_ptr(), n = inout(reg) word);
            return word;
        }
        #[cfg(not(target_arch = "bpf"))]
        self.0.fetch_add(n, Ordering::Relaxed)
    }

    /// Writes 0 in one atomic instruction. The packet path reads nothing after it that it had read before: an exchange is fully ordered
    /// there (Documentation/bpf/standardization/instruction-set.rst).
    #[inline(always)]
    pub fn clear_in_order(&self) {
        #[cfg(target_arch = "bpf")]
        // SAFETY: as in `add`.
        unsafe {
            core::arch::asm!("{n} = xchg_64({p} + 0, {n})", p = in(reg) self.0.as_ptr(), n = inout(reg) 0_u64 => _);
        }
        #[cfg(not(target_arch = "bpf"))]
        self.0.store(0, Ordering::SeqCst);
    }

    /// Writes `new` if the word is `old`, in one atomic instruction; says whether it was.
    #[inline(always)]
    pub fn replace(&self, old: u64, new: u64) -> bool {
        #[cfg(target_arch = "bpf")]
        // SAFETY: as in `add`; the instruction takes the old word in register 0 and leaves there what it found.
        unsafe {
            let found: u64;
            core::arch::asm!("r0 = cmpxchg_64({p} + 0, r0, {n})", p = in(reg) self.0.as_ptr(), n = in(reg) new, inout("r0") old => found);
            return found == old;
        }
        #[cfg(not(target_arch = "bpf"))]
        self.0.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
