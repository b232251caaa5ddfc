//! The bpf(2) system call, as far as aya does not offer it: safe functions over checked lengths.
//!
//! Layouts are those of `union bpf_attr` in `include/uapi/linux/bpf.h`; the kernel takes a shorter attribute
//! than its own as one whose rest is zero.

mod link;
mod map;
mod mapped;
mod program;

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

pub(crate) use link::{LinkInfo, TcxDirection, link_create_tcx, link_detach, link_info, link_update, tcx_query};
pub(crate) use map::RawMap;
pub(crate) use mapped::{MappedCounter, MappedWords};
pub(crate) use program::{CALL, EXIT, SET, SkBuff, instruction, program_id, program_load, program_test_run};

/// Commands: `enum bpf_cmd`.
mod command {
    pub(super) const MAP_LOOKUP_ELEM: libc::c_int = 1;
    pub(super) const MAP_UPDATE_ELEM: libc::c_int = 2;
    pub(super) const MAP_DELETE_ELEM: libc::c_int = 3;
    pub(super) const MAP_GET_NEXT_KEY: libc::c_int = 4;
    pub(super) const PROG_LOAD: libc::c_int = 5;
    pub(super) const OBJ_PIN: libc::c_int = 6;
    pub(super) const OBJ_GET: libc::c_int = 7;
    pub(super) const PROG_TEST_RUN: libc::c_int = 10;
    pub(super) const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    pub(super) const PROG_QUERY: libc::c_int = 16;
    pub(super) const MAP_LOOKUP_BATCH: libc::c_int = 24;
    pub(super) const MAP_DELETE_BATCH: libc::c_int = 27;
    pub(super) const LINK_CREATE: libc::c_int = 28;
    pub(super) const LINK_UPDATE: libc::c_int = 29;
    pub(super) const LINK_DETACH: libc::c_int = 34;
}

/// Makes the call.
///
/// # Safety
/// `A` is the layout of that command, and every address in it points to memory that lives and has the length
/// that the command reads or writes.
#[allow(unsafe_code, reason = "there is no other way to make a system call")]
unsafe fn call<A>(command: libc::c_int, attribute: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes `size_of::<A>()` bytes there, and the caller vouches for the rest.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attribute), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The file descriptor that a call returned.
#[allow(unsafe_code, reason = "a descriptor that the kernel has just made becomes owned")]
fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(result).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of a descriptor, as attributes want it.
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// The address of a buffer, as attributes want it.
fn address<T>(pointer: *const T) -> u64 {
    pointer as usize as u64
}

#[repr(C)]
struct ObjectAttribute {
    path: u64,
    fd: u32,
    flags: u32,
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Pins an object (`BPF_OBJ_PIN`).
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attribute = ObjectAttribute { path: address(path.as_ptr()), fd: number(fd), flags: 0 };
    // SAFETY: the path is a string that ends with a zero and outlives the call.
    unsafe { call(command::OBJ_PIN, &mut attribute) }.map(drop)
}

/// Opens a pinned object (`BPF_OBJ_GET`).
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attribute = ObjectAttribute { path: address(path.as_ptr()), fd: 0, flags: 0 };
    // SAFETY: the path is a string that ends with a zero and outlives the call.
    unsafe { call(command::OBJ_GET, &mut attribute) }.and_then(owned)
}

#[repr(C)]
struct InfoAttribute {
    fd: u32,
    length: u32,
    info: u64,
}

/// Asks what an object is (`BPF_OBJ_GET_INFO_BY_FD`).
///
/// # Safety
/// `T` is a prefix of the kernel's record for this kind of object, and any bytes are a `T`.
#[allow(unsafe_code, reason = "bpf(2)")]
unsafe fn info<T>(fd: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let length = u32::try_from(size_of::<T>()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut attribute = InfoAttribute { fd: number(fd), length, info: address(std::ptr::from_mut(info)) };
    // SAFETY: the kernel writes at most `length` bytes into `info`; the caller vouches for its type.
    unsafe { call(command::OBJ_GET_INFO_BY_FD, &mut attribute) }.map(drop)
}
