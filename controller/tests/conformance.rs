//! Bad input, made from the schema: every method, every field, and what comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use andromede_proto::{DESCRIPTORS, v1::GetStatusRequest};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, Value};
use support::{
    Controller,
    bundle::{empty_tenant, host, port},
    raw::call,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Values that no field of this kind wants.
fn wrong_values(kind: &Kind) -> Vec<Value> {
    match kind {
        Kind::String => ["x".repeat(20_000), "\u{0}\u{1b}[2J".to_owned(), "tenants/-".to_owned(), "../..".to_owned()]
            .into_iter()
            .map(Value::String)
            .collect(),
        Kind::Uint32 => vec![Value::U32(u32::MAX)],
        Kind::Uint64 => vec![Value::U64(u64::MAX)],
        Kind::Int64 => vec![Value::I64(i64::MIN)],
        Kind::Bool => vec![Value::Bool(true)],
        Kind::Enum(_) => vec![Value::EnumNumber(99)],
        Kind::Message(message) => filled(message, 0).into_iter().map(|(_, it)| Value::Message(it)).collect(),
        _ => Vec::new(),
    }
}

/// A message for each wrong value of each of its fields, with the path of the field.
fn filled(message: &MessageDescriptor, depth: usize) -> Vec<(String, DynamicMessage)> {
    let mut found = Vec::new();
    for field in message.fields().filter(|_| depth < 3) {
        let values: Vec<Value> = if let Some(entry) = field.kind().as_message().filter(|_| field.is_map()) {
            let values = wrong_values(&entry.map_entry_value_field().kind());
            values.into_iter().map(|value| Value::Map([(MapKey::String("NO KEY".to_owned()), value)].into())).collect()
        } else {
            let kind = field.kind();
            let values = match &kind {
                Kind::Message(inner) => {
                    filled(inner, depth + 1).into_iter().map(|(_, it)| Value::Message(it)).collect()
                }
                kind => wrong_values(kind),
            };
            if field.is_list() { values.into_iter().map(|value| Value::List(vec![value])).collect() } else { values }
        };
        for value in values {
            let mut one = DynamicMessage::new(message.clone());
            one.set_field(&field, value);
            found.push((field.full_name().to_owned(), one));
        }
    }
    found
}

/// Is this what a caller may be told of bad input?
fn check(status: &Status, what: &str) {
    let expected = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::FailedPrecondition,
        Code::AlreadyExists,
        Code::Aborted,
        Code::OutOfRange,
    ];
    assert!(expected.contains(&status.code()), "{what}: {status}");
    assert!(!status.message().is_empty() && status.message().len() < 4_000, "{what}");
    assert!(!status.message().contains('\u{1b}'), "{what}: nothing steers the terminal of whoever reads it");
    if status.code() == Code::InvalidArgument {
        let violations = status.get_details_bad_request().map(|it| it.field_violations).unwrap_or_default();
        assert!(!violations.is_empty(), "{what}: {status}");
        for violation in violations {
            assert!(!violation.field.is_empty() && violation.description.contains("; "), "{what}: {violation:?}");
        }
    }
}

#[tokio::test]
async fn every_method_refuses_bad_input_by_field_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    controller.apply([empty_tenant("a"), vec![host(1), port("a", 7, Some(1))]].concat()).await.unwrap();
    let channel = controller.channel().await;
    let mut fabric = controller.fabric().await;
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let (mut methods, mut calls, mut refused) = (0, 0, 0);
    for service in pool.services().filter(|service| service.full_name().starts_with("andromede.v1.")) {
        for method in service.methods() {
            methods += 1;
            let mut cases = vec![("nothing".to_owned(), Vec::new())];
            cases.extend(filled(&method.input(), 0).into_iter().map(|(path, it)| (path, it.encode_to_vec())));
            // Field 1999, which nobody knows, is passed over: so newer clients can speak with older servers.
            cases.push(("unknown".to_owned(), vec![0xfa, 0x7c, 0x01, 0x00]));
            for (case, bytes) in cases {
                let what = format!("{} with {case}", method.full_name());
                let before = fabric.get_status(GetStatusRequest {}).await.unwrap().into_inner().revision;
                calls += 1;
                if let Err(status) = call(&channel, &method, bytes).await {
                    refused += 1;
                    check(&status, &what);
                    let after = fabric.get_status(GetStatusRequest {}).await.unwrap().into_inner().revision;
                    assert_eq!(after, before, "{what}");
                }
            }
            // Bytes that are no message at all: field 1 as a number that does not end, a text longer than the rest.
            for bytes in [vec![0x08, 0xff], vec![0x0a, 0x7f, 0x00]] {
                let status = call(&channel, &method, bytes).await;
                let empty = method.input().fields().count() == 0;
                assert!(status.is_err() || empty, "{}", method.full_name());
            }
        }
    }
    eprintln!("{methods} methods, {calls} calls, {refused} refused");
    assert!(methods > 45 && calls > 500 && refused > 300, "{methods} methods, {calls} calls, {refused} refused");
    controller.stop().await;
}
