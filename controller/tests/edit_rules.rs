//! Some rules of a group are edited, and the others are not named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::v1::{
    Action, Direction, EditRulesRequest, GetRequest, Rule, SecurityGroup, rule::Remote,
    security_group_service_client::SecurityGroupServiceClient,
};
use support::{
    Controller,
    bundle::{empty_tenant, group_name},
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

type Groups = SecurityGroupServiceClient<Channel>;

fn rule(name: &str, port: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        direction: Direction::Ingress.into(),
        action: Action::Allow.into(),
        protocol: "tcp".to_owned(),
        ports: vec![port.to_owned()],
        ..Rule::default()
    }
}

fn edit(put: Vec<Rule>, remove: &[&str]) -> EditRulesRequest {
    let remove = remove.iter().map(|name| (*name).to_owned()).collect();
    EditRulesRequest { name: group_name("a", "web"), put, remove, ..EditRulesRequest::default() }
}

async fn group(groups: &mut Groups) -> SecurityGroup {
    groups.get_security_group(GetRequest { name: group_name("a", "web") }).await.unwrap().into_inner()
}

/// Names and ports, in order.
fn told(group: &SecurityGroup) -> Vec<String> {
    group.rules.iter().map(|rule| format!("{} {}", rule.name, rule.ports.join(","))).collect()
}

#[tokio::test]
async fn rules_are_added_replaced_and_removed_in_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply(empty_tenant("a")).await.unwrap();
    let mut groups = Groups::new(controller.channel().await);
    let before = group(&mut groups).await;
    assert_eq!(told(&before), ["port-80 80", "port-443 443"]);

    let request = EditRulesRequest {
        etag: before.etag.clone(),
        request_id: "one".to_owned(),
        ..edit(vec![rule("ssh", "22"), rule("port-443", "8443")], &["port-80"])
    };
    let done = groups.edit_rules(request.clone()).await.unwrap().into_inner();
    let after = group(&mut groups).await;
    assert_eq!(told(&after), ["port-443 8443", "ssh 22"]);
    assert_eq!((done.rule_count, done.etag.as_str(), done.revision), (2, after.etag.as_str(), 2));
    assert_eq!(done.rules, [after.rules[1].clone(), after.rules[0].clone()], "with their numbers");
    assert_eq!(after.rules[0].number, before.rules[1].number, "a rule keeps its number");
    // Again, it is the same request; with another id, its etag is old.
    assert_eq!(groups.edit_rules(request.clone()).await.unwrap().into_inner(), done);
    let old = groups.edit_rules(EditRulesRequest { request_id: String::new(), ..request }).await.unwrap_err();
    assert!(matches!(old.code(), Code::Aborted | Code::InvalidArgument), "{old}");
    let dry = EditRulesRequest { validate_only: true, ..edit(Vec::new(), &["ssh"]) };
    assert_eq!(groups.edit_rules(dry).await.unwrap().into_inner().rule_count, 1);
    assert_eq!(told(&group(&mut groups).await).len(), 2);

    // Many at once, by others: none is lost.
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut groups = groups.clone();
        writers.spawn(async move {
            let one = edit(vec![rule(&format!("r{number}"), "1")], &[]);
            // Whoever loses the race too often is told so, and tries again.
            while let Err(status) = groups.edit_rules(one.clone()).await {
                assert_eq!(status.code(), Code::Aborted, "{status}");
            }
        });
    }
    writers.join_all().await;
    assert_eq!(group(&mut groups).await.rules.len(), 22);
    controller.stop().await;
}

#[tokio::test]
async fn a_wrong_edit_is_told_by_its_own_fields_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply(empty_tenant("a")).await.unwrap();
    let mut groups = Groups::new(controller.channel().await);
    let before = group(&mut groups).await;
    let mut foreign = rule("foreign", "1");
    foreign.remote = Some(Remote::RemoteGroup(group_name("a", "none")));
    let mut nowhere = rule("nowhere", "1");
    nowhere.direction = 0;
    let cases: [(EditRulesRequest, &[&str]); 5] = [
        (edit(vec![rule("ok", "1"), nowhere], &[]), &["put[1].direction"]),
        (edit(vec![rule("ok", "1"), foreign], &[]), &["put[1].remote_group"]),
        (edit(vec![rule("x", "1")], &["x"]), &["remove[0]"]),
        (edit(Vec::new(), &["NO NAME", "port-80", "port-80"]), &["remove[0]", "remove[2]"]),
        (edit(Vec::new(), &["port-80", "none"]), &["remove[1]"]),
    ];
    for (request, fields) in cases {
        let status = groups.edit_rules(request).await.unwrap_err();
        let mut found: Vec<_> =
            status.get_details_bad_request().unwrap().field_violations.into_iter().map(|it| it.field).collect();
        found.sort();
        assert_eq!(
            (status.code(), found.as_slice()),
            (Code::InvalidArgument, fields.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>().as_slice())
        );
    }
    assert_eq!(group(&mut groups).await, before);
    let missing = EditRulesRequest { allow_missing: true, ..edit(Vec::new(), &["none"]) };
    assert_eq!(groups.edit_rules(missing).await.unwrap().into_inner().rule_count, 2);
    let nobody = EditRulesRequest { name: group_name("b", "web"), ..edit(Vec::new(), &[]) };
    assert_eq!(groups.edit_rules(nobody).await.unwrap_err().code(), Code::NotFound);
    controller.stop().await;
}
