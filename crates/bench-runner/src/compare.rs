//! `compare`: is one faster than the other?
//!
//! They are run in pairs, A B or B A by lot, so that whatever else changes meanwhile meets both alike, however it changes:
//! with a fixed order, noise that comes and goes with it would pass for a difference. What is compared are runs, in pairs that lie next to each other, never requests: those of one run depend on each other.

mod evidence;

use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_ratio;

use crate::cli::CompareArgs;
use crate::drive::{Job, drive};
use crate::engine::run::{Load, Ran};
use crate::metrics::{METRICS, Metric, Metrics, show};
use crate::random::Random;
use crate::target::Target;
use crate::verdict;
use crate::what::target;
use crate::work::Work;
use evidence::{Evidence, holm, weigh};

/// What is called a difference by mistake, at most, over all metrics together.
const MISTAKES: f64 = 0.05;
/// Nothing of a run is measured before connections and caches are warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// So many pairs may have to be run once more.
const AGAIN: usize = 5;

/// Runs both and compares them.
///
/// # Errors
/// A target does not hold, cannot be reached, or answers nothing well.
pub fn run(args: &CompareArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let (before, after) = (target(&args.before, &args.what)?, target(&args.after, &args.what)?);
    work.subject = format!("{} against {}", after.name, before.name);
    let load = args.drive.load();
    let warm = Load { duration: WARM_UP.min(load.duration), ..load.clone() };
    let warm = Load {
        stages: args.drive.rate.map(|rate| vec![crate::schedule::Stage::constant(rate, warm.duration)]),
        ..warm
    };
    for target in [&before, &after] {
        measure(target, &warm, work)?;
    }
    let mut pairs = Vec::new();
    let mut wasted = 0;
    while pairs.len() < usize::from(args.runs) && !work.cancel.is_cancelled() {
        let is_turned = Random::of(args.drive.seed, pairs.len() as u64).bits() & 1 == 1;
        let (first, second) = if is_turned { (&after, &before) } else { (&before, &after) };
        let runs = (measure(first, &load, work)?, measure(second, &load, work)?);
        let (one, other) = if is_turned { (runs.1, runs.0) } else { runs };
        let why = [&one, &other].into_iter().find_map(|ran| verdict::judge(ran, load.stages.is_some()));
        if work.cancel.is_cancelled() {
            break;
        }
        if let Some(why) = why {
            wasted += 1;
            if wasted > AGAIN {
                work.run.emit(&Record::new(Kind::Check, "runs", Status::Unknown, format!("they say nothing: {why}")));
                return Ok(());
            }
            continue;
        }
        pairs.push((Metrics::of(&one), Metrics::of(&other)));
        tell_pair(pairs.len(), pairs.last(), work);
    }
    if pairs.len() < usize::from(args.runs) {
        let message = format!("ended after {} of {} pairs", pairs.len(), args.runs);
        work.run.emit(&Record::new(Kind::Check, "runs", Status::Unknown, message));
        return Ok(());
    }
    for (metric, weighed) in judge(&pairs, load.stages.is_some()) {
        work.run.emit(&tell(metric, &weighed, &pairs, args.tolerance));
    }
    for metric in METRICS.iter().filter(|metric| is_hidden(metric, &pairs)) {
        let message =
            "it is known of every run before, and not of every run after: too few answers, or none for too long";
        work.run.emit(&Record::new(Kind::Check, metric.name, Status::Unknown, message));
    }
    work.run.result("pairs", pairs.len());
    work.run.result("pairs_run_again", wasted);
    Ok(())
}

fn measure(target: &Target, load: &Load, work: &Work<'_>) -> Result<Ran, Failure> {
    let ran = Ran::together(&drive(&[Job { target, load }], &work.cancel, None)?);
    if ran.tally.good == 0 && !work.cancel.is_cancelled() {
        let why = ran.trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
        return Err(Failure::critical(format!("{} gave not one good answer{why}", target.name)));
    }
    Ok(ran)
}

fn tell_pair(number: usize, pair: Option<&(Metrics, Metrics)>, work: &Work<'_>) {
    let Some((before, after)) = pair else { return };
    let words: Vec<String> = METRICS
        .iter()
        .filter_map(|metric| {
            let (one, other) = (before.0.get(metric.name)?, after.0.get(metric.name)?);
            Some(format!("{} {} and {}", metric.name, show(metric, *one), show(metric, *other)))
        })
        .collect();
    let record = Record::new(Kind::Metric, format!("pair {number}"), Status::Ok, words.join(", "));
    work.run.emit(&record.field("before", &before.0).field("after", &after.0));
}

/// A metric's differences, weighed; the chance is that over all metrics.
struct Weighed {
    evidence: Evidence,
    chance: f64,
}

/// Everything that is known of every run. With a rate that is given, the rate that comes out says nothing.
fn judge(pairs: &[(Metrics, Metrics)], is_open: bool) -> Vec<(&'static Metric, Weighed)> {
    let known: Vec<(&Metric, Evidence)> = METRICS
        .iter()
        .filter(|metric| !(is_open && metric.name == "requests_per_second"))
        .filter_map(|metric| {
            let difference = |(before, after): &(Metrics, Metrics)| {
                Some(scale(metric, *after.0.get(metric.name)?) - scale(metric, *before.0.get(metric.name)?))
            };
            let differences: Option<Vec<f64>> = pairs.iter().map(difference).collect();
            Some((metric, weigh(&differences?)))
        })
        .collect();
    let chances: Vec<f64> = known.iter().map(|(_, evidence)| evidence.chance).collect();
    known
        .into_iter()
        .zip(holm(&chances))
        .map(|((metric, evidence), chance)| (metric, Weighed { evidence, chance }))
        .collect()
}

/// The first side knows it, and the second does not: nobody can say that it is no worse there.
fn is_hidden(metric: &Metric, pairs: &[(Metrics, Metrics)]) -> bool {
    let knows = |one: &Metrics| one.0.contains_key(metric.name);
    pairs.iter().all(|(before, _)| knows(before)) && !pairs.iter().all(|(_, after)| knows(after))
}

/// What makes times and rates differ multiplies; error ratios are compared as they are, as they can be nothing.
fn scale(metric: &Metric, value: f64) -> f64 {
    if metric.name == "error_ratio" { value } else { value.max(1e-12).ln() }
}

fn tell(metric: &Metric, weighed: &Weighed, pairs: &[(Metrics, Metrics)], tolerance: f64) -> Record {
    let is_ratio = metric.name == "error_ratio";
    let change = |scaled: f64| if is_ratio { scaled } else { scaled.exp_m1() };
    let Evidence { mean, low, high, .. } = weighed.evidence;
    let of = |side: &dyn Fn(&(Metrics, Metrics)) -> Option<f64>| {
        let values: Vec<f64> = pairs.iter().filter_map(side).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let before = of(&|(before, _)| before.0.get(metric.name).copied());
    let after = of(&|(_, after)| after.0.get(metric.name).copied());
    let is_sure = weighed.chance < MISTAKES && change(mean).abs() > tolerance;
    let is_worse = (mean > 0.0) != metric.more_is_better;
    let word = match (is_sure, is_worse) {
        (false, _) => "no difference",
        (true, true) => "worse",
        (true, false) => "better",
    };
    let status = if is_sure && is_worse { Status::Critical } else { Status::Ok };
    let sign = |value: f64| format!("{}{}", if value < 0.0 { "-" } else { "+" }, format_ratio(value.abs()));
    let message = format!(
        "{word}: {} against {}, {} ({} to {})",
        show(metric, after),
        show(metric, before),
        sign(change(mean)),
        sign(change(low)),
        sign(change(high)),
    );
    Record::new(Kind::Check, metric.name, status, message)
        .field("before", before)
        .field("after", after)
        .field("difference_ratio", change(mean))
        .field("interval", (change(low), change(high)))
        .field("chance", weighed.chance)
}

#[cfg(test)]
mod tests;
