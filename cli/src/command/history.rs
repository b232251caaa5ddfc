//! `andromedectl history`, `diff` and `rollback`.

use andromede_proto::v1::{
    CommitSummary, DiffRequest, ListCommitsRequest, ListCommitsResponse, PlanRequest, RollbackRequest,
    history_service_client::HistoryServiceClient,
};
use clap::Args;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::plan::plan;
use crate::{
    change,
    connection::Connection,
    failure::Failure,
    output::Format,
    planned,
    resources::MAX_ANSWER,
    terminal::{self, Palette},
    wait::Wait,
};

/// Shows who changed what, the newest first.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  andromedectl history\n  andromedectl history tenants/mairie/networks/intranet\n  \
                        andromedectl history --limit 500 -o json | jq -r '.commits[].principal' | sort | uniq -c"
)]
pub(crate) struct History {
    /// Only commits that touch this resource or something in it: a whole name
    name: Option<String>,
    /// How many commits
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl History {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let mut client = HistoryServiceClient::new(connection.dial().await?).max_decoding_message_size(MAX_ANSWER);
        let request = ListCommitsRequest {
            page_size: self.limit,
            name: self.name.clone().unwrap_or_default(),
            ..ListCommitsRequest::default()
        };
        let answer: ListCommitsResponse = client.list_commits(request).await?.into_inner();
        if let Some(text) = self.output.machine(&answer)? {
            return terminal::print(&text);
        }
        if answer.commits.is_empty() {
            return terminal::print("no commits\n");
        }
        let titles = ["REVISION", "TIME", "BY", "METHOD", "WRITTEN", "DELETED", "RESOURCES"];
        terminal::print(&terminal::table(&titles, answer.commits.iter().map(row).collect()))
    }
}

fn row(commit: &CommitSummary) -> Vec<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(commit.time_unix_nanos)).ok();
    let time = time.and_then(|time| time.replace_nanosecond(0).ok()).and_then(|time| time.format(&Rfc3339).ok());
    let all = commit.written.saturating_add(commit.deleted) as usize;
    let names = match commit.names.first() {
        None => denied(commit).unwrap_or_else(|| "-".to_owned()),
        Some(first) if all == 1 => first.clone(),
        Some(first) => format!("{first} and {} more", all.saturating_sub(1)),
    };
    vec![
        commit.revision.to_string(),
        time.unwrap_or_default(),
        commit.principal.clone(),
        commit.method.clone(),
        commit.written.to_string(),
        commit.deleted.to_string(),
        names,
    ]
}

/// "3 of tenant-admin/a/x: HostService/GetHost, and 2 more kinds"; none, if the commit tells of no denied call.
fn denied(commit: &CommitSummary) -> Option<String> {
    let most = commit.denied.iter().max_by_key(|denied| denied.calls)?;
    let method = most.method.trim_start_matches("andromede.v1.");
    let more = match commit.denied.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(", and {more} more kinds"),
    };
    Some(format!("{} of {}: {method}{more}", most.calls, most.principal))
}

/// Shows what is different between two revisions.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl diff 41 42\n  andromedectl diff 41")]
pub(crate) struct Diff {
    /// Revision from which it looks
    from: u64,
    /// Revision to which it looks; the last if not given
    to: Option<u64>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Diff {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let mut client = HistoryServiceClient::new(connection.dial().await?).max_decoding_message_size(MAX_ANSWER);
        let request = DiffRequest { from_revision: self.from, to_revision: self.to.unwrap_or_default() };
        let answer = client.diff(request).await?.into_inner();
        let text = match self.output.machine(&answer)? {
            Some(text) => text,
            None if answer.changes.is_empty() => "no difference\n".to_owned(),
            None => planned::changes(&answer.changes, palette),
        };
        terminal::print(&text)
    }
}

/// Makes everything as it was at a revision, in a commit of its own.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl rollback --to 41 --dry-run\n  andromedectl rollback --to 41 --wait")]
pub(crate) struct Rollback {
    /// The revision whose resources shall be back
    #[arg(long, value_name = "REVISION")]
    to: u64,
    /// Tell what would be done, but change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: Wait,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Rollback {
    /// Runs the command: it plans, tells the plan, and does what was planned.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let channel = connection.dial().await?;
        let request = PlanRequest { rollback_to_revision: self.to, ..PlanRequest::default() };
        let planned = plan(&channel, request).await?;
        if self.dry_run {
            let text = match self.output.machine(&planned)? {
                Some(text) => text,
                None => planned::plan(&planned, palette),
            };
            return terminal::print(&text);
        }
        let mut client = HistoryServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let request =
            RollbackRequest { to_revision: self.to, planned_revision: planned.revision, ..RollbackRequest::default() };
        let answer = client.rollback(request).await?.into_inner();
        terminal::print(&change::told(&answer, false, self.output, palette)?)?;
        self.wait.run(connection, &channel, answer.revision).await
    }
}
