//! `andromedectl log`: what rules with `log` let pass and refused.

use std::{collections::BTreeMap, time::Duration};

use andromede_proto::v1::{
    Action, Direction, ListRuleEventsRequest, ListRuleEventsResponse, LostRuleEvents, RuleEvent,
};
use clap::{Args, ValueEnum};

use super::{
    as_far_as,
    asking::Asking,
    drops::{moment, rule},
    endpoint, protocol, tell_silent,
};
use crate::{
    connection::Connection,
    duration,
    failure::Failure,
    output::Format,
    scope::{Networks, Scope, last, short},
    terminal,
};

/// Shows what rules with `log` let pass and refused.
#[derive(Debug, Args)]
#[command(
    after_help = "A rule reports each new connection that it lets be, and each packet that it refuses, if it says `log: true`.\n\
                        The rules of a port report 100 times a second at most; what is more is counted, and told as lost.\n\n\
                        Examples:\n  andromedectl log -n mairie/intranet\n  \
                        andromedectl log -f --port mairie/intranet/web --verdict deny\n  \
                        andromedectl log -f --rule servers/ssh -o json | jq -r .source"
)]
pub(crate) struct Log {
    /// Only what happened on this host
    #[arg(long)]
    host: Option<String>,
    /// Only the rules of this port
    #[arg(short, long)]
    port: Option<String>,
    /// Only this rule: "ssh", or "servers/ssh" with its group
    #[arg(short, long)]
    rule: Option<String>,
    /// Only what was let pass, or what was refused
    #[arg(long, value_enum)]
    verdict: Option<Verdict>,
    /// Go on with what happens after what hosts remember
    #[arg(short, long)]
    follow: bool,
    /// Time between two looks
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    interval: Duration,
    #[command(flatten)]
    scope: Scope,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdict {
    /// A new connection that passed
    Allow,
    /// A packet that was refused
    Deny,
}

impl Log {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let asking = Asking::new(connection, &self.scope, self.host.as_deref(), self.port.as_deref()).await?;
        let Asking { host, port, networks, mut client } = asking;
        let mut request = ListRuleEventsRequest { host, port, after: BTreeMap::new() };
        let mut lost = Lost::default();
        let mut silent = Vec::new();
        let mut has_told = false;
        loop {
            let answer = client.list_rule_events(request.clone()).await?.into_inner();
            for event in &answer.events {
                request.after.insert(event.host.clone(), event.sequence.max(after(&request, &event.host)));
            }
            let answer = self.narrowed(answer, &networks);
            if !self.follow {
                tell_silent(&answer.errors);
                lost.tell(&answer.lost);
                return terminal::print(&told(&answer, self.output)?);
            }
            lost.tell(&answer.lost);
            if answer.errors != silent {
                tell_silent(&answer.errors);
                silent.clone_from(&answer.errors);
            }
            if !answer.events.is_empty() {
                terminal::print(&line_by_line(&answer.events, self.output, !has_told)?)?;
                has_told = true;
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// What was asked for.
    fn narrowed(&self, mut answer: ListRuleEventsResponse, networks: &Networks) -> ListRuleEventsResponse {
        answer.events.retain(|event| {
            networks.contain(&event.network)
                && self.rule.as_deref().is_none_or(|wanted| is_rule(event, wanted))
                && self.verdict.is_none_or(|wanted| (event.action() == Action::Allow) == (wanted == Verdict::Allow))
        });
        answer.lost.retain(|lost| {
            if lost.port.is_empty() {
                return true;
            }
            let network = lost.port.rsplit_once("/ports/").map_or("", |(network, _)| network);
            networks.contain(network)
        });
        answer
    }
}

fn after(request: &ListRuleEventsRequest, host: &str) -> u64 {
    request.after.get(host).copied().unwrap_or(0)
}

/// Is this the rule that is meant: by its name, or by group and name?
fn is_rule(event: &RuleEvent, wanted: &str) -> bool {
    event.rule == wanted || last(&event.rule) == wanted
}

/// What is known to be lost: told when it becomes more.
#[derive(Default)]
struct Lost(BTreeMap<(String, String), u64>);

impl Lost {
    fn tell(&mut self, answer: &[LostRuleEvents]) {
        for LostRuleEvents { host, port, events } in answer {
            if port.is_empty() {
                terminal::remark(&format!("{events} events of {} were forgotten before this look", last(host)));
                continue;
            }
            let before = self.0.insert((host.clone(), port.clone()), *events).unwrap_or(0);
            let more = events.saturating_sub(before);
            if more > 0 {
                let (host, port) = (last(host), short(port));
                terminal::remark(&format!("{more} events of {port} on {host} are missing: there were too many"));
            }
        }
    }
}

/// Events in the form that was asked for.
pub(super) fn told(answer: &ListRuleEventsResponse, format: Format) -> Result<String, Failure> {
    Ok(match format.machine(answer)? {
        Some(text) => text,
        None if answer.events.is_empty() => {
            format!("no rule with `log` decided lately{}\n", as_far_as(&answer.errors))
        }
        None => table(&answer.events, format == Format::Wide, true),
    })
}

/// The same, to be gone on with: one JSON object a line, YAML documents, or rows of a table that has its titles already.
fn line_by_line(events: &[RuleEvent], format: Format, titles: bool) -> Result<String, Failure> {
    match format {
        Format::Json => {
            events.iter().map(|event| Ok(andromede_proto::json::to_json(event)?.to_string() + "\n")).collect()
        }
        Format::Yaml => {
            let documents =
                events.iter().map(|event| Ok(format!("---\n{}", format.machine(event)?.unwrap_or_default())));
            documents.collect()
        }
        Format::Table | Format::Wide | Format::Name => Ok(table(events, format == Format::Wide, titles)),
    }
}

fn table(events: &[RuleEvent], wide: bool, titles: bool) -> String {
    let rows = events.iter().map(|event| {
        let mut row = vec![
            moment(event.time_unix_nanos),
            last(&event.host).to_owned(),
            short(if event.port.is_empty() { &event.network } else { &event.port }),
            if event.direction() == Direction::Egress { "egress" } else { "ingress" }.to_owned(),
            if event.action() == Action::Allow { "allow" } else { "deny" }.to_owned(),
            rule(&event.rule, wide),
            packet(event),
        ];
        if wide {
            let connection = if event.connection == 0 { String::new() } else { format!("{:016x}", event.connection) };
            row.extend([event.rule_number.to_string(), event.length.to_string(), connection]);
        }
        row
    });
    let mut header = vec!["TIME (UTC)", "HOST", "PORT", "DIRECTION", "VERDICT", "RULE", "PACKET"];
    if wide {
        header.extend(["RULE NO", "BYTES", "CONNECTION"]);
    }
    let text = terminal::table(&header, rows.collect());
    match text.split_once('\n') {
        Some((_, rows)) if !titles => rows.to_owned(),
        _ => text,
    }
}

/// "tcp 10.0.0.11:49152 > 10.0.0.12:80", or "icmp 10.0.0.11 > 10.0.0.12 type 8 code 0".
fn packet(event: &RuleEvent) -> String {
    let end = |address: &str, port: u32| endpoint(event.protocol, address, port);
    let ends = format!(
        "{} {} > {}",
        protocol(event.protocol),
        end(&event.source, event.source_port),
        end(&event.destination, event.destination_port)
    );
    match (event.icmp_type, event.icmp_code) {
        (Some(kind), Some(code)) => format!("{ends} type {kind} code {code}"),
        _ => ends,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn event() -> RuleEvent {
        RuleEvent {
            host: "hosts/h1".into(),
            time_unix_nanos: 1_500_000_000,
            port: "tenants/mairie/networks/intranet/ports/web".into(),
            network: "tenants/mairie/networks/intranet".into(),
            rule: "servers/ssh".into(),
            direction: Direction::Ingress.into(),
            action: Action::Deny.into(),
            protocol: 6,
            source: "10.0.0.11".into(),
            source_port: 49152,
            destination: "10.0.0.12".into(),
            destination_port: 22,
            ..RuleEvent::default()
        }
    }

    #[test]
    fn an_event_is_a_line() {
        let text = line_by_line(&[event()], Format::Table, false).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let expected = "1970-01-01 00:00:01.500 h1 mairie/intranet/web ingress deny servers/ssh tcp 10.0.0.11:49152 > 10.0.0.12:22";
        assert_eq!(words.join(" "), expected);
        let echo = RuleEvent { protocol: 58, icmp_type: Some(128), icmp_code: Some(0), ..event() };
        assert!(packet(&echo).ends_with("type 128 code 0"), "{}", packet(&echo));
        let json = line_by_line(&[event(), event()], Format::Json, true).unwrap();
        assert_eq!(json.lines().count(), 2);
        let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!((&first["action"], &first["rule"]), (&"ACTION_DENY".into(), &"servers/ssh".into()));
    }

    #[test]
    fn a_rule_is_meant_by_its_name_or_with_its_group() {
        assert!(is_rule(&event(), "ssh") && is_rule(&event(), "servers/ssh"));
        assert!(!is_rule(&event(), "clients/ssh") && !is_rule(&event(), "sh"));
    }
}
