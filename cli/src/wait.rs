//! Waiting until a revision is in force.

use std::time::{Duration, Instant};

use andromede_proto::v1::{
    GetStatusRequest, GetStatusResponse, HostStatus, fabric_service_client::FabricServiceClient,
};
use clap::{Args, ValueEnum};
use tonic::transport::Channel;

use crate::{
    bundle::count,
    duration,
    failure::Failure,
    terminal::{self, Palette},
};

/// Time between the first two questions; it doubles up to [`LONGEST_PAUSE`]: every question is about every host.
const PAUSE: Duration = Duration::from_millis(50);

/// Longest time between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whether and how long to wait until a change is in force.
#[derive(Clone, Debug, Args)]
pub(crate) struct Wait {
    /// Wait until the change is in force on the hosts that are connected ("live"), or on all that it concerns
    #[arg(long, value_name = "HOSTS", num_args = 0..=1, default_missing_value = "live", require_equals = true)]
    wait: Option<Hosts>,
    /// How long to wait for it
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    wait_timeout: Duration,
}

/// Whom to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Hosts {
    /// Hosts whose agent is connected
    Live,
    /// All hosts
    All,
}

impl Wait {
    /// Was waiting asked for?
    pub(crate) fn wanted(&self) -> bool {
        self.wait.is_some()
    }

    /// Waits, if it was asked for, and tells how it went.
    pub(crate) async fn run(&self, channel: &Channel, revision: u64, palette: Palette) -> Result<(), Failure> {
        let Some(hosts) = self.wait else { return Ok(()) };
        let end = Instant::now() + self.wait_timeout;
        let mut pause = PAUSE;
        loop {
            let status = status(channel).await?;
            let behind: Vec<&HostStatus> = status
                .hosts
                .iter()
                .filter(|host| (hosts == Hosts::All || host.connected) && !in_force(host, revision))
                .collect();
            if behind.is_empty() && status.revision >= revision {
                return terminal::print(&format!("{}\n", summary(&status, revision, palette)));
            }
            if Instant::now() >= end {
                let names: Vec<String> = behind.iter().take(10).map(|host| why_behind(host)).collect();
                return Err(Failure::Refused(format!(
                    "revision {revision} is not in force after {}: {} behind\n  {}",
                    duration::show(self.wait_timeout),
                    count(behind.len(), "host"),
                    names.join("\n  ")
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Wanted and applied of every host.
pub(crate) async fn status(channel: &Channel) -> Result<GetStatusResponse, Failure> {
    let mut client = FabricServiceClient::new(channel.clone()).max_decoding_message_size(crate::resources::MAX_ANSWER);
    Ok(client.get_status(GetStatusRequest {}).await?.into_inner())
}

/// Has the host applied all that concerns it, up to this revision?
pub(crate) fn in_force(host: &HostStatus, revision: u64) -> bool {
    host.error.is_empty() && host.applied_revision >= host.wanted_revision.min(revision)
}

/// "revision 12: in force on 3 of 3 hosts", and how many of them do not answer.
pub(crate) fn summary(status: &GetStatusResponse, revision: u64, palette: Palette) -> String {
    let done = status.hosts.iter().filter(|host| in_force(host, revision)).count();
    let text = format!("in force on {done} of {}", count(status.hosts.len(), "host"));
    let text = if done == status.hosts.len() { palette.good(&text) } else { palette.pending(&text) };
    let away = status.hosts.iter().filter(|host| !host.connected).count();
    let away = if away == 0 { String::new() } else { palette.bad(&format!(", {away} not connected")) };
    format!("revision {revision}: {text}{away}")
}

fn why_behind(host: &HostStatus) -> String {
    let state = if host.connected { "connected" } else { "not connected" };
    let error = if host.error.is_empty() { String::new() } else { format!(", {}", host.error) };
    format!("{}: applied {} of {}, {state}{error}", host.host, host.applied_revision, host.wanted_revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(wanted_revision: u64, applied_revision: u64, error: &str) -> HostStatus {
        HostStatus { wanted_revision, applied_revision, error: error.to_owned(), ..Default::default() }
    }

    #[test]
    fn a_host_need_only_apply_what_concerns_it() {
        assert!(in_force(&host(3, 3, ""), 9), "nothing since 3 concerns it");
        assert!(in_force(&host(12, 9, ""), 9), "it is behind, but has this one");
        assert!(!in_force(&host(9, 8, ""), 9));
        assert!(!in_force(&host(9, 9, "no memory"), 9));
    }
}
