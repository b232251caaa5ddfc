//! `./x bench`: builds the programs as they are shipped, and starts the benches.

use anyhow::Result;

use crate::workspace;

/// What is measured, or needed for it.
const PACKAGES: &[&str] =
    &["andromede-benches", "andromede-controller", "andromede-agent", "andromede-cni", "andromede-cli"];

/// Builds and starts; the benches read the arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut build = workspace::cargo(&["build", "--release", "--locked", "--bins"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    workspace::run(&mut build)?;
    let mut bench = workspace::command("target/release/andromede-bench", &[]);
    if let Some(folder) = std::env::var_os("CARGO_TARGET_DIR") {
        bench = std::process::Command::new(std::path::Path::new(&folder).join("release/andromede-bench"));
    }
    workspace::run(bench.args(arguments))
}
