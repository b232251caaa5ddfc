//! Samples by what was measured, where, and beside what.

use std::collections::BTreeMap;

use super::scene::Place;
use crate::{
    bar::{Bar, Better},
    report::{RatioRow, Row, align, figure},
};

/// What is measured of the tenant that does not flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    /// Connections a second, one after the other.
    Connect,
    /// Round trips of small datagrams: nine of ten take no longer.
    RoundTrip,
}

impl Figure {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Connect, Self::RoundTrip];

    /// Its name in this place.
    const fn name(self, place: Place) -> &'static str {
        match (self, place) {
            (Self::Connect, Place::OneHost) => "neighbour_samehost_connect_per_s",
            (Self::Connect, Place::TwoHosts) => "neighbour_connect_per_s",
            (Self::RoundTrip, Place::OneHost) => "neighbour_samehost_rtt_spin_p90_us",
            (Self::RoundTrip, Place::TwoHosts) => "neighbour_rtt_spin_p90_us",
        }
    }

    /// What is asked of it: within ten of a hundred.
    const fn bar(self, place: Place) -> Bar {
        let (better, least) = match self {
            Self::Connect => (Better::More, 0.90),
            Self::RoundTrip => (Better::Less, 1.10),
        };
        Bar { figure: self.name(place), better, peer: Beside::Burner.title(), least, goal: 1.0 }
    }
}

/// What another processor does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beside {
    /// Nothing.
    Nothing,
    /// Work that has nothing to do with the network.
    Burner,
    /// The other tenant's flood.
    Flood,
}

impl Beside {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Nothing, Self::Burner, Self::Flood];

    const fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Burner => "burner",
            Self::Flood => "flood",
        }
    }
}

/// All samples of a run, in the order of the rounds.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<(Figure, Place, Beside), Vec<f64>>);

impl Samples {
    /// Adds the sample of a round.
    pub(super) fn add(&mut self, figure: Figure, place: Place, beside: Beside, value: f64) {
        self.0.entry((figure, place, beside)).or_default().push(value);
    }

    fn of(&self, figure: Figure, place: Place, beside: Beside) -> &[f64] {
        self.0.get(&(figure, place, beside)).map_or(&[], Vec::as_slice)
    }

    /// The figures, in the form of all benches.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |((figure, place, beside), samples): (&(Figure, Place, Beside), &Vec<f64>)| {
            Row::new(figure.name(*place), beside.title(), 1, samples)
        };
        self.0.iter().map(row).collect()
    }

    /// The medians, each with the smallest and the largest sample.
    pub(super) fn table(&self) -> String {
        let title = std::iter::once("median [min-max] beside").chain(Beside::ALL.map(Beside::title));
        let mut lines = vec![title.map(str::to_owned).collect::<Vec<_>>()];
        let rows = self.rows();
        for of_one in rows.chunk_by(|one, other| one.metric == other.metric) {
            let name = of_one.iter().take(1).map(|row| row.metric.clone());
            let cell = |row: &Row| format!("{} [{}-{}]", figure(row.median), figure(row.min), figure(row.max));
            lines.push(name.chain(of_one.iter().map(cell)).collect());
        }
        align(&lines)
    }

    /// The flood beside the burner.
    pub(super) fn ratios(&self) -> Vec<RatioRow> {
        let judged = |figure: Figure, place| {
            let of = |beside| self.of(figure, place, beside);
            figure.bar(place).judge(of(Beside::Flood), of(Beside::Burner))
        };
        Figure::ALL.into_iter().flat_map(|figure| Place::ALL.map(|place| judged(figure, place))).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_the_bar_both_ways() {
        let reached = |figure, beside_flood: f64| {
            let mut samples = Samples::default();
            for _ in 0..6 {
                samples.add(figure, Place::OneHost, Beside::Burner, 100.0);
                samples.add(figure, Place::OneHost, Beside::Flood, beside_flood);
            }
            samples.ratios().into_iter().map(|ratio| ratio.reached).collect::<Vec<_>>()
        };
        assert_eq!(reached(Figure::Connect, 91.0), ["bar"]);
        assert_eq!(reached(Figure::Connect, 89.0), ["MISSED"]);
        assert_eq!(reached(Figure::RoundTrip, 109.0), ["bar"]);
        assert_eq!(reached(Figure::RoundTrip, 111.0), ["MISSED"]);
    }
}
