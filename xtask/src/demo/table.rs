//! The table that the demo prints.

use andromede_testkit::traffic::Outcome;

use super::{
    checks::{Check, Expected},
    expect::Protocol,
    fabric::{Demo, Port},
};

const HEADER: [&str; 7] = ["from", "to", "protocol", "expected", "seen", "ms", ""];

/// All checks: first a line for each within a tenant, then one for each pair of ports of different tenants.
pub(super) fn of_tenants(demo: &Demo, checks: &[Check]) -> String {
    let ports = demo.ports();
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(checks.iter().filter(|check| check.expected != Expected::NotTheirs).map(|check| row(check, ports)));
    let (own, between): (Vec<_>, Vec<_>) = checks.iter().partition(|check| check.expected != Expected::NotTheirs);
    let passed = own.iter().filter(|check| check.passed).count();
    format!(
        "{}\n{passed} of {} as expected.\n\nThe same, towards the addresses of the other tenant, which are one's own as well:\n\n{}",
        align(&rows),
        own.len(),
        of_pairs(&between, ports)
    )
}

fn row(check: &Check, ports: &[Port]) -> [String; 7] {
    let title =
        |index: usize| ports.get(index).map(|port| format!("{} ({})", port.title(), port.host)).unwrap_or_default();
    let (seen, time) = match &check.outcome {
        Outcome::Answered { by, after } if by.is_empty() => ("answer".to_owned(), milliseconds(after.as_secs_f64())),
        Outcome::Answered { by, after } => (format!("answer of {by}"), milliseconds(after.as_secs_f64())),
        Outcome::Refused(error) => (error.clone(), String::new()),
        Outcome::Silence => (drop_in_words(check), String::new()),
    };
    let expected = if check.expected == Expected::Answer { "answer" } else { "refusal" };
    [
        title(check.from),
        title(check.to),
        check.protocol.title().to_owned(),
        expected.to_owned(),
        seen,
        time,
        mark(check.passed).to_owned(),
    ]
}

fn drop_in_words(check: &Check) -> String {
    match &check.drop {
        Some(drop) if drop.rule.is_empty() => format!("dropped on {}: {}", drop.host, drop.reason),
        Some(drop) => format!("dropped on {}: {} {}", drop.host, drop.reason, short(&drop.rule)),
        None => "nothing, and no drop was reported".to_owned(),
    }
}

/// The last two parts of a rule's name: "group/rule".
fn short(rule: &str) -> String {
    let mut parts: Vec<&str> = rule.rsplit('/').take(2).collect();
    parts.reverse();
    parts.join("/")
}

/// A line for each pair, with a column for each protocol.
fn of_pairs(checks: &[&Check], ports: &[Port]) -> String {
    let title = |index: usize| ports.get(index).map(Port::title).unwrap_or_default();
    let mut header = vec!["from".to_owned(), "towards".to_owned()];
    header.extend(Protocol::ALL.map(|protocol| protocol.title().to_owned()));
    header.push("expected: never theirs".to_owned());
    let mut rows = vec![header];
    for pair in checks.chunk_by(|a, b| (a.from, a.to) == (b.from, b.to)) {
        let Some(first) = pair.first() else { continue };
        let mut row = vec![title(first.from), title(first.to)];
        row.extend(pair.iter().map(|check| match &check.outcome {
            Outcome::Answered { by, .. } if by.is_empty() => "own answers".to_owned(),
            Outcome::Answered { by, .. } => by.clone(),
            Outcome::Refused(_) | Outcome::Silence => "nobody".to_owned(),
        }));
        row.push(mark(pair.iter().all(|check| check.passed)).to_owned());
        rows.push(row);
    }
    align(&rows)
}

const fn mark(passed: bool) -> &'static str {
    if passed { "ok" } else { "WRONG" }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.2}", seconds * 1000.0)
}

/// Pads every column to its widest cell.
fn align<R: AsRef<[String]>>(rows: &[R]) -> String {
    let columns = rows.first().map_or(0, |row| row.as_ref().len());
    let widest = |column: usize| {
        let lengths = rows.iter().filter_map(|row| row.as_ref().get(column)).map(|cell| cell.chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let line = |row: &R| {
        let cells = row.as_ref().iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["a".to_owned(), "b".to_owned()], ["long".to_owned(), "c".to_owned()]];
        assert_eq!(align(&rows), "a     b\nlong  c\n");
    }

    #[test]
    fn rules_are_told_by_group_and_name() {
        assert_eq!(short("tenants/t/networks/n/securityGroups/web/http"), "web/http");
        assert_eq!(short("default-ingress"), "default-ingress");
    }
}
