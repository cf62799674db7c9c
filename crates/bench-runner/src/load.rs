//! `load`: a scenario of several routes, up and down, with limits that can end it early.

use std::path::PathBuf;
use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_seconds;

use crate::cli::{LoadArgs, SECTION};
use crate::drive::{Job, drive};
use crate::engine::run::Ran;
use crate::report::{is_broken, judge, overview, responses, summarize};
use crate::scenario::{Prepared, Scenario};
use crate::tally::Tally;
use crate::verdict;
use crate::work::Work;

/// Runs the scenario that is named, the one of the configuration where none is.
///
/// # Errors
/// The scenario does not hold, or a target cannot be reached.
pub fn run(args: &LoadArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let scenario = match &args.what {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            Scenario::of_url(url, args.rate, args.ramp, args.duration, &args.threshold)
        }
        Some(path) => Scenario::read(&PathBuf::from(path))?,
        None => configured(work)?,
    };
    let prepared = scenario.prepare(&args.allow_host)?;
    work.subject.clone_from(&prepared.name);
    if args.dry_run {
        plan(&prepared, work);
        return Ok(());
    }
    measure(&prepared, work).map(|_| ())
}

/// The scenario that `[bench-runner]` names.
///
/// # Errors
/// None is named, or it does not hold.
pub fn configured(work: &Work<'_>) -> Result<Scenario, Failure> {
    let path: Option<PathBuf> = work.settings.optional(&SECTION, "scenario")?;
    let path = path.ok_or_else(|| {
        Failure::usage("no scenario is named")
            .hint("give a FILE or a URL, or set `scenario` in [bench-runner] of maint.toml")
    })?;
    Scenario::read(&path)
}

fn plan(prepared: &Prepared, work: &Work<'_>) {
    let total: Duration = prepared.stages.iter().map(|stage| stage.duration).sum();
    for route in &prepared.routes {
        let stages = route.load.stages.as_deref().unwrap_or_default();
        let peak = stages.iter().map(|stage| stage.from.max(stage.to)).fold(0.0, f64::max);
        let requests: f64 =
            stages.iter().map(|stage| f64::midpoint(stage.from, stage.to) * stage.duration.as_secs_f64()).sum();
        let message = format!(
            "{requests:.0} requests in {} at up to {peak:.1} a second over {} connections to {}",
            format_seconds(total.as_secs_f64()),
            route.load.connections,
            route.target.address
        );
        work.run.emit(
            &Record::new(Kind::Plan, &route.name, Status::Planned, message)
                .field("requests", requests.round())
                .field("peak_requests_per_second", peak)
                .field("connections", route.load.connections),
        );
    }
}

/// What came of a scenario.
pub struct Measured {
    /// All of it as one run.
    pub ran: Ran,
    /// Why it says nothing that could be compared with other runs; `None` when it does.
    pub refused: Option<String>,
    /// One of its limits is broken.
    pub is_broken: bool,
}

/// Sends the load, and tells of every route and limit.
///
/// # Errors
/// A target cannot be reached, or this machine cannot do it.
pub fn measure(prepared: &Prepared, work: &Work<'_>) -> Result<Measured, Failure> {
    let jobs: Vec<Job<'_>> =
        prepared.routes.iter().map(|route| Job { target: &route.target, load: &route.load }).collect();
    let mut aborted: Option<(String, Duration)> = None;
    let mut look = |elapsed: Duration, counted: &[Tally]| {
        let all = so_far(elapsed, counted);
        let sample = responses(&all);
        let due = |after: &Duration| elapsed >= *after;
        let broken = prepared
            .thresholds
            .iter()
            .filter(|watched| watched.abort_after.as_ref().is_some_and(due))
            .find(|watched| is_broken(&watched.limit, &all, &sample));
        if let Some(broken) = broken.filter(|_| aborted.is_none()) {
            aborted = Some((broken.limit.to_string(), elapsed));
        }
        aborted.is_some()
    };
    let is_watched = prepared.thresholds.iter().any(|watched| watched.abort_after.is_some());
    let ran = drive(&jobs, &work.cancel, if is_watched { Some(&mut look) } else { None })?;
    for (route, ran) in prepared.routes.iter().zip(&ran) {
        let why = verdict::judge(ran, true);
        work.run.emit(&overview(&route.name, ran, why.as_deref()).field("route", &route.name));
        let sample = responses(ran);
        for limit in &route.thresholds {
            work.run.emit(&judge(limit, ran, &sample).field("route", &route.name));
        }
    }
    let all = Ran::together(&ran);
    let why = ran.iter().find_map(|ran| verdict::judge(ran, true));
    summarize(work.run, &all, why.as_deref());
    work.run.result("scenario", &prepared.name);
    let sample = responses(&all);
    for watched in &prepared.thresholds {
        work.run.emit(&judge(&watched.limit, &all, &sample));
    }
    if let Some((limit, elapsed)) = aborted {
        work.run.result("aborted_by", &limit);
        let message = format!("ended after {} because it was broken", format_seconds(elapsed.as_secs_f64()));
        work.run.emit(&Record::new(Kind::Check, limit, Status::Critical, message));
    }
    let refused = if all.is_partial {
        Some("it was ended before its time".to_owned())
    } else if all.tally.good == 0 {
        Some("there was not one good answer".to_owned())
    } else {
        why
    };
    let is_broken = prepared.thresholds.iter().any(|watched| is_broken(&watched.limit, &all, &sample))
        || prepared.routes.iter().zip(&ran).any(|(route, ran)| {
            let sample = responses(ran);
            route.thresholds.iter().any(|limit| is_broken(limit, ran, &sample))
        });
    Ok(Measured { ran: all, refused, is_broken })
}

/// What there is of a run that goes on.
fn so_far(elapsed: Duration, counted: &[Tally]) -> Ran {
    let mut tally = Tally::default();
    for one in counted {
        tally.add(one);
    }
    // What is still under way may yet be answered well: it is no error before its time.
    tally.scheduled = tally.completed() + tally.failed + tally.timed_out;
    Ran { tally, sending: elapsed, elapsed, cpu: Vec::new(), trouble: None, is_partial: true }
}
