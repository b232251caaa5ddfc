//! Medians, and how sure one may be of their ratios.

/// How often samples are drawn anew for the bounds of a ratio.
const DRAWS: usize = 2_000;

/// A source of numbers that is good enough for shuffling and drawing (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) const fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % bound
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The value below which this part (0 to 1) of the samples lies; 0 without samples.
pub(crate) fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "an index between 0 and `last`")]
    let (place, low) = (part * last as f64, (part * last as f64) as usize);
    let of = |index: usize| sorted.get(index.min(last)).copied().unwrap_or(0.0);
    of(low) + (of(low + 1) - of(low)) * place.fract()
}

/// The middle of the samples.
pub(crate) fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// A ratio of two medians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// As measured.
    pub(crate) value: f64,
    /// Bounds of the middle 95 % of the ratios of samples drawn anew (bootstrap, Efron 1979).
    pub(crate) low: f64,
    /// See [`Self::low`].
    pub(crate) high: f64,
}

/// The ratio of the medians of samples taken side by side: round `i` of one beside round `i` of the other, so that a
/// round in which the machine was busy is drawn for both or for neither.
pub(crate) fn ratio(of: &[f64], to: &[f64]) -> Option<Ratio> {
    let rounds = of.len().min(to.len());
    let value = median(of) / median(to);
    if rounds == 0 || !value.is_finite() {
        return None;
    }
    let mut random = Random::new(0x0a5e_d0f1);
    let draw = |random: &mut Random| {
        let drawn: Vec<usize> = (0..rounds).map(|_| random.below(rounds)).collect();
        let pick = |samples: &[f64]| drawn.iter().filter_map(|index| samples.get(*index).copied()).collect::<Vec<_>>();
        median(&pick(of)) / median(&pick(to))
    };
    let ratios: Vec<f64> = (0..DRAWS).map(|_| draw(&mut random)).collect();
    Some(Ratio { value, low: quantile(&ratios, 0.025), high: quantile(&ratios, 0.975) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
        assert!((quantile(&[0.0, 10.0], 0.25) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn bounds_enclose_the_ratio_and_are_tight_where_samples_agree() {
        let same = ratio(&[2.0; 6], &[4.0; 6]).expect("six rounds");
        assert!((same.value - 0.5).abs() < 1e-9 && (same.low - 0.5).abs() < 1e-9 && (same.high - 0.5).abs() < 1e-9);
        let wide = ratio(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2.0; 6]).expect("six rounds");
        assert!(wide.low < wide.value && wide.value < wide.high);
        assert_eq!(ratio(&[], &[1.0]), None);
        assert_eq!(ratio(&[1.0], &[0.0]), None);
    }

    #[test]
    fn a_busy_round_weighs_on_both_sides() {
        // The third round was ten times slower for both: the ratio is sure all the same.
        let sure = ratio(&[1.0, 1.0, 10.0, 1.0, 1.0, 1.0], &[2.0, 2.0, 20.0, 2.0, 2.0, 2.0]).expect("six rounds");
        assert!((sure.low - 0.5).abs() < 1e-9 && (sure.high - 0.5).abs() < 1e-9);
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(7).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
