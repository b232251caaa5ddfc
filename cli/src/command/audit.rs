//! `andromedectl audit`: does the history hold together?

use andromede_proto::v1::{VerifyCommitsRequest, VerifyCommitsResponse, history_service_client::HistoryServiceClient};
use clap::{Args, Subcommand};

use crate::{connection::Connection, failure::Failure, output::Format, terminal};

/// Checks the history.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check that each commit follows from the one before it
    #[command(
        after_help = "It prints the last revision and its sum. Keep them where nobody who can write the store can write:\n\
        with --since, nothing up to then can have been changed, not even with all sums made anew.\n\n\
        Examples:\n  andromedectl audit verify\n  andromedectl audit verify --since 4711:0123456789abcdef..."
    )]
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    /// A revision and its sum, as this command printed them before
    #[arg(long, value_name = "REVISION:SUM", value_parser = remembered)]
    since: Option<(u64, String)>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

fn remembered(text: &str) -> Result<(u64, String), String> {
    let (revision, sum) = text.split_once(':').ok_or("write REVISION:SUM")?;
    let revision = revision.parse().ok().filter(|revision| *revision > 0).ok_or("a revision is 1 or more")?;
    if sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("a sum has 64 hexadecimal digits".to_owned());
    }
    Ok((revision, sum.to_ascii_lowercase()))
}

impl Audit {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let AuditCommand::Verify(Verify { since, output }) = &self.command;
        let revision = since.as_ref().map_or(0, |(revision, _)| *revision);
        let mut client = HistoryServiceClient::new(connection.dial().await?);
        let answer = client.verify_commits(VerifyCommitsRequest { revision }).await?.into_inner();
        if let Some(text) = output.machine(&answer)? {
            terminal::print(&text)?;
        } else {
            terminal::print(&format!(
                "commits   {} to {}\nremember  {}:{}\n",
                answer.first_revision, answer.last_revision, answer.last_revision, answer.sum
            ))?;
        }
        match wrong(&answer, since.as_ref()) {
            Some(wrong) => Err(Failure::Refused(wrong)),
            None => Ok(()),
        }
    }
}

/// What is wrong with the history.
fn wrong(answer: &VerifyCommitsResponse, since: Option<&(u64, String)>) -> Option<String> {
    if answer.broken_revision != 0 {
        let revision = answer.broken_revision;
        return Some(format!(
            "commit {revision} does not follow from the one before it: one of them was changed, or one between was taken out"
        ));
    }
    let (revision, sum) = since?;
    match answer.sum_at_revision.as_str() {
        found if found == sum => None,
        "" => Some(format!("commit {revision} is not kept any more, or not there: its sum cannot be compared")),
        found => Some(format!("commit {revision} has the sum {found}, not {sum}: the history up to it was changed")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_broken_or_another_history_is_told() {
        let sum = "ab".repeat(32);
        let since = remembered(&format!("7:{}", sum.to_uppercase())).unwrap();
        let good = VerifyCommitsResponse { sum_at_revision: sum, ..VerifyCommitsResponse::default() };
        assert_eq!(wrong(&good, Some(&since)), None);
        assert_eq!(wrong(&good, None), None);
        for bad in [
            VerifyCommitsResponse { broken_revision: 3, ..good.clone() },
            VerifyCommitsResponse { sum_at_revision: "cd".repeat(32), ..good.clone() },
            VerifyCommitsResponse { sum_at_revision: String::new(), ..good },
        ] {
            assert!(wrong(&bad, Some(&since)).is_some(), "{bad:?}");
        }
        for text in ["", "7", "7:ab", "0:", &format!("x:{}", "ab".repeat(32))] {
            assert!(remembered(text).is_err(), "{text:?}");
        }
    }
}
