//! As many rules, groups and prefixes as there may be, in force at one port, in the tables of the kernel and in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::Ipv4Addr;

use andromede_abi::{DropReason, HostConfig, feature, maps, target};
use andromede_dataplane::{Dataplane, Kernel, Sizes};
use andromede_plan::Cost;
use andromede_testkit::packet::{Tcp, tcp_flag};
use andromede_tests::twin::{
    END_LOCAL_A as CLIENT, END_LOCAL_B as SERVER, END_REMOTE as REMOTE, SmallFabric, Twin,
    talk::{VNI, drops, passes, received, sent, v4},
};
use serde_json::{Value, json};

const NETWORK: &str = "tenants/red/networks/n";
const GROUPS: u32 = 10;
const RULES: u32 = 10_000;

/// Rules that no packet here matches, each with its own remote and port, and a last one for the client.
fn group(number: u32) -> Value {
    let rule = |place: u32| {
        let all = number * RULES + place;
        let (remote, port) = if place == RULES - 1 {
            (CLIENT.v4(), 61_000 + number)
        } else {
            (Ipv4Addr::from_bits(0xac10_0000 + all), 1 + all % 60_000)
        };
        json!({"name": format!("r{place}"), "direction": "ingress", "action": "allow", "protocol": "tcp",
            "ports": [port.to_string()], "remoteCidr": format!("{remote}/32")})
    };
    let rules: Vec<Value> = (0..RULES).map(rule).collect();
    json!({"kind": "SecurityGroup", "name": format!("{NETWORK}/securityGroups/g{number}"), "rules": rules})
}

/// The packet path in memory and in the kernel, with tables as large as hosts have them.
fn large_twin(fabric: &SmallFabric) -> Twin {
    let features = Kernel::probe().features() | feature::RECORD;
    let host = HostConfig { features, ..fabric.host_config() };
    Twin::of(Dataplane::load(None, &host, &Sizes::default()).unwrap(), host, fabric.rows()).unwrap()
}

#[test]
fn a_hundred_thousand_rules_are_in_force_at_a_port() {
    let talk = || {
        let mut fabric = SmallFabric::new().unwrap();
        let groups: Vec<String> = (0..GROUPS).map(|number| format!("{NETWORK}/securityGroups/g{number}")).collect();
        let server = json!({"kind": "Port", "name": format!("{NETWORK}/ports/p{}", SERVER.0), "host": "hosts/h1",
            "securityGroups": groups});
        fabric.set((0..GROUPS).map(group).chain([server]).collect()).unwrap();
        let cost = Cost::of(fabric.rows());
        assert!(cost.rows(&maps::POLICY_CELLS) >= (GROUPS * RULES) as usize, "{cost:?}");
        let twin = large_twin(&fabric);
        let syn = |port: u32| {
            let tcp = Tcp::new(40_000, u16::try_from(port).unwrap(), tcp_flag::SYN);
            sent(CLIENT, v4(CLIENT, SERVER).tcp(&tcp, b""))
        };
        for number in 0..GROUPS {
            passes(&twin, "the last rule of a group", &syn(61_000 + number), target::DELIVER);
        }
        for port in [1, 30_000, 60_000, 61_000 + GROUPS] {
            drops(&twin, "for others only", &syn(port), DropReason::IngressRule);
        }
    };
    SmallFabric::namespace().unwrap().run(talk).unwrap();
}

/// Sixteen groups, of which each lets in a port of its own; the last one names a list of ten thousand prefixes.
#[test]
fn sixteen_groups_and_a_list_of_ten_thousand_prefixes_are_in_force_at_a_port() {
    let talk = || {
        let mut fabric = SmallFabric::new().unwrap();
        let name = |number: u16| format!("{NETWORK}/securityGroups/g{number}");
        let list = format!("{NETWORK}/prefixLists/many");
        let mut prefixes: Vec<String> =
            (0..9_999).map(|place| format!("{}/32", Ipv4Addr::from_bits(0xac10_0000 + place))).collect();
        prefixes.push(format!("{}/32", CLIENT.v4()));
        let group = |number: u16| {
            let mut rule = json!({"name": "own", "direction": "ingress", "action": "allow", "protocol": "tcp",
                "ports": [(9_000 + number).to_string()]});
            if number == 15 {
                rule["remotePrefixList"] = json!(list);
            }
            json!({"kind": "SecurityGroup", "name": name(number), "rules": [rule]})
        };
        let server = json!({"kind": "Port", "name": format!("{NETWORK}/ports/p{}", SERVER.0), "host": "hosts/h1",
            "securityGroups": (0..16).map(name).collect::<Vec<_>>()});
        let list = json!({"kind": "PrefixList", "name": list, "prefixes": prefixes});
        fabric.set([list].into_iter().chain((0..16).map(group)).chain([server]).collect()).unwrap();
        assert!(Cost::of(fabric.rows()).rows(&maps::POLICY_PREFIXES) >= 10_000);
        let twin = large_twin(&fabric);
        let syn = |port: u16| sent(CLIENT, v4(CLIENT, SERVER).tcp(&Tcp::new(40_000, port, tcp_flag::SYN), b""));
        for number in 0..16 {
            passes(&twin, "a port of each group", &syn(9_000 + number), target::DELIVER);
        }
        drops(&twin, "a port of none", &syn(9_016), DropReason::IngressRule);
        let outsider = v4(REMOTE, SERVER).tcp(&Tcp::new(40_000, 9_015, tcp_flag::SYN), b"");
        drops(&twin, "whom the list does not cover", &received(2, VNI[0], &outsider), DropReason::IngressRule);
    };
    SmallFabric::namespace().unwrap().run(talk).unwrap();
}
