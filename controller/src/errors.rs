//! What callers are told: a gRPC status with a sentence for people and details for programs, in the messages of `google.rpc`.
//!
//! | code | details |
//! | --- | --- |
//! | `INVALID_ARGUMENT` | `BadRequest`: one field violation for each rule that is broken |
//! | `FAILED_PRECONDITION` | `PreconditionFailure`: what is still in use, and by whom (`IN_USE`); the fence of which host not all know (`FENCE_PENDING`) |
//! | `RESOURCE_EXHAUSTED` | `QuotaFailure`: of what the tenant has as much as it may |
//! | `RESOURCE_EXHAUSTED` | `QuotaFailure`, and `ErrorInfo` with the reason `HOST_TABLE_FULL`: host, table, rows, limit, and what takes most |
//! | `PERMISSION_DENIED` | `BadRequest`, if it is for fields that are not for the caller to decide |
//! | `NOT_FOUND`, `ALREADY_EXISTS` | `ResourceInfo`: the name |
//! | `ABORTED` | `ErrorInfo` with the reason `ETAG_MISMATCH`, the name and the etag that the resource has now; or `PLAN_OUTDATED` and the last revision |

use std::collections::HashMap;

use andromede_model::{AnyName, Cause, HostName, Violation};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation, StatusExt as _};

use crate::{capacity::Full, change::WriteError, fence::StillMember};

/// Domain of the reasons in `ErrorInfo`.
const DOMAIN: &str = "andromede.v1";

/// Most bytes of all violations that are told at once: a status travels in headers, base64-encoded, and HTTP/2 clients
/// take no more than 16 KiB of them.
const TOLD_BYTES: usize = 8_000;
/// Most hosts that a status names.
const NAMED_HOSTS: usize = 8;
/// Most bytes of one description, for the same reason.
const DESCRIPTION_BYTES: usize = 400;

/// The status for a request that breaks rules. Wrong values stand before everything else: they must be put right first.
pub fn invalid(violations: &[Violation]) -> Status {
    let of = |cause| violations.iter().filter(move |violation| violation.cause == cause);
    let code = if of(Cause::Value).next().is_some() || violations.is_empty() {
        Code::InvalidArgument
    } else if of(Cause::InUse).next().is_some() {
        Code::FailedPrecondition
    } else {
        Code::ResourceExhausted
    };
    told(code, violations)
}

/// A status of this code with all violations.
fn told(code: Code, violations: &[Violation]) -> Status {
    let mut left = TOLD_BYTES;
    let mut fields = Vec::new();
    let (mut in_use, mut over) = (Vec::new(), Vec::new());
    for violation in violations {
        let told = cut(&format!("{:?}: {}; {}", violation.value, violation.rule, violation.fix));
        // A violation of another cause is told twice: by its field, and by its subject.
        let twice = if violation.cause == Cause::Value { 1 } else { 2 };
        let bytes = violation.field.len().max(violation.value.len()).saturating_add(told.len()).saturating_mul(twice);
        let Some(rest) = left.checked_sub(bytes) else { break };
        left = rest;
        match violation.cause {
            Cause::Value => {}
            Cause::InUse => in_use.push(PreconditionViolation::new("IN_USE", cut(&violation.value), told.clone())),
            Cause::Quota => over.push(QuotaViolation::new(cut(&violation.value), told.clone())),
        }
        fields.push(FieldViolation::new(cut(&violation.field), told));
    }
    let mut details = ErrorDetails::with_bad_request(fields);
    if !in_use.is_empty() {
        details.set_precondition_failure(in_use);
    }
    if !over.is_empty() {
        details.set_quota_failure(over);
    }
    Status::with_error_details(code, summary(violations), details)
}

impl From<WriteError> for Status {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Invalid(violations) => invalid(&violations),
            WriteError::Forbidden(violations) => told(Code::PermissionDenied, &violations),
            WriteError::NotFound(name) => not_found(name.as_str()),
            WriteError::AlreadyExists(name) => {
                let text = format!("{name} exists already; choose another name, or update it");
                Self::with_error_details(Code::AlreadyExists, text, resource_info(name.as_str()))
            }
            WriteError::Changed { name, etag } => changed(&name, etag),
            WriteError::Moved(revision) => {
                let about = HashMap::from([("revision".to_owned(), revision.to_string())]);
                let details = ErrorDetails::with_error_info("PLAN_OUTDATED", DOMAIN, about);
                Self::with_error_details(Code::Aborted, error.to_string(), details)
            }
            WriteError::RequestReused => {
                invalid(&[Violation::new("request_id", "", error.to_string(), "use a new one, or none")])
            }
            WriteError::RequestsFull => Self::resource_exhausted(error.to_string()),
            WriteError::Full(full) => host_full(&full),
            WriteError::StillMember(still) => still_member(&still),
            WriteError::Fault(_) => Self::internal(error.to_string()),
            WriteError::Stopped => Self::unavailable(error.to_string()),
        }
    }
}

/// The status for a host that has no room: as for every quota, and its figures for programs.
fn host_full(full: &Full) -> Status {
    let violation = full.violation();
    let told = cut(&format!("{}; {}", violation.rule, violation.fix));
    let mut details = ErrorDetails::with_bad_request(vec![FieldViolation::new(cut(&violation.field), told.clone())]);
    let (largest, taken) = &full.largest;
    let mut about = vec![
        ("table", full.table.name.to_owned()),
        ("largest", cut(&largest.to_string())),
        ("largest_rows", taken.to_string()),
    ];
    if let Some(host) = &full.host {
        about.push(("host", host.to_string()));
        let figures = [("rows", full.rows), ("limit", full.most), ("further_hosts", full.others)];
        about.extend(figures.map(|(key, figure)| (key, figure.to_string())));
    }
    let subject = full.host.as_ref().map_or_else(|| largest.to_string(), ToString::to_string);
    details.set_quota_failure(vec![QuotaViolation::new(cut(&subject), told)]);
    let about: HashMap<String, String> = about.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    details.set_error_info("HOST_TABLE_FULL", DOMAIN, about);
    Status::with_error_details(Code::ResourceExhausted, cut(&violation.to_string()), details)
}

/// The status for a fence that is not in force yet.
fn still_member(still: &StillMember) -> Status {
    let named: Vec<&str> = still.behind.iter().take(NAMED_HOSTS).map(HostName::as_str).collect();
    let more = still.behind.len().saturating_sub(named.len());
    let who = match (named.is_empty(), more) {
        // A tenant is not told which hosts there are.
        (true, _) => "not all hosts of the network know that yet".to_owned(),
        (false, 0) => format!("{} have yet to apply that", named.join(", ")),
        (false, more) => format!("{} and {more} more have yet to apply that", named.join(", ")),
    };
    let text = format!(
        "{} is on {}, which was fenced, and {who}; until then its addresses are not used again: try again later, or fence those that \
         do not come back",
        still.name, still.host
    );
    let violation = PreconditionViolation::new("FENCE_PENDING", cut(still.host.as_str()), cut(&text));
    let details = ErrorDetails::with_precondition_failure(vec![violation]);
    Status::with_error_details(Code::FailedPrecondition, cut(&text), details)
}

/// The status for a condition that does not hold any more.
fn changed(name: &AnyName, etag: String) -> Status {
    let text = format!("{name} is not as the etag says; read it again, and decide again");
    let about = HashMap::from([("name".to_owned(), cut(name.as_str())), ("etag".to_owned(), etag)]);
    Status::with_error_details(Code::Aborted, text, ErrorDetails::with_error_info("ETAG_MISMATCH", DOMAIN, about))
}

fn resource_info(name: &str) -> ErrorDetails {
    let kind = name.parse::<AnyName>().map(|name| name.kind().name()).unwrap_or_default();
    ErrorDetails::with_resource_info(format!("andromede.v1.{kind}"), cut(name), "", "")
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
    let text = format!("{:?} does not exist; list what does with `andromedectl get`", cut(name));
    Status::with_error_details(Code::NotFound, text, resource_info(name))
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
