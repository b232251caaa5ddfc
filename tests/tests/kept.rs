//! What a processor keeps of the tables of configuration is what stands in them: a write reaches its next packet.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{net::Ipv4Addr, thread, time::Duration};

use andromede_abi::{Address, DropReason, MemberKey, PortLimits, PortRow, port_flag, target};
use andromede_dataplane::Hook;
use andromede_plan::changes;
use andromede_testkit::packet::{Ends, Tcp, tcp_flag};
use andromede_tests::twin::{
    END_LOCAL_A as A, END_LOCAL_B as B, END_REMOTE as REMOTE, Met, Twin, UNDERLAY_IFINDEX, ifindex,
    talk::{VNI, conversation, drops, passes, received, sent, tcp, v4},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde_json::json;

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

/// A connection is no longer young after this: what is decided about its packets is kept.
const GROWN: Duration = Duration::from_millis(20);

/// Says hello in both directions, so that the rows of port, member and network are kept, and what was decided.
fn greet(twin: &Twin) -> (Met, Met) {
    stay();
    let (there, back) = both_ways();
    for _ in 0..3 {
        thread::sleep(GROWN);
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

/// A connection like another is judged alike, and no longer than the rules are what they were.
#[test]
fn a_rule_that_changes_is_asked_by_the_next_connection_of_a_kind() {
    conversation(|fabric, twin| {
        stay();
        let open = |number: u16| sent(A, v4(A, REMOTE).udp(6_000 + number, 53, &[7; 8]));
        let asked = |number: u16| received(2, VNI[0], &v4(REMOTE, B).udp(6_000 + number, 53, &[7; 8]));
        for number in 0..3 {
            passes(twin, "out", &open(number), target::ENCAP);
            passes(twin, "in", &asked(number), target::DELIVER);
        }
        let deny =
            |direction: &str| json!([{"name": "no", "direction": direction, "action": "deny", "protocol": "udp"}]);
        fabric.set_client_rules("red", &deny("egress")).unwrap();
        twin.write(fabric.rows()).unwrap();
        drops(twin, "no longer out", &open(4), DropReason::EgressRule);
        passes(twin, "in, as before", &asked(4), target::DELIVER);
        fabric.set_rules("red", &deny("ingress")).unwrap();
        twin.write(fabric.rows()).unwrap();
        drops(twin, "no longer in", &asked(5), DropReason::IngressRule);
        fabric.set_client_rules("red", &json!([])).unwrap();
        twin.write(fabric.rows()).unwrap();
        passes(twin, "out again", &open(5), target::ENCAP);
    });
}

/// The law of a network holds for connections that live: at the next packet, both ways.
#[test]
fn a_law_that_narrows_reaches_what_lives_at_its_next_packet() {
    conversation(|fabric, twin| {
        let zone = |id: &str, law: &str| json!({"kind": "Zone", "name": format!("zones/{id}"), "jurisdiction": law, "operator": "o"});
        fabric.set(vec![zone("par1", "FR"), zone("fra1", "DE")]).unwrap();
        twin.write(fabric.rows()).unwrap();
        let (there, back) = greet(twin);
        // The model refuses this law while something stands outside; the rows are told of it all the same.
        let mut rows = fabric.rows().clone();
        // The law alone changes, then the place alone.
        for (admitted, zone) in [([1], 1), ([2], 1), ([1], 1), ([1], 2)] {
            let wanted = fabric.wanted_where(&rows, &admitted.into(), zone).unwrap();
            for step in changes(&rows.clone(), &wanted) {
                rows.apply(&step);
            }
            twin.write(&rows).unwrap();
            if admitted == [zone] {
                passes(twin, "out, where it may be", &there, target::ENCAP);
                passes(twin, "and back", &back, target::DELIVER);
            } else {
                drops(twin, "no longer out", &there, DropReason::ForbiddenZone);
                drops(twin, "nor back", &back, DropReason::ForbiddenZone);
            }
        }
    });
}

/// What makes another kind of connection is asked for itself: address, port, protocol, network.
#[test]
fn what_differs_is_judged_by_itself() {
    conversation(|fabric, twin| {
        stay();
        let rules = json!([{"name": "names", "direction": "ingress", "action": "allow", "protocol": "udp", "ports": ["53"],
            "remoteCidr": "10.0.0.1/32"}]);
        fabric.set_rules("red", &rules).unwrap();
        twin.write(fabric.rows()).unwrap();
        for number in 0..2 {
            passes(twin, "allowed", &sent(A, v4(A, B).udp(7_000 + number, 53, &[7; 8])), target::DELIVER);
            drops(twin, "another port", &sent(A, v4(A, B).udp(7_100 + number, 54, &[7; 8])), DropReason::IngressRule);
            let tcp = Tcp { source: 7_200 + number, destination: 53, flags: tcp_flag::SYN, ..Tcp::default() };
            drops(twin, "another protocol", &sent(A, v4(A, B).tcp(&tcp, b"")), DropReason::IngressRule);
            let other = received(2, VNI[0], &v4(REMOTE, B).udp(7_300 + number, 53, &[7; 8]));
            drops(twin, "another source", &other, DropReason::IngressRule);
            let blue = Met::new(Hook::FromWorkload, ifindex(1, A), v4(A, B).udp(7_400 + number, 53, &[7; 8]));
            passes(twin, "another network, whose rules are its own", &blue, target::DELIVER);
        }
        fabric.set_rules("blue", &json!([])).unwrap();
        twin.write(fabric.rows()).unwrap();
        passes(twin, "still allowed", &sent(A, v4(A, B).udp(7_010, 53, &[7; 8])), target::DELIVER);
        let blue = Met::new(Hook::FromWorkload, ifindex(1, A), v4(A, B).udp(7_410, 53, &[7; 8]));
        drops(twin, "not in the other network", &blue, DropReason::IngressRule);
    });
}

/// Every packet that is not wholly like the last one of its connection is decided about by itself: whatever bit of its headers differs.
#[test]
fn a_bit_that_differs_is_seen() {
    conversation(|_, twin| {
        let (there, back) = greet(twin);
        for (met, headers) in [(&there, 42), (&back, 92)] {
            for bit in 0..headers * 8 {
                passes(twin, "as before", met, if met.frame == there.frame { target::ENCAP } else { target::DELIVER });
                let mut other = met.clone();
                other.frame[bit / 8] ^= 1 << (bit % 8);
                twin.compare(&other).unwrap_or_else(|error| panic!("bit {bit}: {error:#}"));
            }
        }
        twin.flows().unwrap();
    });
}

/// What opens, resets or ends a connection is followed, and so is what comes after it.
#[test]
fn a_connection_that_changes_is_followed() {
    conversation(|_, twin| {
        stay();
        let there = |flags: u8| sent(A, v4(A, REMOTE).tcp(&tcp(flags), b"there"));
        let back = |flags: u8| {
            let answer = Tcp { source: 80, destination: 40_000, flags, ..Tcp::default() };
            received(2, VNI[0], &v4(REMOTE, A).tcp(&answer, b"back"))
        };
        let talk = || {
            for _ in 0..3 {
                thread::sleep(GROWN);
                passes(twin, "there", &there(tcp_flag::ACK), target::ENCAP);
                passes(twin, "back", &back(tcp_flag::ACK), target::DELIVER);
                twin.flows().unwrap();
            }
        };
        let open = || {
            passes(twin, "opens", &there(tcp_flag::SYN), target::ENCAP);
            drops(twin, "nobody agreed", &there(tcp_flag::ACK), DropReason::NotAnswered);
            passes(twin, "agrees", &back(tcp_flag::SYN | tcp_flag::ACK), target::DELIVER);
        };
        open();
        talk();
        for forged in [tcp_flag::RST, tcp_flag::RST | tcp_flag::ACK] {
            passes(twin, "reset by somebody", &there(forged), target::ENCAP);
            talk();
            passes(twin, "and by somebody else", &back(forged), target::DELIVER);
            talk();
        }
        passes(twin, "ends", &there(tcp_flag::FIN | tcp_flag::ACK), target::ENCAP);
        talk();
        passes(twin, "ends too", &back(tcp_flag::FIN | tcp_flag::ACK), target::DELIVER);
        talk();
        open();
        talk();
    });
}

/// A connection that is taken away is not there for its next packet.
#[test]
fn a_connection_that_is_evicted_is_opened_anew() {
    conversation(|_, twin| {
        let (there, back) = greet(twin);
        let keys: Vec<_> = twin.kernel().tables.flows.all().unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(twin.kernel().reaper().unwrap().evict(&keys).unwrap(), 1);
        twin.memory_mut().flows.get_mut().clear();
        passes(twin, "opened anew", &there, target::ENCAP);
        passes(twin, "and answered", &back, target::DELIVER);
        assert_eq!(twin.kernel().tables.flows.count().unwrap(), 1);
        twin.flows().unwrap();
    });
}

/// What the underlay does not carry is too big, after any number of packets that were not.
#[test]
fn a_packet_that_is_larger_is_measured() {
    conversation(|_, twin| {
        let (there, _) = greet(twin);
        let long = sent(A, v4(A, REMOTE).udp(5_000, 53, &[7; 1_500]));
        let outcome = twin.compare(&long).unwrap();
        assert_eq!(DropReason::from_number(outcome.record.reason), Some(DropReason::TooBig));
        passes(twin, "as before", &there, target::ENCAP);
        let train = Met { gso_size: 1_500, ..long };
        let outcome = twin.compare(&train).unwrap();
        assert_eq!(DropReason::from_number(outcome.record.reason), Some(DropReason::TooBig), "each of its segments");
    });
}
