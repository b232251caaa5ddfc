//! `andromede-agent`: programs the packet path of one host.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode, time::Duration};

use andromede_agent::{
    cleanup::cleanup,
    config::{Config, ControllerAddress, Credentials, Tls},
    run::{Instance, run},
};
use andromede_dataplane::{AttachMode, InstanceName, Sizes};
use andromede_model::HostName;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Programs the packet path of one host, as the controller tells.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the agent. SIGTERM stops it and leaves the packet path in place.
    Run(Box<RunArgs>),
    /// Removes every program, table, interface and file of an instance.
    Cleanup(CleanupArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Name of this host, as the controller knows it: "h1" or "hosts/h1".
    #[arg(long, env = "ANDROMEDE_HOST")]
    host: String,
    /// URL of the controller; it begins with https.
    #[arg(long, env = "ANDROMEDE_CONTROLLER")]
    controller: String,
    /// PEM file: certificates that the controller's is checked against.
    #[arg(long, env = "ANDROMEDE_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// PEM file: this host's certificate.
    #[arg(long, env = "ANDROMEDE_TLS_CERT", requires_all = ["tls_ca", "tls_key"])]
    tls_cert: Option<PathBuf>,
    /// PEM file: the key of this host's certificate.
    #[arg(long, env = "ANDROMEDE_TLS_KEY", requires_all = ["tls_ca", "tls_cert"])]
    tls_key: Option<PathBuf>,
    /// File with a token of `andromedectl host token create`: by it this host gets its certificate from the controller, keeps it in
    /// the state folder, and renews it in time. A new token in the file makes it join anew.
    #[arg(long, env = "ANDROMEDE_JOIN_TOKEN_FILE", requires = "tls_ca", conflicts_with_all = ["tls_cert", "tls_key"])]
    join_token_file: Option<PathBuf>,
    /// Speak without TLS; only to a controller on loopback.
    #[arg(long, conflicts_with = "tls_ca")]
    insecure_plaintext: bool,
    /// Interface that carries the tunnel address.
    #[arg(long, env = "ANDROMEDE_UNDERLAY")]
    underlay: String,
    /// Folder of what the agent was told and what it attached.
    #[arg(long, default_value = "/var/lib/andromede/agent")]
    state: PathBuf,
    /// Unix socket for the CNI plugin and `andromedectl host`.
    #[arg(long, default_value = "/run/andromede/agent.sock")]
    socket: PathBuf,
    /// Name of this instance's tables; one for each agent on a kernel.
    #[arg(long, default_value = "default")]
    instance: InstanceName,
    /// The bpf file system that holds them.
    #[arg(long, default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
    /// UDP port of VXLAN; the same on all hosts.
    #[arg(long, default_value_t = 4789, value_parser = clap::value_parser!(u16).range(1..))]
    vxlan_port: u16,
    /// How programs are attached: auto, tcx or clsact.
    #[arg(long, default_value_t = AttachMode::Auto)]
    attachment: AttachMode,
    /// Seconds for which the address of a pod that is gone is given to no other.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    address_quarantine: u32,
    /// Small tables, for several agents on one machine.
    #[arg(long)]
    small_tables: bool,
}

#[derive(Debug, Args)]
struct CleanupArgs {
    /// Name of the instance.
    #[arg(long, default_value = "default")]
    instance: InstanceName,
    /// The bpf file system that holds its tables.
    #[arg(long, default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
    /// Its state folder.
    #[arg(long, default_value = "/var/lib/andromede/agent")]
    state: PathBuf,
}

fn main() -> ExitCode {
    match serve(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("andromede-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: Cli) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ANDROMEDE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        match cli.command {
            Command::Run(args) => start(*args).await,
            Command::Cleanup(args) => cleanup(&args.instance, &args.bpffs, &args.state).await,
        }
    })
}

async fn start(args: RunArgs) -> anyhow::Result<()> {
    let host = args.host.strip_prefix("hosts/").unwrap_or(&args.host);
    let host: HostName = format!("hosts/{host}").parse().context("--host")?;
    let own = match (args.tls_cert, args.tls_key, args.join_token_file) {
        (Some(certificate), Some(key), _) => Some(Credentials::Files { certificate, key }),
        (_, _, Some(token)) => Some(Credentials::Joined { token }),
        _ => None,
    };
    let tls = args.tls_ca.zip(own).map(|(ca, own)| Tls { ca, own });
    let config = Config {
        host,
        controller: ControllerAddress::new(&args.controller, tls, args.insecure_plaintext)?,
        underlay: args.underlay,
        vxlan_port: args.vxlan_port,
        state: args.state,
        socket: args.socket,
        address_quarantine: Duration::from_secs(u64::from(args.address_quarantine)),
    };
    let sizes = if args.small_tables { Sizes::small() } else { Sizes::default() };
    let instance = Instance { name: args.instance, bpffs: args.bpffs, mode: args.attachment, sizes };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    run(config, instance, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await
}
