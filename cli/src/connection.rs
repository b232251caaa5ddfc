//! Where the controller is, and how to reach it: flags first, then the environment.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{self, Certificate, ClientTlsConfig, Endpoint, Identity, Uri},
};

use crate::{
    duration,
    failure::{Failure, unreachable},
    terminal,
};

/// Holds a token itself. There is no flag for it: others see the arguments of a program.
const TOKEN: &str = "ANDROMEDE_TOKEN";

/// The way to the controller.
pub(crate) type Channel = InterceptedService<transport::Channel, Caller>;

/// Puts the token into every call, if there is one.
#[derive(Clone)]
pub(crate) struct Caller {
    token: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// How to reach the controller.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Address of the controller: https://ADDRESS:PORT
    #[arg(
        long,
        global = true,
        env = "ANDROMEDE_CONTROLLER",
        hide_env_values = true,
        value_name = "URL",
        default_value = "127.0.0.1:7470"
    )]
    pub(crate) controller: String,
    /// Certificate of the authority that issued the controller's
    #[arg(long, global = true, env = "ANDROMEDE_TLS_CA", hide_env_values = true, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Your certificate
    #[arg(long, global = true, env = "ANDROMEDE_TLS_CERT", hide_env_values = true, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of your certificate
    #[arg(long, global = true, env = "ANDROMEDE_TLS_KEY", hide_env_values = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// A bearer token, instead of a certificate; or `ANDROMEDE_TOKEN`, which holds the token itself.
    #[arg(
        long,
        global = true,
        help = "A bearer token, instead of a certificate; or ANDROMEDE_TOKEN, which holds the token itself",
        env = "ANDROMEDE_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    token_file: Option<PathBuf>,
    /// Without TLS; only to a controller on a loopback address
    #[arg(
        long,
        global = true,
        env = "ANDROMEDE_INSECURE_PLAINTEXT",
        hide_env_values = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    insecure_plaintext: bool,
    /// How long to wait for an answer: 10s, 2m
    #[arg(
        long,
        global = true,
        env = "ANDROMEDE_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration::parse
    )]
    timeout: Duration,
}

impl Connection {
    /// Dials the controller.
    pub(crate) async fn dial(&self) -> Result<Channel, Failure> {
        let token = self.token()?;
        let endpoint = self.endpoint(token.is_some())?;
        let fix = "is it running there? --controller or ANDROMEDE_CONTROLLER says where";
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| unreachable(&format!("the controller {}", self.controller), &error, fix))?;
        Ok(InterceptedService::new(channel, Caller { token }))
    }

    /// The token as it goes over the wire; none if the certificate says who calls.
    fn token(&self) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let (text, from) = match (&self.token_file, std::env::var(TOKEN)) {
            (Some(file), _) => {
                warn_if_open(file);
                (fs::read_to_string(file).map_err(|error| Failure::file(file, &error))?, file.display().to_string())
            }
            (None, Ok(text)) if !text.is_empty() => (text, TOKEN.to_owned()),
            _ => return Ok(None),
        };
        if self.insecure_plaintext {
            return Err(Failure::Usage(format!(
                "{from}: a token is not sent without TLS; leave it or --insecure-plaintext out"
            )));
        }
        if self.tls_cert.is_some() {
            return Err(Failure::Usage(format!(
                "{from}: a token and --tls-cert each say who calls; leave one of them out"
            )));
        }
        let wrong =
            |_| Failure::Usage(format!("{from}: holds no token: one line of letters, digits, \"-\", \"_\" and \".\""));
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", text.trim()).parse().map_err(wrong)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The longest time that one call may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    fn endpoint(&self, token: bool) -> Result<Endpoint, Failure> {
        let uri = self.uri()?;
        let plaintext = uri.scheme_str() == Some("http");
        let endpoint = Endpoint::from(uri)
            .user_agent(concat!("andromedectl/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| Failure::Usage(error.to_string()))?
            .connect_timeout(self.timeout)
            .timeout(self.timeout);
        if plaintext {
            return Ok(endpoint);
        }
        let tls = self.tls(token)?;
        endpoint.tls_config(tls).map_err(|error| {
            Failure::Refused(format!("the TLS files cannot be used: {}", crate::failure::whole_cause(&error)))
        })
    }

    /// The address with a scheme that agrees with the flags.
    fn uri(&self) -> Result<Uri, Failure> {
        let wrong = |rule: &str| Failure::Usage(format!("--controller {:?}: {rule}", self.controller));
        let form = "write https://ADDRESS:PORT";
        let text = match (self.controller.contains("://"), self.insecure_plaintext) {
            (true, _) => self.controller.clone(),
            (false, true) => format!("http://{}", self.controller),
            (false, false) => format!("https://{}", self.controller),
        };
        let uri: Uri = text.parse().map_err(|_| wrong(&format!("not an address; {form}")))?;
        let Some(host) = uri.host() else { return Err(wrong(&format!("no host; {form}"))) };
        if uri.port_u16().is_none() {
            return Err(wrong(&format!("no port; {form}, for example :7470")));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong(&format!("a path is not part of it; {form}")));
        }
        match (uri.scheme_str(), self.insecure_plaintext) {
            (Some("https"), false) => Ok(uri),
            (Some("http"), true) if is_loopback(host) => Ok(uri),
            (Some("http"), true) => Err(wrong("plaintext is for loopback addresses only; use https and certificates")),
            (Some("http"), false) => Err(wrong("plaintext needs --insecure-plaintext, and a loopback address")),
            (Some("https"), true) => {
                Err(wrong("--insecure-plaintext contradicts https; write http://, or leave the flag out"))
            }
            _ => Err(wrong(&format!("no such scheme; {form}"))),
        }
    }

    fn tls(&self, token: bool) -> Result<ClientTlsConfig, Failure> {
        let needed = |path: &Option<PathBuf>, flag: &str, variable: &str| match path {
            Some(path) => fs::read(path).map_err(|error| Failure::file(path, &error)),
            None => {
                Err(Failure::Usage(format!("{flag} (or {variable}) is missing; andromedectl pki makes certificates")))
            }
        };
        let ca = needed(&self.tls_ca, "--tls-ca", "ANDROMEDE_TLS_CA")?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        if token {
            return Ok(tls);
        }
        let certificate = needed(&self.tls_cert, "--tls-cert", "ANDROMEDE_TLS_CERT")?;
        let key = needed(&self.tls_key, "--tls-key", "ANDROMEDE_TLS_KEY")?;
        self.tls_key.as_deref().into_iter().for_each(warn_if_open);
        Ok(tls.identity(Identity::from_pem(certificate, key)))
    }
}

/// Permission bits that let others than the owner read or write.
const OTHERS: u32 = 0o077;

/// A key or a token that others can read is as good as stolen; whoever owns it should hear so.
fn warn_if_open(path: &Path) {
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS != 0) {
        terminal::remark(&format!("andromedectl: others may read {}: chmod 600 it", path.display()));
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
