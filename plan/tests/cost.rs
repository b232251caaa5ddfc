//! What rules cost: tables grow with the rules, not with their product, and what is too large is refused with its size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::net::Ipv4Addr;

use andromede_abi::maps;
use andromede_model::{NetworkView, Prefix, Protocol, Remote, Rule};
use andromede_plan::{Cost, Memory, Row, Rows, SetCost, Step, TooLarge, changes, compile_with};
use common::host::{NETWORK, attachments, facts, host, rule, view};

/// What the groups of the only port cost.
fn cost_of_groups(view: &NetworkView) -> Result<Cost, TooLarge> {
    let groups = &view.ports.values().next().unwrap().groups;
    Ok(SetCost::of(view, groups, view.identities.values())?.cost())
}

#[test]
fn cells_grow_with_the_rules_not_with_their_product() {
    let rules = (0..1000).map(|n| {
        let cidr = Prefix::host(Ipv4Addr::from_bits(0xc0a8_0000 + n).into());
        rule(n, Remote::Cidr(cidr), &(1000 + n).to_string())
    });
    let cost = Cost::of_host(&[view(100, &[rules.collect()])], &host()).unwrap();
    assert_eq!(cost.rows(&maps::POLICY_CELLS), 1000);
    assert_eq!(cost.rows(&maps::POLICY_PREFIXES), 1000);
    assert_eq!(cost.rows(&maps::POLICY_SERVICES), 1001, "one for each port, and one for any service");
    assert_eq!(cost.rows(&maps::PORTS), 100);
}

#[test]
fn ports_with_the_same_groups_share_their_rules() {
    let groups: Vec<Vec<Rule>> = vec![vec![rule(0, Remote::Any, "80")], vec![rule(1, Remote::Any, "443")]];
    let cost = Cost::of_host(&[view(1000, &groups)], &host()).unwrap();
    assert_eq!(cost.rows(&maps::POLICY_CELLS), 2);
    assert_eq!(cost.rows(&maps::LOCATIONS), 1000);
}

#[test]
fn a_host_with_too_many_ports_is_refused_with_the_size() {
    let error = Cost::of_host(&[view(maps::PORTS.rows + 1, &[vec![]])], &host()).unwrap_err();
    assert_eq!((error.table, error.rows, error.most), ("PORTS", maps::PORTS.rows as usize + 1, maps::PORTS.rows));
}

#[test]
fn rules_for_any_service_and_rules_for_any_remote_do_not_multiply() {
    let any = |n: u32| {
        let cidr = Prefix::host(Ipv4Addr::from_bits(0xc0a8_0000 + n).into());
        Rule { ports: vec![], protocol: Protocol::Any, ..rule(n, Remote::Cidr(cidr), "1") }
    };
    // A block list beside a list of services.
    let rules = (0..2_000).map(any).chain((0..2_000).map(|n| rule(2_000 + n, Remote::Any, &(1 + 2 * n).to_string())));
    let view = view(1, &[rules.collect()]);
    let cost = cost_of_groups(&view).unwrap();
    assert_eq!(cost.rows(&maps::POLICY_CELLS), 4_000);
}

#[test]
fn wide_rules_and_the_narrow_ones_within_them_do_not_multiply() {
    let wide: Prefix = "10.0.0.0/8".parse().unwrap();
    let host = |n: u32| Prefix::host(Ipv4Addr::from_bits(0x0a00_0000 + n).into());
    // A prefix that may use many ports, and hosts within it that may use one; a host each that may use a wide range, and ports
    // within it that everybody may use.
    let prefix = (0..1_000).map(|n| rule(n, Remote::Cidr(wide), &(10_000 + n).to_string()));
    let hosts = (0..1_000).map(|n| rule(1_000 + n, Remote::Cidr(host(n)), "1024-65535"));
    let everybody = (0..1_000).map(|n| rule(2_000 + n, Remote::Any, &(20_000 + n).to_string()));
    let view = view(1, &[prefix.chain(hosts).chain(everybody).collect()]);
    let cost = cost_of_groups(&view).unwrap();
    assert!(cost.rows(&maps::POLICY_CELLS) < 10_000, "{cost:?}");
}

#[test]
fn rules_that_combine_too_much_are_refused_before_they_are_compiled() {
    let remote = |n: u32| Remote::Cidr(Prefix::host(Ipv4Addr::from_bits(0xc0a8_0000 + n).into()));
    // Each rule has its own remote, and a range that crosses those of a thousand others.
    let crossing = |n: u32| rule(n, remote(n), &format!("{}-{}", 1 + n, 2_000 + n));
    let crossed = view(1, &[(0..4_000).map(crossing).collect()]);
    let error = cost_of_groups(&crossed).unwrap_err();
    assert!(error.rows > error.most as usize, "{error}");
    let nested = |n: u32| rule(n, Remote::Any, &format!("{}-{}", 1 + n, 65_534 - n));
    let view = view(1, &[(0..3_000).map(nested).collect()]);
    let error = cost_of_groups(&view).unwrap_err();
    assert!(error.table.starts_with("mentions"), "{error}");
}

/// A network whose first group names its last one, and the same after these ports joined the last one, each with a set of groups that is new.
fn before_and_after(rules: u32, ports: u32, joining: u32) -> (NetworkView, NetworkView) {
    let group = |group: usize| format!("{NETWORK}/securityGroups/g{group}").parse().unwrap();
    let named = (0..rules).map(|n| rule(n, Remote::Group(group(1)), &(1 + n % 60_000).to_string())).collect();
    let before = view(ports, &[named, vec![]]);
    let mut after = before.clone();
    for number in 0..joining {
        // A group of its own beside it: a set of groups that nobody had.
        let own: andromede_model::SecurityGroupName = format!("{NETWORK}/securityGroups/own{number}").parse().unwrap();
        let mut like = after.groups[&group(1)].clone();
        like.name = own.clone();
        after.groups.insert(own.clone(), like);
        let port = after.ports.get_mut(&format!("{NETWORK}/ports/p{}", 2 * number).parse().unwrap()).unwrap();
        port.groups = [group(0), group(1), own].into();
        port.identity = 10 + number;
        after.identities.insert(port.identity, port.groups.clone());
    }
    (before, after)
}

#[test]
fn a_new_member_of_a_group_changes_no_rule_and_no_other_port() {
    let (before, after) = before_and_after(100, 20, 3);
    let (facts, attachments, mut memory) = (facts(), attachments(&before), Memory::default());
    let found = compile_with(&mut memory, &[before], &facts, &attachments, &Rows::default()).rows;
    let wanted = compile_with(&mut memory, &[after], &facts, &attachments, &found);
    assert!(wanted.refused.is_empty());
    let steps = changes(&found, &wanted);
    let identities = steps.iter().filter(|step| matches!(step, Step::Insert(Row::PolicyIdentity(..)))).count();
    assert_eq!(identities, 3, "one row for each, in the one set that names the group: {steps:?}");
    let rules = |step: &&Step| {
        matches!(step, Step::Insert(Row::PolicyService(..) | Row::PolicyPrefix(..) | Row::PolicyCell(..)))
    };
    assert_eq!(steps.iter().find(rules), None);
    for (ifindex, row) in &found.ports {
        let same = (row.egress_set, row.ingress_set)
            == (wanted.rows.ports[ifindex].egress_set, wanted.rows.ports[ifindex].ingress_set);
        assert!(same, "{ifindex} keeps its sets");
    }
}
