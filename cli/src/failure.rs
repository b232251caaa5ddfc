//! What can go wrong, and the exit code that says so to scripts.

use std::{io, process::ExitCode};

use andromede_proto::json::JsonError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// What the command works with is wrong: a file, a certificate, a request that the other side refused.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers at the other end.
    #[error("{0}")]
    Unreachable(String),
    /// There is no such resource.
    #[error("{0}")]
    NotFound(String),
    /// Output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The other side sent what does not follow the schema.
    #[error("{0}")]
    Schema(#[from] JsonError),
}

impl Failure {
    /// A failure about a file, with its path.
    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::Refused(format!("{}: {error}", path.display()))
    }

    /// 1 refused or failed, 2 wrong usage, 3 unreachable, 4 not found; see `andromedectl --help`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Output(_) | Self::Schema(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::NotFound(_) => 4,
        })
    }

    /// Was the output closed by its reader, as `andromedectl get ports | head -1` does? Then all is well.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let number = number(&status);
        // What the other end sent has no source; what has one went wrong on the way.
        if let Some(source) = std::error::Error::source(&status) {
            return Self::Unreachable(format!(
                "the connection broke: {}; do both ends speak TLS, and do they trust the same authority?",
                whole_cause(source)
            ));
        }
        match status.code() {
            Code::NotFound => Self::NotFound(status.message().to_owned()),
            Code::Unavailable => Self::Unreachable(format!("no answer: {}", status.message())),
            Code::DeadlineExceeded | Code::Cancelled => {
                Self::Unreachable(format!("no answer in time ({}); raise --timeout", status.message()))
            }
            Code::Unauthenticated | Code::PermissionDenied => Self::Refused(format!(
                "not permitted: {}; the certificate (andromedectl pki show) or the token in use decides{number}",
                status.message()
            )),
            _ => Self::Refused(refusal(&status) + &number),
        }
    }
}

/// The number of the call, by which the controller's log tells of it; nothing if the answer has none.
fn number(status: &Status) -> String {
    let number = status.metadata().get("x-request-id").and_then(|number| number.to_str().ok());
    number.map(|number| format!("\nthe controller's log knows this as request {number}")).unwrap_or_default()
}

/// The violations that a status carries: field path and what is wrong.
pub(crate) fn violations(status: &Status) -> Vec<(String, String)> {
    let Some(request) = status.get_details_bad_request() else { return Vec::new() };
    request.field_violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

fn refusal(status: &Status) -> String {
    let violations = violations(status);
    if violations.is_empty() {
        return format!("refused: {}", status.message());
    }
    let lines: Vec<String> =
        violations.into_iter().map(|(field, description)| format!("  {field}: {description}")).collect();
    format!("refused:\n{}", lines.join("\n"))
}

/// The message of a status and of everything that caused it: "connection refused" is at the very end.
pub(crate) fn whole_cause(error: &dyn std::error::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // tonic's own words for every failure; the rest of the chain says which.
        if text != "transport error" && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

/// The other end could not be dialled.
pub(crate) fn unreachable(what: &str, error: &dyn std::error::Error, fix: &str) -> Failure {
    let cause = whole_cause(error);
    // What rustls says of the other end's certificate.
    let fix = if cause.contains("peer certificate") {
        "--tls-ca must be the authority that issued the other end's certificate, and that must name the address dialled"
    } else {
        fix
    };
    Failure::Unreachable(format!("{what} cannot be reached: {cause}; {fix}"))
}
