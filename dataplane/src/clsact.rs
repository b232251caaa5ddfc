//! The clsact form of an attachment: a filter at a fixed priority and handle.
//!
//! Anybody with the right to configure the network can delete the queueing discipline and with it the filter,
//! so the agent verifies it again and again; tcx links have no such weakness.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use crate::{
    hook::Direction,
    netlink::{NESTED, Request, TcHeader, find_attribute, read_tc, u32_at},
};

/// Priority of the filter: before all that did not ask for the same. It is this project's alone: who else has it is removed where it
/// would run first, because a filter that passes a packet ends the walk through those behind it.
const PRIORITY: u32 = 1;
/// Handle of the filter.
const HANDLE: u32 = 1;

// include/uapi/linux/rtnetlink.h, pkt_sched.h and pkt_cls.h.
const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
const DIRECT_ACTION: u32 = 1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;
const INGRESS_PARENT: u32 = 0xffff_fff2;
const EGRESS_PARENT: u32 = 0xffff_fff3;

const ACK: u16 = libc::NLM_F_ACK as u16;
const CREATE: u16 = libc::NLM_F_CREATE as u16;
const EXCLUSIVE: u16 = libc::NLM_F_EXCL as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// A filter that was found at one side of a device, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Is it at our priority and handle?
    pub(crate) ours: bool,
    /// Its handle, which is unique within its priority.
    handle: u32,
    /// Number of its program; none if it has none.
    pub(crate) program: Option<u32>,
}

const fn header(ifindex: u32, direction: Direction) -> TcHeader {
    let parent = match direction {
        Direction::Ingress => INGRESS_PARENT,
        Direction::Egress => EGRESS_PARENT,
    };
    // All protocols; the protocol stands there in network byte order.
    TcHeader { ifindex, handle: HANDLE, parent, info: PRIORITY << 16 | (libc::ETH_P_ALL as u16).to_be() as u32 }
}

/// Makes sure that the device has the clsact queueing discipline.
fn ensure_discipline(ifindex: u32) -> io::Result<()> {
    let header = TcHeader { ifindex, handle: CLSACT_HANDLE, parent: CLSACT_PARENT, info: 0 };
    let mut request = Request::tc(RTM_NEWQDISC, ACK | CREATE | EXCLUSIVE, header);
    request.attribute(TCA_KIND, b"clsact\0");
    match request.send(|_, _| ()) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result,
    }
}

/// Sets the filter, or replaces its program in one step, and removes those that would run before it.
pub(crate) fn set(ifindex: u32, direction: Direction, program: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    ensure_discipline(ifindex)?;
    match put(ifindex, direction, program, name) {
        // So the kernel refuses a filter of one kind at a priority at which there are filters of another (net/sched/cls_api.c).
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !list(ifindex, direction)?.is_empty() => {
            delete(TcHeader { handle: 0, ..header(ifindex, direction) })?;
            put(ifindex, direction, program, name)?;
        }
        result => result?,
    }
    // Of one priority the filter that came last runs first (net/sched/cls_bpf.c), and no other priority is before ours.
    let mut before = list(ifindex, direction)?.into_iter().take_while(|filter| !filter.ours);
    before.try_for_each(|filter| delete(TcHeader { handle: filter.handle, ..header(ifindex, direction) }))
}

fn delete(header: TcHeader) -> io::Result<()> {
    Request::tc(RTM_DELTFILTER, ACK, header).send(|_, _| ())
}

fn put(ifindex: u32, direction: Direction, program: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut label = name.as_bytes().to_vec();
    label.push(0);
    let mut request = Request::tc(RTM_NEWTFILTER, ACK | CREATE, header(ifindex, direction));
    request.attribute(TCA_KIND, b"bpf\0");
    let options = Request::inner(&[
        (TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes()),
        (TCA_BPF_NAME, &label),
        (TCA_BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes()),
    ]);
    request.attribute(TCA_OPTIONS | NESTED, &options);
    request.send(|_, _| ())
}

/// Removes the filter, if it is there. The queueing discipline stays: others may use it.
pub(crate) fn remove(ifindex: u32, direction: Direction) -> io::Result<()> {
    match delete(header(ifindex, direction)) {
        Ok(()) => Ok(()),
        // The kernel has several words for "it is not there".
        Err(error) => match list(ifindex, direction) {
            Ok(filters) if filters.iter().all(|filter| !filter.ours) => Ok(()),
            _ => Err(error),
        },
    }
}

/// The filters at one side of a device, in the order in which they run; none if there is no such device.
pub(crate) fn list(ifindex: u32, direction: Direction) -> io::Result<Vec<Filter>> {
    let wanted = header(ifindex, direction);
    let request = Request::tc(RTM_GETTFILTER, DUMP, TcHeader { handle: 0, info: 0, ..wanted });
    let mut found = Vec::new();
    request.send(|kind, payload| {
        let Some((header, attributes)) = read_tc(payload) else { return };
        // The first message of each priority describes the whole and has no handle.
        if kind == RTM_NEWTFILTER && header.handle != 0 {
            let options = find_attribute(attributes, TCA_OPTIONS).unwrap_or_default();
            let program = find_attribute(options, TCA_BPF_ID).and_then(|id| u32_at(id, 0));
            found.push(Filter { ours: header == wanted, handle: header.handle, program });
        }
    })?;
    Ok(found)
}
