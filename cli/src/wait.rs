//! Waiting until a revision is in force.

use std::time::{Duration, Instant};

use andromede_proto::v1::{
    GetStatusRequest, GetStatusResponse, HostInForce, HostState, HostStatus, InForce, WaitInForceRequest,
    fabric_service_client::FabricServiceClient,
};
use clap::{Args, ValueEnum};
use time::OffsetDateTime;

use crate::{
    bundle::count,
    connection::{Channel, Connection},
    duration,
    failure::Failure,
    terminal::{self, Palette},
};

/// Longest wait of one call; the server may wait longer, but a call must end before its time is over.
const LONGEST: Duration = Duration::from_mins(1);
/// Most hosts that are told.
const SHOWN: usize = 10;

/// Whether and how long to wait until a change is in force.
#[derive(Clone, Debug, Args)]
pub(crate) struct Wait {
    /// Wait until the change is in force: on the hosts that it concerns and that are connected ("live"), or on all that it concerns
    #[arg(long, value_name = "HOSTS", num_args = 0..=1, default_missing_value = "live", require_equals = true)]
    wait: Option<Hosts>,
    /// How long to wait for it
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    wait_timeout: Duration,
}

/// Whom to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Hosts {
    /// Hosts that it concerns and whose agent is connected
    Live,
    /// All hosts that it concerns
    All,
}

impl Wait {
    /// Was waiting asked for?
    pub(crate) fn wanted(&self) -> bool {
        self.wait.is_some()
    }

    /// Waits, if it was asked for, until what a revision changed is in force, and tells how it went. Revision 0: all so far.
    pub(crate) async fn run(&self, connection: &Connection, channel: &Channel, revision: u64) -> Result<(), Failure> {
        let Some(hosts) = self.wait else { return Ok(()) };
        let found = until(connection, channel, revision, hosts == Hosts::All, self.wait_timeout).await?;
        if found.in_force {
            return terminal::print(&format!("{}\n", told(&found)));
        }
        Err(Failure::Refused(format!("{} after {}{}", told(&found), duration::show(self.wait_timeout), behind(&found))))
    }
}

/// Waits until a revision is in force, or the time is over.
pub(crate) async fn until(
    connection: &Connection,
    channel: &Channel,
    revision: u64,
    all: bool,
    patience: Duration,
) -> Result<InForce, Failure> {
    let mut client = FabricServiceClient::new(channel.clone());
    let end = Instant::now() + patience;
    // Half of the time that a call may take is left for its way.
    let longest = (connection.timeout() / 2).min(LONGEST);
    loop {
        let left = end.saturating_duration_since(Instant::now()).min(longest);
        let timeout_seconds = u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or_default();
        let found = client.wait_in_force(WaitInForceRequest { revision, all, timeout_seconds }).await?.into_inner();
        if found.in_force || Instant::now() >= end {
            return Ok(found);
        }
    }
}

/// "revision 12: in force on 2 of 3 hosts, 1 out of touch".
fn told(found: &InForce) -> String {
    let of = found.applied.saturating_add(found.pending).saturating_add(found.out_of_touch);
    let what =
        if found.revision == 0 { "everything so far".to_owned() } else { format!("revision {}", found.revision) };
    let away = if found.out_of_touch == 0 { String::new() } else { format!(", {} out of touch", found.out_of_touch) };
    format!("{what}: in force on {} of {}{away}", found.applied, count(of as usize, "host"))
}

/// A line for each host that has yet to apply it, as far as the caller may know them.
fn behind(found: &InForce) -> String {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let line = |host: &HostInForce| {
        let heard = terminal::ago(host.last_seen_seconds, now);
        let state = if host.connected { "pending".to_owned() } else { format!("out of touch, heard of {heard}") };
        let error = if host.error.is_empty() { String::new() } else { format!(", {}", host.error) };
        format!("\n  {}: applied {}, {state}{error}", host.host, host.applied_revision)
    };
    found.hosts.iter().take(SHOWN).map(line).collect()
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
    // Hosts that were fenced are told nothing.
    let hosts: Vec<&HostStatus> = status.hosts.iter().filter(|host| host.state() != HostState::Fenced).collect();
    let done = hosts.iter().filter(|host| in_force(host, revision)).count();
    let text = format!("in force on {done} of {}", count(hosts.len(), "host"));
    let text = if done == hosts.len() { palette.good(&text) } else { palette.pending(&text) };
    let away = hosts.iter().filter(|host| !host.connected).count();
    let away = if away == 0 { String::new() } else { palette.bad(&format!(", {away} not connected")) };
    format!("revision {revision}: {text}{away}")
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
