//! What is asked of a ratio, and whether it reaches that.

use crate::{
    report::RatioRow,
    statistics::{self, Ratio},
};

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

    /// The ratio of samples to those of the peer, graded; none without samples.
    pub(crate) fn judge(&self, of: &[f64], to: &[f64]) -> Option<RatioRow> {
        let ratio = statistics::ratio(of, to)?;
        Some(RatioRow {
            metric: self.figure.to_owned(),
            peer: self.peer.to_owned(),
            ratio: ratio.value,
            low: ratio.low,
            high: ratio.high,
            bar: self.least,
            goal: self.goal,
            reached: self.grade(ratio).title().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_bound_decides() {
        let bar = |better, least, goal| Bar { figure: "udp64_cpu_us", better, peer: "plain", least, goal };
        let less = bar(Better::Less, 0.98, 0.85);
        let of = |low, high| Ratio { value: f64::midpoint(low, high), low, high };
        assert_eq!(less.grade(of(0.7, 0.85)), Grade::Goal);
        assert_eq!(less.grade(of(0.7, 0.9)), Grade::Bar);
        assert_eq!(less.grade(of(0.7, 0.99)), Grade::Missed);
        let more = bar(Better::More, 0.9, 1.07);
        assert_eq!(more.grade(of(1.07, 1.2)), Grade::Goal);
        assert_eq!(more.grade(of(0.8, 1.2)), Grade::Missed);
    }
}
