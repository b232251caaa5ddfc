//! Every test of the workspace, and one count over all of them.

mod programs;

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// How many tests of one or more test programs did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Count {
    /// Reads the line with which a test program ends: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn from_line(line: &str) -> Option<Self> {
        let line = line.strip_prefix("test result: ")?;
        let (_, numbers) = line.split_once(". ")?;
        let number = |what: &str| {
            let part = numbers.split("; ").find(|part| part.ends_with(what))?;
            part.split(' ').next()?.parse().ok()
        };
        Some(Self { passed: number("passed")?, failed: number("failed")?, skipped: number("ignored")? })
    }

    /// Counts what a test program printed. One that failed without saying which of its tests did counts as one failure.
    fn of(output: &str, is_success: bool) -> Self {
        let mut count = Self::default();
        output.lines().filter_map(Self::from_line).for_each(|more| count.add(more));
        if !is_success && count.failed == 0 {
            println!("A test program did not build, or ended without its count: it counts as one failure.");
            count.failed = 1;
        }
        count
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// How many test programs run at a time: most of them wait for timers, packets and programs. Those that compute have as many threads as
/// there are processors.
const AT_A_TIME: usize = 2;

/// Builds every program, runs every test, and prints the count as the last line. `begun` is called when all is built and the first test
/// program runs. With arguments, it is `cargo test` with them.
pub(crate) fn run(arguments: &[String], begun: impl FnOnce()) -> Result<()> {
    // The tests start the programs, so those are built first; one build of all targets shares every dependency.
    workspace::run(&mut workspace::cargo(&["build", "--workspace", "--all-targets", "--locked"]))?;
    let mut count = Count::default();
    if arguments.is_empty() {
        let programs = programs::built()?;
        begun();
        programs::run(programs, AT_A_TIME, |ended| {
            println!("== {}: {}", ended.program.source, ended.status);
            println!("{}", ended.output);
            count.add(Count::of(&ended.output, ended.status.success()));
        })?;
    } else {
        let (output, is_success) = cargo_test(arguments)?;
        count = Count::of(&output, is_success);
    }
    println!("{count}");
    ensure!(count.failed == 0, "tests failed");
    Ok(())
}

/// Runs `cargo test` and shows what it prints; returns that, and whether it ended well.
fn cargo_test(arguments: &[String]) -> Result<(String, bool)> {
    let mut test = workspace::cargo(&["test", "--locked", "--no-fail-fast"]);
    if !arguments.iter().any(|argument| ["-p", "--package", "--workspace"].contains(&argument.as_str())) {
        test.arg("--workspace");
    }
    let mut child = test.args(arguments).stdout(Stdio::piped()).spawn().context("cannot run `cargo test`")?;
    let mut all = String::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("cannot read what the tests print")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            all.push_str(&line);
            all.push('\n');
        }
    }
    Ok((all, child.wait().context("cannot wait for `cargo test`")?.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_last_line_of_a_test_program() {
        let line = "test result: FAILED. 12 passed; 3 failed; 4 ignored; 0 measured; 5 filtered out; finished in 0.05s";
        assert_eq!(Count::from_line(line), Some(Count { passed: 12, failed: 3, skipped: 4 }));
        assert_eq!(Count::from_line("test result: what"), None);
        assert_eq!(Count::from_line("test parse::tests::a ... ok"), None);
    }

    #[test]
    fn a_program_that_ends_without_its_count_is_a_failure() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.05s\n";
        assert_eq!(Count::of(&line.repeat(2), true), Count { passed: 4, failed: 0, skipped: 0 });
        assert_eq!(Count::of(line, false), Count { passed: 2, failed: 1, skipped: 0 });
        assert_eq!(Count::of("memory allocation failed\n", false), Count { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn prints_the_sum() {
        let mut sum = Count { passed: 2, failed: 0, skipped: 0 };
        sum.add(Count { passed: 3, failed: 1, skipped: 0 });
        assert_eq!(sum.to_string(), "5 passed, 1 failed");
        sum.add(Count { passed: 0, failed: 0, skipped: 2 });
        assert_eq!(sum.to_string(), "5 passed, 1 failed, 2 skipped");
    }
}
