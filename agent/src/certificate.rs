//! The certificate of a host that joins by a token: how it gets its first, keeps it, and asks for the next in good time.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use andromede_proto::agent::v1::{JoinRequest, RenewRequest, join_service_client::JoinServiceClient};
use rcgen::{CertificateParams, KeyPair};
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};
use tonic::{Status, transport::Identity};
use x509_parser::pem::Pem;

use crate::{
    config::{Config, Credentials},
    dial::{DialError, PATIENCE, connect_with, read},
    state::disk::{read_sealed, write_sealed},
};

/// Longest and shortest pause between two looks at the certificate.
const PAUSE: (Duration, Duration) = (Duration::from_hours(1), Duration::from_secs(1));
/// Pause after the controller gave no new one.
const AGAIN: Duration = Duration::from_mins(1);
/// Before the sum of the token by which a host joined, in the file of its certificate.
const TOKEN: &str = "token ";

/// Key and certificate of this host.
#[derive(Clone)]
pub(crate) struct Own {
    /// Sum of the token by which the host joined: another one in the token's file means that it shall join anew.
    token: String,
    /// Key and certificate, PEM.
    pem: String,
    begin: SystemTime,
    end: SystemTime,
}

impl Own {
    fn new(token: String, pem: String) -> Option<Self> {
        let certificates = Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok);
        let found = { certificates }.find(|pem| pem.label == "CERTIFICATE")?;
        let validity = found.parse_x509().ok()?.validity().clone();
        let time = |seconds: i64| UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?));
        let (begin, end) = (time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?);
        Some(Self { token, pem, begin, end })
    }

    /// For a connection. Readers of PEM pass over what they do not look for.
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(&self.pem, &self.pem)
    }

    fn has_ended(&self, now: SystemTime) -> bool {
        self.end <= now
    }

    /// How long until the next is asked for: when a third of its time is left.
    fn fresh(&self, now: SystemTime) -> Duration {
        let whole = self.end.duration_since(self.begin).unwrap_or_default();
        let left = self.end.duration_since(now).unwrap_or_default();
        left.saturating_sub(whole / 3)
    }
}

fn file(config: &Config) -> PathBuf {
    config.state.join("certificate")
}

fn load(config: &Config) -> Result<Option<Own>, DialError> {
    let Some(bytes) = read_sealed(&file(config))? else { return Ok(None) };
    let text = String::from_utf8(bytes).unwrap_or_default();
    let (token, pem) = text.split_once('\n').unwrap_or_default();
    let token = token.strip_prefix(TOKEN).unwrap_or_default();
    Ok(Own::new(token.to_owned(), pem.to_owned()))
}

fn save(config: &Config, own: &Own) -> Result<(), DialError> {
    let text = format!("{TOKEN}{}\n{}", own.token, own.pem);
    Ok(tokio::task::block_in_place(|| write_sealed(&file(config), text.as_bytes()))?)
}

/// What is in the token's file, and its sum.
fn token(path: &Path) -> Result<(String, String), DialError> {
    let token = String::from_utf8_lossy(&read(path)?).trim().to_owned();
    let sum = Sha256::digest(token.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok((token, sum))
}

/// The certificate that is kept; or a new one, if there is none or a new token has come.
pub(crate) async fn own(config: &Config, path: &Path) -> Result<Own, DialError> {
    let kept = load(config)?;
    let usable = kept.as_ref().filter(|own| !own.has_ended(SystemTime::now())).cloned();
    let found = token(path);
    let used = |sum: &str| kept.as_ref().is_some_and(|own| own.token == sum);
    match (found, usable) {
        (Ok((token, sum)), usable) if !used(&sum) => match (join(config, token, sum).await, usable) {
            (Err(error), Some(usable)) => {
                tracing::warn!(%error, "cannot join by the new token, going on with the certificate of the last one");
                Ok(usable)
            }
            (joined, _) => joined,
        },
        (_, Some(usable)) => Ok(usable),
        (Ok(_), None) => Err(DialError::Ended(path.to_owned())),
        (Err(error), None) => Err(error),
    }
}

fn refused(status: Status) -> DialError {
    DialError::Refused(Box::new(status))
}

fn late(_: tokio::time::error::Elapsed) -> DialError {
    refused(Status::deadline_exceeded("it did not answer in time"))
}

/// A new key, and a request for a certificate with it.
fn request() -> Result<(KeyPair, Vec<u8>), DialError> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::default().serialize_request(&key)?.der().to_vec();
    Ok((key, request))
}

fn made(token: String, certificate: &str, key: &KeyPair) -> Result<Own, DialError> {
    Own::new(token, certificate.to_owned() + &key.serialize_pem()).ok_or(DialError::NoCertificate)
}

async fn join(config: &Config, token: String, sum: String) -> Result<Own, DialError> {
    let (key, certificate_request) = request()?;
    let mut client = JoinServiceClient::new(connect_with(config, None).await?);
    let asked = client.join(JoinRequest { token, certificate_request });
    let answer = timeout(PATIENCE, asked).await.map_err(late)?.map_err(refused)?.into_inner();
    let own = made(sum, &answer.certificate, &key)?;
    save(config, &own)?;
    tracing::info!(host = answer.host, "this host has joined");
    Ok(own)
}

async fn renew(config: &Config, own: &Own) -> Result<(), DialError> {
    let (key, certificate_request) = request()?;
    let mut client = JoinServiceClient::new(connect_with(config, Some(own.identity())).await?);
    let asked = client.renew(RenewRequest { certificate_request });
    let answer = timeout(PATIENCE, asked).await.map_err(late)?.map_err(refused)?.into_inner();
    save(config, &made(own.token.clone(), &answer.certificate, &key)?)?;
    tracing::info!("this host has its next certificate");
    Ok(())
}

/// Asks for the next certificate in good time, for ever. The session goes on meanwhile; the next one is opened with it.
pub(crate) async fn keep_fresh(config: &Config) {
    if !matches!(config.controller.tls.as_ref().map(|tls| &tls.own), Some(Credentials::Joined { .. })) {
        return std::future::pending().await;
    }
    loop {
        let now = SystemTime::now();
        let pause = match load(config) {
            Ok(Some(own)) if own.has_ended(now) => PAUSE.0,
            Ok(Some(own)) if own.fresh(now).is_zero() => match renew(config, &own).await {
                Ok(()) => PAUSE.1,
                Err(error) => {
                    tracing::warn!(%error, "no new certificate");
                    // What is left of the old one bounds the patience.
                    AGAIN.min(own.end.duration_since(now).unwrap_or_default() / 10)
                }
            },
            Ok(Some(own)) => own.fresh(now),
            // The session's attempts say what is wrong.
            Ok(None) | Err(_) => PAUSE.1,
        };
        sleep(pause.clamp(PAUSE.1, PAUSE.0)).await;
    }
}
