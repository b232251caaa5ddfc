//! `andromedectl status`.

use std::time::Duration;

use andromede_proto::v1::{GetStatusResponse, HostState, HostStatus};
use clap::Args;
use time::OffsetDateTime;

use super::subnets;
use crate::{
    connection::Connection,
    duration,
    failure::Failure,
    output::Format,
    scope::last,
    terminal::{self, Palette},
    wait::{self, Wait},
};

/// Shows how far every host is: what it should have applied, and what it has.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl status\n  andromedectl status --watch\n  \
                        andromedectl status --wait=all --wait-timeout 5m\n  \
                        andromedectl status -o json | jq '.hosts[] | select(.connected | not) | .host'")]
pub(crate) struct Status {
    /// Show it again and again
    #[arg(short, long)]
    watch: bool,
    /// Time between two pictures
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    interval: Duration,
    #[command(flatten)]
    wait: Wait,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Status {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let channel = connection.dial().await?;
        if self.wait.wanted() {
            return self.wait.run(connection, &channel, 0).await;
        }
        loop {
            let status = wait::status(&channel).await?;
            let text = self.told(&status, palette)?;
            if !self.watch {
                return terminal::print(&text);
            }
            terminal::print(&format!("{}{text}", terminal::clear()))?;
            tokio::time::sleep(self.interval).await;
        }
    }

    fn told(&self, status: &GetStatusResponse, palette: Palette) -> Result<String, Failure> {
        if let Some(text) = self.output.machine(status)? {
            return Ok(text);
        }
        if self.output == Format::Name {
            return Ok(terminal::lines(status.hosts.iter().map(|host| host.host.as_str())));
        }
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let titles = ["HOST", "STATE", "WANTED", "APPLIED", "LAG", "PORTS", "AGENT", "HEARD", "ERROR"];
        let rows = status.hosts.iter().map(|host| row(host, now)).collect();
        let table = terminal::table(&titles, rows);
        let mut lines = table.lines();
        let header = palette.strong(lines.next().unwrap_or_default());
        let hosts = lines.zip(&status.hosts).map(|(line, host)| painted(palette, line, host));
        let lines: Vec<String> = std::iter::once(header).chain(hosts).collect();
        let (summary, subnets) = (wait::summary(status, status.revision, palette), subnets::filling(status, palette));
        Ok(format!("{}\n{summary}\n{subnets}", lines.join("\n")))
    }
}

/// A host that is as it should be needs no colour.
fn painted(palette: Palette, line: &str, host: &HostStatus) -> String {
    match state(host) {
        "in-force" => line.to_owned(),
        "fenced" => palette.faint(line),
        "pending" => palette.pending(line),
        _ => palette.bad(line),
    }
}

fn row(host: &HostStatus, now: i64) -> Vec<String> {
    vec![
        last(&host.host).to_owned(),
        state(host).to_owned(),
        host.wanted_revision.to_string(),
        host.applied_revision.to_string(),
        host.wanted_revision.saturating_sub(host.applied_revision).to_string(),
        format!("{}/{}", host.ports_attached, host.ports),
        host.version.clone(),
        terminal::ago(host.last_seen_seconds, now),
        host.error.lines().next().unwrap_or_default().to_owned(),
    ]
}

/// One word for where a host stands.
pub(super) fn state(host: &HostStatus) -> &'static str {
    if host.state() == HostState::Fenced {
        return "fenced";
    }
    match (host.connected, host.error.is_empty(), host.applied_revision >= host.wanted_revision) {
        (false, ..) if host.last_seen_seconds == 0 => "never-seen",
        (false, ..) => "away",
        (true, false, _) => "failing",
        (true, true, true) => "in-force",
        (true, true, false) => "pending",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_away_is_not_called_in_force() {
        let mut host = HostStatus { connected: true, last_seen_seconds: 9, ..Default::default() };
        assert_eq!(state(&host), "in-force");
        host.wanted_revision = 2;
        assert_eq!(state(&host), "pending");
        host.error = "no memory".into();
        assert_eq!(state(&host), "failing");
        host.connected = false;
        assert_eq!(state(&host), "away");
        host.last_seen_seconds = 0;
        assert_eq!(state(&host), "never-seen");
        host.set_state(HostState::Fenced);
        assert_eq!(state(&host), "fenced");
    }
}
