//! An array of words, mapped into this process (`BPF_F_MMAPABLE`).

use std::{
    io,
    os::fd::AsRawFd,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::RawMap;

/// The kernel rounds every element of an array up to this (`kernel/bpf/arraymap.c`).
const STRIDE: usize = 8;

/// A part of this process's memory that is the memory of a map.
#[derive(Debug)]
struct Mapping {
    start: NonNull<libc::c_void>,
    length: usize,
}

// SAFETY: nothing but atomic accesses are made through it, and any thread may unmap it.
#[allow(unsafe_code, reason = "a mapping is of no thread")]
unsafe impl Send for Mapping {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "a mapping is of no thread")]
unsafe impl Sync for Mapping {}

impl Mapping {
    #[allow(unsafe_code, reason = "mmap(2)")]
    fn new(map: &RawMap, length: usize, protection: libc::c_int) -> io::Result<Self> {
        let (flags, fd) = (libc::MAP_SHARED, map.fd().as_raw_fd());
        // SAFETY: a new mapping at a place of the kernel's choice, which touches no memory of this process.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: NonNull::new(start).ok_or(io::ErrorKind::InvalidInput)?, length })
    }
}

impl Drop for Mapping {
    #[allow(unsafe_code, reason = "munmap(2)")]
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and no reference into it outlives `self`.
        if unsafe { libc::munmap(self.start.as_ptr(), self.length) } != 0 {
            tracing::warn!(error = %io::Error::last_os_error(), "a mapping of a table stays");
        }
    }
}

/// The words of an array, read only.
#[derive(Debug)]
pub(crate) struct MappedWords {
    mapping: Mapping,
    words: usize,
}

impl MappedWords {
    /// Maps an array whose values are u32; an error if it was not made for that.
    pub(crate) fn new(map: &RawMap) -> io::Result<Self> {
        let words = map.max_entries as usize;
        let length = words.checked_mul(STRIDE).filter(|_| map.value_size == size_of::<u32>());
        Ok(Self { mapping: Mapping::new(map, length.ok_or(io::ErrorKind::InvalidInput)?, libc::PROT_READ)?, words })
    }

    /// The words in order.
    #[allow(unsafe_code, reason = "reading a mapping")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.words).map(|index| {
            // SAFETY: the mapping is `words * STRIDE` bytes long, lives as long as `self`, and starts at a page, so
            // that every word is aligned; others write to it, and so the read is atomic.
            unsafe { self.mapping.start.byte_add(index.wrapping_mul(STRIDE)).cast::<AtomicU32>().as_ref() }
                .load(Ordering::Acquire)
        })
    }
}

/// The first word of an array, to add to.
#[derive(Debug)]
pub(crate) struct MappedCounter(Mapping);

impl MappedCounter {
    /// Maps an array whose values are u64; an error if it was not made for that.
    pub(crate) fn new(map: &RawMap) -> io::Result<Self> {
        if map.value_size != size_of::<u64>() || map.max_entries == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Mapping::new(map, STRIDE, libc::PROT_READ | libc::PROT_WRITE).map(Self)
    }

    /// Adds one, after all that this thread did before.
    #[allow(unsafe_code, reason = "writing to a mapping")]
    pub(crate) fn increment(&self) {
        // SAFETY: the mapping is a u64 long, lives as long as `self`, and starts at a page; it is never accessed otherwise.
        unsafe { self.0.start.cast::<AtomicU64>().as_ref() }.fetch_add(1, Ordering::SeqCst);
    }
}
