//! Connections to the controller.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{
    certificate,
    config::{Config, Credentials},
    error::causes,
    state::disk::DiskError,
};

/// How long the controller may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which the connection is probed, and then given up.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Why there is no connection, or no certificate for one.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// A file of TLS, or the join token.
    #[error("{path}: cannot read it: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The answer of the file system.
        source: std::io::Error,
    },
    /// No connection.
    #[error("cannot connect to {url}: {reason}")]
    Connect {
        /// The controller.
        url: String,
        /// Why, down to the first cause.
        reason: String,
    },
    /// This host's certificate has ended, and the join token was used already.
    #[error(
        "this host's certificate has ended; make a token with `andromedectl host token create` and put it into {0}"
    )]
    Ended(PathBuf),
    /// The controller gives no certificate.
    #[error("the controller gives no certificate: {}", .0.message())]
    Refused(Box<tonic::Status>),
    /// It gave something else.
    #[error("what the controller gave is no certificate in PEM")]
    NoCertificate,
    /// No key or request could be made.
    #[error("no key could be made: {0}")]
    Key(#[from] rcgen::Error),
    /// The certificate could not be stored, or read again.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Dials the controller with this host's certificate, which it gets first if it has none and may join.
pub(crate) async fn connect(config: &Config) -> Result<Channel, DialError> {
    let identity = match config.controller.tls.as_ref().map(|tls| &tls.own) {
        None => None,
        Some(Credentials::Files { certificate, key }) => Some(Identity::from_pem(read(certificate)?, read(key)?)),
        Some(Credentials::Joined { token }) => Some(certificate::own(config, token).await?.identity()),
    };
    connect_with(config, identity).await
}

/// Dials the controller with this certificate, or without any.
pub(crate) async fn connect_with(config: &Config, identity: Option<Identity>) -> Result<Channel, DialError> {
    let address = &config.controller;
    let failed = |error: &dyn std::error::Error| DialError::Connect { url: address.url.clone(), reason: causes(error) };
    let mut endpoint = Endpoint::from_shared(address.url.clone())
        .map_err(|error| failed(&error))?
        .connect_timeout(PATIENCE)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    if let Some(tls) = &address.tls {
        let mut client = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&tls.ca)?));
        if let Some(identity) = identity {
            client = client.identity(identity);
        }
        endpoint = endpoint.tls_config(client).map_err(|error| failed(&error))?;
    }
    endpoint.connect().await.map_err(|error| failed(&error))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DialError> {
    std::fs::read(path).map_err(|source| DialError::File { path: path.to_owned(), source })
}
