//! Copying rows out of maps.

use core::{
    mem::{MaybeUninit, offset_of},
    sync::atomic::{Ordering, compiler_fence},
};

use andromede_abi::{FlowRow, FragmentRow, HostRow, LocationRow, MemberRow, NetworkRow, PortRow};

/// A row and its owner word.
pub trait Owned: Copy {
    /// How many words of it say anything.
    const WORDS: usize = size_of::<Self>() / size_of::<u64>();

    fn owner(row: *const Self) -> *const u64;
}

macro_rules! owned {
    ($($row:ty $(, $words:expr)?;)*) => { $(
        impl Owned for $row {
            $(const WORDS: usize = $words;)?

            #[inline(always)]
            fn owner(row: *const Self) -> *const u64 {
                // SAFETY: only the address of the field is taken.
                unsafe { &raw const (*row).owner }
            }
        }
    )* };
}
owned! {
    PortRow;
    LocationRow;
    HostRow;
    MemberRow;
    NetworkRow;
    // The rest is zero, in the table and in the scratch space.
    FlowRow, offset_of!(FlowRow, reserved).div_ceil(size_of::<u64>());
    FragmentRow;
}

/// Copies a row whose owner word is `owner` before and after: the kernel may give the element to another key meanwhile.
#[inline(always)]
pub fn copy<R: Owned>(row: *const R, owner: u64) -> Option<R> {
    let word = R::owner(row);
    // SAFETY: `row` is an element of a map, which stays readable while the program runs.
    unsafe {
        if word.read_volatile() != owner {
            return None;
        }
        compiler_fence(Ordering::SeqCst);
        let mut copied = MaybeUninit::<R>::uninit();
        let (from, to) = (row.cast::<u64>(), copied.as_mut_ptr().cast::<u64>());
        let mut index = 0;
        while index < size_of::<R>() / size_of::<u64>() {
            // Whole words: pieces of them would end on the stack, where the verifier wants them aligned.
            to.add(index).write(from.add(index).read_volatile());
            index += 1;
        }
        compiler_fence(Ordering::SeqCst);
        if word.read_volatile() == owner { Some(copied.assume_init()) } else { None }
    }
}

/// As [`copy`], to `into`, without the stack and without holding more than a word in a register. False if the row has another
/// owner, before or after; `into` may then be written in part.
///
/// # Safety
/// `row` is an element of a map, which stays readable while the program runs.
#[inline(always)]
pub unsafe fn copy_to<R: Owned>(row: *const R, owner: u64, into: &mut R) -> bool {
    let word = R::owner(row);
    let (from, to) = (row.cast::<u64>(), core::ptr::from_mut(into).cast::<u64>());
    // SAFETY: both are rows, which are aligned to eight bytes and a multiple of them.
    unsafe {
        if word.read_volatile() != owner {
            return false;
        }
        compiler_fence(Ordering::SeqCst);
        let mut index = 0;
        while index < R::WORDS {
            to.add(index).write_volatile(from.add(index).read_volatile());
            index += 1;
        }
        compiler_fence(Ordering::SeqCst);
        word.read_volatile() == owner
    }
}

/// Copies a row that nobody writes meanwhile, word by word.
#[inline(always)]
pub fn copy_words<R: Copy>(from: &R, into: &mut R) {
    const { assert!(size_of::<R>().is_multiple_of(size_of::<u64>()) && align_of::<R>() == align_of::<u64>()) };
    let (from, to) = (core::ptr::from_ref(from).cast::<u64>(), core::ptr::from_mut(into).cast::<u64>());
    let mut index = 0;
    while index < size_of::<R>() / size_of::<u64>() {
        // SAFETY: inside both, which are aligned to eight bytes and a multiple of them.
        unsafe { to.add(index).write_volatile(from.add(index).read_volatile()) };
        index += 1;
    }
}
