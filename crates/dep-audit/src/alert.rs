//! `alert`: only what is new, what has changed and what is gone, once each.
//!
//! What was told is remembered in a state file, and remembered only after it was told: a run that dies in between tells it
//! again. So nothing is lost, and something may come twice; the `id` of an event is the same both times, for those who
//! must not take it twice.

mod ack;
mod event;
mod sink;
mod state;
mod trends;

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::lock::RunLock;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{HumanDuration, format_seconds};
use semver::Version;

use crate::audit::audit;
use crate::cli::{AlertAction, AlertRunArgs, SECTION};
use crate::exceptions::{Exceptions, Rules};
use crate::policy::{FailOn, status};
use crate::registry::Registry;
use crate::report::Report;
use crate::work::Work;

use event::What;
use sink::Sink;
use state::{Entry, State};

/// Does it.
///
/// # Errors
/// There is nothing to judge by, another run is at it, or the state cannot be read or written.
pub fn run(action: &AlertAction, work: &mut Work<'_>) -> Result<(), Failure> {
    match action {
        AlertAction::Run(args) => tell(args, work),
        AlertAction::Ack(args) => ack::run(args, work),
        AlertAction::Summary { state } => {
            trends::summary(&read(state.as_ref(), work)?, work);
            Ok(())
        }
        AlertAction::Trends { state, days } => {
            trends::run(&read(state.as_ref(), work)?, *days, work);
            Ok(())
        }
        AlertAction::Export { state } => {
            trends::export(&read(state.as_ref(), work)?, work);
            Ok(())
        }
    }
}

/// Where the state is: what was named, or a file in this user's state directory.
fn place(named: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    match named {
        Some(path) => Ok(path.clone()),
        None => Ok(state_directory()?.join("dep-audit").join("alert.json")),
    }
}

fn read(named: Option<&PathBuf>, work: &mut Work<'_>) -> Result<State, Failure> {
    let path = place(named)?;
    work.subject = path.display().to_string();
    State::load(&path)?.ok_or_else(|| {
        Failure::usage(format!("there is no state at {}", path.display())).hint("`dep-audit alert run` makes one")
    })
}

/// Makes this run the only one that tells.
fn lock(path: &Path, work: &Work<'_>) -> Result<RunLock, Failure> {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    work.alone(&format!("alert {}", whole.display()))
}

fn tell(args: &AlertRunArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.settings.flag(&SECTION, "fail_on", args.fail_on.clone())?;
    let fail_on: String = work.settings.get(&SECTION, "fail_on")?;
    let fail_on: FailOn = fail_on.parse().map_err(Failure::usage)?;
    let path = place(args.state.as_ref())?;
    work.subject = path.display().to_string();
    let mut sinks = Vec::new();
    for text in &args.sink {
        sinks.push(text.parse::<Sink>().map_err(Failure::usage)?);
    }
    let mut _lock = None;
    if !args.change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(lock(&path, work)?);
    }
    let mut state = State::load(&path)?.unwrap_or_default();
    let mut report = audit(&args.input, args.trust, work)?;
    if let Some(exceptions) = Exceptions::find(work)? {
        exceptions.apply(&mut report, Rules::of(work)?);
    }
    if work.cancel.is_cancelled() {
        return Ok(());
    }
    for unread in &report.unread {
        work.run.emit(&Record::new(Kind::Check, unread.path.display().to_string(), Status::Unknown, &unread.why));
    }
    // With nothing to tell, what this run could not know is the news.
    for note in &report.notes {
        work.run.emit(&Record::new(Kind::Check, "evidence", Status::Warning, note));
    }
    let events = event::since(&state, &report);
    let mut undelivered = 0_usize;
    for event in &events {
        let judged = match event.what {
            What::Resolved => Status::Ok,
            _ => status(&event.finding, fail_on),
        };
        let record = event.record(judged);
        if args.change.dry_run {
            work.run.emit(&record);
            continue;
        }
        let mut failed = None;
        for sink in &sinks {
            if let Err(why) = sink.deliver(event, &record, work) {
                failed = Some(format!("{sink}: {why}"));
            }
        }
        // What was printed is as good as delivered only where nobody else was to be told.
        work.run.emit(&record);
        point("alert-delivered");
        if let Some(why) = failed {
            undelivered += 1;
            let message = format!("not delivered: {why}; the next run tells it again");
            work.run.emit(&Record::new(Kind::Step, event.finding.subject(), Status::Failed, message));
            continue;
        }
        state.take(event, work.now);
        // With sinks each is noted at once: what one of them has must not come again because another failed later.
        if !sinks.is_empty() {
            state.save(&path)?;
            point("alert-noted");
        }
    }
    overdue(&state, &report, args, work)?;
    if !args.change.dry_run {
        state.follow(&report);
        state.close(work.now, &events, undelivered);
        state.save(&path)?;
        point("alert-written");
    }
    work.run.result("events", events.len());
    work.run.result("undelivered", undelivered);
    work.run.result("open", state.open().count());
    work.run.result("database", &report.stamp);
    Ok(())
}

/// Findings for which a release has been out for longer than `sla`: nobody can say that there was no time. They are told
/// by every run.
fn overdue(state: &State, report: &Report, args: &AlertRunArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    work.settings.flag(&SECTION, "sla", args.sla)?;
    let limit: HumanDuration = work.settings.get(&SECTION, "sla")?;
    let limit = SignedDuration::try_from(limit.0).unwrap_or(SignedDuration::MAX);
    let registry = Registry::open().ok();
    let mut unknown = 0_usize;
    for entry in state.open().filter(|entry| !entry.finding.is_excepted()) {
        let since = match patched_since(entry, report, registry.as_ref()) {
            Patched::Since(since) => since,
            Patched::Never => continue,
            Patched::Unknown => {
                unknown += 1;
                continue;
            }
        };
        let waited = work.now.duration_since(since);
        if waited <= limit {
            continue;
        }
        let shown = format_seconds(waited.as_secs_f64());
        let message = format!(
            "{} has a patched release since {shown}, and {} is the limit",
            entry.finding.id,
            format_seconds(limit.as_secs_f64())
        );
        let record = Record::new(Kind::Check, entry.finding.subject(), Status::Warning, message);
        work.run.emit(
            &record
                .field("code", "overdue")
                .field("id", &entry.finding.id)
                .field("lockfile", entry.finding.lockfile.display().to_string())
                .field("patched_since", since)
                .field("waited_seconds", waited.as_secs())
                .field("acknowledged_by", entry.ack.as_ref().map(|ack| ack.by.clone())),
        );
    }
    if unknown > 0 {
        let message = format!(
            "whether {unknown} of the open findings is overdue is not known: cargo's cache of the index does not have the releases"
        );
        work.run.emit(&Record::new(Kind::Check, "evidence", Status::Warning, message).field("unknown", unknown));
    }
    Ok(())
}

/// Since when somebody could have known and acted: the advisory was public, and a release that it calls patched was out.
enum Patched {
    Since(Timestamp),
    /// No release is patched.
    Never,
    /// Nobody here knows the releases, or when they came.
    Unknown,
}

fn patched_since(entry: &Entry, report: &Report, registry: Option<&Registry>) -> Patched {
    let finding = &entry.finding;
    let Some(advisory) = report.database.find(&finding.id).filter(|advisory| !advisory.patched.is_empty()) else {
        return Patched::Never;
    };
    let releases = registry.and_then(|registry| registry.releases(&finding.package).ok().flatten());
    let Some(releases) = releases else { return Patched::Unknown };
    let is_patched =
        |version: &Version| advisory.patched.iter().any(|wanted| wanted.matches(version)) && !advisory.affects(version);
    let mut patched = releases.iter().filter(|release| !release.yanked && is_patched(&release.version)).peekable();
    if patched.peek().is_none() {
        return Patched::Never;
    }
    let public =
        advisory.date.tomorrow().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC)).map(|day| day.timestamp());
    match (patched.filter_map(|release| release.published).min(), public) {
        (Some(first), Ok(public)) => Patched::Since(first.max(public)),
        _ => Patched::Unknown,
    }
}
