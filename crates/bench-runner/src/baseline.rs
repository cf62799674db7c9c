//! `baseline`: is it as fast as it was?
//!
//! One run says little, as no two are alike. So a baseline is a series of runs, and a new one is held against how much they
//! differ among themselves: it is slower when it is slower by more than matters (`--tolerance`) and by more than chance
//! explains. The requests of one run depend on each other, so what is counted is runs, never requests.

use std::io::Read as _;

use jiff::Timestamp;
use maint_core::cli::state_directory;
use maint_core::failure::Failure;
use maint_core::lock::RunLock;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde_json::Value;

use crate::TOOL;
use crate::cli::{BaselineAction, BaselineArgs};
use crate::load::{configured, measure};
use crate::metrics::{METRICS, Metrics};
use crate::work::Work;

mod judgement;
mod series;

use judgement::judge;
use series::{Entry, Series};

/// A summary is a few kilobytes; what is longer is something else.
const MOST_BYTES: u64 = 64 << 20;

/// Runs it.
///
/// # Errors
/// There is no summary, it is of an invalid run or of something else, or the series cannot be read or written.
pub fn run(args: &BaselineArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    match &args.action {
        None => routine(args, work),
        Some(BaselineAction::Save { name }) => save(name, work),
        Some(BaselineAction::Check { name }) => compare(name, args.tolerance, work),
        Some(BaselineAction::List) => list(work),
    }
}

/// Measures the configured scenario, compares, and adds the run to the series when it is none to be ashamed of.
fn routine(args: &BaselineArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let prepared = configured(work)?.prepare(&args.allow_host)?;
    work.subject.clone_from(&prepared.name);
    let _lock = alone(&prepared.name)?;
    let mut series = Series::open(&prepared.name)?;
    let measured = measure(&prepared, work)?;
    if let Some(why) = &measured.refused {
        let message = format!("nothing is compared or kept: {why}");
        work.run.emit(&Record::new(Kind::Check, "baseline", Status::Unknown, message));
        return Ok(());
    }
    let entry = Entry {
        version: series::VERSION,
        time: Timestamp::now(),
        subject: prepared.name.clone(),
        metrics: Metrics::of(&measured.ran),
    };
    let is_worse = !series.entries.is_empty() && tell(&series.entries, &entry.metrics, args.tolerance, work);
    if is_worse || measured.is_broken {
        let why = if is_worse { "it is worse" } else { "it breaks a limit" };
        work.run.emit(&Record::new(Kind::Check, "baseline", Status::Warning, format!("the run is not kept: {why}")));
        return Ok(());
    }
    series.add(entry)?;
    kept(&series, work);
    Ok(())
}

fn save(name: &str, work: &mut Work<'_>) -> Result<(), Failure> {
    name.clone_into(&mut work.subject);
    let (entry, is_failed) = from_stdin()?;
    if is_failed {
        return Err(Failure::usage("a limit of the run is broken: it is nothing to measure others by")
            .hint("give the run limits that hold (--threshold), or mend what is slow"));
    }
    let _lock = alone(name)?;
    let mut series = Series::open(name)?;
    series.fits(&entry.subject)?;
    series.add(entry)?;
    kept(&series, work);
    Ok(())
}

fn compare(name: &str, tolerance: f64, work: &mut Work<'_>) -> Result<(), Failure> {
    name.clone_into(&mut work.subject);
    let (entry, _) = from_stdin()?;
    let series = Series::open(name)?;
    if series.entries.is_empty() {
        return Err(Failure::usage(format!("there is no baseline {name}"))
            .hint(format!("make one: ... | bench-runner baseline save {name}")));
    }
    series.fits(&entry.subject)?;
    tell(&series.entries, &entry.metrics, tolerance, work);
    Ok(())
}

fn list(work: &mut Work<'_>) -> Result<(), Failure> {
    "baselines".clone_into(&mut work.subject);
    for name in Series::names()? {
        let series = Series::open(&name)?;
        let (Some(first), Some(last)) = (series.entries.first(), series.entries.last()) else { continue };
        let message = format!("{} runs of {}, the last of {}", series.entries.len(), first.subject, last.time);
        work.run.emit(
            &Record::new(Kind::Metric, name, Status::Ok, message)
                .field("runs", series.entries.len())
                .field("of", &first.subject)
                .field("last", last.time),
        );
    }
    Ok(())
}

fn alone(name: &str) -> Result<RunLock, Failure> {
    RunLock::acquire(&state_directory()?, &format!("{TOOL} baseline {name}")).map_err(Failure::from)
}

fn kept(series: &Series, work: &Work<'_>) {
    let runs = series.entries.len();
    let message = match runs {
        1 => "kept: the first run of this baseline".to_owned(),
        more => format!("kept: the baseline has {more} runs"),
    };
    work.run.emit(&Record::new(Kind::Step, &series.name, Status::Ok, message).field("runs", runs));
}

/// Tells of every metric; whether one of them is worse for certain. What this run does not know, and the runs before it did, is
/// no better for that: requests that are never answered hide a quantile.
fn tell(entries: &[Entry], new: &Metrics, tolerance: f64, work: &Work<'_>) -> bool {
    let judged = judge(entries, new, tolerance);
    for one in &judged {
        work.run.emit(&one.record());
    }
    for metric in METRICS {
        let knows = |metrics: &Metrics| metrics.0.contains_key(metric.name);
        if !knows(new) && entries.last().is_some_and(|last| knows(&last.metrics)) {
            let message = "cannot be compared: the run before this one knew it, this one does not";
            work.run.emit(&Record::new(Kind::Check, metric.name, Status::Unknown, message));
        }
    }
    judged.iter().any(|one| one.status == Status::Critical)
}

/// The summary of a load test that is fed in, and whether one of its limits was broken.
fn from_stdin() -> Result<(Entry, bool), Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("cannot read stdin: {error}")))?;
    of_records(&text)
}

fn of_records(text: &str) -> Result<(Entry, bool), Failure> {
    let hint = "feed in what `bench-runner api -o ndjson` or `load -o ndjson` writes";
    let mut summaries = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let record: Value = serde_json::from_str(line)
            .map_err(|error| Failure::usage(format!("stdin, line {}: {error}", index + 1)).hint(hint))?;
        let is_load = record.pointer("/data/scheduled").is_some_and(Value::is_u64);
        if is_load && record.get("type").is_some_and(|kind| kind == "maint.summary.v1") {
            summaries.push(record);
        }
    }
    let [summary] = summaries.as_slice() else {
        return Err(
            Failure::usage(format!("stdin has {} summaries of load tests instead of one", summaries.len())).hint(hint)
        );
    };
    let field = |name: &str| summary.get("data").and_then(|data| data.get(name));
    let verdict = field("verdict").and_then(Value::as_str).unwrap_or("it has no verdict");
    let refused = if verdict != "valid" {
        Some(format!("the run is invalid: {verdict}"))
    } else if field("partial") != Some(&Value::Bool(false)) {
        Some("the run was ended before its time".to_owned())
    } else if field("good").and_then(Value::as_u64).is_none_or(|good| good == 0) {
        Some("the run had not one good answer".to_owned())
    } else {
        None
    };
    if let Some(why) = refused {
        return Err(Failure::usage(format!("{why}; it says nothing about a baseline")));
    }
    let text = |name: &str| summary.get(name).and_then(Value::as_str);
    let time = text("time").and_then(|time| time.parse().ok()).unwrap_or_else(Timestamp::now);
    let subject = text("subject").unwrap_or_default().to_owned();
    let metrics = METRICS.iter().filter_map(|metric| Some((metric.name.to_owned(), field(metric.name)?.as_f64()?)));
    let is_failed = field("status").and_then(Value::as_str) == Some(Status::Critical.as_str());
    Ok((Entry { version: series::VERSION, time, subject, metrics: Metrics(metrics.collect()) }, is_failed))
}

#[cfg(test)]
mod tests;
