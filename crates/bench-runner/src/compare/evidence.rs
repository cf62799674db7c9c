//! What pairs of runs prove.
//!
//! If nothing differs, each pair's difference is as likely to be the other way round. So the chance of what was seen is that
//! part of all ways to choose signs under which the mean lies as far from zero: an exact test without any assumption on how
//! runs vary (Fisher's randomization test; Edgington and Onghena, Randomization Tests, 2007). The interval is that of the
//! studentized bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5).

use crate::random::Random;

/// With more pairs than this signs are drawn instead of all being tried.
const ALL: usize = 14;
/// How many are drawn.
const DRAWN: u32 = 10_000;
/// How often pairs are drawn anew for the interval.
const RESAMPLES: usize = 2000;
/// The part that the interval leaves out to each side.
const TAIL: f64 = 0.025;

/// What differences prove.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Evidence {
    /// Their mean.
    pub(super) mean: f64,
    /// The lower end of its interval (95 %).
    pub(super) low: f64,
    /// The upper end.
    pub(super) high: f64,
    /// How probable a mean as far from zero is where nothing differs.
    pub(super) chance: f64,
}

/// Weighs the differences of pairs. The same ones give the same evidence every time.
pub(super) fn weigh(differences: &[f64]) -> Evidence {
    let mean = average(differences);
    let error = standard_error(differences, mean);
    let mut random = Random::new(1);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let draw = || differences.get(random.below(differences.len() as u64) as usize).copied();
            let sample: Vec<f64> = std::iter::repeat_with(draw).take(differences.len()).flatten().collect();
            let center = average(&sample);
            let spread = standard_error(&sample, center);
            (spread > 0.0).then(|| (center - mean) / spread)
        })
        .collect();
    resampled.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let index = (resampled.len() as f64 * part) as usize;
        resampled.get(index.min(resampled.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let (low, high) = (mean - at(1.0 - TAIL) * error, mean - at(TAIL) * error);
    Evidence { mean, low, high, chance: chance(differences, mean) }
}

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn standard_error(values: &[f64], mean: f64) -> f64 {
    let n = values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt()
}

fn chance(differences: &[f64], mean: f64) -> f64 {
    let n = differences.len();
    // Sums in another order differ in their last digits.
    let seen = mean.abs() * n as f64 * (1.0 - 1e-12);
    let signed = |signs: u64| {
        let sum: f64 = differences
            .iter()
            .enumerate()
            .map(|(index, value)| if signs >> (index % 64) & 1 == 1 { -value } else { *value })
            .sum();
        sum.abs() >= seen
    };
    if n <= ALL {
        let all = 1_u64 << n;
        return (0..all).filter(|signs| signed(*signs)).count() as f64 / all as f64;
    }
    let mut random = Random::new(2);
    let as_far = (0..DRAWN)
        .filter(|_| {
            let sum: f64 = differences.iter().map(|value| if random.bits() & 1 == 1 { -value } else { *value }).sum();
            sum.abs() >= seen
        })
        .count();
    // What was seen is one of the ways.
    (as_far + 1) as f64 / f64::from(DRAWN + 1)
}

/// Chances over all tests together (Holm, 1979), in their order.
pub(super) fn holm(chances: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    let of = |index: usize| chances.get(index).copied().unwrap_or(1.0);
    order.sort_by(|one, other| of(*one).total_cmp(&of(*other)));
    let mut adjusted = vec![1.0; chances.len()];
    let mut least: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max((of(index) * (chances.len() - rank) as f64).min(1.0));
        if let Some(slot) = adjusted.get_mut(index) {
            *slot = least;
        }
    }
    adjusted
}
