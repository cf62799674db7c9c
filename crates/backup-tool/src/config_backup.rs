//! `config-backup`: file sets of the configuration into the repository.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use jiff::Timestamp;
use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count};
use rustic_core::ReadSource as _;

use crate::backup::{About, FilesBackup};
use crate::cli::ConfigBackupArgs;
use crate::files::set::{FileSet, chosen};
use crate::files::source::{FilesSource, Outcome};
use crate::store::archive::{ArchiveSpec, Archived};
use crate::store::{Part, Store, Stored};
use crate::work::Work;

/// Errors that are named; the rest is counted.
const NAMED: usize = 20;

/// Backs up the sets that are named, or all. A set that cannot be read whole is not stored; the others are.
///
/// # Errors
/// There is no such set, or the repository cannot be written.
pub fn run(args: &ConfigBackupArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let guard = open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let sets = chosen(&work.settings, &args.sets)?;
    let store = work.store()?;
    work.subject = store.storage().location();
    if args.change.dry_run {
        for (name, set) in &sets {
            work.run.emit(&planned(work, name, set));
        }
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    let _lock = store.lock("write")?;
    for (name, set) in &sets {
        let record = match guard.may_start() {
            Ok(()) => back_up(work, &store, name, set)?,
            Err(stop) => Record::new(Kind::Step, name.clone(), Status::Left, format!("not started: {}", stop.reason())),
        };
        work.run.emit(&record);
    }
    Ok(())
}

/// What there is to be backed up, without reading it.
fn planned(work: &Work<'_>, name: &str, set: &FileSet) -> Record {
    let source = FilesSource::new(set.clone(), work.cancel.clone());
    source.entries().for_each(drop);
    let found = source.report().finish();
    let bytes: u64 = found.files.values().sum();
    let (status, message) = match wrong(&found) {
        Some(why) => (Status::Failed, why),
        None => (Status::Planned, format!("{} in {} entries", format_bytes(bytes), format_count(found.entries))),
    };
    Record::new(Kind::Plan, name, status, message)
        .field("set", name)
        .field("entries", found.entries)
        .field("size_bytes", bytes)
}

fn wrong(outcome: &Outcome) -> Option<String> {
    if outcome.errors.is_empty() {
        return None;
    }
    let shown: Vec<&str> = outcome.errors.iter().take(NAMED).map(String::as_str).collect();
    let more = outcome.errors.len() - shown.len();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Some(format!("not everything could be read, so nothing was stored: {}{more}", shown.join("; ")))
}

fn back_up(work: &Work<'_>, store: &Store, name: &str, set: &FileSet) -> Result<Record, Failure> {
    let begun = Instant::now();
    let before = store.file_sets()?;
    let parent: Option<&Stored> = before.iter().rfind(|(_, backup)| backup.set == name).map(|(stored, _)| stored);
    let source = FilesSource::new(set.clone(), work.cancel.clone());
    let report = source.report();
    let spec = ArchiveSpec { paths: set.paths.clone(), tags: vec![name.to_owned()], parent };
    let archived = store.archive(Part::Files, &source, &spec)?;
    let outcome = report.finish();
    if let Some(exit) = work.cancel.exit() {
        store.discard(archived)?;
        return Err(Failure::new(exit, format!("interrupted; nothing of {name} was kept")));
    }
    let failed = match wrong(&outcome) {
        Some(why) => Some(why),
        None => strange(store, &archived, outcome.files.clone())?,
    };
    if let Some(why) = failed {
        store.discard(archived)?;
        return Ok(Record::new(Kind::Step, name, Status::Failed, why).field("set", name));
    }
    let backup = FilesBackup {
        label: label(name, &before),
        set: name.to_owned(),
        paths: set.paths.iter().map(|path| path.display().to_string()).collect(),
        entries: outcome.entries,
        bytes: outcome.files.values().sum(),
        stored_bytes: archived.stored_bytes(),
    };
    let unchanged = archived.unchanged_files();
    store.complete(archived, &About::Files(backup.clone()))?;
    let message = format!(
        "{} in {} entries, {} stored",
        format_bytes(backup.bytes),
        format_count(backup.entries),
        format_bytes(backup.stored_bytes)
    );
    Ok(Record::new(Kind::Step, name, Status::Ok, message)
        .field("set", name)
        .field("label", &backup.label)
        .field("entries", backup.entries)
        .field("unchanged_files", unchanged)
        .field("size_bytes", backup.bytes)
        .field("stored_bytes", backup.stored_bytes)
        .field("duration_seconds", begun.elapsed().as_secs_f64()))
}

/// A name that no other backup has.
fn label(name: &str, before: &[(Stored, FilesBackup)]) -> String {
    let mut at = Timestamp::now();
    loop {
        let label = format!("{}-{name}", at.strftime("%Y%m%d-%H%M%S"));
        if before.iter().all(|(_, backup)| backup.label != label) {
            return label;
        }
        at = at.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
    }
}

/// Compares what is stored with what was read: the engine passes over what it could not store with a line in its log.
fn strange(
    store: &Store,
    archived: &Archived,
    mut expected: BTreeMap<PathBuf, u64>,
) -> Result<Option<String>, Failure> {
    let mut strange = Vec::new();
    store.reader(Part::Files)?.walk(archived.tree(), &mut |path, node| {
        if node.is_file() && expected.remove(path) != Some(node.meta.size) {
            strange.push(path.display().to_string());
        }
        Ok(())
    })?;
    strange.extend(expected.into_keys().map(|path| path.display().to_string()));
    let first: Vec<&str> = strange.iter().take(NAMED).map(String::as_str).collect();
    let why = || format!("{} files were not stored as they were read: {}", strange.len(), first.join(", "));
    Ok((!strange.is_empty()).then(why))
}
