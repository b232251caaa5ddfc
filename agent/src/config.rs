//! What the agent is started with.

use std::{path::PathBuf, time::Duration};

use andromede_model::HostName;

/// How the controller is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerAddress {
    /// URL, `https://` or, in plaintext, `http://`.
    pub url: String,
    /// Mutual TLS; none: plaintext, which is allowed on loopback only.
    pub tls: Option<Tls>,
}

/// Mutual TLS. Files are read anew for every session, so that certificates can be replaced under a running agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file: certificates that the controller's is checked against.
    pub ca: PathBuf,
    /// Where this host's certificate comes from.
    pub own: Credentials,
}

/// Where a host's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// PEM files that somebody else takes care of.
    Files {
        /// Certificate of this host.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// From the controller: the first by a token, the next by the one in use.
    Joined {
        /// The file with the token.
        token: PathBuf,
    },
}

/// Why the address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No URL.
    #[error("--controller {0}: it is no URL; write https://HOST:PORT")]
    NotUrl(String),
    /// TLS files without https, or https without TLS files.
    #[error(
        "--controller {0}: https needs --tls-ca, and --tls-cert and --tls-key or --join-token-file; http needs --insecure-plaintext and none of them"
    )]
    Mismatch(String),
    /// Plaintext beyond this machine.
    #[error("--controller {0}: plaintext is allowed on loopback only; use https, or 127.0.0.1 or [::1]")]
    NotLoopback(String),
}

impl ControllerAddress {
    /// Checks that scheme, TLS files and address fit together.
    pub fn new(url: &str, tls: Option<Tls>, plaintext: bool) -> Result<Self, AddressError> {
        let text = || url.to_owned();
        let uri: tonic::transport::Uri = url.parse().map_err(|_| AddressError::NotUrl(text()))?;
        let host = uri.host().ok_or_else(|| AddressError::NotUrl(text()))?;
        match (uri.scheme_str(), &tls, plaintext) {
            (Some("https"), Some(_), false) => {}
            (Some("http"), None, true) => {
                let address = host.trim_start_matches('[').trim_end_matches(']');
                let loopback = address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
                if !loopback {
                    return Err(AddressError::NotLoopback(text()));
                }
            }
            (Some("https" | "http"), _, _) => return Err(AddressError::Mismatch(text())),
            _ => return Err(AddressError::NotUrl(text())),
        }
        Ok(Self { url: text(), tls })
    }
}

/// What one agent is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this host.
    pub host: HostName,
    /// The controller.
    pub controller: ControllerAddress,
    /// Name of the interface that carries the tunnel address.
    pub underlay: String,
    /// UDP port of VXLAN.
    pub vxlan_port: u16,
    /// Folder of what outlives the agent.
    pub state: PathBuf,
    /// Path of the local socket.
    pub socket: PathBuf,
    /// How long an address that a pod gave back is given to no other.
    pub address_quarantine: Duration,
}

impl Config {
    /// Name of the host without `hosts/`.
    pub fn host_id(&self) -> &str {
        self.host.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_stays_on_loopback() {
        let plain = |url: &str| ControllerAddress::new(url, None, true);
        assert!(plain("http://127.0.0.1:7470").is_ok());
        assert!(plain("http://[::1]:7470").is_ok());
        assert!(matches!(plain("http://192.0.2.1:7470"), Err(AddressError::NotLoopback(_))));
        assert!(matches!(plain("http://localhost:7470"), Err(AddressError::NotLoopback(_))));
        assert!(matches!(plain("https://127.0.0.1:7470"), Err(AddressError::Mismatch(_))));
        assert!(matches!(plain("127.0.0.1:7470"), Err(AddressError::NotUrl(_))));
        assert!(matches!(ControllerAddress::new("http://127.0.0.1:1", None, false), Err(AddressError::Mismatch(_))));
    }
}
