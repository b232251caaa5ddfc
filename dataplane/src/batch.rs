//! Whole tables: in batches where the kernel has them, one by one where it has not.

use std::io;

use crate::sys::RawMap;

/// Rows that are read by one call at first.
const ROWS: usize = 1024;
/// Rows that are read by one call at most; a bucket of a hash is read whole, so a batch may have to grow.
const ROWS_MAX: usize = 1 << 20;
/// Errno of a kernel that has no such operation for this kind of map (`ENOTSUPP`, which libc does not know).
const ENOTSUPP: i32 = 524;

/// Gives every element of a map to `each`, in parts; stops at the first error.
///
/// Elements that come or go meanwhile may or may not be seen; the others are seen once.
pub(crate) fn for_each_batch<F>(map: &RawMap, mut each: F) -> io::Result<()>
where
    F: FnMut(&[u8], &[u8]) -> io::Result<()>,
{
    let mut rows = ROWS;
    let (mut keys, mut values) = (vec![0; rows * map.key_size], vec![0; rows * map.copy_size]);
    let mut position = None;
    loop {
        match map.lookup_batch(&mut position, &mut keys, &mut values) {
            Ok(batch) => {
                let (keys, values) =
                    (keys.get(..batch.count * map.key_size), values.get(..batch.count * map.copy_size));
                each(keys.unwrap_or_default(), values.unwrap_or_default())?;
                if batch.end {
                    return Ok(());
                }
            }
            // One bucket holds more than there was room for.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && rows < ROWS_MAX => {
                rows *= 4;
                keys.resize(rows * map.key_size, 0);
                values.resize(rows * map.copy_size, 0);
            }
            Err(error) if position.is_none() && is_absent(&error) => return one_by_one(map, each),
            Err(error) => return Err(error),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOTSUPP | libc::EOPNOTSUPP | libc::EINVAL))
}

/// The same with two calls for each element. Keys are collected first: a hash starts again from the beginning
/// if the key to go on from is removed meanwhile, so the number of steps is bounded.
fn one_by_one<F>(map: &RawMap, mut each: F) -> io::Result<()>
where
    F: FnMut(&[u8], &[u8]) -> io::Result<()>,
{
    let (mut key, mut value) = (vec![0; map.key_size], vec![0; map.copy_size]);
    let mut next = vec![0; map.key_size];
    let mut known = false;
    for _ in 0..map.max_entries.saturating_mul(2) {
        if !map.next_key(known.then_some(key.as_slice()), &mut next)? {
            return Ok(());
        }
        std::mem::swap(&mut key, &mut next);
        known = true;
        if map.lookup(&key, &mut value)? {
            each(&key, &value)?;
        }
    }
    Ok(())
}

/// Removes keys, which stand one behind the other; says how many were there.
pub(crate) fn delete(map: &RawMap, keys: &[u8]) -> io::Result<usize> {
    let mut rest = keys;
    let mut removed: usize = 0;
    while rest.len() >= map.key_size && map.key_size > 0 {
        let count = match map.delete_batch(rest) {
            Ok(count) => count,
            Err(error) if is_absent(&error) => {
                return delete_one_by_one(map, rest).map(|more| removed.saturating_add(more));
            }
            Err(error) => return Err(error),
        };
        removed = removed.saturating_add(count);
        // The key at which it stopped was not there: go on behind it.
        rest = rest.get(count.saturating_add(1).saturating_mul(map.key_size)..).unwrap_or_default();
    }
    Ok(removed)
}

fn delete_one_by_one(map: &RawMap, keys: &[u8]) -> io::Result<usize> {
    let mut removed: usize = 0;
    for key in keys.chunks_exact(map.key_size) {
        removed = removed.saturating_add(usize::from(map.delete(key)?));
    }
    Ok(removed)
}
