//! The repository as the tasks see it: its root, its files, its crates, and running a command in it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A command that runs in the root of the repository.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs this task, or the one on the path.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

/// Runs a command, its output going where ours goes, and refuses a failure.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    let status = command.status().with_context(|| format!("cannot run `{words}`"))?;
    ensure!(status.success(), "`{words}` failed: {status}");
    Ok(())
}

/// Runs a command and returns what it wrote to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run `{words}`"))?;
    ensure!(output.status.success(), "`{words}` failed: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("`{words}` wrote something that is not UTF-8"))
}

/// Can this command be run, and does it end well?
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn words(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// One text file of the repository.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Path from the root, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Does its name end in a dot and this?
    pub(crate) fn is(&self, kind: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == kind)
    }
}

/// Every text file that git tracks, or would if it were added. What is not UTF-8 is left out.
pub(crate) fn files() -> Result<Vec<File>> {
    let listed = output(&mut command("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // A file that was removed but not yet committed is still listed.
        let Ok(bytes) = std::fs::read(root().join(path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    if files.is_empty() {
        bail!("git lists no files: is this a clone?");
    }
    Ok(files)
}

/// What `cargo metadata` prints, as far as the tasks read it.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

/// A crate.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) license: Option<String>,
    /// Where it comes from; nothing if it is ours.
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// What a crate asks for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `dev`, `build`, or nothing for a plain one.
    pub(crate) kind: Option<String>,
    /// The folder, if it is one of ours.
    pub(crate) path: Option<PathBuf>,
}

/// The workspaces of this repository: the main one, and one with a lock file of its own.
pub(crate) const MANIFESTS: &[&str] = &["Cargo.toml", "dataplane-ebpf/Cargo.toml"];

/// What the programs are built for; crates for other systems are neither fetched nor judged.
const PLATFORMS: &[&str] = &["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Reads the metadata of one workspace: only its own crates, or with everything they pull in.
pub(crate) fn metadata(manifest: &str, with_dependencies: bool) -> Result<Metadata> {
    let mut arguments =
        vec!["metadata", "--format-version=1", "--locked", "--all-features", "--manifest-path", manifest];
    for platform in PLATFORMS {
        arguments.extend(["--filter-platform", platform]);
    }
    if !with_dependencies {
        arguments.push("--no-deps");
    }
    let text = output(&mut cargo(&arguments))?;
    serde_json::from_str(&text).context("cargo metadata printed something unexpected")
}
