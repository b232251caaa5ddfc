//! An array of words, mapped into this process (`BPF_F_MMAPABLE`).

use std::{
    io,
    os::fd::AsRawFd,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use super::RawMap;

/// The kernel rounds every element of an array up to this (`kernel/bpf/arraymap.c`).
const STRIDE: usize = 8;

/// The words of an array, read only.
#[derive(Debug)]
pub(crate) struct MappedWords {
    start: NonNull<libc::c_void>,
    words: usize,
    length: usize,
}

impl MappedWords {
    /// Maps an array whose values are u32; an error if it was not made for that.
    #[allow(unsafe_code, reason = "mmap(2)")]
    pub(crate) fn new(map: &RawMap) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let words = map.max_entries as usize;
        let length = words.checked_mul(STRIDE).filter(|_| map.value_size == size_of::<u32>()).ok_or_else(invalid)?;
        let (protection, flags, fd) = (libc::PROT_READ, libc::MAP_SHARED, map.fd().as_raw_fd());
        // SAFETY: a new mapping at a place of the kernel's choice, which touches no memory of this process.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: NonNull::new(start).ok_or_else(invalid)?, words, length })
    }

    /// The words in order.
    #[allow(unsafe_code, reason = "reading a mapping")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.words).map(|index| {
            // SAFETY: the mapping is `words * STRIDE` bytes long, lives as long as `self`, and starts at a page, so
            // that every word is aligned; others write to it, and so the read is atomic.
            unsafe { self.start.byte_add(index.wrapping_mul(STRIDE)).cast::<AtomicU32>().as_ref() }
                .load(Ordering::Acquire)
        })
    }
}

impl Drop for MappedWords {
    #[allow(unsafe_code, reason = "munmap(2)")]
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and no reference into it outlives `self`.
        if unsafe { libc::munmap(self.start.as_ptr(), self.length) } != 0 {
            tracing::warn!(error = %io::Error::last_os_error(), "a mapping of the epochs stays");
        }
    }
}
