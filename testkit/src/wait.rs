//! Waiting for something to become true.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::interrupt;

/// How much longer than usual to wait: the number in `ANDROMEDE_PATIENCE`, for machines without acceleration; 1 otherwise.
pub fn patience() -> u32 {
    let told = std::env::var("ANDROMEDE_PATIENCE").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(1).clamp(1, 100)
}

/// Asks until `probe` gives a value, the longer it takes the less often: what is asked has work to do. After `limit`, times [`patience`], an error that says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let limit = limit * patience();
    let begun = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        interrupt::check()?;
        let waited = begun.elapsed();
        if waited >= limit {
            bail!("waited {} s in vain: {what}", limit.as_secs_f32());
        }
        thread::sleep((waited / 8).clamp(Duration::from_millis(10), Duration::from_millis(200)));
    }
}
