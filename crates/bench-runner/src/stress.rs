//! `stress`: past the breaking point and back.
//!
//! One run with starts that the server cannot slow down: a while at a rate that it can bear, up in a straight line to one that it
//! cannot, and down at once. Each second is judged by the requests that ended in it.

use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::threshold::{Metric, Threshold};
use maint_core::units::{format_ratio, format_seconds};

use crate::cli::StressArgs;
use crate::drive::{Job, drive};
use crate::engine::run::{Load, Ran};
use crate::report::{Value, is_of_load, rate, responses, summarize, value};
use crate::schedule::{Arrival, Slots, Stage};
use crate::seconds::Seconds;
use crate::tally::Tally;
use crate::target::Target;
use crate::verdict;
use crate::what::target;
use crate::work::Work;

/// How long it is looked at before the load grows.
const BEFORE: Duration = Duration::from_secs(3);
/// How long it is tried how much goes.
const TRIED: Duration = Duration::from_secs(1);
/// Of what goes when nobody waits, this part is borne.
const BORNE: f64 = 1.0 / 3.0;
/// And this one is not.
const TOO_MUCH: f64 = 2.0;
/// So many seconds in a row must hold before it is well again.
const WELL: usize = 2;

/// Runs it.
///
/// # Errors
/// The target does not hold or cannot be reached, or a limit is none that load could break.
pub fn run(args: &StressArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    args.slo.iter().try_for_each(is_of_load)?;
    let target = target(&args.url, &args.what)?;
    work.subject.clone_from(&target.name);
    let are_given = args.rate.is_some() && args.peak.is_some();
    if args.dry_run && !are_given {
        let message = format!(
            "as much as goes over {} connections for {} to {}, to learn the rates; with --rate and --peak it is not needed",
            args.connections,
            format_seconds(TRIED.as_secs_f64()),
            target.address
        );
        work.run.emit(&Record::new(Kind::Plan, &target.name, Status::Planned, message));
        return Ok(());
    }
    let (low, peak) = match (args.rate, args.peak) {
        (Some(low), Some(peak)) => (low, peak),
        (low, peak) => {
            let most = most(&target, args, work)?;
            (low.unwrap_or(most * BORNE), peak.unwrap_or(most * TOO_MUCH))
        }
    };
    if peak <= low {
        return Err(Failure::usage(format!("the peak ({peak:.1} a second) is not above the rate ({low:.1})")));
    }
    let stages = vec![
        Stage::constant(low, BEFORE),
        Stage { duration: args.ramp.0, from: low, to: peak },
        Stage::constant(peak, args.hold.0),
        Stage::constant(low, args.recovery.0),
    ];
    if args.dry_run {
        plan(&stages, &target, work);
        return Ok(());
    }
    let load = load(Some(stages.clone()), Slots::duration(&stages), args.connections);
    let mut seconds = Seconds::default();
    let mut look = |_: Duration, counted: &[Tally]| {
        seconds.look(counted.first());
        false
    };
    let ran = Ran::together(&drive(&[Job { target: &target, load: &load }], &work.cancel, Some(&mut look))?);
    let why = verdict::judge(&ran, true);
    summarize(work.run, &ran, why.as_deref());
    tell(&seconds, &stages, &ran, why, args, work);
    Ok(())
}

/// As much as goes.
fn most(target: &Target, args: &StressArgs, work: &Work<'_>) -> Result<f64, Failure> {
    let load = load(None, TRIED, args.connections);
    let ran = Ran::together(&drive(&[Job { target, load: &load }], &work.cancel, None)?);
    let most = rate(&ran);
    if most <= 0.0 && !work.cancel.is_cancelled() {
        let why = ran.trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
        return Err(Failure::critical(format!("{} gave not one good answer{why}", target.name)));
    }
    Ok(most.max(1.0))
}

fn load(stages: Option<Vec<Stage>>, duration: Duration, connections: usize) -> Load {
    let patience = Duration::from_secs(30);
    Load {
        stages,
        arrival: Arrival::Uniform,
        duration,
        drain: patience,
        timeout: patience,
        connections,
        threads: 1,
        keep_alive: true,
    }
}

fn plan(stages: &[Stage], target: &Target, work: &Work<'_>) {
    for stage in stages {
        let message = format!(
            "{:.1} to {:.1} requests a second for {} to {}",
            stage.from,
            stage.to,
            format_seconds(stage.duration.as_secs_f64()),
            target.address
        );
        work.run.emit(&Record::new(Kind::Plan, &target.name, Status::Planned, message));
    }
}

/// What is broken in a second.
fn broken_in(seconds: &Seconds, second: usize, limits: &[Threshold]) -> Option<String> {
    let tally = seconds.each.get(second)?;
    let ended = tally.completed() + tally.failed + tally.timed_out;
    if ended == 0 {
        return (tally.scheduled > 0).then(|| "nothing was answered".to_owned());
    }
    let mut tally = tally.clone();
    // What is still under way is no error of this second.
    tally.scheduled = ended;
    let second = Duration::from_secs(1);
    let ran = Ran { tally, sending: second, elapsed: second, cpu: Vec::new(), trouble: None, is_partial: true };
    let sample = responses(&ran);
    let is_broken = |limit: &&Threshold| {
        let found = match &limit.metric {
            // Of one second there are few requests, and many seconds.
            Some(Metric::Percentile(percent)) => sample.quantile_of_few(percent / 100.0),
            Some(metric) => match value(metric, &ran, &sample) {
                Some(Value::Known(value) | Value::AtLeast(value)) => Some(value),
                _ => None,
            },
            None => None,
        };
        found.is_some_and(|found| limit.violated(found) == Some(true))
    };
    limits.iter().find(is_broken).map(|limit| format!("{limit} was broken"))
}

/// The rate that is asked for after so many seconds.
fn asked(stages: &[Stage], mut seconds: f64) -> f64 {
    for stage in stages {
        let length = stage.duration.as_secs_f64();
        if seconds < length {
            return stage.from + (stage.to - stage.from) * seconds / length;
        }
        seconds -= length;
    }
    0.0
}

/// When it broke, and what; and when it was well again, in seconds since the beginning.
struct Story {
    onset: Option<(usize, String)>,
    well: Option<usize>,
}

fn story(seconds: &Seconds, limits: &[Threshold], calm: usize, drop: usize) -> Story {
    let broken: Vec<Option<String>> =
        (0..seconds.each.len()).map(|second| broken_in(seconds, second, limits)).collect();
    // What is broken before the load grows has nothing to do with it, and is told of by itself.
    let onset = broken.iter().enumerate().skip(calm).find_map(|(second, why)| Some((second, why.clone()?)));
    let holds = |from: usize| broken.get(from..from + WELL).is_some_and(|some| some.iter().all(Option::is_none));
    let last = broken.len().saturating_sub(WELL);
    let well = (drop..=last).find(|second| holds(*second));
    Story { onset, well }
}

fn tell(seconds: &Seconds, stages: &[Stage], ran: &Ran, why: Option<String>, args: &StressArgs, work: &Work<'_>) {
    for (second, tally) in seconds.each.iter().enumerate() {
        work.run.emit(&of_second(second, tally, stages));
    }
    let whole = |stages: &[Stage]| Slots::duration(stages).as_secs() as usize;
    let (calm, drop) = (BEFORE.as_secs() as usize, whole(stages.get(..3).unwrap_or_default()));
    let story = story(seconds, &args.slo, calm, drop);
    let check = |subject: &str, status, message: String| Record::new(Kind::Check, subject, status, message);
    if let Some(why) = (0..calm).find_map(|second| broken_in(seconds, second, &args.slo)) {
        let message = format!("{why} before the load grew: the rate is too high for it, or it is not well");
        work.run.emit(&check("before", Status::Critical, message));
    }
    if ran.is_partial {
        work.run.emit(&check("stress", Status::Unknown, "it was ended before its time".to_owned()));
        return;
    }
    if let Some(why) = why {
        work.run.emit(&check("stress", Status::Unknown, format!("invalid: {why}")));
    }
    let Some((second, broken)) = story.onset else {
        let message = format!(
            "none up to {:.1} requests a second",
            args.peak.unwrap_or_else(|| asked(stages, drop as f64 - 0.5))
        );
        work.run.emit(&check("breaking point", Status::Ok, message));
        return;
    };
    let point = asked(stages, second as f64);
    let message = format!("{broken} from {point:.1} requests a second on, after {second} s");
    work.run.emit(
        &check("breaking point", Status::Ok, message)
            .field("requests_per_second", point)
            .field("after_seconds", second),
    );
    work.run.result("breaking_point_per_second", point);
    work.run.result("onset_seconds", second);
    let took = story.well.map(|well| well - drop);
    let record = if let Some(took) = took {
        check("recovery", Status::Ok, format!("well again {took} s after the load was gone"))
    } else {
        let length = format_seconds(args.recovery.0.as_secs_f64());
        check("recovery", Status::Critical, format!("not well again within {length} after the load was gone"))
    };
    work.run.emit(&record.field("seconds", took));
    work.run.result("recovery_seconds", took);
}

fn of_second(second: usize, tally: &Tally, stages: &[Stage]) -> Record {
    let ended = (tally.completed() + tally.failed + tally.timed_out).max(1) as f64;
    let errors = 1.0 - tally.good as f64 / ended;
    let tally = Ran {
        tally: tally.clone(),
        sending: Duration::from_secs(1),
        elapsed: Duration::from_secs(1),
        cpu: Vec::new(),
        trouble: None,
        is_partial: true,
    };
    let p95 = responses(&tally).quantile_of_few(0.95);
    let asked = asked(stages, second as f64 + 0.5);
    let message = format!(
        "{:.0} a second asked for, {} answered well, errors {}, p95 {}",
        asked,
        tally.tally.good,
        format_ratio(errors),
        p95.map_or_else(|| "n/a".to_owned(), format_seconds)
    );
    Record::new(Kind::Metric, format!("second {}", second + 1), Status::Ok, message)
        .field("requests_per_second", asked)
        .field("good", tally.tally.good)
        .field("error_ratio", errors)
        .field("response_p95_seconds", p95)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of so many good and bad answers.
    fn seconds(each: &[(u64, u64)]) -> Seconds {
        let mut seconds = Seconds::default();
        let mut all = Tally::default();
        for (good, bad) in each {
            all.scheduled += good + bad;
            all.good += good;
            all.bad += bad;
            (0..*good).for_each(|_| all.response.record(1_000_000));
            seconds.look(Some(&all));
        }
        seconds
    }

    fn limits() -> Vec<Threshold> {
        vec!["p(95)<200ms".parse().unwrap(), "error_rate<5%".parse().unwrap()]
    }

    #[test]
    fn it_breaks_when_a_limit_does_and_is_well_when_all_hold_for_a_while() {
        let found =
            story(&seconds(&[(9, 0), (9, 0), (9, 1), (9, 5), (9, 5), (9, 0), (9, 1), (9, 0), (9, 0)]), &limits(), 1, 4);
        assert_eq!(found.onset.map(|(second, _)| second), Some(2));
        assert_eq!(found.well, Some(7), "one good second is none");
        let found = story(&seconds(&[(9, 0), (9, 1), (9, 1), (9, 0)]), &limits(), 1, 2);
        assert!(found.well.is_none());
        let found = story(&seconds(&[(9, 0), (9, 0), (9, 0), (9, 0)]), &limits(), 1, 2);
        assert!(found.onset.is_none() && found.well == Some(2));
        // A second in which nothing came back, though it was asked for.
        let mut still = seconds(&[(9, 0), (9, 0)]);
        still.each.push(Tally { scheduled: 5, ..Tally::default() });
        assert_eq!(story(&still, &limits(), 1, 3).onset.map(|(second, _)| second), Some(2));
    }

    #[test]
    fn the_rate_that_is_asked_for_follows_the_stages() {
        let second = Duration::from_secs(1);
        let stages = [Stage::constant(10.0, second), Stage { duration: second * 10, from: 10.0, to: 110.0 }];
        let found = [0.5, 1.0, 6.0, 11.0].map(|at| asked(&stages, at) as i64);
        assert_eq!(found, [10, 10, 60, 0]);
    }
}
