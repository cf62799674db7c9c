//! The one way in which a cluster is recovered: plan, prove, ask, restore, let the server replay, look.

use std::time::Instant;

use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::lock::RunLock;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count};

use super::place::{Destination, put, recovery_settings};
use super::preflight::{self, Prepared};
use super::programs;
use super::start::start;
use super::target::{Action, Wanted};
use crate::cli::DestinationArgs;
use crate::work::Work;

/// What is to be recovered, and where to.
pub struct Recovery<'a> {
    /// To which point.
    pub wanted: Wanted,
    /// From which backup; the best when not named.
    pub backup: Option<&'a str>,
    /// Where to.
    pub destination: &'a DestinationArgs,
    /// Guards.
    pub change: &'a maint_core::cli::ChangeArgs,
}

/// Recovers a cluster.
///
/// # Errors
/// The point is not reachable or the place is not free (nothing was touched then); or restoring or replaying failed.
pub fn recover(recovery: &Recovery<'_>, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(recovery.change, &mut work.settings, &work.cancel)?;
    let store = work.store()?;
    let prepared = preflight::prepare(work, &store, &recovery.wanted, recovery.backup)?;
    let backup = &prepared.backup;
    let destination = Destination::new(recovery.destination, backup)?;
    work.subject = destination.pgdata.display().to_string();
    destination.check(backup)?;
    let program = programs::find(&work.settings, "postgres", backup.major());
    let archives = destination.in_place;
    let target = recovery.wanted.settings(&prepared.choice.timeline_setting(), Action::Promote);
    let settings = recovery_settings(work, target, archives)?;
    preflight::check_space(&destination, prepared.needed_bytes())?;
    work.run.emit(&plan(&prepared, &recovery.wanted, &destination));
    for remark in &prepared.choice.remarks {
        work.run.emit(&Record::new(Kind::Finding, backup.label.clone(), Status::Warning, remark.clone()));
    }
    let program = match program {
        Ok(program) => Some(program),
        Err(failure) if recovery.destination.start => return Err(failure),
        Err(failure) => {
            work.run.emit(&Record::new(Kind::Finding, "postgres", Status::Warning, failure.message));
            None
        }
    };
    if recovery.change.dry_run {
        return Ok(());
    }
    let what = if destination.in_place {
        format!("move {} aside and restore {} in its place", destination.pgdata.display(), backup.label)
    } else {
        format!("restore {} into {}", backup.label, destination.pgdata.display())
    };
    confirm(&what, recovery.change.yes).map_err(|error| Failure::usage(error.to_string()))?;
    let state = state_directory()?;
    let _lock = RunLock::acquire(&state, &format!("backup-tool recovery {}", destination.pgdata.display()))
        .map_err(Failure::from)?;
    work.run.journal_in(&state)?;
    let begun = Instant::now();
    let restored = put(work, &store, &prepared.stored, &destination, &settings)?;
    for note in &restored.notes {
        work.run.emit(&Record::new(Kind::Finding, backup.label.clone(), Status::Warning, note.clone()));
    }
    let archiving = if archives { "" } else { "; archive_mode is off in it" };
    let message = format!(
        "{} files, {} restored and synced{archiving}; started, it replays to {}",
        format_count(restored.files),
        format_bytes(restored.bytes),
        recovery.wanted.point
    );
    let record = Record::new(Kind::Step, destination.pgdata.display().to_string(), Status::Ok, message);
    work.run.emit(
        &record
            .field("label", &backup.label)
            .field("files", restored.files)
            .field("size_bytes", restored.bytes)
            .field("duration_seconds", begun.elapsed().as_secs_f64()),
    );
    match program.filter(|_| recovery.destination.start) {
        Some(program) => start(work, &program, &destination.pgdata),
        None => Ok(()),
    }
}

fn plan(prepared: &Prepared, wanted: &Wanted, destination: &Destination) -> Record {
    let backup = &prepared.backup;
    let message = format!(
        "{} ({}, ended {:.0}), then {} WAL segments on timeline {} to {}",
        backup.label,
        format_bytes(backup.bytes),
        backup.stop_time,
        prepared.segments.len(),
        prepared.choice.way.timeline,
        wanted.point
    );
    Record::new(Kind::Plan, destination.pgdata.display().to_string(), Status::Planned, message)
        .field("label", &backup.label)
        .field("point", wanted.point.to_string())
        .field("timeline", prepared.choice.way.timeline)
        .field("stop", prepared.choice.stop)
        .field("segments", prepared.segments.len())
        .field("first_segment", prepared.segments.first())
        .field("last_segment", prepared.segments.last())
        .field("segments_stored_bytes", prepared.segments_stored_bytes)
        .field("estimated_seconds", prepared.estimated_seconds())
        .field("size_bytes", backup.bytes)
        .field("in_place", destination.in_place)
        .field("tablespaces", &destination.tablespaces)
}
