//! Durations as people write them: `30s`, `5m`, `12h`, `90d`.

use std::time::Duration;

const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];

/// Reads a duration; a number alone is seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let (digits, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(*unit).map(|digits| (digits, *factor)))
        .unwrap_or((text, 1));
    let number: u64 = digits.parse().map_err(|_| "write a whole number and s, m, h or d: 30s, 5m, 90d".to_owned())?;
    let seconds = number.checked_mul(factor).filter(|seconds| (1..=100 * 366 * 86400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "the duration is 1s to 100 years".to_owned())
}

/// Writes a duration in its two largest units.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(parse("30s").unwrap().as_secs(), 30);
        assert_eq!(parse("7").unwrap().as_secs(), 7);
        assert_eq!(parse("365d").unwrap().as_secs(), 365 * 86400);
        for wrong in ["", "s", "-1s", "1w", "0s", "1.5h", "999999999999999999d", "40000d"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn durations_are_written() {
        assert_eq!(show(Duration::from_millis(12)), "12ms");
        assert_eq!(show(Duration::from_secs(59)), "59s");
        assert_eq!(show(Duration::from_secs(3661)), "1h1m");
        assert_eq!(show(Duration::from_hours(25)), "1d1h");
    }
}
