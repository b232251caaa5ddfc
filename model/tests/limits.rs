//! How much of everything there may be: what is just within a limit is taken, and one more is refused by the field that made it so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod common;

use andromede_model::{Model, Resource, Rule, limits};
use common::{fabric, group, port, prefix_list, rule, violations, write};

/// Taken with `most` of something; with one more refused in these words, by this field.
fn bounded<R: Into<Resource>>(most: usize, make: impl Fn(usize) -> R, field: &str, words: &str) {
    let mut model = Model::default();
    write(&mut model, fabric());
    let groups = (0..=limits::GROUPS_PER_PORT).map(|number| group("mairie", &format!("g{number}"), vec![]).into());
    write(&mut model, groups.collect());
    let found = violations(&model, vec![make(most + 1).into()]);
    let refused = |it: &andromede_model::Violation| it.field == field && it.rule.contains(words) && !it.fix.is_empty();
    assert!(found.iter().any(refused), "one more than {most}: {:#?}", found.first());
    write(&mut model, vec![make(most).into()]);
}

#[test]
fn a_port_has_sixty_four_groups_at_most() {
    let make = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("g{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        port("mairie", "many", &["10.0.0.99"], Some("h1"), &names)
    };
    assert_eq!(limits::GROUPS_PER_PORT, 64);
    bounded(64, make, "resources[0].port.security_groups", "at most 64 security groups");
}

#[test]
fn a_group_has_ten_thousand_rules_at_most() {
    let make = |count: usize| {
        let rules: Vec<Rule> = (0..count).map(|number| rule(&format!("r{number}"))).collect();
        group("mairie", "many", rules)
    };
    assert_eq!(limits::RULES_PER_GROUP, 10_000);
    bounded(10_000, make, "resources[0].security_group.rules", "at most 10000 rules");
}

#[test]
fn a_prefix_list_has_ten_thousand_prefixes_at_most() {
    let make = |count: usize| {
        let prefixes: Vec<String> =
            (0..count).map(|number| format!("172.16.{}.{}/32", number >> 8, number & 0xff)).collect();
        let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        prefix_list("mairie", "many", &prefixes)
    };
    assert_eq!(limits::PREFIXES_PER_LIST, 10_000);
    bounded(10_000, make, "resources[0].prefix_list.prefixes", "at most 10000 prefixes");
}
