//! Programs: loading a few instructions, test runs.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use super::{address, call, command, info, number, owned};

/// First part of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
}

/// Number of a program.
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    let mut found = ProgramInfo::default();
    // SAFETY: `ProgramInfo` is the beginning of `struct bpf_prog_info` and consists of integers.
    unsafe { info(program, &mut found) }?;
    Ok(found.id)
}

#[repr(C)]
struct LoadAttribute {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// `BPF_PROG_TYPE_SCHED_CLS`.
const CLASSIFIER: u32 = 3;

/// `BPF_ALU64 | BPF_MOV | BPF_K`: a register takes a constant.
pub(crate) const SET: u8 = 0xb7;
/// `BPF_JMP | BPF_CALL`: a helper of the kernel, by its number.
pub(crate) const CALL: u8 = 0x85;
/// `BPF_JMP | BPF_EXIT`: register 0 is the answer.
pub(crate) const EXIT: u8 = 0x95;

/// One instruction, `struct bpf_insn` on a little-endian machine: operation, registers, offset, constant.
pub(crate) const fn instruction(operation: u8, register: u8, constant: i32) -> u64 {
    let [a, b, c, d] = constant.to_le_bytes();
    u64::from_le_bytes([operation, register, 0, 0, a, b, c, d])
}

/// Loads a classifier of a few instructions, each as its eight bytes.
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn program_load(code: &[u64]) -> io::Result<OwnedFd> {
    let mut attribute = LoadAttribute {
        kind: CLASSIFIER,
        instructions: u32::try_from(code.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        code: address(code.as_ptr()),
        license: address(c"GPL".as_ptr()),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: code has as many instructions as is said, the licence ends with a zero, and there is no log.
    unsafe { call(command::PROG_LOAD, &mut attribute) }.and_then(owned)
}

/// `struct __sk_buff`, of which a test run takes the fields that are named here; the others must be zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SkBuff {
    len: u32,
    pkt_type: u32,
    pub(crate) mark: u32,
    queue_mapping: u32,
    protocol: u32,
    vlan: [u32; 3],
    priority: u32,
    pub(crate) ingress_ifindex: u32,
    pub(crate) ifindex: u32,
    tc_index: u32,
    cb: [u32; 5],
    hash: u32,
    tc_classid: u32,
    data: [u32; 2],
    napi_id: u32,
    socket: [u32; 13],
    data_meta: u32,
    flow_keys: u64,
    tstamp: u64,
    wire_len: u32,
    pub(crate) gso_segs: u32,
    sk: u64,
    pub(crate) gso_size: u32,
    tstamp_type: u32,
    hwtstamp: u64,
}

// The offset of `gso_size` in the kernel's structure.
const _: () = assert!(std::mem::offset_of!(SkBuff, gso_size) == 176 && size_of::<SkBuff>() == 192);

#[repr(C)]
struct TestRunAttribute {
    program: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

/// What a test run gave.
pub(crate) struct TestRun {
    /// What the program returned.
    pub(crate) retval: u32,
    /// Bytes of the frame afterwards, which may be more than `output` had room for.
    pub(crate) length: usize,
    /// Mean time of a run, in nanoseconds.
    pub(crate) duration: u32,
}

/// Runs a program on a frame (`BPF_PROG_TEST_RUN`), `repeat` times on the same buffer.
#[allow(unsafe_code, reason = "bpf(2)")]
pub(crate) fn program_test_run(
    program: BorrowedFd<'_>,
    frame: &[u8],
    context: &SkBuff,
    output: &mut [u8],
    repeat: u32,
) -> io::Result<TestRun> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut attribute = TestRunAttribute {
        program: number(program),
        retval: 0,
        data_size_in: u32::try_from(frame.len()).map_err(too_long)?,
        data_size_out: u32::try_from(output.len()).map_err(too_long)?,
        data_in: address(frame.as_ptr()),
        data_out: address(output.as_mut_ptr()),
        repeat,
        duration: 0,
        ctx_size_in: size_of::<SkBuff>() as u32,
        ctx_size_out: 0,
        ctx_in: address(std::ptr::from_ref(context)),
        ctx_out: 0,
        flags: 0,
        cpu: 0,
        batch_size: 0,
        padding: 0,
    };
    // SAFETY: each buffer has the length that is said of it.
    unsafe { call(command::PROG_TEST_RUN, &mut attribute) }?;
    Ok(TestRun { retval: attribute.retval, length: attribute.data_size_out as usize, duration: attribute.duration })
}
