//! `andromede-operator`: makes the `NetworkPolicies` of a Kubernetes cluster rules of its network.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use andromede_cluster::operator::{Controller, Settings, run};
use andromede_model::NetworkName;
use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Watches a Kubernetes cluster, and makes its network policies rules of its network.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    /// Name of the cluster, unique among those that share a fabric.
    #[arg(long, default_value = "kubernetes")]
    cluster: String,
    /// Network of the pods whose namespace names none: "tenants/TENANT/networks/NETWORK".
    #[arg(long)]
    network: NetworkName,
    /// URL of the controller; it begins with https.
    #[arg(long, env = "ANDROMEDE_CONTROLLER")]
    controller: String,
    /// PEM file: certificates that the controller's is checked against.
    #[arg(long, env = "ANDROMEDE_TLS_CA", requires_all = ["tls_cert", "tls_key"])]
    tls_ca: Option<PathBuf>,
    /// PEM file: the operator's certificate.
    #[arg(long, env = "ANDROMEDE_TLS_CERT", requires = "tls_ca")]
    tls_cert: Option<PathBuf>,
    /// PEM file: the key of that certificate.
    #[arg(long, env = "ANDROMEDE_TLS_KEY", requires = "tls_ca")]
    tls_key: Option<PathBuf>,
    /// Speak without TLS; only to a controller on loopback.
    #[arg(long, conflicts_with = "tls_ca")]
    insecure_plaintext: bool,
    /// How the API server is reached; otherwise as a pod of the cluster.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the Lease by which several operators agree on one that writes; without it this one always writes.
    #[arg(long, requires = "identity")]
    lease_namespace: Option<String>,
    /// Name of this operator in the Lease, such as the name of its pod.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
}

fn main() -> ExitCode {
    match serve(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("andromede-operator: {error:#}");
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
    runtime.block_on(start(cli))
}

async fn start(cli: Cli) -> anyhow::Result<()> {
    let tls = match (cli.tls_ca, cli.tls_cert, cli.tls_key, cli.insecure_plaintext) {
        (Some(ca), Some(certificate), Some(key), false) => Some([ca, certificate, key]),
        (None, None, None, true) => None,
        _ => anyhow::bail!(
            "give --tls-ca, --tls-cert and --tls-key, or --insecure-plaintext for a controller on loopback"
        ),
    };
    let config = match cli.kubeconfig {
        Some(path) => {
            let file = kube::config::Kubeconfig::read_from(&path).with_context(|| path.display().to_string())?;
            kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default()).await?
        }
        None => kube::Config::incluster().context("not in a pod of a cluster; give --kubeconfig")?,
    };
    let client = kube::Client::try_from(config).context("the API server cannot be called")?;
    let settings = Settings {
        cluster: cli.cluster,
        network: cli.network,
        controller: Controller { url: cli.controller, tls },
        election: cli.lease_namespace.zip(cli.identity),
    };
    let mut end = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        ended = run(settings, client) => {
            ended?;
            anyhow::bail!("a part of the operator ended; see its log")
        }
        _ = end.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
