//! What is asked of this project: issue 4 of its list, line 2. Every figure is a ratio of Andromède's median to a peer's.

use Better::{Less, More};

use super::{metric::Metric, scene::Config};
use crate::bar::{Bar, Better};

/// A bar of the table.
const fn bar(figure: &'static str, better: Better, peer: &'static str, least: f64, goal: f64) -> Bar {
    Bar { figure, better, peer, least, goal }
}

/// All bars.
pub(crate) const ALL: &[Bar] = &[
    bar("tcp1_gbps", More, "br1000", 1.4, 1.75),
    bar("tcp1_gbps", More, "rtipt", 1.3, 1.6),
    bar("tcp1_gbps", More, "plain", 0.90, 1.07),
    bar("tcp1_cpu_per_gbit", Less, "br1000", 0.85, 0.75),
    bar("tcp1_cpu_per_gbit", Less, "rtipt", 0.92, 0.82),
    bar("tcp1_cpu_per_gbit", Less, "plain", 1.10, 1.0),
    bar("udp64_cpu_us", Less, "br1000", 0.53, 0.45),
    bar("udp64_cpu_us", Less, "rtipt", 0.58, 0.50),
    bar("udp64_cpu_us", Less, "plain", 0.98, 0.85),
    bar("udp64_oneway_cpu_us", Less, "br1000", 0.36, 0.28),
    bar("udp64_oneway_cpu_us", Less, "rtipt", 0.18, 0.14),
    bar("udp64_oneway_cpu_us", Less, "plain", 0.98, 0.85),
    bar("rtt_spin_p50_us", Less, "br1000", 0.60, 0.52),
    bar("rtt_spin_p50_us", Less, "rtipt", 0.56, 0.48),
    bar("rtt_spin_p50_us", Less, "plain", 0.88, 0.78),
    bar("connect_cpu_us", Less, "br1000", 0.60, 0.52),
    bar("connect_cpu_us", Less, "rtipt", 0.50, 0.43),
    bar("connect_cpu_us", Less, "plain", 1.0, 0.90),
    bar("wire1500_gbps", More, "br1000", 1.0, 1.15),
    bar("wire1500_gbps", More, "rtipt", 1.05, 1.2),
    bar("wire1500_gbps", More, "plain", 0.82, 0.95),
    bar("wire9000_cpu_per_gbit", Less, "br1000", 0.82, 0.77),
    bar("wire9000_cpu_per_gbit", Less, "rtipt", 0.78, 0.73),
    bar("wire9000_cpu_per_gbit", Less, "plain", 0.95, 0.87),
    // Beyond the table, in its words: "within 1.25 of direct", "within 1.4 of direct", and the pods of one host.
    bar("udp64_cpu_us", Less, "direct", 1.25, 1.25),
    bar("rtt_spin_p50_us", Less, "direct", 1.4, 1.4),
    bar("samehost_udp64_cpu_us", Less, "plain", 0.85, 0.85),
    bar("samehost_rtt_spin_p50_us", Less, "plain", 0.62, 0.62),
];

/// What is asked of every figure beside another build: to cost hardly more.
pub(crate) fn of_another_build() -> impl Iterator<Item = Bar> {
    let of_figure = |figure: &'static str| {
        let more = figure.ends_with("_gbps") || figure.ends_with("_per_s");
        let (better, least) = if more { (More, 0.97) } else { (Less, 1.03) };
        bar(figure, better, Config::Against.title(), least, 1.0)
    };
    Metric::ALL.iter().flat_map(|metric| metric.figures()).map(move |figure| of_figure(figure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_names_a_figure_that_is_measured() {
        let figures: Vec<&str> = Metric::ALL.iter().flat_map(|metric| metric.figures()).copied().collect();
        assert!(ALL.iter().all(|bar| figures.contains(&bar.figure)));
    }
}
