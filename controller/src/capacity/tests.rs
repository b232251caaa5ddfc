//! What is refused, and that what is accepted fits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use andromede_proto::v1;

use super::*;
use crate::access::{Principal, Role};
use crate::fixtures::{host, network, port, resource, subnet, tenant};

/// Ranges that begin at these ports, apart from each other.
fn apart(from: u32) -> String {
    from.to_string()
}

/// Each within the one before.
fn nested(from: u32) -> String {
    format!("{from}-{}", 65_535 - from)
}

/// Each across all others.
fn crossing(from: u32) -> String {
    format!("{from}-{}", 2_000 + from)
}

/// A group of rules with their own remotes; each has these many ranges of ports.
fn group(name: &str, rules: u32, ranges: u32, range: fn(u32) -> String) -> Resource {
    let rule = |number: u32| v1::Rule {
        name: format!("r{number}"),
        direction: v1::Direction::Ingress.into(),
        action: v1::Action::Allow.into(),
        protocol: "tcp".to_owned(),
        ports: (0..ranges).map(|range| (number * ranges + range) % 30_000 + 1).map(range).collect(),
        remote: Some(v1::rule::Remote::RemoteCidr(format!("10.{}.{}.0/24", number / 250, number % 250))),
        ..v1::Rule::default()
    };
    resource(v1::resource::Kind::SecurityGroup(v1::SecurityGroup {
        name: format!("tenants/a/networks/n/securityGroups/{name}"),
        rules: (0..rules).map(rule).collect(),
        ..v1::SecurityGroup::default()
    }))
}

fn checked(groups: Vec<Resource>, of_port: &[&str]) -> Result<(), Vec<Violation>> {
    let model = Model::default();
    let mut written = vec![tenant("a"), network("a"), subnet("a"), host(1, 2), port("a", 2, Some(1), of_port)];
    written.extend(groups);
    let request: Vec<_> = written.iter().map(Resource::name).collect();
    let commit = model.prepare(written, Vec::new()).unwrap();
    let mut after = model.clone();
    after.commit(&commit).unwrap();
    match Capacity::new(&model, Cost::limits()).stage((&model, &after), &commit, &request) {
        Ok(_) => Ok(()),
        Err(WriteError::Invalid(violations)) => Err(violations),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn many_rules_are_allowed_where_they_take_few_rows() {
    checked(vec![group("g", 1_000, 1, apart)], &["g"]).unwrap();
    checked(vec![group("g", 300, 3, apart)], &["g"]).unwrap();
}

#[test]
fn what_would_fill_the_tables_of_a_host_is_refused_with_its_size() {
    let refused = checked(vec![group("g", 1_000, 64, nested)], &["g"]).unwrap_err();
    assert_eq!(refused[0].field, "resources[5].security_group.rules");
    assert!(refused[0].rule.contains("mentions of rules"), "{}", refused[0]);
    let refused = checked(vec![group("g", 900, 1, crossing), group("h", 1, 1, apart)], &["g", "h"]).unwrap_err();
    assert_eq!((refused.len(), refused[0].value.as_str()), (1, "g, h"));
    assert!(refused[0].rule.contains("POLICY_CELLS"), "{}", refused[0]);
    // No port has it: no host compiles it.
    checked(vec![group("g", 1_000, 64, nested)], &[]).unwrap();
}

#[test]
fn a_tenant_is_not_told_which_hosts_there_are() {
    let model = Model::default();
    let written = vec![tenant("a"), network("a"), subnet("a"), host(1, 2), port("a", 2, Some(1), &[])];
    let request: Vec<_> = written.iter().map(Resource::name).collect();
    let commit = model.prepare(written, Vec::new()).unwrap();
    let mut after = model.clone();
    after.commit(&commit).unwrap();
    let refused = Capacity::new(&model, Cost::default()).stage((&model, &after), &commit, &request).unwrap_err();
    let status = |role| tonic::Status::from(refused_again(&refused).told_to(&Principal { role, name: "x".to_owned() }));
    let told = status(Role::Operator);
    assert!(told.message().contains("hosts/h1"), "{told:?}");
    let told = status(Role::TenantAdmin("tenants/a".parse().unwrap()));
    assert_eq!(told.code(), tonic::Code::ResourceExhausted);
    let bytes = String::from_utf8_lossy(told.details()).into_owned();
    assert!(!told.message().contains("h1") && !bytes.contains("h1"), "{told:?}");
    assert!(told.message().contains("tenants/a/networks/n would take"), "{told:?}");
}

fn refused_again(error: &WriteError) -> WriteError {
    match error {
        WriteError::Full(full) => WriteError::Full(full.clone()),
        other => panic!("{other}"),
    }
}
