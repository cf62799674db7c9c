//! A run against the runs before it.
//!
//! With five runs and more their spread is known, and the next one lies within a prediction interval around their mean: of n
//! values with standard deviation s it is `t * s * sqrt(1 + 1/n)` to each side, with Student's t of n - 1 degrees of freedom
//! (Hahn and Meeker, Statistical Intervals, 1991, section 4.7). Times and rates are compared as logarithms, since what
//! makes them differ multiplies. One in a hundred runs may be called worse by mistake, over all metrics together
//! (Bonferroni).

use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use super::series::Entry;
use crate::metrics::{METRICS, Metric, Metrics, show};
use crate::student;

/// From so many runs on their spread is taken for known.
const ENOUGH: usize = 5;
/// Of older runs no more are looked at.
const RECENT: usize = 20;
/// What is called worse by mistake, at most.
const MISTAKES: f64 = 0.01;
/// The least error ratio that is worth a word, as its tolerance cannot be a part of nothing.
const ERRORS: f64 = 0.01;

/// What there is to say of one metric.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    name: &'static str,
    value: f64,
    /// The middle of the runs before.
    usual: f64,
    runs: usize,
    /// From here on it is worse.
    limit: f64,
    pub(super) status: Status,
    message: String,
}

impl Judged {
    pub(super) fn record(&self) -> Record {
        Record::new(Kind::Check, self.name, self.status, &self.message)
            .field("value", self.value)
            .field("usual", self.usual)
            .field("worse_from", self.limit)
            .field("runs", self.runs)
    }
}

/// Judges every metric that both sides know. `tolerance` is the part by which something may be worse without mattering.
pub(super) fn judge(entries: &[Entry], new: &Metrics, tolerance: f64) -> Vec<Judged> {
    let recent = entries.get(entries.len().saturating_sub(RECENT)..).unwrap_or_default();
    let of = |metric: &Metric| -> Vec<f64> {
        recent.iter().filter_map(|entry| entry.metrics.0.get(metric.name).copied()).collect()
    };
    let known: Vec<(&Metric, Vec<f64>, f64)> = METRICS
        .iter()
        .filter_map(|metric| Some((metric, of(metric), *new.0.get(metric.name)?)))
        .filter(|(_, before, _)| !before.is_empty())
        .collect();
    known.iter().map(|(metric, before, value)| one(metric, before, *value, tolerance, known.len())).collect()
}

fn one(metric: &Metric, before: &[f64], value: f64, tolerance: f64, metrics: usize) -> Judged {
    let is_ratio = metric.name == "error_ratio";
    let scale = |value: f64| if is_ratio { value } else { value.max(1e-12).ln() };
    // Worse is up, whatever the metric.
    let sign = if metric.more_is_better { -1.0 } else { 1.0 };
    let scaled: Vec<f64> = before.iter().map(|&value| scale(value)).collect();
    let n = scaled.len() as f64;
    let mean = scaled.iter().sum::<f64>() / n;
    let least = if is_ratio { ERRORS } else { (1.0 + tolerance).ln() };
    let noise = if before.len() < ENOUGH {
        // Nobody knows how much it varies by itself: what is twice as far as what matters is worth a look, no more.
        least
    } else {
        let variance = scaled.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        student::quantile(1.0 - MISTAKES / metrics as f64, scaled.len() - 1) * variance.sqrt() * (1.0 + 1.0 / n).sqrt()
    };
    let margin = if before.len() < ENOUGH { least + noise } else { least.max(noise) };
    let worse_by = sign * (scale(value) - mean);
    let status = match worse_by > margin {
        true if before.len() < ENOUGH => Status::Warning,
        true => Status::Critical,
        false => Status::Ok,
    };
    let unscale = |value: f64| if is_ratio { value } else { value.exp() };
    let (usual, limit) = (unscale(mean), unscale(mean + sign * margin));
    let shown = |value: f64| show(metric, value);
    let runs = before.len();
    let how = match status {
        Status::Critical => "worse, and not by chance",
        Status::Warning => "worse, or these few runs differ as much by themselves",
        _ if worse_by < -margin && runs >= ENOUGH => "better than usual",
        _ => "as usual",
    };
    let word = if runs == 1 { "run" } else { "runs" };
    let message =
        format!("{how}: {} where {} is usual ({runs} {word}, worse from {})", shown(value), shown(usual), shown(limit));
    Judged { name: metric.name, value, usual, runs, limit, status, message }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::student::Noise;

    impl Noise {
        /// A run whose times vary by `spread` and are `slower` times as long.
        fn run(&mut self, spread: f64, slower: f64) -> Metrics {
            let mut around = |value: f64| value * (self.normal() * spread).exp();
            let values = [
                ("response_p50_seconds", around(0.010) * slower),
                ("response_p95_seconds", around(0.020) * slower),
                ("response_p99_seconds", around(0.050) * slower),
                ("requests_per_second", around(1000.0) / slower),
                ("error_ratio", 0.0),
            ];
            Metrics(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>())
        }
    }

    fn entries(noise: &mut Noise, count: usize, spread: f64) -> Vec<Entry> {
        let entry = |metrics| Entry { version: 1, time: Timestamp::UNIX_EPOCH, subject: String::new(), metrics };
        (0..count).map(|_| entry(noise.run(spread, 1.0))).collect()
    }

    fn is_worse(entries: &[Entry], new: &Metrics, tolerance: f64) -> bool {
        judge(entries, new, tolerance).iter().any(|one| one.status == Status::Critical)
    }

    #[test]
    fn of_two_hundred_equal_runs_hardly_one_is_called_worse() {
        let mut noise = Noise(7);
        for spread in [0.02, 0.10, 0.30] {
            let mistaken = (0..200)
                .filter(|_| {
                    let before = entries(&mut noise, 10, spread);
                    let new = noise.run(spread, 1.0);
                    // Without a tolerance chance alone decides.
                    is_worse(&before, &new, 0.0)
                })
                .count();
            assert!(mistaken <= 10, "{mistaken} of 200 at a spread of {spread}");
        }
    }

    #[test]
    fn what_is_slower_by_more_than_chance_is_found() {
        let mut noise = Noise(11);
        let found = |noise: &mut Noise, spread: f64, slower: f64| {
            (0..100).filter(|_| is_worse(&entries(noise, 10, spread), &noise.run(spread, slower), 0.10)).count()
        };
        assert!(found(&mut noise, 0.03, 1.25) >= 95);
        assert_eq!(found(&mut noise, 0.005, 1.05), 0, "for certain, and within the tolerance");
        assert!(found(&mut noise, 0.30, 1.25) <= 10, "lost in the noise");
    }

    #[test]
    fn few_runs_never_say_more_than_that_it_is_worth_a_look() {
        let mut noise = Noise(3);
        let before = entries(&mut noise, 4, 0.01);
        let statuses = |new: &Metrics| judge(&before, new, 0.10).iter().map(|one| one.status).max().unwrap();
        assert_eq!(statuses(&noise.run(0.01, 1.0)), Status::Ok);
        assert_eq!(statuses(&noise.run(0.01, 3.0)), Status::Warning);
    }

    #[test]
    fn errors_where_there_were_none_are_worse() {
        let mut noise = Noise(5);
        let before = entries(&mut noise, 8, 0.01);
        let mut new = noise.run(0.01, 1.0);
        new.0.insert("error_ratio".into(), 0.005);
        assert!(!is_worse(&before, &new, 0.10));
        new.0.insert("error_ratio".into(), 0.05);
        assert!(is_worse(&before, &new, 0.10));
    }

    #[test]
    fn what_a_run_does_not_know_is_not_compared() {
        let mut noise = Noise(9);
        let before = entries(&mut noise, 8, 0.01);
        let new = Metrics([("response_p50_seconds".to_owned(), 1.0)].into());
        assert_eq!(judge(&before, &new, 0.10).len(), 1);
    }
}
