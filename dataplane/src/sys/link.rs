//! tcx links.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use super::{address, call, command, info, number, owned};

/// The two sides of a device at which tcx runs programs: `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum TcxDirection {
    Ingress = 46,
    Egress = 47,
}

/// `BPF_F_BEFORE`: without a relative program, first of all.
const BEFORE: u32 = 1 << 3;

/// `BPF_LINK_TYPE_TCX`.
const LINK_TYPE_TCX: u32 = 11;

#[repr(C)]
struct CreateAttribute {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    padding: u32,
    expected_revision: u64,
}

/// Puts a program in front of all others at one side of a device.
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn link_create_tcx(program: BorrowedFd<'_>, ifindex: u32, direction: TcxDirection) -> io::Result<OwnedFd> {
    let mut attribute = CreateAttribute {
        program: number(program),
        ifindex,
        attach_type: direction as u32,
        flags: BEFORE,
        relative: 0,
        padding: 0,
        expected_revision: 0,
    };
    // SAFETY: the attribute holds no address.
    unsafe { call(command::LINK_CREATE, &mut attribute) }.and_then(owned)
}

#[repr(C)]
struct UpdateAttribute {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// Replaces a link's program in one step.
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attribute = UpdateAttribute { link: number(link), program: number(program), flags: 0, old_program: 0 };
    // SAFETY: the attribute holds no address.
    unsafe { call(command::LINK_UPDATE, &mut attribute) }.map(drop)
}

#[repr(C)]
struct DetachAttribute {
    link: u32,
}

/// Takes a link's program away at once. When merely its last pin and descriptor go, the kernel does so a little later.
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attribute = DetachAttribute { link: number(link) };
    // SAFETY: the attribute holds no address.
    unsafe { call(command::LINK_DETACH, &mut attribute) }.map(drop)
}

/// First part of `struct bpf_link_info`, with what stands there for a tcx link.
#[repr(C)]
#[derive(Default)]
struct RawLinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    ifindex: u32,
    attach_type: u32,
}

/// What a tcx link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// Number of the link.
    pub(crate) id: u32,
    /// Number of the program.
    pub(crate) program: u32,
    /// The device; 0 once it is gone.
    pub(crate) ifindex: u32,
    /// The side, as its number.
    pub(crate) attach_type: u32,
}

/// Asks what a link is; an error of kind `InvalidData` if it is not a tcx link.
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut raw = RawLinkInfo::default();
    // SAFETY: `RawLinkInfo` is the beginning of `struct bpf_link_info` and consists of integers.
    unsafe { info(link, &mut raw) }?;
    if raw.kind != LINK_TYPE_TCX {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(LinkInfo { id: raw.id, program: raw.program, ifindex: raw.ifindex, attach_type: raw.attach_type })
}

#[repr(C)]
struct QueryAttribute {
    ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    padding: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Most programs that the kernel keeps at one side of a device (`BPF_MPROG_MAX`).
const MOST_PROGRAMS: usize = 64;

/// Links at one side of a device in the order in which they run; 0 stands for a program that has no link.
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn tcx_query(ifindex: u32, direction: TcxDirection) -> io::Result<Vec<u32>> {
    let mut programs = [0_u32; MOST_PROGRAMS];
    let mut links = [0_u32; MOST_PROGRAMS];
    let mut attribute = QueryAttribute {
        ifindex,
        attach_type: direction as u32,
        query_flags: 0,
        attach_flags: 0,
        program_ids: address(programs.as_mut_ptr()),
        count: MOST_PROGRAMS as u32,
        padding: 0,
        program_attach_flags: 0,
        link_ids: address(links.as_mut_ptr()),
        link_attach_flags: 0,
        revision: 0,
    };
    // SAFETY: both arrays have room for `count` numbers.
    match unsafe { call(command::PROG_QUERY, &mut attribute) } {
        // Linux 6.6 says so of a device at which nothing was ever attached.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
        result => result?,
    };
    Ok(links.into_iter().take(attribute.count as usize).collect())
}
