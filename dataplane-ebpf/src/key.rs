//! Keys on the stack.
//!
//! The verifier wants accesses to the stack aligned, while the compiler, which is told that packets may be read at any
//! offset, merges the stores of neighbouring fields into ones that are not. So keys are written word by word.

use core::mem::MaybeUninit;

use andromede_abi::{Pod, Prefixed};

/// A key, aligned to eight bytes.
#[repr(C, align(8))]
pub struct StackKey<K>(MaybeUninit<K>);

impl<K: Pod> StackKey<K> {
    /// A copy of the key, which is a multiple of four bytes.
    #[inline(always)]
    pub fn of(key: &K) -> Self {
        let mut copy = Self(MaybeUninit::uninit());
        // SAFETY: both are keys of the same type, aligned to four bytes.
        unsafe { copy_words(core::ptr::from_ref(key).cast(), copy.0.as_mut_ptr().cast(), size_of::<K>()) };
        copy
    }

    /// Room for a key that a helper writes.
    #[inline(always)]
    pub fn unread() -> Self {
        Self(MaybeUninit::zeroed())
    }

    /// Where the key stands.
    #[inline(always)]
    pub const fn as_mut_ptr(&mut self) -> *mut K {
        self.0.as_mut_ptr()
    }

    /// The key.
    #[inline(always)]
    pub const fn get(&self) -> &K {
        // SAFETY: `of` wrote all of it, or it is zero, or a helper wrote it; any bytes are a key.
        unsafe { self.0.assume_init_ref() }
    }
}

/// A key of a longest-prefix table, aligned to eight bytes.
#[repr(C, align(8))]
pub struct StackPrefix<K>(MaybeUninit<Prefixed<K>>);

impl<K: Pod> StackPrefix<K> {
    /// The key with this prefix length in bits; its data is a multiple of four bytes.
    #[inline(always)]
    pub fn of(length: u32, data: &K) -> Self {
        let mut copy = Self(MaybeUninit::uninit());
        let words: *mut u32 = copy.0.as_mut_ptr().cast();
        // SAFETY: the length is the first word of the key, the data stands behind it.
        unsafe {
            words.write_volatile(length);
            copy_words(core::ptr::from_ref(data).cast(), words.add(1), size_of::<K>());
        }
        copy
    }

    /// The key.
    #[inline(always)]
    pub const fn get(&self) -> &Prefixed<K> {
        // SAFETY: `of` wrote all of it.
        unsafe { self.0.assume_init_ref() }
    }
}

/// # Safety
/// Both sides have so many bytes, aligned to four.
#[inline(always)]
unsafe fn copy_words(from: *const u32, to: *mut u32, bytes: usize) {
    let mut word = 0;
    while word < bytes / size_of::<u32>() {
        // SAFETY: inside both by the caller's word.
        unsafe { to.add(word).write_volatile(from.add(word).read()) };
        word += 1;
    }
}
