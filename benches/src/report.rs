//! What a bench found, in the form that all of them write.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::statistics::{median, quantile};

/// The machine that measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Name of the processor, as `/proc/cpuinfo` gives it.
    pub(crate) processor: String,
    /// How many processors there are.
    pub(crate) processors: usize,
    /// `uname -r`.
    pub(crate) kernel: String,
    /// Day on which it was measured, UTC, as `2026-01-31`.
    pub(crate) date: String,
    /// Load averages of the last one, five and fifteen minutes when it ended: how much else the machine had to do.
    pub(crate) load: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn this() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            processor: model.map(|(_, name)| name.to_owned()).unwrap_or_default(),
            processors: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: andromede_testkit::requires::kernel_release(),
            date: today(),
            load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

impl Machine {
    /// For people.
    pub(crate) fn line(&self) -> String {
        format!("{} x {}, Linux {}, {}, load {}", self.processors, self.processor, self.kernel, self.date, self.load)
    }
}

fn today() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What was measured; the unit is the end of its name.
    pub(crate) metric: String,
    /// Of what.
    pub(crate) config: String,
    /// Firewall rules in force on each host.
    pub(crate) rules: u32,
    /// Median of the samples.
    pub(crate) median: f64,
    /// Smallest sample.
    pub(crate) min: f64,
    /// Largest sample.
    pub(crate) max: f64,
    /// How many samples.
    pub(crate) n: usize,
}

impl Row {
    /// The row of these samples.
    pub(crate) fn new(metric: &str, config: &str, rules: u32, samples: &[f64]) -> Self {
        Self {
            metric: metric.to_owned(),
            config: config.to_owned(),
            rules,
            median: median(samples),
            min: quantile(samples, 0.0),
            max: quantile(samples, 1.0),
            n: samples.len(),
        }
    }
}

/// A ratio of Andromède's figure to another's, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RatioRow {
    /// The figure.
    pub(crate) metric: String,
    /// Whose is the divisor.
    pub(crate) peer: String,
    /// Of the medians.
    pub(crate) ratio: f64,
    /// Bounds of 95 %.
    pub(crate) low: f64,
    /// See [`Self::low`].
    pub(crate) high: f64,
    /// What the worse bound must reach.
    pub(crate) bar: f64,
    /// What is wished for.
    pub(crate) goal: f64,
    /// "goal", "bar" or "MISSED".
    pub(crate) reached: String,
}

/// All figures of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Where and when.
    pub(crate) machine: Machine,
    /// The figures.
    pub(crate) rows: Vec<Row>,
    /// Ratios, where the bench has bars for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ratios: Vec<RatioRow>,
}

impl Report {
    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} holds no figures", path.display()))
    }

    /// Writes it as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// A figure with as many digits as mean something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        medium if medium >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Lines of cells, each column as wide as its widest cell; the first column to the left, the others to the right.
pub(crate) fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widest =
        |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(line).collect()
}

/// Ratios for people: of whom to what.
pub(crate) fn table_of_ratios(whose: &str, ratios: &[RatioRow]) -> String {
    let header = [&format!("{whose} /"), "peer", "ratio", "95 % bounds", "bar", "goal", "reached"];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    lines.extend(ratios.iter().map(|ratio| {
        vec![
            ratio.metric.clone(),
            ratio.peer.clone(),
            format!("{:.2}", ratio.ratio),
            format!("{:.2} - {:.2}", ratio.low, ratio.high),
            format!("{:.2}", ratio.bar),
            format!("{:.2}", ratio.goal),
            ratio.reached.clone(),
        ]
    }));
    align(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_back_as_it_was_written() {
        let report = Report {
            machine: Machine::this(),
            rows: vec![Row::new("udp64_cpu_us", "plain", 0, &[2.0, 1.0, 4.0])],
            ratios: Vec::new(),
        };
        let text = serde_json::to_string(&report).expect("plain data");
        let back: Report = serde_json::from_str(&text).expect("what was written");
        assert_eq!(back.rows, report.rows);
        assert_eq!((back.rows[0].median, back.rows[0].min, back.rows[0].max, back.rows[0].n), (2.0, 1.0, 4.0, 3));
        assert!(!back.machine.kernel.is_empty() && back.machine.processors > 0);
    }

    #[test]
    fn columns_stand_under_each_other() {
        let cells = |line: [&str; 2]| line.map(str::to_owned).to_vec();
        assert_eq!(align(&[cells(["a", "1"]), cells(["long", "22"])]), "a      1\nlong  22\n");
    }
}
