//! `andromedectl flows`.

use std::time::Duration;

use andromede_proto::v1::{Flow, ListFlowsRequest, ListFlowsResponse};
use clap::Args;

use super::{as_far_as, asking::Asking, drops::rule, endpoint, protocol, tell_silent};
use crate::{
    connection::Connection,
    duration,
    failure::Failure,
    output::Format,
    scope::{Scope, last, short},
    terminal,
};

/// Shows the connections that hosts track.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  andromedectl flows -n mairie/intranet\n  \
                        andromedectl flows --port mairie/intranet/web -o wide\n  andromedectl flows --host h1 -o json")]
pub(crate) struct Flows {
    /// Only those of this host
    #[arg(long)]
    host: Option<String>,
    /// Only those of this port
    #[arg(short, long)]
    port: Option<String>,
    /// At most this many of each host
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    scope: Scope,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Flows {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let asking = Asking::new(connection, &self.scope, self.host.as_deref(), self.port.as_deref()).await?;
        let Asking { host, port, networks, mut client } = asking;
        let network = networks.only().to_owned();
        let request = ListFlowsRequest { host, network, port, limit: self.limit };
        let mut answer = client.list_flows(request).await?.into_inner();
        answer.flows.retain(|flow| networks.contain(&flow.network));
        tell_silent(&answer.errors);
        terminal::print(&told(&answer, self.output)?)
    }
}

/// Connections in the form that was asked for.
pub(super) fn told(answer: &ListFlowsResponse, format: Format) -> Result<String, Failure> {
    Ok(match format.machine(answer)? {
        Some(text) => text,
        None if answer.flows.is_empty() => format!("no connections{}\n", as_far_as(&answer.errors)),
        None => table(&answer.flows, format == Format::Wide),
    })
}

fn table(flows: &[Flow], wide: bool) -> String {
    let rows = flows.iter().map(|flow| {
        let mut row = vec![
            last(&flow.host).to_owned(),
            short(&flow.network),
            protocol(flow.protocol),
            endpoint(flow.protocol, &flow.initiator, flow.initiator_port),
            endpoint(flow.protocol, &flow.answerer, flow.answerer_port),
            if flow.stale { format!("{},stale", flow.state) } else { flow.state.clone() },
            duration::show(Duration::from_nanos(flow.idle_nanos)),
        ];
        if wide {
            row.extend([
                rule(&flow.egress_rule, true),
                rule(&flow.ingress_rule, true),
                flow.remote.clone(),
                format!("{:016x}", flow.connection),
            ]);
        }
        row
    });
    let mut titles = vec!["HOST", "NETWORK", "PROTO", "INITIATOR", "ANSWERER", "STATE", "IDLE"];
    if wide {
        titles.extend(["EGRESS RULE", "INGRESS RULE", "REMOTE", "CONNECTION"]);
    }
    terminal::table(&titles, rows.collect())
}
