//! `config-backup`: file sets into the repository.
//!
//! A backup of a set is whole or is none: a file that cannot be read fails the set, and its snapshot is removed. Files may
//! change while they are read, so a set with such files is read again, at most twice, and then only what changed since. One
//! set that fails does not keep the others from being backed up.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count};

use crate::backup::{About, FilesBackup};
use crate::cli::ConfigBackupArgs;
use crate::files::report::Outcome;
use crate::files::set::{FileSet, chosen};
use crate::files::source::FilesSource;
use crate::store::archive::{ArchiveSpec, Archived};
use crate::store::{Part, Store, Stored};
use crate::work::Work;

/// So often a set is read when files of it change meanwhile.
const READINGS: u32 = 3;

/// Backs up the sets that were named, or all.
///
/// # Errors
/// A set is not known or does not hold, the repository cannot be opened, or another run is at work in it. A set that cannot
/// be backed up is a failed step, and the others go on.
pub fn run(args: &ConfigBackupArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let guard = open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let sets = chosen(&work.settings, &args.sets)?;
    let store = work.store()?;
    work.subject = store.storage().location();
    if args.change.dry_run {
        for set in &sets {
            let record = plan(work, &store, set)?;
            work.run.emit(&record);
        }
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    let _lock = store.lock("write")?;
    for set in &sets {
        let begun = Instant::now();
        let record = match guard.may_start() {
            Ok(()) => match backup(work, &store, set) {
                Ok(taken) => taken.record(begun.elapsed()),
                Err(failure) if work.cancel.is_cancelled() => return Err(failure),
                Err(failure) => failed(Kind::Step, set, &failure),
            },
            Err(stop) => Record::new(Kind::Step, set.name(), Status::Left, stop.reason()).field("set", set.name()),
        };
        work.run.emit(&record);
    }
    Ok(())
}

/// The newest complete backup of a set.
fn newest(store: &Store, set: &FileSet) -> Result<Option<(Stored, FilesBackup)>, Failure> {
    Ok(store.file_sets()?.into_iter().rfind(|(_, backup)| backup.set == set.name()))
}

/// What a backup of the set would hold; every file is opened, and none read.
fn plan(work: &Work<'_>, store: &Store, set: &FileSet) -> Result<Record, Failure> {
    let parent = newest(store, set)?.map(|(_, backup)| backup.label);
    let counted = set.look().map_err(Failure::from).and_then(|()| {
        let outcome = FilesSource::new(set.clone(), None, work.cancel.clone()).count();
        readable(work, &outcome).map(|()| outcome)
    });
    let outcome = match counted {
        Ok(outcome) => outcome,
        Err(failure) if work.cancel.is_cancelled() => return Err(failure),
        Err(failure) => return Ok(failed(Kind::Plan, set, &failure)),
    };
    let on = parent.as_ref().map_or_else(String::new, |parent| format!(" on {parent}"));
    let message = format!("a backup{on}: {} in {} entries", format_bytes(outcome.bytes), format_count(outcome.entries));
    Ok(Record::new(Kind::Plan, set.name(), Status::Planned, message)
        .field("set", set.name())
        .field("parent", parent)
        .field("entries", outcome.entries)
        .field("size_bytes", outcome.bytes))
}

/// A complete backup, and what it cost.
struct Taken {
    backup: FilesBackup,
    unchanged: u64,
    readings: u32,
}

impl Taken {
    fn record(&self, took: Duration) -> Record {
        let backup = &self.backup;
        let message = format!(
            "{} in {} entries, {} stored, {} entries unchanged",
            format_bytes(backup.bytes),
            format_count(backup.entries),
            format_bytes(backup.stored_bytes),
            format_count(self.unchanged)
        );
        Record::new(Kind::Step, &backup.set, Status::Ok, message)
            .field("set", &backup.set)
            .field("label", &backup.label)
            .field("entries", backup.entries)
            .field("size_bytes", backup.bytes)
            .field("stored_bytes", backup.stored_bytes)
            .field("unchanged_entries", self.unchanged)
            .field("readings", self.readings)
            .field("duration_seconds", took.as_secs_f64())
    }
}

fn failed(kind: Kind, set: &FileSet, failure: &Failure) -> Record {
    let hint = failure.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    Record::new(kind, set.name(), Status::Failed, format!("{}{hint}", failure.message)).field("set", set.name())
}

/// A set as it was put into the repository, pending still.
struct Read {
    archived: Archived,
    outcome: Outcome,
    stored_bytes: u64,
    unchanged: u64,
    readings: u32,
}

/// From the first file to the complete snapshot.
fn backup(work: &Work<'_>, store: &Store, set: &FileSet) -> Result<Taken, Failure> {
    set.look()?;
    let label = label(store, set)?;
    let read = read(work, store, set)?;
    let whole = readable(work, &read.outcome).and_then(|()| stored_whole(store, &read.archived, &read.outcome));
    if let Err(mut failure) = whole {
        if let Err(error) = store.discard(read.archived) {
            failure.message = format!("{}; its snapshot is pending still: {error}", failure.message);
        }
        return Err(failure);
    }
    let backup = FilesBackup {
        label,
        set: set.name().to_owned(),
        paths: set.paths().iter().map(|path| path.display().to_string()).collect(),
        entries: read.outcome.entries,
        bytes: read.outcome.bytes,
        stored_bytes: read.stored_bytes,
    };
    store.complete(read.archived, &About::Files(backup.clone()))?;
    // It is there when it is listed.
    match newest(store, set)? {
        Some((_, listed)) if listed == backup => {
            Ok(Taken { backup, unchanged: read.unchanged, readings: read.readings })
        }
        _ => Err(Failure::critical(format!("{} was stored, and is not listed", backup.label))),
    }
}

/// Reads the set, and again as long as only files that changed meanwhile are missing. What an earlier reading stored is the
/// parent of the next, so that this one is short.
fn read(work: &Work<'_>, store: &Store, set: &FileSet) -> Result<Read, Failure> {
    let before = newest(store, set)?.map(|(stored, _)| stored);
    let (archived, outcome) = read_once(work, store, set, before.as_ref())?;
    let (stored_bytes, unchanged) = (archived.stored_bytes(), archived.unchanged_files());
    let mut read = Read { archived, outcome, stored_bytes, unchanged, readings: 1 };
    while read.outcome.may_pass() && read.readings < READINGS {
        tracing::info!("reading {} again: {}", set.name(), read.outcome.trouble());
        let again = pending(store, &read.archived).and_then(|parent| read_once(work, store, set, parent.as_ref()));
        store.discard(read.archived)?;
        (read.archived, read.outcome) = again?;
        read.stored_bytes += read.archived.stored_bytes();
        read.readings += 1;
    }
    Ok(read)
}

fn read_once(
    work: &Work<'_>,
    store: &Store,
    set: &FileSet,
    parent: Option<&Stored>,
) -> Result<(Archived, Outcome), Failure> {
    let source = FilesSource::new(set.clone(), parent.map(|stored| stored.time), work.cancel.clone());
    let report = source.report();
    let spec = ArchiveSpec { paths: set.paths().to_vec(), tags: vec!["files".to_owned()], parent };
    let archived = store.archive(Part::Files, &source, &spec)?;
    Ok((archived, report.finish()))
}

/// The snapshot that was just written.
fn pending(store: &Store, archived: &Archived) -> Result<Option<Stored>, Failure> {
    let all = store.snapshots(Part::Files)?;
    Ok(all.into_iter().rfind(|stored| stored.pending && stored.tree == archived.tree()))
}

/// Everything was read, and nobody asked to stop.
fn readable(work: &Work<'_>, outcome: &Outcome) -> Result<(), Failure> {
    if let Some(exit) = work.cancel.exit() {
        return Err(Failure::new(exit, "interrupted; nothing of this backup was kept"));
    }
    if outcome.interrupted {
        return Err(Failure::critical("reading ended early; nothing of this backup was kept"));
    }
    if outcome.error_count == 0 {
        return Ok(());
    }
    Err(Failure::critical(format!("not everything could be read: {}", outcome.trouble()))
        .hint("nothing of this backup was kept; mend it, or exclude what does not belong into the set"))
}

/// Compares what is stored with what was read: the engine passes over a file that it could not store with a line in its
/// log.
fn stored_whole(store: &Store, archived: &Archived, outcome: &Outcome) -> Result<(), Failure> {
    let reader = store.reader(Part::Files)?;
    let (mut entries, mut bytes, mut strange) = (0, 0, Vec::new());
    reader.walk(archived.tree(), &mut |path, node| {
        entries += 1;
        if node.is_file() {
            let pieces = node.content.iter().flatten();
            let held: Option<u64> =
                pieces.map(|id| Some(u64::from(reader.engine().get_index_entry(id).ok()?.data_length()))).sum();
            if held != Some(node.meta.size) {
                strange.push(path.display().to_string());
            }
            bytes += node.meta.size;
        }
        Ok(())
    })?;
    if !strange.is_empty() {
        let first = strange.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(Failure::critical(format!(
            "{} files were not stored to their end, among them {first}",
            strange.len()
        )));
    }
    if (entries, bytes) == (outcome.entries, outcome.bytes) {
        return Ok(());
    }
    Err(Failure::critical(format!(
        "{entries} entries with {bytes} bytes were stored, but {} with {} were read",
        outcome.entries, outcome.bytes
    )))
}

/// A name that no other backup of a set has.
fn label(store: &Store, set: &FileSet) -> Result<String, Failure> {
    let taken: Vec<String> = store.snapshots(Part::Files)?.iter().map(|stored| stored.label().to_owned()).collect();
    let mut at = Timestamp::now();
    loop {
        let label = format!("{}-{}", at.strftime("%Y%m%d-%H%M%S"), set.name());
        if !taken.contains(&label) {
            return Ok(label);
        }
        at = at.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
    }
}
