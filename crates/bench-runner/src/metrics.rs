//! The numbers by which runs are compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::run::Ran;
use crate::report::{rate, responses};

/// A number of a run that is compared.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// What it is called, in summaries too.
    pub name: &'static str,
    /// More of it is better.
    pub more_is_better: bool,
}

/// What is compared.
pub const METRICS: [Metric; 5] = [
    Metric { name: "response_p50_seconds", more_is_better: false },
    Metric { name: "response_p95_seconds", more_is_better: false },
    Metric { name: "response_p99_seconds", more_is_better: false },
    Metric { name: "requests_per_second", more_is_better: true },
    Metric { name: "error_ratio", more_is_better: false },
];

/// The numbers of a run, those that are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics(
    /// By name.
    pub BTreeMap<String, f64>,
);

impl Metrics {
    /// Those of a run.
    pub fn of(ran: &Ran) -> Self {
        let sample = responses(ran);
        let quantiles = [("response_p50_seconds", 0.5), ("response_p95_seconds", 0.95), ("response_p99_seconds", 0.99)];
        let mut metrics: BTreeMap<String, f64> = quantiles
            .into_iter()
            .filter_map(|(name, q)| Some((name.to_owned(), sample.quantile(q).known()?)))
            .collect();
        metrics.insert("requests_per_second".to_owned(), rate(ran));
        metrics.insert("error_ratio".to_owned(), ran.tally.error_ratio());
        Metrics(metrics)
    }
}

/// A value, for people.
pub fn show(metric: &Metric, value: f64) -> String {
    match metric.name {
        "error_ratio" => maint_core::units::format_ratio(value),
        "requests_per_second" => format!("{value:.1}/s"),
        _ => maint_core::units::format_seconds(value),
    }
}
