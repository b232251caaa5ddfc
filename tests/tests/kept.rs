//! What a processor keeps of the tables of configuration is what stands in them: a write reaches its next packet.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::Ipv4Addr;

use andromede_abi::{Address, DropReason, MemberKey, PortLimits, PortRow, port_flag, target};
use andromede_testkit::packet::Ends;
use andromede_tests::twin::{
    END_LOCAL_A as A, END_REMOTE as REMOTE, Met, Twin, UNDERLAY_IFINDEX, ifindex,
    talk::{VNI, conversation, drops, passes, received, sent, v4},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// A datagram of a workload, and its answer from the other host.
fn both_ways() -> (Met, Met) {
    let (there, back): (Ends, Ends) = (v4(A, REMOTE), v4(REMOTE, A));
    (sent(A, there.udp(5_000, 53, &[7; 8])), received(2, VNI[0], &back.udp(53, 5_000, &[7; 8])))
}

/// Rows are kept by processor: the test stays on one.
fn stay() {
    let mut one = CpuSet::new();
    one.set(nix::sched::sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

/// Says hello in both directions, so that the rows of port, member and network are kept.
fn greet(twin: &Twin) -> (Met, Met) {
    stay();
    let (there, back) = both_ways();
    for _ in 0..2 {
        passes(twin, "out", &there, target::ENCAP);
        passes(twin, "back", &back, target::DELIVER);
    }
    (there, back)
}

/// Writes a port's row into both worlds.
fn write_port(twin: &mut Twin, row: PortRow) {
    twin.kernel().tables.ports.insert(&ifindex(0, A), &row).unwrap();
    twin.memory_mut().ports.insert(ifindex(0, A), row);
}

#[test]
fn a_port_that_changes_is_another_at_its_next_packet() {
    conversation(|fabric, twin| {
        let (there, _) = greet(twin);
        let row = *fabric.rows().ports.get(&ifindex(0, A)).unwrap();
        write_port(twin, PortRow { mac: [2, 0, 0, 0, 0, 0x77], ..row });
        drops(twin, "its address is another", &there, DropReason::SpoofedMac);
        write_port(twin, row);
        passes(twin, "and what it was again", &there, target::ENCAP);
        let limits = PortLimits { transmit_packets: 1, ..row.limits };
        write_port(twin, PortRow { flags: row.flags | port_flag::TRANSMIT_POLICED, limits, ..row });
        passes(twin, "one may overdraw the bucket", &there, target::ENCAP);
        drops(twin, "then its rate is kept", &there, DropReason::TransmitPackets);
        write_port(twin, row);
        twin.kernel().tables.ports.remove(&ifindex(0, A)).unwrap();
        twin.memory_mut().ports.remove(&ifindex(0, A));
        drops(twin, "it is gone", &there, DropReason::UnknownPort);
    });
}

#[test]
fn a_member_that_leaves_is_a_stranger_at_its_next_packet() {
    conversation(|fabric, twin| {
        let (there, back) = greet(twin);
        let member = |key: &MemberKey| key.vni == VNI[0] && key.underlay == Address::from(Ipv4Addr::new(192, 0, 2, 2));
        let (key, row) =
            fabric.rows().members.iter().find(|(key, _)| member(key)).map(|(key, row)| (*key, *row)).unwrap();
        assert_eq!(back.ifindex, UNDERLAY_IFINDEX);
        twin.kernel().tables.members.remove_many(&[key]).unwrap();
        twin.memory_mut().members.remove(&key);
        drops(twin, "out of the network", &back, DropReason::UnknownSender);
        passes(twin, "which is no matter of who sends", &there, target::ENCAP);
        twin.kernel().tables.members.insert(&key, &row).unwrap();
        twin.memory_mut().members.insert(key, row);
        passes(twin, "and in again", &back, target::DELIVER);
    });
}
