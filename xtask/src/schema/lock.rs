//! What the schema promises to those who use it, one fact a line: numbers and types of fields, values of enums, methods.
//!
//! A fact that is recorded stays true, so that programs of yesterday understand those of tomorrow. A field may go if its
//! number is reserved. Whoever means to break a promise takes its line out of the lock by hand, where a review sees it.

use std::collections::BTreeSet;

use super::{File, type_of};

/// Where the facts are recorded.
pub(crate) const LOCK: &str = "proto/schema.lock";

const HEAD: &str = "# What the schema promises: see xtask/src/schema/lock.rs. Written by `./x docs`, which adds and never takes away.\n";

/// The lock with what is new, or each promise that is broken.
pub(super) fn renew(recorded: &str, files: &[File]) -> Result<String, Vec<String>> {
    let facts = facts(files);
    let recorded: BTreeSet<&str> = recorded.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let reserved = |line: &str| {
        let mut words = line.split(' ');
        matches!((words.next(), words.next(), words.next()), (Some("field"), Some(message), Some(number))
            if facts.contains(&format!("reserved {message} {number}")))
    };
    let gone: Vec<&str> = recorded.iter().copied().filter(|line| !facts.contains(*line) && !reserved(line)).collect();
    if !gone.is_empty() {
        let told = |line: &&str| format!("no longer true: {line}; bring it back, or reserve the number of the field");
        return Err(gone.iter().map(told).collect());
    }
    let lines: Vec<&str> = facts.iter().map(String::as_str).collect();
    Ok(format!("{HEAD}{}\n", lines.join("\n")))
}

fn facts(files: &[File]) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for file in files {
        for (name, _, message) in file.messages() {
            for field in &message.field {
                let text = format!("field {name} {} {} {}", field.number(), type_of(message, field), field.name());
                facts.insert(text);
            }
            for range in &message.reserved_range {
                facts.extend((range.start()..range.end()).map(|number| format!("reserved {name} {number}")));
            }
        }
        for (name, _, found) in file.enums() {
            facts.extend(found.value.iter().map(|value| format!("value {name} {} {}", value.number(), value.name())));
        }
        for service in &file.proto.service {
            for method in &service.method {
                let stream = |flag| if flag { "stream " } else { "" };
                facts.insert(format!(
                    "method {}.{}.{} {}{} -> {}{}",
                    file.proto.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type().trim_start_matches('.'),
                    stream(method.server_streaming()),
                    method.output_type().trim_start_matches('.')
                ));
            }
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn renewed(recorded: &str, body: &str) -> Result<String, Vec<String>> {
        let mut file = prost_types::FileDescriptorProto { package: Some("p.v1".to_owned()), ..Default::default() };
        let mut message = prost_types::DescriptorProto { name: Some("M".to_owned()), ..Default::default() };
        for (place, name) in (1_i32..).zip(body.split(',')) {
            if name == "reserved" {
                let range = (place, place + 1);
                message
                    .reserved_range
                    .push(prost_types::descriptor_proto::ReservedRange { start: Some(range.0), end: Some(range.1) });
            } else {
                message.field.push(prost_types::FieldDescriptorProto {
                    name: Some(name.to_owned()),
                    number: Some(place),
                    r#type: Some(9),
                    ..Default::default()
                });
            }
        }
        file.message_type.push(message);
        renew(recorded, &[File::new(file)])
    }

    #[test]
    fn facts_are_added_and_never_taken_away() {
        let first = renewed("", "a,b").unwrap();
        assert!(first.contains("field p.v1.M 2 string b\n"), "{first}");
        let second = renewed(&first, "a,b,c").unwrap();
        assert!(second.contains("field p.v1.M 3 string c\n"));
        assert_eq!(renewed(&second, "a,b").unwrap_err().len(), 1);
        assert_eq!(renewed(&second, "a,x,c").unwrap_err().len(), 1, "a field keeps its name");
        renewed(&second, "a,b,reserved").unwrap();
    }
}
