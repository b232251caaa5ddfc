//! Golden packets for the reasons that need a host in a particular state, and the list of all reasons: each is met by a golden packet,
//! in memory and in the kernel, or it is said why no packet meets it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{fs, path::Path};

use andromede_abi::{Address, DropReason, PortLimits, ZoneSet, maps, network_flag, port_flag, target};
use andromede_dataplane::Hook;
use andromede_plan::Rows;
use andromede_testkit::packet::tcp_flag;
use andromede_tests::twin::{
    END_LOCAL_A as A, END_LOCAL_B as B, END_NODE as NODE, END_REMOTE as REMOTE, Met, SmallFabric, Twin,
    UNDERLAY_IFINDEX, ifindex,
    talk::{VNI, conversation, drops, passes, received, sent, tcp, v4, v6},
};

/// Reasons that no packet meets in a test run of one frame, and why.
const NOT_BY_A_PACKET: &[(DropReason, &str)] = &[
    (DropReason::EncapFailed, "the kernel has no memory for the outer header"),
    (DropReason::DecapFailed, "the kernel cannot take the outer header away"),
    (DropReason::ReplyFailed, "the kernel has no memory for the answer"),
    (DropReason::ConnectionChanging, "two processors meet at one row: pipeline/tests/budgets.rs"),
    (DropReason::BudgetTableFull, "as many ports and tenants as there are rows"),
];

/// A host with these rows.
fn host(flows: u32, change: impl FnOnce(&mut Rows) + Send, says: impl FnOnce(&Twin) + Send) {
    andromede_testkit::requires::require(&["ip"]).unwrap();
    let namespace = SmallFabric::namespace().unwrap();
    namespace
        .run(|| {
            let fabric = SmallFabric::new().unwrap();
            let mut rows = fabric.rows().clone();
            change(&mut rows);
            says(&Twin::with_flows(fabric.host_config(), &rows, flows).unwrap());
        })
        .unwrap();
}

/// A datagram of A to another host, which its rules allow.
fn out(source: u16) -> Met {
    sent(A, v4(A, REMOTE).udp(source, 53, b"?"))
}

fn limited(limits: PortLimits) -> impl FnOnce(&mut Rows) + Send {
    move |rows| {
        for port in rows.ports.values_mut() {
            port.limits = limits;
            port.flags |= port_flag::TRANSMIT_POLICED | port_flag::RECEIVE_POLICED;
        }
    }
}

#[test]
fn hosts_that_lack_something() {
    host(
        64,
        |_| {},
        |twin| {
            let nobody = Met::new(Hook::FromWorkload, UNDERLAY_IFINDEX, v4(A, REMOTE).udp(1, 2, b""));
            drops(twin, "an interface without a port", &nobody, DropReason::UnknownPort);
            let around = Met::new(Hook::FromOverlay, UNDERLAY_IFINDEX, v4(REMOTE, A).udp(1, 2, b""));
            drops(twin, "past the underlay's program", &around, DropReason::NotFromUnderlay);
            let through = Met { marked: true, ..around };
            drops(twin, "through it, and through no tunnel", &through, DropReason::NoTunnelKey);
            let own = Met { marked: true, ..Met::new(Hook::FromHost, ifindex(0, A), v4(REMOTE, A).udp(1, 2, b"")) };
            passes(twin, "what the packet path delivers itself", &own, target::HOST);
        },
    );
    host(
        64,
        |rows| rows.hosts.clear(),
        |twin| {
            drops(twin, "nobody knows the way to the host", &out(1), DropReason::UnknownHost);
        },
    );
    // Whoever placed the end there: the network's own row does not admit the zone of its host.
    let elsewhere = |rows: &mut Rows| {
        rows.hosts.values_mut().for_each(|host| host.zone = 2);
        for network in rows.networks.values_mut() {
            (network.flags, network.zones) = (network_flag::BOUND, ZoneSet::NONE.with(1));
        }
    };
    host(64, elsewhere, |twin| {
        drops(twin, "to where it may not be", &out(1), DropReason::ForbiddenZone);
        let asked = received(2, VNI[0], &v4(REMOTE, A).echo(true, 7, 1, b""));
        drops(twin, "and from there, where the answer would go", &asked, DropReason::ForbiddenZone);
        passes(twin, "within the host", &sent(A, v4(A, B).udp(1, 53, b"?")), target::DELIVER);
    });
    let unknown = |rows: &mut Rows| rows.networks.clear();
    host(64, unknown, |twin| {
        drops(twin, "a network of which nothing is known", &out(1), DropReason::ForbiddenZone);
    });
    let detached = |rows: &mut Rows| rows.ports.retain(|index, _| *index != ifindex(0, A));
    host(64, detached, |twin| {
        let asked = received(2, VNI[0], &v4(REMOTE, A).echo(true, 7, 1, b""));
        drops(twin, "the workload is not attached", &asked, DropReason::NotAttached);
    });
    let half_known = |rows: &mut Rows| {
        rows.ports.values_mut().for_each(|port| port.infrastructure_v6 = Address::UNSPECIFIED);
    };
    host(64, half_known, |twin| {
        let of_pod = |frame| Met::new(Hook::FromWorkload, ifindex(1, A), frame);
        let nameless = of_pod(v6(A, NODE).udp(1, 2, b""));
        drops(twin, "the node does not know it by IPv6", &nameless, DropReason::NoInfrastructureAddress);
        passes(twin, "but by IPv4", &of_pod(v4(A, NODE).udp(1, 2, b"")), target::HOST);
    });
    let changing = |rows: &mut Rows| {
        for slot in rows.ports.values().map(|port| port.network_slot) {
            rows.epochs.insert(slot, 7);
        }
    };
    host(64, changing, |twin| {
        drops(twin, "an odd word: tables are changing together", &out(1), DropReason::NetworkChanging);
    });
}

#[test]
fn a_full_table() {
    host(
        4,
        |_| {},
        |twin| {
            for source in 1..=4 {
                passes(twin, "there is room", &out(source), target::ENCAP);
            }
            drops(twin, "and then there is none", &out(5), DropReason::FlowTableFull);
            passes(twin, "those that are there go on", &out(1), target::ENCAP);
        },
    );
}

#[test]
fn budgets_of_connections() {
    let two = PortLimits { flows_outbound: 2, ..PortLimits::default() };
    host(64, limited(two), |twin| {
        passes(twin, "one", &out(1), target::ENCAP);
        passes(twin, "two", &out(2), target::ENCAP);
        drops(twin, "not three", &out(3), DropReason::FlowsOutbound);
    });
    host(64, limited(PortLimits { flows_outbound: 1, ..PortLimits::default() }), |twin| {
        let to_node = |source| Met::new(Hook::FromWorkload, ifindex(1, A), v4(A, NODE).udp(source, 53, b"?"));
        passes(twin, "one to the node, translated", &to_node(1), target::HOST);
        drops(twin, "not two", &to_node(2), DropReason::FlowsOutbound);
    });
    host(64, limited(PortLimits { flows_inbound: 1, ..PortLimits::default() }), |twin| {
        let asked = |id| received(2, VNI[0], &v4(REMOTE, A).echo(true, id, 1, b""));
        passes(twin, "one", &asked(1), target::DELIVER);
        drops(twin, "not two", &asked(2), DropReason::FlowsInbound);
    });
    host(64, limited(PortLimits { half_open: 1, ..PortLimits::default() }), |twin| {
        let syn = |source| {
            let mut segment = tcp(tcp_flag::SYN);
            segment.source = source;
            sent(A, v4(A, REMOTE).tcp(&segment, b""))
        };
        passes(twin, "one that is not answered", &syn(1), target::ENCAP);
        drops(twin, "not two", &syn(2), DropReason::HalfOpen);
    });
    host(
        64,
        |rows| rows.networks.values_mut().for_each(|network| network.tenant_flows = 1),
        |twin| {
            passes(twin, "one of the tenant", &out(1), target::ENCAP);
            drops(twin, "not two", &out(2), DropReason::TenantFlows);
        },
    );
}

#[test]
fn budgets_by_the_second() {
    let none = PortLimits::default();
    let each = [
        (PortLimits { new_flows_per_second: 1, ..none }, DropReason::NewFlowRate),
        (PortLimits { transmit_packets: 1, ..none }, DropReason::TransmitPackets),
        (PortLimits { transmit_kilobits: 1, ..none }, DropReason::TransmitBits),
        (PortLimits { receive_packets: 1, ..none }, DropReason::ReceivePackets),
        (PortLimits { receive_kilobits: 1, ..none }, DropReason::ReceiveBits),
    ];
    conversation(|fabric, twin| {
        for (place, (limits, reason)) in (1_u16..).zip(each) {
            let mut rows = fabric.rows().clone();
            limited(limits)(&mut rows);
            twin.write(&rows).unwrap();
            let receives = matches!(reason, DropReason::ReceivePackets | DropReason::ReceiveBits);
            let met = |number: u16| {
                if receives {
                    received(2, VNI[0], &v4(REMOTE, A).echo(true, number, 1, &[0; 600]))
                } else {
                    out(number)
                }
            };
            let outcomes = (1..=3).map(|number| twin.compare(&met(place * 10 + number)).unwrap().record.reason);
            let seen: Vec<u16> = outcomes.collect();
            assert!(seen.contains(&(reason as u16)), "{}: three at once had {seen:?}", reason.name());
        }
    });
}

#[test]
fn every_reason_is_met_by_a_golden_packet() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let is_golden = |name: &str| name.starts_with("golden") || name.starts_with("rfc");
    let sources: String = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_golden))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let list = sources.find("const NOT_BY_A_PACKET").unwrap();
    let end = list + sources[list..].find("];").unwrap();
    let golden = [&sources[..list], &sources[end..]].concat();
    for reason in DropReason::ALL {
        let named = golden.contains(&format!("DropReason::{reason:?})"))
            || golden.contains(&format!("DropReason::{reason:?},"));
        let excused = NOT_BY_A_PACKET.iter().any(|(excused, _)| excused == reason);
        assert!(named != excused, "{reason:?}: met by a golden packet: {named}; said not to be met by any: {excused}");
    }
    assert!(NOT_BY_A_PACKET.iter().all(|(_, why)| !why.is_empty()) && maps::DROP_TOTALS.rows > 0);
}
