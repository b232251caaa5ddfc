//! Tokens by which hosts join: told once, good once, for a short time. They are in memory only, as sums: a restart forgets them.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use andromede_model::HostName;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::hexadecimal::hexadecimal;

/// How long a token is good for if nothing is said.
pub const USUAL: Duration = Duration::from_hours(1);
/// The longest time for which a token is good.
pub const LONGEST: Duration = Duration::from_hours(24);
/// Most tokens that wait for their hosts.
const MOST: usize = 10_000;
/// Bytes of the secret.
const SECRET: usize = 32;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Too many are waiting.
    #[error("{MOST} join tokens wait to be used; use them, or wait until they end")]
    Full,
    /// The system gives no random bytes.
    #[error("/dev/urandom: {0}")]
    Random(#[from] io::Error),
}

/// For whom a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The host.
    pub host: HostName,
    /// Its number: a host that comes after it under the same name has another.
    pub index: u32,
}

/// The tokens that were not used yet.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<[u8; 32], (Instant, Promise)>>);

impl Tokens {
    fn table(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Instant, Promise)>> {
        // One insertion or removal at a time: nothing can be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a token.
    pub fn create(&self, promise: Promise, ttl: Duration, now: Instant) -> Result<String, TokenError> {
        let mut secret = [0; SECRET];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        let token = hexadecimal(&secret);
        let mut table = self.table();
        table.retain(|_, (end, _)| *end > now);
        if table.len() >= MOST {
            return Err(TokenError::Full);
        }
        table.insert(sum(&token), (now + ttl.min(LONGEST), promise));
        Ok(token)
    }

    /// Uses a token up. None: there is no such token, it was used, or its time is over.
    pub fn take(&self, token: &str, now: Instant) -> Option<Promise> {
        let (end, promise) = self.table().remove(&sum(token))?;
        (end > now).then_some(promise)
    }
}

/// Looking a sum up tells nothing of the token by the time it takes.
fn sum(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn promise(index: u32) -> Promise {
        Promise { host: "hosts/h1".parse().unwrap(), index }
    }

    #[test]
    fn a_token_is_good_once_and_for_its_time() {
        let (tokens, begin) = (Tokens::default(), Instant::now());
        let make = |index, ttl| tokens.create(promise(index), ttl, begin).unwrap();
        let (one, other, long) = (make(1, USUAL), make(2, USUAL), make(3, LONGEST * 9));
        assert!(one != other && one.len() == 2 * SECRET);
        assert!(!format!("{tokens:?}").contains(&one));
        assert_eq!(tokens.take(&one, begin), Some(promise(1)));
        assert_eq!(tokens.take(&one, begin), None);
        for wrong in ["", "0", &other[1..], &other.to_uppercase()] {
            assert_eq!(tokens.take(wrong, begin), None, "{wrong:?}");
        }
        assert_eq!(tokens.take(&other, begin + USUAL), None);
        assert_eq!(tokens.take(&long, begin + LONGEST), None, "no token is good for longer than a day");
    }

    #[test]
    fn tokens_that_wait_are_bounded() {
        let (tokens, begin) = (Tokens::default(), Instant::now());
        for index in 0..u32::try_from(MOST).unwrap() {
            tokens.create(promise(index), USUAL, begin).unwrap();
        }
        assert!(matches!(tokens.create(promise(0), USUAL, begin), Err(TokenError::Full)));
        tokens.create(promise(0), USUAL, begin + USUAL).unwrap();
        assert_eq!(tokens.table().len(), 1, "those whose time is over are forgotten");
    }
}
