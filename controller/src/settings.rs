//! What the program is told on its command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::access::Algorithm;

/// The controller of Andromède: API, store, publishing to hosts.
#[derive(Debug, Parser)]
#[command(name = "andromede-controller", version, about, max_term_width = 100)]
pub struct Cli {
    /// How the log is written, to standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,
    /// What is logged: a level, or `target=level` separated by commas.
    #[arg(long, env = "ANDROMEDE_LOG", default_value = "info", global = true)]
    pub log: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves the API and the agents, until SIGTERM or SIGINT.
    #[command(after_help = "Example:\n  andromede-controller serve --store /var/lib/andromede/controller \\\n    \
        --tls-cert controller.pem --tls-key controller.key --client-ca ca.pem")]
    Serve(Box<ServeArgs>),
    /// Begins a new epoch of the store, after a backup was put in its place: every host takes a fresh snapshot.
    /// The controller must not run meanwhile.
    NewEpoch {
        /// Folder of the store.
        #[arg(long, value_name = "DIR")]
        store: PathBuf,
    },
}

/// How to serve.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Address to listen on.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7470")]
    pub listen: SocketAddr,
    /// Address on which health, readiness and metrics are served over plain HTTP: numbers without names, see docs/metrics.md.
    /// Without it, nowhere.
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Serves there what each network used, too, by its name (/metrics/usage): whoever can dial the address reads it.
    #[arg(long, requires = "metrics_listen")]
    pub metrics_usage: bool,
    /// Folder of the store; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Certificate of the controller (PEM), as made by `andromedectl pki issue --role controller`.
    #[arg(long, value_name = "FILE", required_unless_present = "insecure_plaintext", requires_all = ["tls_key", "client_ca"])]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authority that issued the certificates of hosts and users (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,
    /// Authority that issues certificates to hosts that join by a token (PEM), as made by `andromedectl pki hosts`: not one of
    /// --client-ca. With it, hosts may dial without a certificate, to join and for nothing else.
    #[arg(long, value_name = "FILE", requires_all = ["host_ca_key", "tls_cert"])]
    pub host_ca: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "host_ca")]
    pub host_ca_key: Option<PathBuf>,
    /// How long a certificate is valid that a host gets, in seconds: 30 days. Agents renew theirs when a third is left.
    #[arg(long, value_name = "SECONDS", default_value_t = 2_592_000, value_parser = clap::value_parser!(u32).range(10..))]
    pub host_certificate_seconds: u32,
    /// Collector to which spans of calls are sent (OpenTelemetry, OTLP over gRPC): https://HOST:PORT, or http:// on loopback.
    #[arg(long, value_name = "URL", env = "ANDROMEDE_OTLP")]
    pub otlp: Option<String>,
    /// Authority that issued the collector's certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "otlp")]
    pub otlp_ca: Option<PathBuf>,
    /// Whose tokens are taken.
    #[command(flatten)]
    pub tokens: TokenArgs,
    /// No TLS, and everybody may do everything: on a loopback address only.
    #[arg(long, conflicts_with = "tls_cert")]
    pub insecure_plaintext: bool,
}

/// Callers by bearer token, besides those by certificate.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// Public keys of the issuer whose bearer tokens (JWT) are taken: a JSON Web Key Set, read again whenever it changes. With it,
    /// people and programs may call by a token instead of a certificate; hosts may not.
    #[arg(long, value_name = "FILE", requires_all = ["token_issuer", "token_audience", "tls_cert"])]
    pub token_keys: Option<PathBuf>,
    /// What a token's claim "iss" must be.
    #[arg(long, value_name = "URL", requires = "token_keys")]
    pub token_issuer: Option<String>,
    /// What a token's claim "aud" must be or hold.
    #[arg(long, value_name = "AUDIENCE", requires = "token_keys")]
    pub token_audience: Option<String>,
    /// How tokens may be signed.
    #[arg(long, value_enum, value_name = "ALG", value_delimiter = ',', default_values_t = Algorithm::ALL)]
    pub token_algorithms: Vec<Algorithm>,
    /// Which claim gives the role, as a JSON pointer (RFC 6901): a text or an array of texts.
    #[arg(long, value_name = "POINTER", default_value = "/andromede_role")]
    pub token_role_claim: String,
    /// What a role in that claim begins with; other texts in it are passed over. Behind it stands operator, network-engineer,
    /// tenant-admin/TENANT or tenant-reader/TENANT.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub token_role_prefix: String,
    /// Which claim gives the caller's name.
    #[arg(long, value_name = "POINTER", default_value = "/sub")]
    pub token_name_claim: String,
}

impl Default for TokenArgs {
    /// No tokens are taken.
    fn default() -> Self {
        Self {
            token_keys: None,
            token_issuer: None,
            token_audience: None,
            token_algorithms: Algorithm::ALL.to_vec(),
            token_role_claim: "/andromede_role".to_owned(),
            token_role_prefix: String::new(),
            token_name_claim: "/sub".to_owned(),
        }
    }
}
