//! Samples by what was measured and of what, and the tables they make.

use std::collections::BTreeMap;

use super::{bars, metric::Metric, scene::Config};
use crate::{
    bar::Bar,
    report::{RatioRow, Row, align, figure},
};

/// All samples of a run, in the order of the rounds.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<(&'static str, Config), Vec<f64>>);

impl Samples {
    /// Adds the sample of a round.
    pub(super) fn add(&mut self, metric: Metric, config: Config, values: &[f64]) {
        for (name, value) in metric.figures().iter().zip(values) {
            self.0.entry((name, config)).or_default().push(*value);
        }
    }

    fn of(&self, name: &str, config: &str) -> &[f64] {
        let found = self.0.iter().find(|((figure, of), _)| *figure == name && of.title() == config);
        found.map_or(&[], |(_, samples)| samples)
    }

    /// The figures, in the form of all benches.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |name: &'static str| {
            let of_figure = self.0.iter().filter(move |((figure, _), _)| *figure == name);
            of_figure.map(|((name, config), samples)| Row::new(name, config.title(), config.rules(), samples))
        };
        Metric::ALL.iter().flat_map(|metric| metric.figures()).flat_map(|name| row(name)).collect()
    }

    /// The medians, each with the smallest and the largest sample.
    pub(super) fn table(&self, configs: &[Config]) -> String {
        let rows = self.rows();
        let title = std::iter::once("median [min-max]").chain(configs.iter().map(|config| config.title()));
        let mut lines = vec![title.map(str::to_owned).collect::<Vec<_>>()];
        for name in Metric::ALL.iter().flat_map(|metric| metric.figures()) {
            let cell = |config: &Config| {
                let row = rows.iter().find(|row| row.metric == *name && row.config == config.title());
                row.map_or_else(String::new, |row| {
                    format!("{} [{}-{}]", figure(row.median), figure(row.min), figure(row.max))
                })
            };
            if rows.iter().any(|row| row.metric == *name) {
                lines.push(std::iter::once((*name).to_owned()).chain(configs.iter().map(cell)).collect());
            }
        }
        align(&lines)
    }

    /// Andromède beside each peer, as far as both were measured.
    pub(super) fn ratios(&self) -> Vec<RatioRow> {
        let of = |bar: &Bar| bar.judge(self.of(bar.figure, Config::Andromede.title()), self.of(bar.figure, bar.peer));
        bars::ALL.iter().copied().chain(bars::of_another_build()).filter_map(|bar| of(&bar)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report;

    #[test]
    fn what_is_asked_is_graded_and_what_was_not_measured_is_left_out() {
        let mut samples = Samples::default();
        for _ in 0..6 {
            samples.add(Metric::Udp, Config::Andromede, &[4.0]);
            samples.add(Metric::Udp, Config::Plain, &[5.0]);
            samples.add(Metric::Udp, Config::Bridge, &[5.0]);
        }
        let ratios = samples.ratios();
        let reached: Vec<&str> = ratios.iter().map(|ratio| ratio.reached.as_str()).collect();
        assert_eq!(reached, ["MISSED", "goal"], "{}", report::table_of_ratios("andromede", &ratios));
        assert_eq!(samples.rows().len(), 3);
    }
}
