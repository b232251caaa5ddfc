//! Errors in words.

/// Most characters of an error in a log line, a report or an answer. The kernel's verifier writes hundreds of kilobytes.
const LONGEST: usize = 1200;

/// An error and what caused it, in one line. Of a very long one the beginning and the end remain: there it says what and why.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    shorten(&text)
}

fn shorten(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST / 2).collect();
    let tail: String = text.chars().skip(count.saturating_sub(LONGEST / 2)).collect();
    format!("{head} [...] {tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_errors_keep_both_ends() {
        let long = format!("begin{}end", "é".repeat(10_000));
        let short = shorten(&long);
        assert!(short.starts_with("begin") && short.ends_with("end"));
        assert!(short.chars().count() < LONGEST + 10);
        assert_eq!(shorten("short"), "short");
    }
}
