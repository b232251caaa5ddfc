//! What callers are told: a gRPC status with a sentence for people and, for bad input, one `google.rpc.BadRequest` field
//! violation for each rule that is broken.

use andromede_model::Violation;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// Most bytes of all violations that are told at once: a status travels in headers, base64-encoded, and HTTP/2 clients
/// take no more than 16 KiB of them.
const TOLD_BYTES: usize = 8_000;
/// Most bytes of one description, for the same reason.
const DESCRIPTION_BYTES: usize = 400;

/// The status for input that breaks rules.
pub fn invalid(violations: &[Violation]) -> Status {
    told(Code::InvalidArgument, violations)
}

/// The status for a call that would be right in another state, such as the deletion of something that is used.
pub fn precondition(violations: &[Violation]) -> Status {
    told(Code::FailedPrecondition, violations)
}

fn told(code: Code, violations: &[Violation]) -> Status {
    let mut left = TOLD_BYTES;
    let mut fields = Vec::new();
    for violation in violations {
        let told = format!("{:?}: {}; {}", violation.value, violation.rule, violation.fix);
        let field = FieldViolation::new(cut(&violation.field), cut(&told));
        let Some(rest) = left.checked_sub(field.field.len().saturating_add(field.description.len())) else { break };
        left = rest;
        fields.push(field);
    }
    let details = ErrorDetails::with_bad_request(fields);
    Status::with_error_details(code, summary(violations), details)
}

/// The first violation in words, and how many more there are.
fn summary(violations: &[Violation]) -> String {
    match violations {
        [] => "the request breaks a rule".to_owned(),
        [one] => cut(&one.to_string()),
        [first, rest @ ..] => format!("{} (and {} more)", cut(&first.to_string()), rest.len()),
    }
}

/// The text, no longer than a description may be.
fn cut(text: &str) -> String {
    let mut end = DESCRIPTION_BYTES.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// The status for a name of something that is not there.
pub fn not_found(name: &str) -> Status {
    Status::not_found(format!("{:?} does not exist; list what does with `andromedectl get`", cut(name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_violation_is_told_with_its_field() {
        let one = Violation::new("resources[0].port.mac", "x", "a rule", "a fix");
        let two = Violation::new("resources[1].subnet.cidr", "y", "another", "do that");
        let status = invalid(&[one, two]);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "resources[0].port.mac: \"x\": a rule; a fix (and 1 more)");
        let told = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(told.len(), 2);
        assert_eq!(told[1].field, "resources[1].subnet.cidr");
        assert_eq!(told[1].description, "\"y\": another; do that");
    }

    #[test]
    fn a_flood_of_violations_stays_small() {
        let long = "é".repeat(2_000);
        let many: Vec<_> =
            (0..10_000).map(|_| Violation::new(long.clone(), &long, long.clone(), long.clone())).collect();
        let status = invalid(&many);
        assert!(status.message().len() < 500);
        assert!(status.details().len() < 9_000, "{}", status.details().len());
    }
}
