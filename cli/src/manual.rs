//! `docs/andromedectl.md`: what `--help` says, on one page.
//!
//! `ANDROMEDE_UPDATE=1 cargo test -p andromede-cli manual` writes it; without the variable, the test compares.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use crate::arguments::Arguments;

const INTRODUCTION: &str = "\
# andromedectl

What `andromedectl --help` and the help of its commands say, written by a test of `cli/`: change it there.
The options of the first section go with every command.
";

/// Columns of the help texts.
const WIDTH: usize = 100;

fn manual() -> String {
    let mut page = INTRODUCTION.to_owned();
    let root = Arguments::command();
    chapter(&mut page, &root, "andromedectl");
    page
}

fn chapter(page: &mut String, command: &Command, name: &str) {
    // A command that was not built lacks the global options: they are told once.
    let help = command.clone().bin_name(name).term_width(WIDTH).disable_help_flag(true).render_long_help();
    let lines: Vec<String> = help.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for inner in command.get_subcommands() {
        chapter(page, inner, &format!("{name} {}", inner.get_name()));
    }
}

#[test]
fn the_manual_is_what_help_says() {
    #![allow(clippy::unwrap_used, reason = "tests")]
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/andromedectl.md");
    let page = manual();
    if std::env::var_os("ANDROMEDE_UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == page, "docs/andromedectl.md is old: ANDROMEDE_UPDATE=1 cargo test -p andromede-cli manual");
}
