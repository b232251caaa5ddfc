//! Every drop has a port: the one whose workload sent the packet, or the one whose rules kept it out.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;

use andromede_abi::{
    Address, DropReason, HostConfig, HostRow, LocationKey, LocationRow, MemberKey, MemberRow, NetworkRow, Pod, PortRow,
    from_bytes, hook, location_flag, location_kind,
};
use andromede_pipeline::{
    Context, Scratch, Tunnel, decide,
    memory::{Bytes, Tables},
};

const NETWORK: u32 = 7;
const VNI: u32 = 4096;
const IFINDEX: u32 = 5;
/// Slot of the port on this host.
const SLOT: u32 = 3;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 13);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const OTHER_HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn zeroed<T: Pod>() -> T {
    from_bytes(&vec![0; size_of::<T>()]).unwrap()
}

fn location(address: Ipv4Addr, row: LocationRow) -> (LocationKey, LocationRow) {
    let key = LocationKey { address: address.into(), network: NETWORK };
    (key, LocationRow { owner: LocationRow::owner_of(&key), kind: location_kind::PORT, ..row })
}

/// A port without rules on this host, numbered 2, and another on host 1.
fn tables() -> Tables {
    let mut tables = Tables::default();
    let port = PortRow {
        owner: PortRow::owner_of(IFINDEX, NETWORK),
        network: NETWORK,
        vni: VNI,
        slot: SLOT,
        ifindex: IFINDEX,
        mac: MAC,
        v4: Address::from(HERE).v4_word(),
        ..zeroed()
    };
    tables.ports.insert(IFINDEX, port);
    let here = LocationRow { slot: SLOT, flags: location_flag::LOCAL, host: 2, ifindex: IFINDEX, mac: MAC, ..zeroed() };
    let elsewhere = LocationRow { slot: SLOT + 1, host: 1, ..zeroed() };
    tables.locations.extend([location(HERE, here), location(ELSEWHERE, elsewhere)]);
    let host =
        HostRow { owner: HostRow::owner_of(1), underlay: OTHER_HOST.into(), gateway: OTHER_HOST.into(), ..zeroed() };
    tables.hosts.insert(1, host);
    tables.networks.insert(NETWORK, NetworkRow { owner: NetworkRow::owner_of(NETWORK), ..zeroed() });
    let key = MemberKey { underlay: OTHER_HOST.into(), vni: VNI };
    let member = MemberRow { owner: MemberRow::owner_of(&key), network: NETWORK, host: 1, ..zeroed() };
    tables.members.insert(key, member);
    tables
}

/// An IPv4 packet of this protocol, with 20 bytes of payload.
fn frame(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: [u8; 20]) -> Bytes {
    let mut bytes = [[2, 0, 0, 0, 0, 9], MAC].concat();
    bytes.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend(payload);
    Bytes(bytes)
}

/// A SYN to port 80.
const SYN: [u8; 20] = [0xc0, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];

/// Reason and port of the drop.
fn dropped(hook: u8, frame: &Bytes) -> (Option<DropReason>, u32) {
    let host: HostConfig = zeroed();
    let tunnel = if hook == hook::FROM_OVERLAY { Tunnel::new(VNI, OTHER_HOST.into()) } else { Tunnel::NONE };
    // The overlay device takes only what passed the underlay's program, which marks it.
    let marked = hook == hook::FROM_OVERLAY;
    let context = Context { tunnel, marked, ..Context::at(hook, IFINDEX, 1, &host) };
    let mut scratch = Scratch::EMPTY;
    decide(frame, &context, &tables(), &mut scratch);
    let verdict = scratch.verdict;
    (verdict.reason, verdict.port)
}

#[test]
fn what_arrives_and_is_refused_is_counted_at_the_receiver() {
    let syn = frame(ELSEWHERE, HERE, 6, SYN);
    assert_eq!(dropped(hook::FROM_OVERLAY, &syn), (Some(DropReason::IngressRule), SLOT));
}

#[test]
fn what_leaves_and_is_refused_is_counted_at_the_sender() {
    let nobody = frame(HERE, Ipv4Addr::new(10, 0, 0, 99), 6, SYN);
    assert_eq!(dropped(hook::FROM_WORKLOAD, &nobody), (Some(DropReason::UnknownDestination), SLOT));
}

#[test]
fn a_workload_without_an_address_is_no_forger() {
    let request = frame(
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        17,
        [0, 68, 0, 67, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    assert_eq!(dropped(hook::FROM_WORKLOAD, &request), (Some(DropReason::Group), SLOT));
    let unicast = frame(Ipv4Addr::UNSPECIFIED, ELSEWHERE, 6, SYN);
    assert_eq!(dropped(hook::FROM_WORKLOAD, &unicast), (Some(DropReason::SpoofedSource), SLOT));
}
