//! `./x bench document`: the figures of a run, written into `docs/performance.md`, with a plot.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    plot,
    report::{Report, figure},
};

/// Where the figures stand in the document.
const BEGIN: &str = "<!-- figures: begin -->";
/// Where they end.
const END: &str = "<!-- figures: end -->";

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What `datapath --json` wrote.
    datapath: PathBuf,
    /// What other benches wrote with `--json`.
    others: Vec<PathBuf>,
    /// The folder of the documents.
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
}

/// Writes the document and the plot.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let datapath = Report::read(&arguments.datapath)?;
    let mut parts = vec![
        format!("Of {}.\n\n![Medians beside plain routing](performance.svg)\n", datapath.machine.line()),
        medians(&datapath),
        ratios(&datapath),
    ];
    for path in &arguments.others {
        let report = Report::read(path)?;
        parts.push(format!("Of {}.\n", report.machine.line()));
        parts.push(plain_rows(&report));
    }
    let place = arguments.docs.join("performance.md");
    let text = fs::read_to_string(&place).with_context(|| format!("reading {}", place.display()))?;
    let text = between(&text, &parts.join("\n")).with_context(|| format!("{} has no {BEGIN}", place.display()))?;
    fs::write(&place, text).with_context(|| format!("writing {}", place.display()))?;
    let plot_at = arguments.docs.join("performance.svg");
    fs::write(&plot_at, plot::beside_plain(&datapath)).with_context(|| format!("writing {}", plot_at.display()))
}

/// The document with other figures; none without the marks.
fn between(text: &str, figures: &str) -> Option<String> {
    let (head, rest) = text.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n{figures}\n{END}{tail}"))
}

/// A table of medians: a line for each figure, a column for each way.
fn medians(report: &Report) -> String {
    let mut configs: Vec<&str> = Vec::new();
    let mut metrics: Vec<&str> = Vec::new();
    for row in &report.rows {
        if !configs.contains(&row.config.as_str()) {
            configs.push(&row.config);
        }
        if !metrics.contains(&row.metric.as_str()) {
            metrics.push(&row.metric);
        }
    }
    let mut lines = vec![line(&[&["median [min-max]"], configs.as_slice()].concat()), rule(configs.len() + 1)];
    for metric in metrics {
        let mut cells = vec![format!("`{metric}`")];
        cells.extend(configs.iter().map(|config| {
            let found = report.rows.iter().find(|row| row.metric == metric && row.config == *config);
            found.map_or_else(String::new, |row| {
                format!("{} [{}-{}]", figure(row.median), figure(row.min), figure(row.max))
            })
        }));
        lines.push(line(&cells));
    }
    lines.concat()
}

/// A table of ratios and what was asked.
fn ratios(report: &Report) -> String {
    let header = ["andromede beside", "figure", "ratio", "95 % bounds", "bar", "goal", "reached"];
    let mut lines = vec![line(&header), rule(header.len())];
    lines.extend(report.ratios.iter().map(|ratio| {
        line(&[
            ratio.peer.clone(),
            format!("`{}`", ratio.metric),
            format!("{:.2}", ratio.ratio),
            format!("{:.2} - {:.2}", ratio.low, ratio.high),
            format!("{:.2}", ratio.bar),
            format!("{:.2}", ratio.goal),
            ratio.reached.clone(),
        ])
    }));
    lines.concat()
}

/// A line for each figure, as it is.
fn plain_rows(report: &Report) -> String {
    let header = ["figure", "of", "median", "min", "max", "n"];
    let mut lines = vec![line(&header), rule(header.len())];
    lines.extend(report.rows.iter().map(|row| {
        let [middle, low, high] = [row.median, row.min, row.max].map(figure);
        line(&[format!("`{}`", row.metric), row.config.clone(), middle, low, high, row.n.to_string()])
    }));
    lines.concat()
}

fn line<S: AsRef<str>>(cells: &[S]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn rule(columns: usize) -> String {
    format!("|{}\n", " --- |".repeat(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_take_the_place_of_older_ones() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        assert_eq!(between(&text, "new"), Some(format!("before\n{BEGIN}\nnew\n{END}\nafter\n")));
        assert_eq!(between("without marks", "new"), None);
    }
}
