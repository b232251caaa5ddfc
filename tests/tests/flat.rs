//! Promise 9: cost is flat. A packet takes the same number of lookups whether its rules are few or many, of one group or of sixteen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::Ipv4Addr;

use andromede_abi::hook;
use andromede_pipeline::{
    Context, Scratch, carry_out, decide,
    memory::{Bytes, Tables},
};
use andromede_testkit::packet::{Tcp, tcp_flag};
use andromede_tests::{
    counted::Counted,
    oracle::tables,
    twin::{END_LOCAL_A as CLIENT, END_LOCAL_B as SERVER, SmallFabric, ifindex, talk::v4},
};
use serde_json::{Value, json};

const NETWORK: &str = "tenants/red/networks/n";

/// The fabric's rows, if the server has so many groups of so many rules: each has a remote and a port of its own, and the last of all lets
/// the client in.
fn rows(groups: u32, rules: u32) -> (SmallFabric, Tables) {
    let name = |group: u32| format!("{NETWORK}/securityGroups/g{group}");
    let rule = |group: u32, place: u32| {
        let all = group * rules + place;
        let is_last = all == groups * rules - 1;
        let (remote, port) =
            if is_last { (CLIENT.v4(), 61_000) } else { (Ipv4Addr::from_bits(0xac10_0000 + all), 1 + all % 60_000) };
        json!({"name": format!("r{place}"), "direction": "ingress", "action": "allow", "protocol": "tcp",
            "ports": [port.to_string()], "remoteCidr": format!("{remote}/32")})
    };
    let group = |group: u32| {
        let rules: Vec<Value> = (0..rules).map(|place| rule(group, place)).collect();
        json!({"kind": "SecurityGroup", "name": name(group), "rules": rules})
    };
    let server = json!({"kind": "Port", "name": format!("{NETWORK}/ports/p{}", SERVER.0), "host": "hosts/h1",
        "securityGroups": (0..groups).map(name).collect::<Vec<_>>()});
    let mut fabric = SmallFabric::new().unwrap();
    fabric.set((0..groups).map(group).chain([server]).collect()).unwrap();
    let tables = tables(fabric.rows(), &Tables::default());
    (fabric, tables)
}

/// Lookups of a connection's first packet, of an answer, and of what follows.
fn lookups(groups: u32, rules: u32) -> Vec<u32> {
    let (fabric, tables) = rows(groups, rules);
    let host = fabric.host_config();
    let (there, back) = (v4(CLIENT, SERVER), v4(SERVER, CLIENT));
    let segments = [
        (CLIENT, there.tcp(&Tcp::new(40_000, 61_000, tcp_flag::SYN), b"")),
        (SERVER, back.tcp(&Tcp::new(61_000, 40_000, tcp_flag::SYN | tcp_flag::ACK), b"")),
        (CLIENT, there.tcp(&Tcp::new(40_000, 61_000, tcp_flag::ACK), b"")),
        (CLIENT, there.tcp(&Tcp::new(40_000, 61_000, tcp_flag::ACK), b"data")),
    ];
    let lookups = segments.map(|(from, frame)| {
        let context = Context::at(hook::FROM_WORKLOAD, ifindex(0, from), 1_000_000_000, &host);
        let (counted, mut scratch) = (Counted::new(&tables), Scratch::EMPTY);
        decide(&Bytes(frame), &context, &counted, &mut scratch);
        carry_out(&counted, context.now, &mut scratch);
        assert_eq!(scratch.verdict.reason, None, "{groups} groups of {rules} rules let it pass");
        counted.lookups()
    });
    lookups.to_vec()
}

#[test]
fn the_number_of_lookups_does_not_depend_on_the_number_of_rules() {
    let few = lookups(1, 1);
    assert!(few[0] < 40 && few[3] < 8, "{few:?}");
    for (groups, rules) in [(1, 10_000), (16, 1), (16, 500)] {
        assert_eq!(lookups(groups, rules), few, "{groups} groups of {rules} rules");
    }
}
