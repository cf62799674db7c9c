//! `micro`: results of criterion, worked out anew from its samples.
//!
//! Medians, as one slow sample is nobody's fault, with the interval of order statistics; and against the results before by the
//! rank test of Mann and Whitney, over all benchmarks together.

mod samples;

use std::path::PathBuf;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_ratio;

use crate::cli::MicroArgs;
use crate::quantile::Z;
use crate::rank::mann_whitney;
use crate::work::Work;
use samples::Benchmark;

/// What is called a change by mistake, over all benchmarks together.
const MISTAKES: f64 = 0.01;
/// Reads the results and judges them.
///
/// # Errors
/// There are none, or they cannot be read.
pub fn run(args: &MicroArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let home = || std::env::var_os("CRITERION_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let root = args.directory.clone().or_else(home).unwrap_or_else(|| PathBuf::from("target/criterion"));
    work.subject = root.display().to_string();
    let baseline = args.baseline.as_deref().unwrap_or("base");
    let found = samples::read(&root, &args.results, baseline)?;
    if found.is_empty() {
        return Err(Failure::usage(format!("{} has no results called {}", root.display(), args.results))
            .hint("run `cargo bench` first, or say where its results are"));
    }
    if args.baseline.is_some() && found.values().all(|benchmark| benchmark.before.is_none()) {
        return Err(Failure::usage(format!("{} has no results called {baseline}", root.display()))
            .hint("save them first: cargo bench -- --save-baseline NAME"));
    }
    let compared = found.values().filter(|benchmark| benchmark.before.is_some()).count().max(1);
    for (name, benchmark) in &found {
        work.run.emit(&judge(name, benchmark, args, compared));
    }
    work.run.result("benchmarks", found.len());
    Ok(())
}

fn judge(name: &str, benchmark: &Benchmark, args: &MicroArgs, compared: usize) -> Record {
    let (median, low, high) = median(&benchmark.now);
    let shown = format!("{} ({} to {})", time(median), time(low), time(high));
    let record = |status, message: String| {
        Record::new(Kind::Check, name, status, message)
            .field("median_seconds", median / 1e9)
            .field("interval_seconds", (low / 1e9, high / 1e9))
            .field("samples", benchmark.now.len())
    };
    // After each run criterion makes its `base` a copy of what it has just measured.
    let Some(before) = benchmark.before.as_ref().filter(|before| **before != benchmark.now) else {
        let why = if benchmark.before.is_some() { ": both are the same run" } else { "" };
        return record(Status::Ok, format!("{shown}; nothing to compare it with{why}"));
    };
    let (usual, ..) = self::median(before);
    let change = median / usual - 1.0;
    let is_sure = mann_whitney(&benchmark.now, before) * (compared as f64) < MISTAKES && change.abs() > args.tolerance;
    let (status, word) = match (is_sure, change > 0.0) {
        (true, true) => (Status::Critical, "slower"),
        (true, false) => (Status::Ok, "faster"),
        (false, _) => (Status::Ok, "as before"),
    };
    let sign = if change < 0.0 { "-" } else { "+" };
    let message = format!("{word}: {shown}, {} before: {sign}{}", time(usual), format_ratio(change.abs()));
    record(status, message).field("before_seconds", usual / 1e9).field("change_ratio", change)
}

/// The median and its interval of 95 %, by order statistics.
fn median(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let at = |index: f64| {
        let last = sorted.len().saturating_sub(1);
        sorted.get((index.max(0.0) as usize).min(last)).copied().unwrap_or_default()
    };
    let middle = f64::midpoint(at(((n - 1.0) / 2.0).floor()), at(((n - 1.0) / 2.0).ceil()));
    let spread = Z * n.sqrt() / 2.0;
    (middle, at((n / 2.0 - spread).floor()), at((n / 2.0 + spread).ceil() - 1.0))
}

/// Nanoseconds for people: most routines take less than a microsecond.
fn time(nanoseconds: f64) -> String {
    if nanoseconds < 1e3 {
        format!("{nanoseconds:.1} ns")
    } else {
        maint_core::units::format_seconds(nanoseconds / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_its_interval() {
        let values: Vec<f64> = (1..=101).map(f64::from).collect();
        // 50.5 +- 1.96 * sqrt(101) / 2 = 50.5 +- 9.8
        assert_eq!(median(&values), (51.0, 41.0, 61.0));
        assert_eq!(median(&[2.0, 1.0]), (1.5, 1.0, 2.0));
        assert_eq!(median(&[7.0]), (7.0, 7.0, 7.0));
    }
}
