//! `andromedectl trace`: a packet in words.

use std::{fmt::Write as _, net::IpAddr};

use andromede_proto::v1::{
    Resource, TraceRequest, TraceResponse, TraceStep, diagnostics_service_client::DiagnosticsServiceClient, resource,
};
use clap::Args;

use crate::{
    connection::{Channel, Connection},
    failure::Failure,
    kind::Kind,
    output::Format,
    resources::{self, MAX_ANSWER},
    scope::{Scope, last},
    terminal::{self, Palette},
};

/// Walks a packet through the rows of the real hosts, by the code that their kernels run.
///
/// No packet is sent. Each step tells what was looked for, what was found, and the rule that decided.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  andromedectl trace --from mairie/intranet/web --to 10.0.0.12 --proto tcp --dport 80\n  \
                        andromedectl trace --from web --to db -n mairie/intranet --proto udp --dport 53\n  \
                        andromedectl trace --from mairie/intranet/web --to fd00:10::12 -o json"
)]
pub(crate) struct Trace {
    /// Port that sends the packet
    #[arg(long, visible_alias = "port", alias = "src")]
    from: String,
    /// Destination: an address, or a port, whose first address is taken
    #[arg(long, visible_alias = "destination", alias = "dst")]
    to: String,
    /// Protocol: icmp (of the destination's family), tcp, udp, or a number; tcp where --dport is given
    #[arg(long, visible_alias = "protocol")]
    proto: Option<String>,
    /// Destination port of tcp and udp
    #[arg(long, visible_aliases = ["port-number", "destination-port"])]
    dport: Option<u16>,
    /// Source port of tcp and udp
    #[arg(long, visible_alias = "source-port", default_value_t = 49152)]
    sport: u16,
    /// Source address; the port's own by default, another one shows the source guard
    #[arg(long)]
    source: Option<IpAddr>,
    /// TCP flags as tcpdump writes them: S, S., ., P., F., R
    #[arg(long, visible_alias = "tcp-flags", default_value = "S")]
    flags: String,
    #[command(flatten)]
    scope: Scope,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Trace {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let protocol = self.protocol()?;
        let channel = connection.dial().await?;
        let port = self.scope.resolve(&channel, Kind::Port, &self.from).await?;
        let destination = self.destination(&channel, &port).await?;
        let title = self.title(&port, &destination, &protocol);
        let request = TraceRequest {
            port,
            destination,
            protocol,
            destination_port: self.dport.unwrap_or_default().into(),
            source_port: self.sport.into(),
            source: self.source.map(|address| address.to_string()).unwrap_or_default(),
            tcp_flags: self.flags.clone(),
        };
        let mut client = DiagnosticsServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let answer = client.trace(request).await?.into_inner();
        let text = match self.output.machine(&answer)? {
            Some(text) => text,
            None => format!("{}\n{}", palette.strong(&title), told(&answer, self.output == Format::Wide, palette)),
        };
        terminal::print(&text)
    }

    fn protocol(&self) -> Result<String, Failure> {
        let protocol = match (&self.proto, self.dport) {
            (Some(protocol), _) => protocol.to_lowercase(),
            (None, Some(_)) => "tcp".to_owned(),
            (None, None) => "icmp".to_owned(),
        };
        if matches!(protocol.as_str(), "tcp" | "udp" | "6" | "17") && self.dport.is_none() {
            return Err(Failure::Usage(format!("--proto {protocol} needs a destination port: --dport 80")));
        }
        Ok(protocol)
    }

    /// The address that was given, or the first one of the port that was named.
    async fn destination(&self, channel: &Channel, from: &str) -> Result<String, Failure> {
        if let Ok(address) = self.to.parse::<IpAddr>() {
            return Ok(address.to_string());
        }
        // A last part alone means a port of the sender's network.
        let network = from.rsplit_once("/ports/").map(|(network, _)| network.to_owned());
        let scope = Scope { tenant: None, network };
        let name = scope.resolve(channel, Kind::Port, &self.to).await?;
        match resources::get(channel, Kind::Port, &name).await? {
            Resource { kind: Some(resource::Kind::Port(port)) } if !port.addresses.is_empty() => {
                Ok(port.addresses.into_iter().next().unwrap_or_default())
            }
            _ => Err(Failure::Refused(format!("{name} has no address"))),
        }
    }

    fn title(&self, port: &str, destination: &str, protocol: &str) -> String {
        let service = self.dport.map(|dport| format!(" port {dport}")).unwrap_or_default();
        format!("{protocol} from {port} to {destination}{service}")
    }
}

/// The walk, stage by stage, and how it ended.
fn told(answer: &TraceResponse, wide: bool, palette: Palette) -> String {
    let mut text = String::new();
    let mut place = (String::new(), String::new());
    let mut stage = "";
    let width = answer.steps.iter().map(|step| step.stage.len()).max().unwrap_or_default();
    for step in &answer.steps {
        let here = (step.host.clone(), step.hook.clone());
        if here != place {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\n{}", palette.strong(&format!("{}, {}", last(&step.host), step.hook)));
            place = here;
            stage = "";
        }
        // A stage of several lookups is named once.
        let named = if step.stage == stage { "" } else { step.stage.as_str() };
        stage = &step.stage;
        let _ = writeln!(text, "  {}  {}", palette.strong(&format!("{named:width$}")), step.text);
        if let Some(used) = row(step, wide) {
            let _ = writeln!(text, "  {:width$}  {}", "", palette.faint(&used));
        }
    }
    let _ = writeln!(text, "\n{}", ending(answer, palette));
    if !answer.remedy.is_empty() {
        let _ = writeln!(text, "look at: {}", answer.remedy);
    }
    text
}

/// The row that a step used.
fn row(step: &TraceStep, wide: bool) -> Option<String> {
    match (step.table.as_str(), step.row.as_str()) {
        ("", _) => None,
        (table, "") => wide.then(|| format!("{table}: no row")),
        (table, row) => Some(format!("{table}: {row}")),
    }
}

fn ending(answer: &TraceResponse, palette: Palette) -> String {
    let rule = if answer.rule.is_empty() { String::new() } else { format!(" by {}", answer.rule) };
    if answer.outcome == "delivered" {
        return palette.good(&format!("delivered{rule}"));
    }
    let reason = if answer.reason.is_empty() { String::new() } else { format!(": {}", answer.reason) };
    palette.bad(&format!("{}{reason}{rule}", answer.outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::ColorChoice;

    #[test]
    fn a_walk_is_told_host_by_host() {
        let step = |host: &str, hook: &str, stage: &str, row: &str| TraceStep {
            host: format!("hosts/{host}"),
            hook: hook.into(),
            stage: stage.into(),
            text: format!("{stage} is done"),
            table: if row.is_empty() { String::new() } else { "locations".into() },
            row: row.into(),
        };
        let answer = TraceResponse {
            steps: vec![
                step("h1", "from_workload", "parse", ""),
                step("h1", "from_workload", "locate", "10.0.0.12 is on h2"),
                step("h1", "from_workload", "locate", ""),
                step("h2", "from_underlay", "ingress", ""),
            ],
            outcome: "dropped".into(),
            reason: "ingress-rule".into(),
            rule: "default-ingress".into(),
            rule_number: 2,
            remedy: "allow it".into(),
        };
        let expected = "
h1, from_workload
  parse    parse is done
  locate   locate is done
           locations: 10.0.0.12 is on h2
           locate is done

h2, from_underlay
  ingress  ingress is done

dropped: ingress-rule by default-ingress
look at: allow it
";
        assert_eq!(told(&answer, false, Palette::new(ColorChoice::Never)), expected);
    }
}
