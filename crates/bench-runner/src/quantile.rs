//! What can be said of a quantile when some requests were never answered.
//!
//! Of a request that was given up after two seconds it is known that it took longer than two seconds, and nothing else. So
//! every quantile is looked up twice: with such requests at the least they can have taken, and with them at infinity. Where
//! both agree it is known. Where they do not, only the lower one can be said: at least that.
//!
//! Its confidence interval is that of order statistics: the ranks between which the true quantile lies follow from the
//! binomial distribution, whatever the times' own distribution is (David and Nagaraja, Order Statistics, 7.1).

use serde::Serialize;

use crate::tally::Times;

/// Fewer requests than this beyond a quantile, and it is chance.
const NEEDED_BEYOND: f64 = 10.0;

/// 97.5 % of the normal distribution lie below it.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// A quantile, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Quantile {
    /// It is known, with its interval of 95 % confidence.
    Known {
        /// The estimate.
        value: f64,
        /// The interval's lower end.
        low: f64,
        /// The interval's upper end; `None` where it is among requests that were never answered.
        high: Option<f64>,
    },
    /// It lies among requests that were never answered: it is at least this.
    AtLeast(f64),
    /// There are too few requests.
    Unknown,
}

impl Quantile {
    /// The value where it is known.
    pub fn known(self) -> Option<f64> {
        match self {
            Quantile::Known { value, .. } => Some(value),
            _ => None,
        }
    }

    /// What it is at least: the value, or the bound.
    pub fn at_least(self) -> Option<f64> {
        match self {
            Quantile::Known { value, .. } | Quantile::AtLeast(value) => Some(value),
            Quantile::Unknown => None,
        }
    }
}

/// All times of a run: those that were seen, and those of which only a bound is known.
#[derive(Debug)]
pub struct Sample {
    /// Times seen and bounds, ascending: nanoseconds, how many seen, how many bounds.
    steps: Vec<(u64, u64, u64)>,
    total: u64,
}

impl Sample {
    /// Of times that were seen and of times for which was waited in vain.
    pub fn new<'a>(seen: impl IntoIterator<Item = &'a Times>, censored: &Times) -> Self {
        let mut steps: Vec<(u64, u64, u64)> = censored.steps().map(|(time, count)| (time, 0, count)).collect();
        for times in seen {
            steps.extend(times.steps().map(|(time, count)| (time, count, 0)));
        }
        steps.sort_unstable();
        let total = steps.iter().map(|(_, seen, bounds)| seen + bounds).sum();
        Sample { steps, total }
    }

    /// How many requests.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The quantile `q`, between 0 and 1.
    pub fn quantile(&self, q: f64) -> Quantile {
        let n = self.total as f64;
        let needed = if q > 0.5 { n * (1.0 - q) } else { n * q };
        // The median of a few requests is worth something; what lies far out is not.
        if self.total == 0 || ((q - 0.5).abs() > 0.45 && needed < NEEDED_BEYOND) {
            return Quantile::Unknown;
        }
        let rank = (n * q).ceil().clamp(1.0, n) as u64;
        let least = self.at_least(rank);
        let Some(value) = self.at_most(rank).filter(|&value| value == least) else {
            return Quantile::AtLeast(seconds(least));
        };
        let spread = Z * (n * q * (1.0 - q)).sqrt();
        let low = (n * q - spread).floor().clamp(1.0, n) as u64;
        let high = ((n * q + spread).ceil() + 1.0).clamp(1.0, n) as u64;
        Quantile::Known {
            value: seconds(value),
            low: seconds(self.at_least(low)),
            high: self.at_most(high).map(seconds),
        }
    }

    /// The quantile of however few requests, in seconds, with what was given up at its least: for looking at a server, not
    /// for telling of it.
    pub fn quantile_of_few(&self, q: f64) -> Option<f64> {
        let rank = (self.total as f64 * q).ceil() as u64;
        (self.total > 0).then(|| seconds(self.at_least(rank.max(1))))
    }

    /// The time of a rank with everything at its least.
    fn at_least(&self, rank: u64) -> u64 {
        let mut counted = 0;
        for (time, seen, bounds) in &self.steps {
            counted += seen + bounds;
            if counted >= rank {
                return *time;
            }
        }
        0
    }

    /// The time of a rank with every bound at infinity; `None` when it is among them.
    fn at_most(&self, rank: u64) -> Option<u64> {
        let mut counted = 0;
        for (time, seen, _) in &self.steps {
            counted += seen;
            if counted >= rank {
                return Some(*time);
            }
        }
        None
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(values: impl IntoIterator<Item = u64>) -> Times {
        let mut times = Times::default();
        values.into_iter().for_each(|value| times.record(value * 1_000_000));
        times
    }

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found / expected - 1.0).abs() < 0.002)
    }

    #[test]
    fn without_anything_given_up_it_is_the_order_statistic() {
        let sample = Sample::new([&times(1..=1000)], &Times::default());
        let Quantile::Known { value, low, high } = sample.quantile(0.95) else { panic!("it is known") };
        assert!(near(Some(value), 0.950));
        // 950 +- 1.96 * sqrt(1000 * 0.95 * 0.05) = 950 +- 13.5
        assert!(near(Some(low), 0.936) && near(high, 0.965), "{low} {high:?}");
        assert!(near(sample.quantile(0.5).known(), 0.5));
        assert_eq!(sample.quantile(0.999), Quantile::Unknown, "one request lies beyond it");
    }

    #[test]
    fn what_was_never_answered_pushes_quantiles_up_and_hides_the_last() {
        // 800 answers within 8 ms; 200 were waited for, up to two seconds.
        let seen = times((0..800).map(|i| 1 + i % 8));
        let sample = Sample::new([&seen], &times((0..200).map(|i| 10 + i * 10)));
        assert!(near(sample.quantile(0.5).known(), 0.005));
        assert!(sample.quantile(0.9).known().is_none());
        assert!(near(sample.quantile(0.99).at_least(), 1.9), "{:?}", sample.quantile(0.99));
    }

    #[test]
    fn a_bound_below_the_quantile_makes_it_uncertain() {
        // A request that was given up after a millisecond may have taken any time.
        let seen = times(1..=99);
        let sample = Sample::new([&seen], &times([1]));
        assert!(sample.quantile(0.5).known().is_none());
        assert!(near(sample.quantile(0.5).at_least(), 0.049), "{:?}", sample.quantile(0.5));
    }

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(Sample::new([], &Times::default()).quantile(0.5), Quantile::Unknown);
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        // Uniform times from a fixed generator; the true median is 500 ms.
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % 1000
        };
        let mut held = 0;
        for _ in 0..400 {
            let sample = Sample::new([&times((0..200).map(|_| random()))], &Times::default());
            let Quantile::Known { low, high, .. } = sample.quantile(0.5) else { panic!("it is known") };
            held += u32::from(low <= 0.5 && high.is_some_and(|high| high >= 0.4995));
        }
        assert!((372..=396).contains(&held), "{held} of 400");
    }
}
