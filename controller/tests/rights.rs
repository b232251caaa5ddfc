//! The table of rights, walked whole: every method of the schema with every role.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{collections::BTreeSet, fmt::Write as _};

use andromede_controller::access::{COLUMNS, Extent, TABLE};
use andromede_proto::DESCRIPTORS;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use support::{
    Controller,
    issuer::{Issuer, claims, with_token},
    pki::Authority,
    raw::{call_path, path},
    tls::{connect, connect_as, with_tokens},
};
use tonic::Code;

/// Every method that the controller serves, by its path: is there a stream of answers?
fn methods() -> Vec<(String, bool)> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let served = |method: &MethodDescriptor| !path(method).starts_with("/andromede.local.");
    let own = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let mut methods: Vec<_> = own.filter(served).map(|it| (path(&it), it.is_server_streaming())).collect();
    methods.push(("/grpc.health.v1.Health/Check".to_owned(), false));
    methods.push(("/grpc.health.v1.Health/Watch".to_owned(), true));
    methods.push(("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned(), true));
    methods
}

#[test]
fn every_method_has_one_row_and_every_row_a_method() {
    let schema: BTreeSet<String> = methods().into_iter().map(|(path, _)| path).collect();
    let table: BTreeSet<String> = TABLE.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(schema, table);
    assert_eq!(TABLE.len(), table.len(), "a method stands in the table once");
}

/// Who may call a method: said a second time, by what the method is called, so that a slip in the table is found.
fn expected(path: &str) -> &'static [&'static str] {
    const FABRIC: &[&str] = &["operator", "network-engineer"];
    const READS: &[&str] = &["operator", "network-engineer", "tenant-admin", "tenant-reader"];
    let (service, method) = path.rsplit_once('/').unwrap();
    let of_operator = ["HostService", "JoinTokenService", "OperatorPolicyService", "DiagnosticsService"]
        .iter()
        .any(|it| service.ends_with(it));
    let decided = ["TenantService", "VtepService", "ZoneService"].iter().any(|it| service.ends_with(it));
    let reads = ["Get", "List", "Wait", "Watch", "Diff", "Trace", "Verify", "ServerReflection"]
        .iter()
        .any(|it| method.starts_with(it));
    match (service, reads) {
        // A tenant has rules of its own.
        _ if method.starts_with("ListRule") => READS,
        ("/grpc.health.v1.Health", _) => &["operator", "network-engineer", "tenant-admin", "tenant-reader", "host"],
        ("/andromede.agent.v1.JoinService", _) if method == "Join" => &["no certificate"],
        ("/andromede.agent.v1.AgentService" | "/andromede.agent.v1.JoinService", _) => &["host"],
        _ if reads && (of_operator || ["GetStatus", "VerifyCommits"].contains(&method)) => FABRIC,
        (_, true) => READS,
        _ if of_operator || decided => &["operator"],
        _ => &["operator", "tenant-admin"],
    }
}

#[tokio::test]
async fn every_role_may_call_what_it_may_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let issuer = Issuer::new("k");
    let controller = Controller::start(&with_tokens(folder.path(), &authority, &issuer.set())).await;
    let roles =
        ["operator/o", "network-engineer/e", "tenant-admin/a/t", "tenant-reader/a/r", "host/h1", "controller/c2"];
    let (mut permitted, mut denied) = (0, 0);
    for principal in roles {
        let channel = connect_as(&controller, &authority, principal).await;
        let role = principal.split('/').next().unwrap();
        // Who has a token instead of a certificate may do the same.
        let stranger = connect(&controller, &authority, None).await.unwrap();
        let kind = principal.rsplit_once('/').unwrap().0;
        let by_token = with_token(stranger, &issuer.token(&claims(kind)));
        for (path, streaming) in methods() {
            let answer = call_path(&channel, &path, streaming, Vec::new()).await;
            let code = answer.as_ref().err().map_or(Code::Ok, tonic::Status::code);
            let by_token = call_path(&by_token, &path, streaming, Vec::new()).await;
            let by_token = by_token.as_ref().err().map_or(Code::Ok, tonic::Status::code);
            let same = if matches!(role, "host" | "controller") { Code::Unauthenticated } else { code };
            assert_eq!(by_token, same, "{principal} {path}, by a token");
            if expected(&path).contains(&role) {
                permitted += 1;
                assert!(
                    !matches!(code, Code::PermissionDenied | Code::Unauthenticated),
                    "{principal} {path}: {answer:?}"
                );
            } else {
                denied += 1;
                assert_eq!(code, Code::PermissionDenied, "{principal} {path}: {answer:?}");
            }
        }
        for path in ["/andromede.v1.FabricService/Destroy", "/andromede.local.v1.LocalService/AttachPort", "/"] {
            let refused = call_path(&channel, path, false, Vec::new()).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unimplemented, "{principal} {path}: {refused}");
        }
    }
    eprintln!("{permitted} calls permitted, {denied} denied");
    assert!(permitted > 150 && denied > 150, "{permitted} {denied}");
    controller.stop().await;
}

/// Between these lines stands the table.
const MARKS: (&str, &str) = ("<!-- rights: written by a test of controller -->\n", "<!-- rights end -->\n");

fn table() -> String {
    let mut text = format!("\n| method | {} |\n| --- |{}\n", COLUMNS.join(" | "), " :-: |".repeat(COLUMNS.len()));
    for (path, rights) in TABLE {
        let cell = |extent| match extent {
            Extent::Nothing => "",
            Extent::Own => "own",
            Extent::Everything => "all",
        };
        let cells: Vec<_> = rights.extents().into_iter().map(cell).collect();
        let method = path.trim_start_matches("/andromede.v1.").trim_start_matches('/');
        writeln!(text, "| `{method}` | {} |", cells.join(" | ")).unwrap();
    }
    text + "\n"
}

#[test]
fn the_document_shows_the_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/access.md");
    let found = std::fs::read_to_string(file).unwrap();
    let (before, rest) = found.split_once(MARKS.0).unwrap();
    let (_, after) = rest.split_once(MARKS.1).unwrap();
    let page = [before, MARKS.0, &table(), MARKS.1, after].concat();
    if std::env::var_os("ANDROMEDE_UPDATE").is_some() {
        std::fs::write(file, &page).unwrap();
    }
    let now = std::fs::read_to_string(file).unwrap();
    assert!(now == page, "docs/access.md is old: ANDROMEDE_UPDATE=1 cargo test -p andromede-controller --test rights");
}
