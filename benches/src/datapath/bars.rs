//! What is asked of this project: issue 4 of its list, line 2. Every figure is a ratio of Andromède's median to a peer's.

use Better::{Less, More};

use crate::statistics::Ratio;

/// Is more better, or less?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// At least so much.
    More,
    /// At most so much.
    Less,
}

/// One bar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    /// The figure.
    pub(crate) figure: &'static str,
    /// Which way is better.
    pub(crate) better: Better,
    /// Whose median is the divisor.
    pub(crate) peer: &'static str,
    /// The bootstrap bound must be no worse: the bar.
    pub(crate) least: f64,
    /// What we are here for.
    pub(crate) goal: f64,
}

/// What a ratio is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    /// The bound reaches the goal.
    Goal,
    /// The bound reaches the bar.
    Bar,
    /// It does not.
    Missed,
}

impl Grade {
    /// For people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Bar => "bar",
            Self::Missed => "MISSED",
        }
    }
}

impl Bar {
    /// Grades a ratio by the worse of its bounds.
    pub(crate) fn grade(&self, ratio: Ratio) -> Grade {
        let reaches = |wanted: f64| match self.better {
            Better::More => ratio.low >= wanted,
            Better::Less => ratio.high <= wanted,
        };
        if reaches(self.goal) {
            Grade::Goal
        } else if reaches(self.least) {
            Grade::Bar
        } else {
            Grade::Missed
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::metric::Metric;

    #[test]
    fn the_worse_bound_decides() {
        let less = bar("udp64_cpu_us", Less, "plain", 0.98, 0.85);
        let of = |low, high| Ratio { value: f64::midpoint(low, high), low, high };
        assert_eq!(less.grade(of(0.7, 0.85)), Grade::Goal);
        assert_eq!(less.grade(of(0.7, 0.9)), Grade::Bar);
        assert_eq!(less.grade(of(0.7, 0.99)), Grade::Missed);
        let more = bar("tcp1_gbps", More, "plain", 0.9, 1.07);
        assert_eq!(more.grade(of(1.07, 1.2)), Grade::Goal);
        assert_eq!(more.grade(of(0.8, 1.2)), Grade::Missed);
    }

    #[test]
    fn every_bar_names_a_figure_that_is_measured() {
        let figures: Vec<&str> = Metric::ALL.iter().flat_map(|metric| metric.figures()).copied().collect();
        assert!(ALL.iter().all(|bar| figures.contains(&bar.figure)));
    }
}
