//! Everything that must be green before a merge, cheap to dear, in one target folder and one profile.

use std::{
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    deny, test, tidy,
    workspace::{self, MANIFESTS},
};

/// What `./x help` says of the checks; CONTRIBUTING.md says it at length.
pub(crate) const SUMMARY: &str = "\
In CI (`./x ci`, which `.ci/run` calls): format, tidy, deny, tests with lints and documentation beside them, demo,
kernels.
With a command of their own, because they take long:
  ./x fuzz             random packets and conversations
  ./x kernels --full   more tests on kernel 6.1
  ./x bench            what packets, pods and changes cost
In CI with less; as long as you like by a number in the environment:
  ANDROMEDE_KILLS=100 ./x test -p andromede-agent --test host kills             kills of an agent under traffic
  ANDROMEDE_COMMITS=100000 ./x test -p andromede-controller --test scale        commits that a controller starts from
  ANDROMEDE_ORACLE_PACKETS=2000000 ./x test -p andromede-tests --test oracle    packets beside a scan of the rules";

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "format", run: format },
    Step { name: "tidy", run: tidy::run },
    Step { name: "deny", run: deny::run },
    Step { name: "tests", run: tests_and_lints },
    Step { name: "demo", run: || task(&["demo", "--built"]) },
    Step { name: "kernels", run: || task(&["kernels"]) },
];

/// Runs the steps in order and prints how long each took. Stops at the first that fails, unless it is to keep going.
pub(crate) fn run(keep_going: bool) -> Result<()> {
    let begun = Instant::now();
    let (mut times, mut failed) = (Vec::new(), Vec::new());
    for step in STEPS {
        println!("== {}", step.name);
        let started = Instant::now();
        if let Err(error) = (step.run)() {
            eprintln!("x: {error:#}");
            failed.push(step.name);
        }
        times.push((step.name, started.elapsed()));
        println!("== {}: {}\n", step.name, seconds(started.elapsed()));
        if !failed.is_empty() && !keep_going {
            break;
        }
    }
    println!("{}", table(&times, begun.elapsed()));
    ensure!(failed.is_empty(), "ci: failed: {}", failed.join(", "));
    println!("ci: green");
    Ok(())
}

fn table(times: &[(&str, Duration)], total: Duration) -> String {
    let mut lines: Vec<String> = times.iter().map(|(name, time)| format!("{name:<14} {:>9}", seconds(*time))).collect();
    lines.push(format!("{:<14} {:>9}", "all", seconds(total)));
    lines.join("\n")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn format() -> Result<()> {
    for manifest in MANIFESTS.iter().filter(|manifest| workspace::root().join(manifest).is_file()) {
        workspace::run(&mut workspace::cargo(&["fmt", "--all", "--check", "--manifest-path", manifest]))?;
    }
    Ok(())
}

/// What only compiles, by name: the lints, and the documentation.
fn compiled() -> [(&'static str, Command); 2] {
    // What compiles gives way to what is tested.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let cargo = |arguments: &[&str]| workspace::command("nice", &[&["-n", "10", &cargo], arguments].concat());
    let lints = cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]);
    let mut pages = cargo(&["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
    // Private items are documented too, so a link to one leads somewhere.
    pages.env("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private-intra-doc-links");
    [("lints", lints), ("documentation", pages)]
}

/// Runs what only compiles, and keeps its output until it fails.
fn compile() -> Result<()> {
    let mut failed = Vec::new();
    for (name, mut command) in compiled() {
        let started = Instant::now();
        let output = command.output().with_context(|| format!("cannot run cargo for the {name}"))?;
        println!("== {name}, beside the tests: {}", seconds(started.elapsed()));
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "{} failed", failed.join(" and "));
    Ok(())
}

/// Tests wait more than they compute, so lints and documentation are compiled beside them: not before the tests are built, because cargo
/// builds one thing at a time in a folder.
fn tests_and_lints() -> Result<()> {
    thread::scope(|scope| {
        let (begun, begins) = mpsc::channel();
        // If the tests cannot be built, that is what is told.
        let compiling = scope.spawn(move || begins.recv().map_or(Ok(()), |()| compile()));
        let begin = move || {
            // Nobody listens only if the other thread is gone, which `join` tells.
            let _ = begun.send(());
        };
        let tested = test::run(&[], begin);
        let compiled = compiling.join().map_err(|_| anyhow!("the lints ended by a panic"))?;
        tested.and(compiled)
    })
}

/// Runs another task as a process of its own, as a user would.
fn task(arguments: &[&str]) -> Result<()> {
    // By this link, and not by its path: building the tests replaces the file at that path.
    workspace::run(&mut workspace::command("/proc/self/exe", arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_a_step_and_the_sum() {
        let times = [("format", Duration::from_millis(1_500)), ("tests", Duration::from_secs(90))];
        let expected = "format             1.5 s\ntests             90.0 s\nall               91.5 s";
        assert_eq!(table(&times, Duration::from_millis(91_500)), expected);
    }

    #[test]
    fn the_help_names_every_step() {
        for step in STEPS {
            assert!(SUMMARY.contains(step.name), "{}", step.name);
        }
    }
}
