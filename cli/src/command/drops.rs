//! `andromedectl drops`.

use std::time::Duration;

use andromede_proto::v1::{DropCount, DropEvent, ListDropsRequest, ListDropsResponse};
use clap::Args;
use time::{OffsetDateTime, macros::format_description};

use super::{as_far_as, asking::Asking, endpoint, protocol, tell_silent};
use crate::{
    connection::Connection,
    duration,
    failure::Failure,
    output::Format,
    scope::{Networks, Scope, last, short},
    terminal,
};

/// Shows what was dropped, where and why.
#[derive(Debug, Args)]
#[command(after_help = "The reasons are explained in docs/drop-reasons.md, with what to look at for each.\n\n\
                        Examples:\n  andromedectl drops\n  andromedectl drops --watch --network mairie/intranet\n  \
                        andromedectl drops --port mairie/intranet/web --recent\n  \
                        andromedectl drops --host h1 -o json | jq '.counts[] | select(.reason == \"ingress-rule\")'")]
pub(crate) struct Drops {
    /// Only those of this host
    #[arg(long)]
    host: Option<String>,
    /// Only those at this port
    #[arg(short, long)]
    port: Option<String>,
    /// Only those for this reason, for example ingress-rule
    #[arg(short, long)]
    reason: Option<String>,
    /// Show the last dropped packets, one by one, instead of the counts
    #[arg(long)]
    recent: bool,
    /// Show what is dropped from now on, again and again
    #[arg(short, long)]
    watch: bool,
    /// Time between two looks
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    interval: Duration,
    #[command(flatten)]
    scope: Scope,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Drops {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let asking = Asking::new(connection, &self.scope, self.host.as_deref(), self.port.as_deref()).await?;
        let Asking { host, port, networks, mut client } = asking;
        let request = ListDropsRequest { host, port };
        let mut before: Option<ListDropsResponse> = None;
        loop {
            let answer = client.list_drops(request.clone()).await?.into_inner();
            let answer = self.narrowed(answer, &networks);
            if !self.watch {
                tell_silent(&answer.errors);
                return terminal::print(&told(&answer, self.recent, self.output)?);
            }
            match &before {
                None => terminal::remark("watching what is dropped from now on; Ctrl-C ends it"),
                Some(before) => {
                    let new = since(before, &answer);
                    if !new.counts.is_empty() || self.recent && !new.recent.is_empty() {
                        terminal::print(&told(&new, self.recent, self.output)?)?;
                    }
                }
            }
            before = Some(answer);
            tokio::time::sleep(self.interval).await;
        }
    }

    /// What was asked for.
    fn narrowed(&self, mut answer: ListDropsResponse, networks: &Networks) -> ListDropsResponse {
        let wanted = |in_network: &str, reason: &str| {
            networks.contain(in_network) && self.reason.as_deref().is_none_or(|wanted| wanted == reason)
        };
        answer.counts.retain(|count| wanted(&count.network, &count.reason));
        answer.recent.retain(|event| wanted(&event.network, &event.reason));
        sort(&mut answer);
        answer
    }
}

/// Most packets first, and the latest packet last.
pub(super) fn sort(answer: &mut ListDropsResponse) {
    answer.counts.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.host.cmp(&b.host)));
    answer.recent.sort_by_key(|event| event.time_unix_nanos);
}

/// Counts, or the last packets one by one, in the form that was asked for.
pub(super) fn told(answer: &ListDropsResponse, one_by_one: bool, format: Format) -> Result<String, Failure> {
    if let Some(text) = format.machine(answer)? {
        return Ok(text);
    }
    let wide = format == Format::Wide;
    Ok(match (one_by_one, answer.recent.is_empty(), answer.counts.is_empty()) {
        (true, false, _) => recent(&answer.recent, wide),
        (false, _, false) => counts(&answer.counts, wide),
        (true, true, _) => format!("no packet was dropped lately{}\n", as_far_as(&answer.errors)),
        (false, _, true) => format!("nothing was dropped{}\n", as_far_as(&answer.errors)),
    })
}

/// What was dropped between two answers.
fn since(before: &ListDropsResponse, now: &ListDropsResponse) -> ListDropsResponse {
    let same = |a: &DropCount, b: &DropCount| {
        (&a.host, &a.port, &a.network, a.reason_number, a.rule_number)
            == (&b.host, &b.port, &b.network, b.reason_number, b.rule_number)
    };
    let counts = now.counts.iter().filter_map(|count| {
        let old = before.counts.iter().find(|old| same(old, count)).map_or(0, |old| old.packets);
        // Fewer than before: the tables were made anew, and all of them are new.
        let packets = count.packets.checked_sub(old).unwrap_or(count.packets);
        (packets > 0).then(|| DropCount { packets, ..count.clone() })
    });
    let recent = now.recent.iter().filter(|event| !before.recent.contains(event)).cloned();
    ListDropsResponse { counts: counts.collect(), recent: recent.collect(), errors: now.errors.clone() }
}

/// A table of counts.
pub(super) fn counts(counts: &[DropCount], wide: bool) -> String {
    let rows = counts.iter().map(|count| {
        let mut row = vec![
            last(&count.host).to_owned(),
            short(if count.port.is_empty() { &count.network } else { &count.port }),
            count.reason.clone(),
            rule(&count.rule, wide),
            count.packets.to_string(),
        ];
        if wide {
            row.extend([count.reason_number.to_string(), count.rule_number.to_string()]);
        }
        row
    });
    let mut titles = vec!["HOST", "PORT", "REASON", "RULE", "PACKETS"];
    if wide {
        titles.extend(["REASON NO", "RULE NO"]);
    }
    terminal::table(&titles, rows.collect())
}

fn recent(events: &[DropEvent], wide: bool) -> String {
    let rows = events.iter().map(|event| {
        let mut row = vec![
            moment(event.time_unix_nanos),
            last(&event.host).to_owned(),
            short(if event.port.is_empty() { &event.network } else { &event.port }),
            event.reason.clone(),
            rule(&event.rule, wide),
            packet(event),
        ];
        if wide {
            row.extend([event.hook.clone(), event.stage.clone(), event.length.to_string(), event.outer_source.clone()]);
        }
        row
    });
    let mut titles = vec!["TIME (UTC)", "HOST", "PORT", "REASON", "RULE", "PACKET"];
    if wide {
        titles.extend(["HOOK", "STAGE", "BYTES", "OUTER SOURCE"]);
    }
    terminal::table(&titles, rows.collect())
}

fn packet(event: &DropEvent) -> String {
    if event.source.is_empty() && event.destination.is_empty() {
        return if event.outer_source.is_empty() { String::new() } else { format!("from {}", event.outer_source) };
    }
    // A workload that has no address yet sends from none.
    let unspecified = if event.destination.contains(':') { "::" } else { "0.0.0.0" };
    let source = if event.source.is_empty() { unspecified } else { &event.source };
    format!(
        "{} {} > {}",
        protocol(event.protocol),
        endpoint(event.protocol, source, event.source_port),
        endpoint(event.protocol, &event.destination, event.destination_port)
    )
}

/// A rule's name without what the port's own name already says: "web/http".
pub(super) fn rule(name: &str, wide: bool) -> String {
    let mut parts = name.rsplitn(3, '/');
    match (wide, parts.next(), parts.next()) {
        (false, Some(rule), Some(group)) => format!("{group}/{rule}"),
        _ => name.to_owned(),
    }
}

/// Nanoseconds since 1970 as "2026-11-21 20:41:03.123".
pub(super) fn moment(nanos: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos))
        .ok()
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_else(|| nanos.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_shortened_only_where_they_have_a_group() {
        assert_eq!(rule("tenants/t/networks/n/securityGroups/web/http", false), "web/http");
        assert_eq!(rule("tenants/t/networks/n/securityGroups/web/http", true).len(), 44);
        assert_eq!(rule("default-ingress", false), "default-ingress");
        assert_eq!(rule("", false), "");
    }

    #[test]
    fn only_what_is_new_is_watched() {
        let count = |reason_number, packets| DropCount { reason_number, packets, ..Default::default() };
        let answer = |counts: Vec<DropCount>| ListDropsResponse { counts, ..Default::default() };
        let new = since(
            &answer(vec![count(1, 5), count(2, 5), count(3, 5)]),
            &answer(vec![count(1, 7), count(2, 5), count(3, 2), count(4, 1)]),
        );
        let told: Vec<(u32, u64)> = new.counts.iter().map(|count| (count.reason_number, count.packets)).collect();
        assert_eq!(told, [(1, 2), (3, 2), (4, 1)]);
    }

    #[test]
    fn packets_are_told_as_tcpdump_does() {
        let mut event = DropEvent {
            protocol: 6,
            source: "10.0.0.11".into(),
            source_port: 49152,
            destination: "10.0.0.12".into(),
            destination_port: 80,
            ..Default::default()
        };
        assert_eq!(packet(&event), "tcp 10.0.0.11:49152 > 10.0.0.12:80");
        event.protocol = 1;
        assert_eq!(packet(&event), "icmp 10.0.0.11 > 10.0.0.12");
        let listener = DropEvent { protocol: 58, destination: "ff02::16".into(), ..Default::default() };
        assert_eq!(packet(&listener), "icmpv6 :: > ff02::16");
        let stranger = DropEvent { outer_source: "198.51.100.7".into(), ..Default::default() };
        assert_eq!(packet(&stranger), "from 198.51.100.7");
        assert_eq!(moment(1_500_000_000), "1970-01-01 00:00:01.500");
    }
}
