//! Runs the fuzz targets of `fuzz/`, which need a nightly toolchain and cargo-fuzz.

use anyhow::{Result, ensure};

use crate::workspace;

/// Runs one target, or each in turn.
pub(crate) fn run(target: Option<&str>, seconds: u32) -> Result<()> {
    let ready = workspace::succeeds(&mut workspace::command("cargo", &["+nightly", "fuzz", "--version"]));
    ensure!(
        ready,
        "fuzzing needs a nightly toolchain and cargo-fuzz, and this machine lacks one of them:\n  \
         rustup toolchain install nightly --component rust-src\n  cargo install --locked cargo-fuzz"
    );
    let listed = workspace::output(&mut workspace::command("cargo", &["+nightly", "fuzz", "list"]))?;
    let targets: Vec<&str> = listed.lines().filter(|name| target.is_none_or(|wanted| wanted == *name)).collect();
    ensure!(!targets.is_empty(), "no such fuzz target; there are: {}", listed.lines().collect::<Vec<_>>().join(", "));
    let limit = format!("-max_total_time={seconds}");
    for target in targets {
        println!("== {target}, {seconds} s");
        workspace::run(&mut workspace::command(
            "cargo",
            &["+nightly", "fuzz", "run", "--features", "libfuzzer", target, "--", &limit],
        ))?;
    }
    Ok(())
}
