//! Maps: single elements and batches.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::{address, call, command, info, number};

/// First part of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
struct ElementAttribute {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct BatchAttribute {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Processors that this machine may ever have: per-CPU values have that many parts.
fn possible_cpus() -> io::Result<usize> {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit([',', '-']).next().and_then(|number| number.parse::<usize>().ok());
    last.and_then(|last| last.checked_add(1)).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// An open map and its true sizes, against which every buffer is checked before the kernel writes to it.
#[derive(Debug)]
pub(crate) struct RawMap {
    fd: OwnedFd,
    /// The kernel's number of it.
    pub(crate) id: u32,
    /// `enum bpf_map_type`.
    pub(crate) kind: u32,
    /// Bytes of a key.
    pub(crate) key_size: usize,
    /// Bytes of a value in the kernel.
    pub(crate) value_size: usize,
    /// Bytes of a value as it is copied: all processors' parts together, each rounded up to 8, for per-CPU maps.
    pub(crate) copy_size: usize,
    /// Most rows (bytes, for a ring buffer).
    pub(crate) max_entries: u32,
}

/// `BPF_NOEXIST`: only where there is no element.
const NOEXIST: u64 = 1;
const PERCPU_HASH: u32 = 5;
const PERCPU_ARRAY: u32 = 6;

/// What a batch call did.
pub(crate) struct Batch {
    /// Elements that were read.
    pub(crate) count: usize,
    /// Was this the last batch?
    pub(crate) end: bool,
}

impl RawMap {
    /// Takes a map's descriptor and asks the kernel for its sizes.
    #[allow(unsafe_code, reason = "bpf(2)")]
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let mut found = MapInfo::default();
        // SAFETY: `MapInfo` is the beginning of `struct bpf_map_info` and consists of integers.
        unsafe { info(fd.as_fd(), &mut found) }?;
        let value_size = found.value_size as usize;
        let copy_size = match found.kind {
            PERCPU_HASH | PERCPU_ARRAY => value_size
                .checked_next_multiple_of(8)
                .and_then(|stride| stride.checked_mul(possible_cpus().ok()?))
                .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?,
            _ => value_size,
        };
        Ok(Self {
            fd,
            id: found.id,
            kind: found.kind,
            key_size: found.key_size as usize,
            value_size,
            copy_size,
            max_entries: found.max_entries,
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn check(&self, key: usize, value: usize) -> io::Result<()> {
        if key == self.key_size && value == self.copy_size {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::InvalidInput))
        }
    }

    /// Writes the value of a key that has none; false if it has one.
    #[allow(unsafe_code, reason = "bpf(2)")]
    pub(crate) fn insert_new(&self, key: &[u8], value: &[u8]) -> io::Result<bool> {
        self.check(key.len(), value.len())?;
        let mut attribute = self.element(key.as_ptr(), value.as_ptr(), NOEXIST);
        // SAFETY: both lengths are the map's; the kernel only reads.
        match unsafe { call(command::MAP_UPDATE_ELEM, &mut attribute) } {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn element(&self, key: *const u8, value: *const u8, flags: u64) -> ElementAttribute {
        ElementAttribute { map: number(self.fd()), padding: 0, key: address(key), value: address(value), flags }
    }

    /// Reads the value of a key; false if there is none.
    #[allow(unsafe_code, reason = "bpf(2)")]
    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.check(key.len(), value.len())?;
        let mut attribute = self.element(key.as_ptr(), value.as_mut_ptr(), 0);
        // SAFETY: both lengths are the map's.
        found(unsafe { call(command::MAP_LOOKUP_ELEM, &mut attribute) })
    }

    /// Writes the value of a key, whether or not there was one.
    #[allow(unsafe_code, reason = "bpf(2)")]
    pub(crate) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check(key.len(), value.len())?;
        let mut attribute = self.element(key.as_ptr(), value.as_ptr(), 0);
        // SAFETY: both lengths are the map's; the kernel only reads.
        unsafe { call(command::MAP_UPDATE_ELEM, &mut attribute) }.map(drop)
    }

    /// Removes a key; false if it was not there.
    #[allow(unsafe_code, reason = "bpf(2)")]
    pub(crate) fn delete(&self, key: &[u8]) -> io::Result<bool> {
        self.check(key.len(), self.copy_size)?;
        let mut attribute = self.element(key.as_ptr(), std::ptr::null(), 0);
        // SAFETY: the length is the map's; the command takes no value.
        found(unsafe { call(command::MAP_DELETE_ELEM, &mut attribute) })
    }

    /// The key after `key`, or the first; false if there is no further one.
    #[allow(unsafe_code, reason = "bpf(2)")]
    pub(crate) fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
        self.check(key.map_or(self.key_size, <[u8]>::len), self.copy_size)?;
        self.check(next.len(), self.copy_size)?;
        let mut attribute = self.element(key.map_or(std::ptr::null(), <[u8]>::as_ptr), next.as_mut_ptr(), 0);
        // SAFETY: both lengths are those of a key; a null key asks for the first.
        found(unsafe { call(command::MAP_GET_NEXT_KEY, &mut attribute) })
    }

    /// Reads up to as many elements as `keys` and `values` hold. `position` is where to go on: none at first.
    #[allow(unsafe_code, reason = "bpf(2)")]
    pub(crate) fn lookup_batch(
        &self,
        position: &mut Option<Vec<u8>>,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> io::Result<Batch> {
        let rows = keys.len().checked_div(self.key_size).unwrap_or(0);
        if rows == 0 || Some(values.len()) != rows.checked_mul(self.copy_size) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        // The position of a hash is a u32, that of the other kinds a key.
        let mut after = vec![0_u8; self.key_size.max(4)];
        let mut attribute = BatchAttribute {
            in_batch: position.as_ref().map_or(0, |bytes| address(bytes.as_ptr())),
            out_batch: address(after.as_mut_ptr()),
            keys: address(keys.as_mut_ptr()),
            values: address(values.as_mut_ptr()),
            count: u32::try_from(rows).unwrap_or(u32::MAX),
            map: number(self.fd()),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel writes at most `count` keys and values, for which there is room, and one position.
        let end = match unsafe { call(command::MAP_LOOKUP_BATCH, &mut attribute) } {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        *position = Some(after);
        Ok(Batch { count: (attribute.count as usize).min(rows), end })
    }

    /// Removes keys one after another until one is not there; says how many it removed.
    #[allow(unsafe_code, reason = "bpf(2)")]
    pub(crate) fn delete_batch(&self, keys: &[u8]) -> io::Result<usize> {
        let rows = keys.len().checked_div(self.key_size).unwrap_or(0);
        let mut attribute = BatchAttribute {
            in_batch: 0,
            out_batch: 0,
            keys: address(keys.as_ptr()),
            values: 0,
            count: u32::try_from(rows).unwrap_or(u32::MAX),
            map: number(self.fd()),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel reads `count` keys, which is how many there are.
        match unsafe { call(command::MAP_DELETE_BATCH, &mut attribute) } {
            Ok(_) => Ok(rows),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((attribute.count as usize).min(rows)),
            Err(error) => Err(error),
        }
    }
}

/// "There is none" is an answer, not an error.
fn found(result: io::Result<libc::c_long>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
