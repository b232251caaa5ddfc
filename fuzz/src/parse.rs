//! The target `parse`: any bytes at all, at any hook.

use andromede_abi::{DropReason, HostConfig, hook};
use andromede_pipeline::{
    Context, Edit, EditKind, Scratch, TargetKind, Tunnel, apply_edit, carry_out, decide,
    memory::{Bytes, Tables},
};

use crate::{
    fabric::{self, ELSEWHERE, address, ifindex, mac, underlay, vni},
    frame::{Inner, encapsulated, udp},
    input::Input,
    oracle,
    reached::Reached,
};

/// Decides about arbitrary bytes: as they are, behind the Ethernet header of a port, or behind the outer header of a
/// member. What passes must be a packet that another reader understands, from the sender's own addresses. How far it got comes back.
///
/// # Panics
/// A promise is broken.
pub fn parse(data: &[u8]) -> Reached {
    let tables = fabric::tables();
    let mut input = Input::new(data);
    let (way, size, kind) = (input.byte(), input.byte(), input.byte());
    let gso_size = if size & 1 == 0 { 0 } else { 1000 };
    let mut inner = [mac(1, 2), mac(1, if way & 8 == 0 { 1 } else { 3 })].concat();
    let ethertype: [u8; 2] = match kind % 4 {
        0 => [0x08, 0x00],
        1 => [0x86, 0xdd],
        2 => [0x08, 0x06],
        _ => [input.byte(), input.byte()],
    };
    inner.extend(ethertype);
    inner.extend(input.rest());
    let (hook, frame) = match way % 5 {
        0 => (hook::FROM_WORKLOAD, inner),
        1 => (hook::FROM_WORKLOAD, input.rest().to_vec()),
        2 => (hook::FROM_UNDERLAY, encapsulated(&inner, ELSEWHERE, vni(1))),
        3 => (hook::FROM_UNDERLAY, input.rest().to_vec()),
        _ => (hook::FROM_OVERLAY, inner),
    };
    let reasons = check(&tables, hook, gso_size, frame).into_iter().collect();
    Reached { reasons, ..Reached::default() }
}

/// Tables of their own: a clone shares its live rows.
fn copied(tables: &Tables) -> Tables {
    let copy = tables.clone();
    for row in copy.flows.borrow_mut().values_mut() {
        *row = std::rc::Rc::new(std::cell::Cell::new(row.get()));
    }
    for row in copy.usage.borrow_mut().values_mut() {
        *row = std::rc::Rc::new(std::cell::Cell::new(row.get()));
    }
    copy
}

/// Why the frame is dropped, if it is.
fn check(tables: &Tables, hook: u8, gso_size: u32, frame: Vec<u8>) -> Option<DropReason> {
    let host: HostConfig = fabric::host();
    let context = Context {
        gso_size,
        tunnel: if hook == hook::FROM_OVERLAY { Tunnel::new(vni(1), underlay(ELSEWHERE)) } else { Tunnel::NONE },
        marked: hook == hook::FROM_OVERLAY,
        ..Context::at(hook, ifindex(1, 1), 1, &host)
    };
    let mut scratch = Scratch::EMPTY;
    let mut frame = Bytes(frame);
    decide(&frame, &context, tables, &mut scratch);
    let verdict = scratch.verdict;
    oracle::check_reason(&verdict);
    let record = verdict.record(hook, &scratch);
    // The same frame has the same verdict, whatever another frame left in the scratch space.
    let mut used = left_over(tables, &host);
    decide(&frame, &context, tables, &mut used);
    let again = used.verdict.record(hook, &used);
    assert_eq!(record, again, "the verdict depends on what was in the scratch space");
    let carried = |mut scratch: Scratch| {
        carry_out(&copied(tables), context.now, &mut scratch);
        scratch.verdict.record(hook, &scratch)
    };
    assert_eq!(carried(scratch), carried(used), "what is carried out depends on what was in the scratch space");
    let offset = if hook == hook::FROM_UNDERLAY { 50 } else { 0 };
    if matches!(verdict.target.kind, TargetKind::Deliver | TargetKind::Encap) {
        let inner = frame.0.get(offset..).unwrap_or_default();
        let end = if hook == hook::FROM_WORKLOAD { 1 } else { 3 };
        let source = [false, true].map(|v6| address(v6, end).into());
        // With extension headers the other reader sees no ports, but always the addresses.
        let Some(seen) = oracle::read(inner) else { panic!("passed, and is no IP packet: {inner:02x?}") };
        assert!(source.contains(&seen.source), "passed from {}, which the sender does not hold", seen.source);
    }
    if verdict.edit != Edit::NONE && offset == 0 {
        let length = frame.0.len();
        assert_eq!(apply_edit(&mut frame, &scratch), Some(()), "an edit that was decided can be made");
        if verdict.edit.kind == EditKind::Destination {
            assert_eq!(frame.0.len(), length, "an edit of an address keeps the length");
        }
    }
    verdict.reason
}

/// The scratch space after a frame that was let through.
fn left_over(tables: &Tables, host: &HostConfig) -> Scratch {
    let mut scratch = Scratch::EMPTY;
    let other = Inner {
        destination_mac: mac(2, 3),
        source_mac: mac(2, 2),
        source: address(true, 2),
        destination: address(true, 3),
        protocol: 17,
        upper: udp(1, 2),
        part: None,
    };
    let context = Context::at(hook::FROM_WORKLOAD, ifindex(2, 2), 1, host);
    decide(&Bytes(other.bytes()), &context, tables, &mut scratch);
    let verdict = scratch.verdict;
    assert!(verdict.target.kind == TargetKind::Encap, "an honest datagram passes: {verdict:?}");
    scratch
}
