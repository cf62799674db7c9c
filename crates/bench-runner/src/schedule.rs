//! When requests are to start: an open model, which the server cannot slow down.
//!
//! One schedule holds for the whole run. Its slots are numbered, and slot `k` starts when `k` requests were to have been
//! sent, at whatever rate the stages ask for until then. Threads share it without talking: of `n` threads, thread `i` takes
//! the slots `i`, `i + n`, `i + 2n`, ... With random arrivals each thread draws gaps of its own for the `n`-th part of the
//! rate, which together are random arrivals again.

use std::time::Duration;

use crate::random::Random;

/// How starts are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// At equal distances.
    Uniform,
    /// At random, as from many independent callers: a Poisson process, drawn from this seed.
    Poisson(u64),
}

/// A part of a run. The rate goes from one to the other in a straight line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// How long.
    pub duration: Duration,
    /// Requests a second when it begins.
    pub from: f64,
    /// Requests a second when it ends.
    pub to: f64,
}

impl Stage {
    /// A constant rate.
    pub fn constant(rate: f64, duration: Duration) -> Self {
        Stage { duration, from: rate, to: rate }
    }

    /// How many requests start in it.
    fn requests(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.duration.as_secs_f64()
    }

    /// When in it, in seconds, that many requests were to have started.
    fn moment(&self, requests: f64) -> f64 {
        if self.from.max(self.to) <= 0.0 {
            return f64::INFINITY;
        }
        if requests <= 0.0 {
            return 0.0;
        }
        let length = self.duration.as_secs_f64();
        let slope = (self.to - self.from) / length;
        if slope.abs() < f64::EPSILON * self.from.abs().max(1.0) {
            return requests / self.from;
        }
        // from * t + slope * t^2 / 2 = requests, written so that nothing is lost where the slope is small.
        let root = (self.from * self.from + 2.0 * slope * requests).max(0.0).sqrt();
        2.0 * requests / (self.from + root)
    }
}

/// The planned starts of one thread, in nanoseconds since the run's beginning, in order.
#[derive(Debug, Clone)]
pub struct Slots {
    stages: Vec<Stage>,
    stage: usize,
    /// Requests before the present stage.
    before: f64,
    /// When the present stage begins, in nanoseconds.
    begins: u64,
    /// The next slot's number; with random arrivals the place between slots.
    next: Place,
    threads: u64,
}

#[derive(Debug, Clone)]
enum Place {
    Uniform(u64),
    Poisson { at: f64, random: Random },
}

impl Slots {
    /// Those of thread `thread` of `threads`.
    pub fn new(stages: &[Stage], arrival: Arrival, thread: u64, threads: u64) -> Self {
        let threads = threads.max(1);
        let next = match arrival {
            Arrival::Uniform => Place::Uniform(thread),
            Arrival::Poisson(seed) => {
                let mut random = Random::of(seed, thread);
                let at = random.gap() * threads as f64;
                Place::Poisson { at, random }
            }
        };
        Slots { stages: stages.to_vec(), stage: 0, before: 0.0, begins: 0, next, threads }
    }

    /// How long the whole schedule is.
    pub fn duration(stages: &[Stage]) -> Duration {
        stages.iter().map(|stage| stage.duration).sum()
    }
}

impl Iterator for Slots {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let stage = self.stages.get(self.stage)?;
            let length = u64::try_from(stage.duration.as_nanos()).unwrap_or(u64::MAX);
            let at = match &self.next {
                // The one case in which whole numbers are exact for ever.
                Place::Uniform(number) if self.stage == 0 && stage.from.to_bits() == stage.to.to_bits() => {
                    exact(*number, stage.from)
                }
                Place::Uniform(number) => nanoseconds(stage.moment(*number as f64 - self.before)),
                Place::Poisson { at, .. } => nanoseconds(stage.moment(at - self.before)),
            };
            if at >= length {
                self.before += stage.requests();
                self.begins = self.begins.saturating_add(length);
                self.stage += 1;
                continue;
            }
            match &mut self.next {
                Place::Uniform(number) => *number += self.threads,
                Place::Poisson { at, random } => *at += random.gap() * self.threads as f64,
            }
            return Some(self.begins + at);
        }
    }
}

/// Slot `number` at a constant rate, with the rate taken in thousandths of a request a second.
fn exact(number: u64, rate: f64) -> u64 {
    let thousandths = (rate * 1000.0).round().max(0.0) as u128;
    (u128::from(number) * 1_000_000_000_000).checked_div(thousandths).map_or(u64::MAX, |at| at as u64)
}

fn nanoseconds(seconds: f64) -> u64 {
    // Infinity means never.
    if seconds.is_finite() { (seconds.max(0.0) * 1e9) as u64 } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stages: &[Stage], arrival: Arrival, threads: u64) -> Vec<u64> {
        let mut all: Vec<u64> = (0..threads).flat_map(|thread| Slots::new(stages, arrival, thread, threads)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        let stages = [Stage::constant(7777.0, Duration::from_secs(60))];
        let one = all(&stages, Arrival::Uniform, 1);
        assert_eq!(one.len(), 7777 * 60);
        assert_eq!(one.last().copied(), Some((7777 * 60 - 1) * 1_000_000_000 / 7777));
        assert_eq!(all(&stages, Arrival::Uniform, 3), one, "whoever sends them");
    }

    #[test]
    fn a_ramp_sends_what_lies_under_it() {
        let stages = [
            Stage { duration: Duration::from_secs(10), from: 0.0, to: 100.0 },
            Stage::constant(100.0, Duration::from_secs(5)),
            Stage { duration: Duration::from_secs(10), from: 100.0, to: 0.0 },
        ];
        let starts = all(&stages, Arrival::Uniform, 2);
        assert_eq!(starts.len(), 500 + 500 + 500);
        let until = |seconds: u64| starts.iter().filter(|&&at| at < seconds * 1_000_000_000).count();
        // A quarter of the first triangle lies before its middle.
        assert!(until(5).abs_diff(125) <= 1, "{}", until(5));
        assert!(until(10).abs_diff(500) <= 1 && until(15).abs_diff(1000) <= 1, "{} {}", until(10), until(15));
        assert!(starts.is_sorted());
    }

    #[test]
    fn a_rate_of_nothing_sends_nothing() {
        let stages = [Stage::constant(0.0, Duration::from_secs(1)), Stage::constant(10.0, Duration::from_secs(1))];
        let starts = all(&stages, Arrival::Uniform, 1);
        assert_eq!((starts.len(), starts.first().copied()), (10, Some(1_000_000_000)));
        assert!(all(&[], Arrival::Uniform, 1).is_empty());
    }

    #[test]
    fn random_arrivals_are_poisson_whoever_sends_them() {
        let stages = [Stage::constant(1000.0, Duration::from_secs(100))];
        for threads in [1, 4] {
            let starts = all(&stages, Arrival::Poisson(7), threads);
            // The count's deviation is the root of its mean.
            assert!(starts.len().abs_diff(100_000) < 1600, "{}", starts.len());
            let gaps: Vec<f64> = starts.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            assert!((variance / mean.powi(2) - 1.0).abs() < 0.03, "{variance} {mean}");
        }
        assert_eq!(all(&stages, Arrival::Poisson(7), 1), all(&stages, Arrival::Poisson(7), 1));
        assert_ne!(all(&stages, Arrival::Poisson(7), 1), all(&stages, Arrival::Poisson(8), 1));
    }
}
