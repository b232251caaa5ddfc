//! The worst cases that are promised to fit a host: what they cost stands in `docs/firewall.md`, and is computed here.
//! `ANDROMEDE_UPDATE=1 cargo test -p andromede-plan --test profiles` writes the table anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::{collections::BTreeSet, fmt::Write as _, net::Ipv4Addr, path::Path};

use andromede_abi::maps;
use andromede_model::{Labels, NetworkView, Prefix, PrefixList, Protocol, Remote, Rule, SecurityGroupName};
use andromede_plan::Cost;
use common::host::{NETWORK, host, rule, view};

const BEGIN: &str = "<!-- profiles: written by a test -->\n";
const END: &str = "<!-- end of profiles -->\n";

/// An address of a remote, none twice.
fn remote(number: u32) -> Remote {
    Remote::Cidr(Prefix::host(Ipv4Addr::from_bits(0xc0a8_0000 + number).into()))
}

/// Its own remote and its own port.
fn own(number: u32) -> Rule {
    rule(number, remote(number), &(1 + number % 65_535).to_string())
}

fn group_name(group: usize) -> SecurityGroupName {
    format!("{NETWORK}/securityGroups/g{group}").parse().unwrap()
}

/// A hundred groups of a thousand rules each, and a port of each.
fn many_groups() -> NetworkView {
    let group = |group: u32| (1_000 * group..1_000 * (group + 1)).map(own).collect();
    view(100, &(0..100).map(group).collect::<Vec<Vec<Rule>>>())
}

/// Ten ports, each with the same group of ten thousand rules and a small one of its own.
fn shared_group() -> NetworkView {
    let small = (0..10).map(|group| vec![own(20_000 + group)]);
    let groups: Vec<Vec<Rule>> = std::iter::once((0..10_000).map(own).collect()).chain(small).collect();
    let mut view = view(10, &groups);
    for (place, port) in view.ports.values_mut().enumerate() {
        port.groups = BTreeSet::from([group_name(0), group_name(1 + place)]);
        port.identity = 100 + place as u32;
        view.identities.insert(port.identity, port.groups.clone());
    }
    view
}

/// Ten groups of a thousand rules, each rule with its own remote and ten ranges of ports, none of them aligned.
fn ranges() -> NetworkView {
    let ranges = |number: u32| {
        (0..10).map(move |range| 1 + 650 * ((number + 7 * range) % 100)).map(|from| format!("{from}-{}", from + 599))
    };
    let ranged = |number: u32| Rule {
        ports: ranges(number).map(|range| range.parse().unwrap()).collect(),
        ..rule(number, remote(number), "1")
    };
    let group = |group: u32| (1_000 * group..1_000 * (group + 1)).map(ranged).collect();
    view(10, &(0..10).map(group).collect::<Vec<Vec<Rule>>>())
}

/// A hundred rules of a port, each with the same list of ten thousand prefixes and a port of its own.
fn prefix_list() -> NetworkView {
    let name: andromede_model::PrefixListName = format!("{NETWORK}/prefixLists/l").parse().unwrap();
    let rules = (0..100).map(|number| rule(number, Remote::PrefixList(name.clone()), &(1 + number).to_string()));
    let mut view = view(1, &[rules.collect()]);
    let prefixes = (0..10_000).map(|number| Prefix::host(Ipv4Addr::from_bits(0xc0a8_0000 + number).into())).collect();
    view.prefix_lists.insert(name.clone(), PrefixList { name, prefixes, revision: 1, labels: Labels::default() });
    view
}

/// A hundred sets of groups whose rules name one group, and a thousand ports elsewhere that have it, each among groups of its own.
fn members() -> NetworkView {
    let naming = |group: u32| vec![rule(group, Remote::Group(group_name(100)), "443")];
    let groups: Vec<Vec<Rule>> = (0..100).map(naming).chain([vec![]]).collect();
    let mut view = view(100, &groups);
    for number in 0..1_000 {
        let other: SecurityGroupName = format!("{NETWORK}/securityGroups/m{number}").parse().unwrap();
        view.identities.insert(1_000 + number, [group_name(100), other].into());
    }
    view
}

/// A block list of ten thousand addresses, beside ten thousand services for all: no remote multiplies with a service.
fn block_list() -> NetworkView {
    let any = |number: u32| Rule { ports: vec![], protocol: Protocol::Any, ..own(number) };
    let open = |number: u32| rule(10_000 + number, Remote::Any, &(1 + 2 * number).to_string());
    view(1, &[(0..10_000).map(any).chain((0..10_000).map(open)).collect()])
}

struct Profile {
    name: &'static str,
    view: NetworkView,
    /// Rules in force on the host: those of each port's set of groups, each set counted once.
    rules: usize,
}

fn profiles() -> Vec<Profile> {
    let profile = |name, view: NetworkView| {
        let sets: BTreeSet<&BTreeSet<SecurityGroupName>> = view.ports.values().map(|port| &port.groups).collect();
        let rules = sets.into_iter().flatten().map(|group| view.groups[group].rules.len()).sum();
        Profile { name, view, rules }
    };
    vec![
        profile(
            "many groups: 100 ports, each with a group of 1,000 rules, every rule with its own remote and port",
            many_groups(),
        ),
        profile("shared group: 10 ports with one group of 10,000 rules and another of their own each", shared_group()),
        profile(
            "CIDR × port ranges: 10 groups of 1,000 rules, every rule with its own remote and 10 unaligned ranges",
            ranges(),
        ),
        profile("prefix list: 100 rules of one group name a list of 10,000 prefixes", prefix_list()),
        profile("members: 100 sets of groups name a group that 1,000 other sets have", members()),
        profile("block list: 10,000 denied addresses beside 10,000 services for all", block_list()),
    ]
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let parts = tail.as_bytes().chunks(3).map(|part| std::str::from_utf8(part).unwrap());
    let parts: Vec<&str> = std::iter::once(head).chain(parts).filter(|part| !part.is_empty()).collect();
    parts.join(",")
}

#[test]
fn what_is_promised_fits_and_costs_what_is_published() {
    let mut table = String::from(
        "| profile | rules | identities | prefixes | services | cells | MB |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for profile in profiles() {
        let cost = Cost::of_host(&[profile.view], &host()).unwrap();
        cost.fits().unwrap();
        let tables = [maps::POLICY_IDENTITIES, maps::POLICY_PREFIXES, maps::POLICY_SERVICES, maps::POLICY_CELLS];
        write!(table, "| {} | {} ", profile.name, thousands(profile.rules)).unwrap();
        for of in &tables {
            assert!(cost.rows(of) <= of.rows as usize / 2, "{}: {} leaves no room for a change", profile.name, of.name);
            write!(table, "| {} ", thousands(cost.rows(of))).unwrap();
        }
        let tenths = (cost.rule_bytes() + 50_000) / 100_000;
        writeln!(table, "| {}.{} |", tenths / 10, tenths % 10).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/firewall.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (published, after) = rest.split_once(END).expect("where the table ends");
    if std::env::var_os("ANDROMEDE_UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(published, table, "ANDROMEDE_UPDATE=1 writes docs/firewall.md anew");
}
