//! Pauses before another attempt.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// Between half of the pause and the whole, so that hosts do not come back in step.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let part = random % 1024;
    pause / 2 + pause / 2 * u32::try_from(part).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_keep_within_bounds() {
        for pause in [Duration::from_millis(200), Duration::from_secs(5)] {
            for _ in 0..100 {
                let drawn = jittered(pause);
                assert!(drawn >= pause / 2 && drawn <= pause, "{drawn:?}");
            }
        }
    }
}
