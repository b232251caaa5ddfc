//! Every test of the workspace, and one count over all of them.

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

/// Builds every program, runs every test, and prints the count as the last line. `begun` is called when all is built and the first test
/// program runs.
pub(crate) fn run(arguments: &[String], begun: impl FnOnce()) -> Result<()> {
    let mut begun = Some(begun);
    // The tests start the programs, so those are built first; one build of all targets shares every dependency.
    workspace::run(&mut workspace::cargo(&["build", "--workspace", "--all-targets", "--locked"]))?;
    let mut test = workspace::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    if arguments.iter().any(|argument| argument == "-p" || argument == "--package") {
        test = workspace::cargo(&["test", "--locked", "--no-fail-fast"]);
    }
    let mut child = test.args(arguments).stdout(Stdio::piped()).spawn().context("cannot run `cargo test`")?;
    let mut count = Count::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("cannot read what the tests print")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            if let Some(begun) = begun.take_if(|_| line.starts_with("running ")) {
                begun();
            }
            if let Some(more) = Count::from_line(&line) {
                count.add(more);
            }
        }
    }
    let status = child.wait().context("cannot wait for `cargo test`")?;
    if !status.success() && count.failed == 0 {
        println!("A test program did not build, or ended without its count: it counts as one failure.");
        count.failed = 1;
    }
    println!("{count}");
    ensure!(status.success(), "tests failed");
    Ok(())
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
    fn prints_the_sum() {
        let mut sum = Count { passed: 2, failed: 0, skipped: 0 };
        sum.add(Count { passed: 3, failed: 1, skipped: 0 });
        assert_eq!(sum.to_string(), "5 passed, 1 failed");
        sum.add(Count { passed: 0, failed: 0, skipped: 2 });
        assert_eq!(sum.to_string(), "5 passed, 1 failed, 2 skipped");
    }
}
