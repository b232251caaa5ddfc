//! Callers by a signed bearer token (RFC 6750): a JWT (RFC 7519) that an issuer signed whose public keys the controller keeps.
//!
//! ```text
//! authorization: Bearer HEADER.CLAIMS.SIGNATURE
//!   header    -> the algorithm and the key's name; the key decides which algorithm it is for (RFC 8725 section 3.1)
//!   signature -> verified before anything else of the token is believed
//!   claims    -> issuer, audience, times; name and role
//! ```
//!
//! Nothing of a token is ever in an error or a log.

mod claims;
mod key;
mod set;
mod until;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, sync::watch, time::sleep};
use tonic::codegen::http::{HeaderMap, header::AUTHORIZATION};

use crate::settings::TokenArgs;

use set::KeySet;

pub use claims::Bearer;
pub use key::Algorithm;
pub use set::KeySetError;
pub(super) use until::Until;

/// Most bytes of a token.
const TOKEN_BYTES: usize = 8 << 10;
/// How often the file of keys is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// No keys are configured.
    #[error("authorization: this controller takes no tokens; call with a certificate, or start it with --token-keys")]
    Off,
    /// It came where others can read it.
    #[error("authorization: tokens are taken over TLS only; take this one for stolen, and make another")]
    Plaintext,
    /// Who calls?
    #[error("authorization: the connection has a certificate already, which says who calls; leave one of the two out")]
    Both,
    /// The header is malformed.
    #[error("authorization: must stand once in a call, as \"Bearer TOKEN\" of at most {TOKEN_BYTES} bytes")]
    Header,
    /// The token is malformed.
    #[error("authorization: the token is no signed JWT in compact form (RFC 7515 section 7.1)")]
    Malformed,
    /// The algorithm is not accepted.
    #[error("authorization: the token's alg must be one of {0}")]
    Algorithm(String),
    /// It has extensions that are not understood.
    #[error(
        "authorization: the token's header has \"crit\", and nothing of it is understood here (RFC 7515 section 4.1.11)"
    )]
    Critical,
    /// The key is unknown.
    #[error("authorization: the token is signed with none of the keys that the controller has; was it rotated?")]
    Key,
    /// The signature is not that of the key.
    #[error("authorization: the token's signature is wrong")]
    Signature,
    /// A claim is not as it must be.
    #[error("authorization: the token's claim {claim:?}: {rule}")]
    Claim {
        /// Its name, or the JSON pointer to it.
        claim: String,
        /// What it must be.
        rule: &'static str,
    },
    /// The file of keys cannot be used.
    #[error(
        "no token can be verified: the controller's file of keys cannot be used, its log says why; call with a certificate"
    )]
    Keys,
}

/// Who calls by a token: settings, and keys that follow their file.
#[derive(Debug)]
pub struct Bearers {
    settings: TokenArgs,
    file: PathBuf,
    keys: RwLock<Keys>,
}

/// The keys, as the file was last.
#[derive(Debug)]
struct Keys {
    text: Result<Vec<u8>, KeySetError>,
    /// None while the file cannot be used: a key that was taken out must not live on because another was misspelt.
    set: Option<Arc<KeySet>>,
}

impl Keys {
    fn of(text: Result<Vec<u8>, KeySetError>) -> Result<Self, KeySetError> {
        let set = KeySet::read(text.as_ref().map_err(Clone::clone)?)?;
        Ok(Self { text, set: Some(Arc::new(set)) })
    }
}

impl Bearers {
    /// With the keys that are in the file; none if tokens are not taken.
    pub async fn open(settings: &TokenArgs) -> Result<Option<Self>, (PathBuf, KeySetError)> {
        let Some(file) = settings.token_keys.clone() else { return Ok(None) };
        let keys = Keys::of(text(&file).await).map_err(|error| (file.clone(), error))?;
        Ok(Some(Self { settings: settings.clone(), file, keys: RwLock::new(keys) }))
    }

    /// Reads the file again whenever it changes, until the controller ends.
    pub async fn follow(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let text = text(&self.file).await;
            if self.keys.read().unwrap_or_else(PoisonError::into_inner).text == text {
                continue;
            }
            let (file, keys) = (self.file.display(), Keys::of(text.clone()));
            match &keys {
                Ok(keys) => {
                    tracing::info!(%file, keys = keys.set.as_ref().map_or(0, |set| set.len()), "keys of tokens read again");
                }
                Err(error) => tracing::error!(%file, %error, "no token is taken until the file of keys is mended"),
            }
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.unwrap_or(Keys { text, set: None });
        }
    }

    /// Can the file of keys be used? While it cannot, no token is taken.
    pub fn is_usable(&self) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).set.is_some()
    }

    /// Whom a token speaks for at a time, in seconds since 1970.
    pub fn bearer(&self, token: &str, now: i64) -> Result<Bearer, BearerError> {
        let set = self.keys.read().unwrap_or_else(PoisonError::into_inner).set.clone();
        let set = set.ok_or(BearerError::Keys)?;
        let claims = verified(token, &set, &self.settings.token_algorithms)?;
        claims::read(&claims, &self.settings, now)
    }
}

/// The claims of a token that is signed with one of the keys.
fn verified(token: &str, set: &KeySet, accepted: &[Algorithm]) -> Result<Value, BearerError> {
    let malformed = || BearerError::Malformed;
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
    let object = |part: &str| {
        let value = serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| malformed())?;
        if value.is_object() { Ok(value) } else { Err(malformed()) }
    };
    let (header, signature) = (object(header)?, decode(signature)?);
    if header.get("crit").is_some() {
        return Err(BearerError::Critical);
    }
    let named = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let algorithm = accepted.iter().find(|algorithm| algorithm.name() == named).ok_or_else(|| {
        BearerError::Algorithm(accepted.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", "))
    })?;
    let id = match header.get("kid") {
        None => None,
        Some(id) => Some(id.as_str().ok_or_else(malformed)?),
    };
    let key = set.find(id, *algorithm).ok_or(BearerError::Key)?;
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(BearerError::Signature);
    }
    object(claims)
}

/// Takes the token out of a call's headers, so that nothing behind can tell it on; none if there is none.
pub(super) fn take(headers: &mut HeaderMap) -> Result<Option<String>, BearerError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let token = match (first, second) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok().and_then(bearer),
        (Some(_), Some(_)) => None,
    };
    headers.remove(AUTHORIZATION);
    token.map(Some).ok_or(BearerError::Header)
}

fn bearer(value: &str) -> Option<String> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN_BYTES).then(|| token.to_owned())
}

/// What is in the file, bounded.
async fn text(file: &Path) -> Result<Vec<u8>, KeySetError> {
    let unreadable = |error: std::io::Error| KeySetError::Unreadable(error.to_string());
    let mut text = Vec::new();
    let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
    opened.take(set::BYTES + 1).read_to_end(&mut text).await.map_err(unreadable)?;
    if text.len() as u64 > set::BYTES { Err(KeySetError::Long) } else { Ok(text) }
}
