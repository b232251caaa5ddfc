//! Text for people: tables, colours where a terminal shows them, and output that may be cut off.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use tabled::{
    builder::Builder,
    settings::{Padding, Style},
};

use crate::{duration, failure::Failure};

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless the environment has `NO_COLOR`.
    #[default]
    Auto,
    /// Also into a pipe or a file.
    Always,
    /// Not at all.
    Never,
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    enabled: bool,
}

impl Palette {
    /// What standard output should get.
    pub(crate) fn new(choice: ColorChoice) -> Self {
        let enabled = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self { enabled }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.enabled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What passed.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What did not.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What is not settled.
    pub(crate) fn pending(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Titles.
    pub(crate) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Details.
    pub(crate) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a remark that does not belong to the result to standard error.
pub(crate) fn remark(text: &str) {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// One item a line.
pub(crate) fn lines<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.fold(String::new(), |text, item| text + item + "\n")
}

/// Clears a terminal before the next picture; elsewhere parts pictures by an empty line.
pub(crate) fn clear() -> &'static str {
    if io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "\n" }
}

/// A table whose columns are parted by blanks, as `kubectl` and `ip` do.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut builder = Builder::default();
    builder.push_record(header.iter().map(|title| (*title).to_owned()));
    for row in rows {
        builder.push_record(row.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    let mut table = builder.build();
    table.with(Style::empty()).with(Padding::new(0, 3, 0, 0));
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// "3s ago", of two moments in seconds since 1970.
pub(crate) fn ago(then: i64, now: i64) -> String {
    match u64::try_from(now - then) {
        _ if then == 0 => "never".to_owned(),
        Ok(0) | Err(_) => "now".to_owned(),
        Ok(seconds) => format!("{} ago", duration::show(Duration::from_secs(seconds))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_do_not_end_in_blanks() {
        let text = table(&["NAME", "VNI"], vec![vec!["intranet".into(), "7".into()], vec!["x".into(), String::new()]]);
        assert_eq!(text, "NAME       VNI\nintranet   7\nx          -\n");
    }

    #[test]
    fn colours_are_left_out_when_not_wanted() {
        assert_eq!(Palette::new(ColorChoice::Never).bad("no"), "no");
        assert_eq!(Palette::new(ColorChoice::Always).bad("no"), "\x1b[31mno\x1b[0m");
    }

    #[test]
    fn moments_are_told_from_now() {
        assert_eq!(ago(0, 100), "never");
        assert_eq!(ago(100, 100), "now");
        assert_eq!(ago(40, 100), "1m0s ago");
        assert_eq!(ago(101, 100), "now", "clocks differ");
    }
}
