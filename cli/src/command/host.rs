//! `andromedectl host`: workloads of the host on which it runs, through the agent's unix socket; and by the controller tokens by which
//! hosts join, and what each may be used for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use andromede_proto::{
    local::v1::{
        AttachPortRequest, AttachPortResponse, DetachPortRequest, GetHostStatusRequest, GetHostStatusResponse,
        local_service_client::LocalServiceClient,
    },
    v1::{HostState, ListDropsRequest, ListFlowsRequest, ListRuleEventsRequest, ListRuleHitsRequest},
};
use clap::{Args, Subcommand};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Response,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use super::{
    drops, flows, hits, host_metrics,
    lifecycle::{Removal, Target},
    log,
    token::Token,
};
use crate::{
    connection::Connection,
    failure::{Failure, unreachable},
    kind::Kind,
    output::Format,
    resources::MAX_ANSWER,
    scope::{Scope, short, whole},
    terminal::{self, Palette},
};

/// Where `ip netns` keeps the namespaces that have names.
const NAMED_NAMESPACES: &str = "/run/netns";

/// Attaches workloads on this host, through its agent, for root; lets hosts join, drains, fences and removes them.
#[derive(Debug, Args)]
pub(crate) struct Host {
    #[command(subcommand)]
    command: HostCommand,
    /// Socket of the agent
    #[arg(
        long,
        global = true,
        env = "ANDROMEDE_SOCKET",
        hide_env_values = true,
        default_value = "/run/andromede/agent.sock",
        value_name = "PATH"
    )]
    socket: PathBuf,
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum HostCommand {
    /// Make a workload's interface in its network namespace; the rules are in force before the link is up
    #[command(
        after_help = "Doing it again changes nothing.\n\nExamples:\n  andromedectl host attach mairie/intranet/web --netns web\n  \
                      andromedectl host attach web -n mairie/intranet --netns /proc/4711/ns/net --interface eth1"
    )]
    Attach(Attach),
    /// Remove a workload's interface
    #[command(after_help = "Examples:\n  andromedectl host detach mairie/intranet/web")]
    Detach(Detach),
    /// Show what the agent of this host does
    #[command(after_help = "Examples:\n  andromedectl host status\n  \
                            andromedectl host status --socket /run/andromede/h1.sock -o json")]
    Status,
    /// Write numbers about this host in Prometheus' text format, for the textfile collector of a node exporter
    #[command(
        after_help = "The agent serves no metrics: nobody but root asks it anything.\n\nExamples:\n  andromedectl host metrics\n  \
                            andromedectl host metrics | sponge /var/lib/prometheus/node-exporter/andromede.prom"
    )]
    Metrics,
    /// Show what this host dropped, without a controller
    #[command(after_help = "Examples:\n  andromedectl host drops --recent\n  \
                            andromedectl host drops --port mairie/intranet/web")]
    Drops(Drops),
    /// Show the connections that this host tracks, without a controller
    #[command(after_help = "Examples:\n  andromedectl host flows -o wide")]
    Flows(Flows),
    /// Show what rules with `log` let pass and refused at this host, without a controller
    #[command(
        after_help = "Examples:\n  andromedectl host log\n  andromedectl host log --port mairie/intranet/web -o wide"
    )]
    Log(Log),
    /// Show how often rules decided on this host, without a controller
    #[command(after_help = "Examples:\n  andromedectl host hits -o wide")]
    Hits,
    /// Let a host join: make a token for it, by the controller
    Token(Token),
    /// Place nothing new on a host, by the controller, and tell what is on it
    #[command(after_help = "Moving what is there is the affair of whoever runs the workloads.\n\nExamples:\n  \
                            andromedectl host drain h1\n  andromedectl host activate h1")]
    Drain(Target),
    /// Place on a host again what was not while it was draining, by the controller
    #[command(after_help = "Examples:\n  andromedectl host activate h1")]
    Activate(Target),
    /// Take a host out of all networks for good, whatever is on it, and its certificate with it, by the controller
    #[command(
        after_help = "For a host that is broken, stolen, or answers nobody: its peers take no packet of it any more and send it none. \
                            What is on it is moved or deleted once they all know.\n\nExamples:\n  \
                            andromedectl host fence h1 --wait=all\n  \
                            andromedectl host fence h1 --wait=all && andromedectl host remove h1 --release"
    )]
    Fence(Target),
    /// Delete a host, and what is on it, by the controller
    #[command(after_help = "Examples:\n  andromedectl host remove h1 --release --dry-run\n  \
                            andromedectl host remove h1 --release --wait")]
    Remove(Removal),
}

#[derive(Debug, Args)]
struct Attach {
    #[command(flatten)]
    port: PortArgument,
    /// Network namespace of the workload: a name as in `ip netns`, or a path
    #[arg(long)]
    netns: String,
    /// Name of the interface in it
    #[arg(long, default_value = "eth0")]
    interface: String,
}

#[derive(Debug, Args)]
struct Detach {
    #[command(flatten)]
    port: PortArgument,
}

#[derive(Debug, Args)]
struct Drops {
    /// Only those at this port: mairie/intranet/web
    #[arg(short, long)]
    port: Option<String>,
    /// Show the last dropped packets, one by one, instead of the counts
    #[arg(long)]
    recent: bool,
}

#[derive(Debug, Args)]
struct Flows {
    /// Only those of this port: mairie/intranet/web
    #[arg(short, long)]
    port: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, Args)]
struct Log {
    /// Only the rules of this port: mairie/intranet/web
    #[arg(short, long)]
    port: Option<String>,
}

/// A port: `host attach mairie/intranet/web`, or `host attach --port mairie/intranet/web`.
#[derive(Debug, Args)]
struct PortArgument {
    /// Port; it must be placed on this host
    #[arg(required_unless_present = "named")]
    port: Option<String>,
    /// The same, as a flag
    #[arg(long = "port", id = "named", value_name = "PORT", conflicts_with = "port")]
    named: Option<String>,
    #[command(flatten)]
    scope: Scope,
}

impl Host {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection, palette: Palette) -> Result<(), Failure> {
        let timeout = connection.timeout();
        // What is wrong with the arguments is told before anybody is dialled.
        let text = match &self.command {
            HostCommand::Token(token) => return token.run(connection).await,
            HostCommand::Drain(target) => return target.set(HostState::Draining, connection, self.output).await,
            HostCommand::Activate(target) => return target.set(HostState::Active, connection, self.output).await,
            HostCommand::Fence(target) => return target.set(HostState::Fenced, connection, self.output).await,
            HostCommand::Remove(removal) => return removal.run(connection, self.output, palette).await,
            HostCommand::Attach(attach) => {
                let request = AttachPortRequest {
                    port: attach.port.name()?,
                    netns: namespace(&attach.netns),
                    interface: attach.interface.clone(),
                };
                let answer = self.dial(timeout).await?.attach_port(request.clone()).await?.into_inner();
                self.output.machine(&answer)?.unwrap_or_else(|| attached(&request, &answer))
            }
            HostCommand::Detach(detach) => {
                let port = detach.port.name()?;
                let request = DetachPortRequest { port: port.clone() };
                let answer = self.dial(timeout).await?.detach_port(request).await?.into_inner();
                self.output.machine(&answer)?.unwrap_or_else(|| format!("port {port} detached\n"))
            }
            HostCommand::Status => {
                let answer = self.dial(timeout).await?.get_host_status(GetHostStatusRequest {}).await?.into_inner();
                self.output.machine(&answer)?.unwrap_or_else(|| status(&answer))
            }
            HostCommand::Metrics => {
                let mut agent = self.dial(timeout).await?;
                let status = agent.get_host_status(GetHostStatusRequest {}).await?.into_inner();
                // Until its programs are loaded there is nothing to drop.
                let drops = agent.list_drops(ListDropsRequest::default()).await.map(Response::into_inner);
                host_metrics::told(&status, &drops.unwrap_or_default())
            }
            HostCommand::Drops(drops) => {
                let request = ListDropsRequest { host: String::new(), port: whole_port(drops.port.as_deref())? };
                let mut answer = self.dial(timeout).await?.list_drops(request).await?.into_inner();
                drops::sort(&mut answer);
                drops::told(&answer, drops.recent, self.output)?
            }
            HostCommand::Flows(flows) => {
                let port = whole_port(flows.port.as_deref())?;
                let request = ListFlowsRequest { port, limit: flows.limit, ..ListFlowsRequest::default() };
                let answer = self.dial(timeout).await?.list_flows(request).await?.into_inner();
                flows::told(&answer, self.output)?
            }
            HostCommand::Log(log) => {
                let port = whole_port(log.port.as_deref())?;
                let request = ListRuleEventsRequest { port, ..ListRuleEventsRequest::default() };
                let answer = self.dial(timeout).await?.list_rule_events(request).await?.into_inner();
                log::told(&answer, self.output)?
            }
            HostCommand::Hits => {
                let answer = self.dial(timeout).await?.list_rule_hits(ListRuleHitsRequest::default()).await?;
                hits::told(&answer.into_inner(), self.output)?
            }
        };
        terminal::print(&text)
    }

    async fn dial(&self, timeout: Duration) -> Result<LocalServiceClient<Channel>, Failure> {
        let channel = dial(&self.socket, timeout).await?;
        Ok(LocalServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER))
    }
}

/// The whole name of a port that may be given.
fn whole_port(port: Option<&str>) -> Result<String, Failure> {
    port.map_or(Ok(String::new()), |port| whole(Kind::Port, port))
}

impl PortArgument {
    /// The whole name; the agent is not asked, so flags or name must suffice.
    fn name(&self) -> Result<String, Failure> {
        let port = self.port.as_ref().or(self.named.as_ref()).map_or("", String::as_str);
        if port.contains('/') {
            return whole(Kind::Port, port);
        }
        self.scope.without_asking(Kind::Port, port)?.ok_or_else(|| {
            Failure::Usage(format!(
                "{port:?}: which network? write mairie/intranet/{port}, or give --network mairie/intranet"
            ))
        })
    }
}

/// A name is one of `ip netns`; whatever has a slash is a path.
fn namespace(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("{NAMED_NAMESPACES}/{name}") }
}

async fn dial(socket: &Path, timeout: Duration) -> Result<Channel, Failure> {
    let path = socket.to_owned();
    let connector = service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The address is never dialled: the connector knows the socket.
    let endpoint = Endpoint::from_static("http://localhost").connect_timeout(timeout).timeout(timeout);
    endpoint.connect_with_connector(connector).await.map_err(|error| {
        let fix = "is the agent running, and are you root? --socket or ANDROMEDE_SOCKET says where it listens";
        unreachable(&format!("the agent's socket {}", socket.display()), &error, fix)
    })
}

fn attached(request: &AttachPortRequest, answer: &AttachPortResponse) -> String {
    format!(
        "port {} attached\n  interface  {} in {}\n  host side  {}\n  mac        {}\n  addresses  {}\n  mtu        {}\n",
        request.port,
        answer.interface,
        request.netns,
        answer.host_interface,
        answer.mac,
        answer.addresses.join(", "),
        answer.mtu
    )
}

fn status(answer: &GetHostStatusResponse) -> String {
    let session = if answer.connected { "connected" } else { "not connected: working from what it stored" };
    let mut text = format!(
        "host        {}\nagent       {}\ncontroller  {session}\napplied     revision {}\nattachment  {}\nprograms    {}\n",
        answer.host, answer.version, answer.applied_revision, answer.attachment, answer.programs
    );
    if !answer.error.is_empty() {
        text = text + "error       " + &answer.error + "\n";
    }
    if answer.ports.is_empty() {
        return text + "ports       none\n";
    }
    let rows = answer.ports.iter().map(|port| {
        vec![
            short(&port.port),
            if port.attached { "yes" } else { "no" }.to_owned(),
            port.host_interface.clone(),
            port.netns.clone(),
            port.addresses.join(","),
            port.slot.to_string(),
        ]
    });
    text + "\n" + &terminal::table(&["PORT", "ATTACHED", "INTERFACE", "NAMESPACE", "ADDRESSES", "SLOT"], rows.collect())
}
