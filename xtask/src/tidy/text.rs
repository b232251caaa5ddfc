//! What no line may hold.

use super::Finding;
use crate::workspace::File;

/// Marks of unfinished work. Written in two halves, or this file would find itself.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// How a test is left out. Written in two halves, for the same reason.
const LEFT_OUT: &str = concat!("ign", "ore");

/// Homes of people and machines: a repository is the same everywhere.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Use", "rs/")];

/// Calls that a pure crate must not make.
const IMPURE: &[&str] =
    &["std::fs", "std::process", "std::env", "std::thread", "std::time", "Instant::now", "SystemTime", "println!"];
const PURE_FOLDERS: &[&str] = &["abi/src/", "pipeline/src/", "model/src/", "plan/src/"];

/// Looks at every line.
pub(super) fn check(file: &File) -> Vec<Finding> {
    // Text of others is kept as it came.
    if file.path == "LICENSE" || file.path.ends_with("Cargo.lock") || file.path.starts_with("fuzz/corpus/") {
        return Vec::new();
    }
    let pure = PURE_FOLDERS.iter().any(|folder| file.path.starts_with(folder));
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let mut find = |what: String| findings.push(Finding::new(format!("{}:{}", file.path, number + 1), what));
        if line.ends_with([' ', '\t']) {
            find("white space at the end of the line".to_owned());
        }
        if let Some(mark) = UNFINISHED.iter().find(|mark| has_word(line, mark) && !names_an_issue(line, mark)) {
            find(format!("{mark} without the number of an issue: {mark}(#12)"));
        }
        if file.is("rs") && leaves_a_test_out(line) {
            find(format!(
                "{LEFT_OUT}: a test that never runs proves nothing. Let it run with less, the count in an environment variable \
                 (as ANDROMEDE_KILLS), or make it a bench"
            ));
        }
        if let Some(path) = MACHINE_PATHS.iter().find(|path| has_path(line, path)) {
            find(format!("{path} is a path of one machine"));
        }
        if let Some(call) = IMPURE.iter().find(|call| pure && line.contains(*call)) {
            find(format!("{call} in a pure crate: time, chance and I/O come in as arguments"));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(Finding::new(&file.path, "no end of line at the end of the file"));
    }
    findings
}

/// Is it the attribute, also under a condition, or that of an example in the documentation?
fn leaves_a_test_out(line: &str) -> bool {
    let attribute = line.contains("#[") && (line.contains(&format!("#[{LEFT_OUT}")) || line.contains("cfg_attr"));
    let example = line.trim_start().starts_with("//") && line.contains("```");
    (attribute || example) && has_word(line, LEFT_OUT)
}

/// Does the word stand in the line by itself?
fn has_word(line: &str, word: &str) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric()).any(|part| part == word)
}

/// Is the word followed by `(#` and digits?
fn names_an_issue(line: &str, word: &str) -> bool {
    line.split(word)
        .nth(1)
        .and_then(|rest| rest.strip_prefix("(#"))
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Does an absolute path begin so? `docs/work/` is not one.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"./_-$}{".contains(letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&File { path: path.to_owned(), text: text.to_owned() }).into_iter().map(|found| found.what).collect()
    }

    #[test]
    fn clean_text_passes() {
        assert_eq!(findings("agent/src/a.rs", "//! Fine.\nuse std::fs;\n"), Vec::<String>::new());
    }

    #[test]
    fn unfinished_work_needs_an_issue() {
        let mark = UNFINISHED[0];
        assert_eq!(findings("a.rs", &format!("// {mark}: later\n")).len(), 1);
        assert_eq!(findings("a.rs", &format!("// {mark}(#12): later\n")).len(), 0);
        assert_eq!(findings("a.rs", &format!("let {mark}S = 1;\n")).len(), 0);
    }

    #[test]
    fn tests_that_never_run_are_found() {
        for line in ["#[@]", "    #[@ = \"long\"]", "#[cfg_attr(not(feature = \"a\"), @)]", "/// ```@", "//! ```rust,@"]
        {
            let line = line.replace('@', LEFT_OUT);
            assert_eq!(findings("a.rs", &format!("{line}\n")).len(), 1, "{line}");
            assert_eq!(findings("a.md", &format!("{line}\n")).len(), 0, "{line}");
        }
        for line in ["let @ = 1;", "#[@d_by_serde]", "// We @ it.", "#[cfg_attr(a, b)]"] {
            let line = line.replace('@', LEFT_OUT);
            assert_eq!(findings("a.rs", &format!("{line}\n")).len(), 0, "{line}");
        }
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for path in MACHINE_PATHS {
            assert_eq!(findings("a.md", &format!("see `{path}a`\n")).len(), 1, "{path}");
            assert_eq!(findings("a.md", &format!("see docs{path}a\n")).len(), 0, "{path}");
        }
    }

    #[test]
    fn pure_crates_read_no_clock_and_no_file() {
        assert_eq!(findings("plan/src/a.rs", "let now = Instant::now();\n").len(), 1);
        assert_eq!(findings("pipeline/src/a.rs", "use std::fs;\n").len(), 1);
    }

    #[test]
    fn spaces_at_the_end_and_a_missing_end_are_found() {
        assert_eq!(findings("a.md", "a \n").len(), 1);
        assert_eq!(findings("a.md", "a").len(), 1);
    }
}
