//! The test programs that cargo builds, and running some of them at a time.

use std::{
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::workspace;

/// Something to run that prints the lines of a test program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Program {
    /// Where its source is, from the root of the repository.
    pub(super) source: String,
    /// Where it runs: the folder of its crate, as under `cargo test`.
    folder: PathBuf,
    executable: PathBuf,
    arguments: Vec<&'static str>,
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) program: Program,
    /// What it wrote, errors included, in the order in which it was written.
    pub(super) output: String,
    pub(super) status: ExitStatus,
}

/// What cargo says of one thing that it built, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Built {
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// Builds every test program and says which there are, those first that take longest: the workspace's own tests wait for timers and
/// programs, a crate's tests compute.
pub(super) fn built() -> Result<Vec<Program>> {
    let arguments = ["test", "--workspace", "--locked", "--no-run", "--message-format=json-render-diagnostics"];
    let messages = workspace::output(&mut workspace::cargo(&arguments))?;
    let root = workspace::root();
    let mut programs: Vec<_> = messages.lines().filter_map(|line| program(line, &root)).collect();
    // If cargo told of its work in another way, none would be found, and none would fail.
    ensure!(!programs.is_empty(), "cargo told of no test program");
    programs.sort_by_key(|program| (!program.source.starts_with("tests/"), program.source.clone()));
    let cargo = workspace::cargo(&[]).get_program().into();
    let arguments = vec!["test", "--workspace", "--locked", "--no-fail-fast", "--doc"];
    programs.push(Program { source: "documentation".to_owned(), folder: root, executable: cargo, arguments });
    Ok(programs)
}

/// The test program of which a line of cargo's tells, if it tells of one.
fn program(line: &str, root: &Path) -> Option<Program> {
    let built: Built = serde_json::from_str(line).ok()?;
    let source = built.target?.src_path;
    if !built.profile?.test {
        return None;
    }
    Some(Program {
        source: source.strip_prefix(root).unwrap_or(&source).to_string_lossy().into_owned(),
        folder: built.manifest_path?.parent()?.to_owned(),
        executable: built.executable?,
        arguments: Vec::new(),
    })
}

/// Runs programs, some at a time, and hands over each that has ended.
pub(super) fn run(programs: Vec<Program>, at_a_time: usize, mut ended: impl FnMut(Ended)) -> Result<()> {
    let waiting = Mutex::new(programs.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for _ in 0..at_a_time {
            let tell = tell.clone();
            scope.spawn(move || {
                while let Some(program) = next() {
                    if tell.send(run_one(program)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        told.into_iter().try_for_each(|one| one.map(&mut ended))
    })
}

fn run_one(program: Program) -> Result<Ended> {
    // A file and no pipe: what a test leaves behind in the background must not keep it open for ever.
    let mut file = tempfile::tempfile().context("cannot make a temporary file for what the tests print")?;
    let (output, errors) = (file.try_clone()?, file.try_clone()?);
    let status = Command::new(&program.executable)
        .args(&program.arguments)
        .current_dir(&program.folder)
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(|error| anyhow!("cannot run {}: {error}", program.executable.display()))?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Ended { program, output: String::from_utf8_lossy(&bytes).into_owned(), status })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn finds_the_test_programs_among_what_cargo_tells() {
        let line = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/r/tests/Cargo.toml","target":{{"src_path":"/r/tests/tests/a.rs"}},
                "profile":{{"test":{test}}},"executable":"/t/a-1"}}"#
            )
        };
        let found = program(&line(true), Path::new("/r")).unwrap();
        assert_eq!((found.source.as_str(), found.folder.as_path()), ("tests/tests/a.rs", Path::new("/r/tests")));
        assert_eq!(program(&line(false), Path::new("/r")), None, "a plain program");
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#, Path::new("/r")), None);
        assert_eq!(program("warning: not of cargo's", Path::new("/r")), None);
    }

    #[test]
    fn runs_each_program_once_and_keeps_what_it_wrote_in_order() {
        let program = |text| Program {
            source: String::new(),
            folder: "/".into(),
            executable: "/bin/sh".into(),
            arguments: vec!["-c", text],
        };
        let programs =
            vec![program("echo a; echo b >&2; echo c"), program("sleep 3 & echo d; exit 3"), program("true")];
        let mut seen = Vec::new();
        run(programs, 2, |ended| seen.push((ended.output, ended.status.code()))).unwrap();
        seen.sort();
        let expected = [("", 0), ("a\nb\nc\n", 0), ("d\n", 3)].map(|(text, code)| (text.to_owned(), Some(code)));
        assert_eq!(seen, expected);
    }
}
