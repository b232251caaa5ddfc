//! `andromedectl host`: workloads of the host on which it runs, through the agent's unix socket.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use andromede_proto::local::v1::{
    AttachPortRequest, AttachPortResponse, DetachPortRequest, GetHostStatusRequest, GetHostStatusResponse,
    local_service_client::LocalServiceClient,
};
use clap::{Args, Subcommand};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::{
    failure::{Failure, unreachable},
    kind::Kind,
    output::Format,
    scope::{Scope, short, whole},
    terminal,
};

/// Where `ip netns` keeps the namespaces that have names.
const NAMED_NAMESPACES: &str = "/run/netns";

/// Attaches workloads on this host, through its agent; for root.
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
    pub(crate) async fn run(&self, timeout: Duration) -> Result<(), Failure> {
        match &self.command {
            HostCommand::Attach(attach) => {
                let request = AttachPortRequest {
                    port: attach.port.name()?,
                    netns: namespace(&attach.netns),
                    interface: attach.interface.clone(),
                };
                let mut client = LocalServiceClient::new(dial(&self.socket, timeout).await?);
                let answer = client.attach_port(request.clone()).await?.into_inner();
                terminal::print(&self.output.machine(&answer)?.unwrap_or_else(|| attached(&request, &answer)))
            }
            HostCommand::Detach(detach) => {
                let port = detach.port.name()?;
                let mut client = LocalServiceClient::new(dial(&self.socket, timeout).await?);
                let answer = client.detach_port(DetachPortRequest { port: port.clone() }).await?.into_inner();
                terminal::print(&self.output.machine(&answer)?.unwrap_or_else(|| format!("port {port} detached\n")))
            }
            HostCommand::Status => {
                let mut client = LocalServiceClient::new(dial(&self.socket, timeout).await?);
                let answer = client.get_host_status(GetHostStatusRequest {}).await?.into_inner();
                terminal::print(&self.output.machine(&answer)?.unwrap_or_else(|| status(&answer)))
            }
        }
    }
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
