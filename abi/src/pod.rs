//! Plain old data: what may be copied between a program, a map and a message byte by byte.

/// Types that any bytes are a value of.
///
/// # Safety
/// The type has no padding and no invalid bit pattern.
pub unsafe trait Pod: Copy + 'static {}

macro_rules! pod {
    ($($ty:ty),* $(,)?) => { $(
        // SAFETY: integers of one size, or a row that `assert_no_padding!` checked.
        unsafe impl $crate::pod::Pod for $ty {}
    )* };
}
pub(crate) use pod;

/// Fails to compile if the sizes of the fields do not add up to the size of the row, or if that is not `$size`.
macro_rules! row {
    ($ty:ty, $size:literal, $($field:ty),* $(,)?) => {
        const _: () = assert!(size_of::<$ty>() == $size && 0 $(+ size_of::<$field>())* == $size);
        $crate::pod::pod!($ty);
    };
}
pub(crate) use row;

pod!(u8, u16, u32, u64);

// SAFETY: an array of plain data has no padding of its own.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

/// The bytes of a row, as the kernel sees them.
pub const fn bytes_of<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: `T: Pod` has no padding, so every byte is initialised; the borrow keeps it alive.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
}

/// A row from its bytes; none if the length is not that of the row.
pub fn from_bytes<T: Pod>(bytes: &[u8]) -> Option<T> {
    (bytes.len() == size_of::<T>()).then(|| {
        // SAFETY: the length was checked and any bytes are a `T: Pod`; the read need not be aligned.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    })
}

/// Key of a longest-prefix table: how many leading bits of `data` count, in the order that the kernel compares them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefixed<K> {
    /// Number of leading bits of `data` that count, host byte order.
    pub length: u32,
    /// The bits; those behind `length` are zero.
    pub data: K,
}

// SAFETY: the keys of this crate consist of words of at most four bytes, so none is put between the fields.
unsafe impl<K: Pod> Pod for Prefixed<K> {}
