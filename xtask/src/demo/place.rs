//! What the demo puts on the machine, and how all of it goes away: everything has the prefix `andromede-demo`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use andromede_testkit::{Namespace, pins::Pins, requires, wait};
use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Folder of everything that the demo writes.
pub(super) const FOLDER: &str = "/run/andromede-demo";

/// What the names of all its namespaces begin with.
const PREFIX: &str = "andromede-demo-";

/// Name of the namespace of `what`.
pub(super) fn namespace_name(what: &str) -> String {
    format!("{PREFIX}{what}")
}

/// Makes a named namespace that people can enter by `ip netns exec`.
pub(super) fn make_namespace(what: &str) -> Result<Namespace> {
    let name = namespace_name(what);
    let output = ip().args(["netns", "add", &name]).output().context("starting ip")?;
    ensure!(
        output.status.success(),
        "`ip netns add {name}` failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let namespace = Namespace::open(&Path::new("/run/netns").join(&name))?;
    namespace.ip("link set lo up")?;
    Ok(namespace)
}

fn ip() -> Command {
    let mut command = Command::new("ip");
    command.env("PATH", requires::search_path());
    command
}

/// Path of a file of the demo.
pub(super) fn path(file: &str) -> PathBuf {
    Path::new(FOLDER).join(file)
}

/// Remembers a process, so that [`remove_all`] finds it.
pub(super) fn remember(process: Option<u32>) -> Result<()> {
    let Some(id) = process else { return Ok(()) };
    let folder = path("processes");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(id.to_string()), "").context("remembering a process of the demo")
}

/// Ends every process, and removes every namespace, mount and file of a demo, however far it came.
pub(super) fn remove_all() -> Result<()> {
    let mut errors = Vec::new();
    errors.extend(end_processes().err());
    errors.extend(Pins::unmount_under(Path::new(FOLDER)).err());
    errors.extend(remove_namespaces().err());
    match fs::remove_dir_all(FOLDER) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => errors.push(error.into()),
        _ => {}
    }
    let texts: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
    ensure!(texts.is_empty(), "not everything of the demo could be removed: {}", texts.join("; "));
    Ok(())
}

/// Ends the processes that were remembered and still are what they were: a number may have been given out again.
fn end_processes() -> Result<()> {
    let Ok(entries) = fs::read_dir(path("processes")) else { return Ok(()) };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Ok(id) = name.parse::<i32>() else { continue };
        if !is_ours(id) {
            continue;
        }
        kill(Pid::from_raw(id), Signal::SIGTERM).with_context(|| format!("ending process {id}"))?;
        let ended = wait::until("the process ends", Duration::from_secs(5), || (!is_ours(id)).then_some(()));
        if ended.is_err() {
            kill(Pid::from_raw(id), Signal::SIGKILL).with_context(|| format!("killing process {id}"))?;
        }
    }
    Ok(())
}

/// Is this a process that was started with files of the demo, and not a corpse?
fn is_ours(id: i32) -> bool {
    fs::read(format!("/proc/{id}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).split('\0').any(|word| word.starts_with(FOLDER)))
}

fn remove_namespaces() -> Result<()> {
    let Ok(entries) = fs::read_dir("/run/netns") else { return Ok(()) };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) {
            continue;
        }
        let output = ip().args(["netns", "delete", &name]).output().context("starting ip")?;
        ensure!(
            output.status.success(),
            "`ip netns delete {name}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
