//! `expire`: which backups and WAL have had their time; with `--apply` they are removed.
//!
//! Backups go first, then the WAL that none of those that are there after that needs: a run that ends in between leaves WAL
//! that nobody needs, and never a backup without its WAL. What a removed backup alone stored stays in the repository until
//! `prune`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::guard::Guard;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_bytes;

use crate::backup::{About, ClusterBackup};
use crate::cli::{ExpireArgs, SECTION};
use crate::prune::{Trees, remember_expired};
use crate::store::{Part, Store, StoreError, Stored};
use crate::wal::archive::{Archive, ArchiveError, Archived, systems};
use crate::wal::history::History;
use crate::wal::name::WalName;
use crate::work::Work;

pub mod policy;
#[cfg(test)]
mod sample;
pub mod wal;

use policy::{Policy, Verdict};

/// Lists what would go, or removes it.
///
/// # Errors
/// The repository cannot be read, nobody agreed, or another run is at work in it.
pub fn run(args: &ExpireArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let guard = open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.settings.flag(&SECTION, "keep_full", args.keep_full)?;
    work.settings.flag(&SECTION, "keep_days", args.keep_days)?;
    let policy = Policy {
        keep_full: work.settings.get(&SECTION, "keep_full")?,
        keep_days: work.settings.get(&SECTION, "keep_days")?,
        keep_sets: work.settings.get(&SECTION, "keep_sets")?,
    };
    let store = work.store()?;
    work.subject = store.storage().location();
    let apply = args.apply && !args.change.dry_run;
    // Before anything is looked at, so that what is judged is what is removed.
    let _lock = if apply { Some(store.lock("write")?) } else { None };

    let now = Timestamp::now();
    let archives = archives(&store)?;
    let ways = archives.iter().map(|archive| (archive.system, archive.ways.clone())).collect();
    let clusters = policy::judge_clusters(store.snapshots(Part::Clusters)?, &ways, policy, now);
    let sets = policy::judge_sets(store.snapshots(Part::Files)?, policy, now);
    let kept: Vec<ClusterBackup> = clusters.iter().filter(|verdict| verdict.keep).filter_map(complete).collect();
    let going: Vec<(Part, &Verdict)> = [(Part::Clusters, &clusters), (Part::Files, &sets)]
        .into_iter()
        .flat_map(|(part, verdicts)| verdicts.iter().map(move |verdict| (part, verdict)))
        .filter(|(_, verdict)| !verdict.keep)
        .collect();
    let wal: Vec<Batch> = archives.iter().flat_map(|archive| archive.unneeded(&kept)).collect();

    if !apply {
        for (_, verdict) in &going {
            work.run.emit(&backup_record(Kind::Plan, &verdict.stored, Status::Planned, verdict.why));
        }
        for batch in &wal {
            work.run.emit(&batch.record(Kind::Plan, Status::Planned, "no backup that is kept needs them"));
        }
        return Ok(());
    }
    if going.is_empty() && wal.is_empty() {
        return Ok(());
    }
    let files: usize = wal.iter().map(|batch| batch.files.len()).sum();
    let what =
        format!("Remove {} backups and {files} files of archived WAL from {} for good?", going.len(), work.subject);
    confirm(&what, args.change.yes).map_err(|refused| Failure::usage(refused.to_string()))?;
    work.run.journal_in(&state_directory()?)?;
    remove_backups(&store, &going, &guard, work)?;

    // Looked at again: a backup that could not be removed needs its WAL still.
    let kept: Vec<ClusterBackup> = store.clusters()?.into_iter().map(|(_, backup)| backup).collect();
    for archive in &archives {
        for batch in archive.unneeded(&kept) {
            remove_wal(archive, &batch, &guard, work);
        }
    }
    Ok(())
}

fn complete(verdict: &Verdict) -> Option<ClusterBackup> {
    match &verdict.stored {
        Stored { pending: false, broken: false, about: Some(About::Cluster(backup)), .. } => Some(backup.clone()),
        _ => None,
    }
}

fn backup_record(kind: Kind, stored: &Stored, status: Status, message: impl Into<String>) -> Record {
    let (what, bytes) = match &stored.about {
        Some(About::Cluster(backup)) => (backup.kind.as_str(), Some(backup.stored_bytes)),
        Some(About::Files(backup)) => ("files", Some(backup.stored_bytes)),
        None => ("other", None),
    };
    Record::new(kind, stored.label(), status, message)
        .field("kind", what)
        .field("id", &stored.id)
        .field("time", stored.time)
        .field("stored_bytes", bytes)
}

/// Removes the backups one by one, then looks which are gone.
fn remove_backups(store: &Store, going: &[(Part, &Verdict)], guard: &Guard, work: &Work<'_>) -> Result<(), Failure> {
    let mut tried = Vec::new();
    for (part, verdict) in going {
        let outcome = match guard.may_start() {
            Ok(()) => store.remove_snapshots(*part, std::slice::from_ref(&verdict.stored.id)).map_err(Outcome::Failed),
            Err(stop) => Err(Outcome::Left(stop.reason())),
        };
        tried.push((*part, *verdict, outcome));
    }
    let mut there: BTreeMap<&str, Vec<Stored>> = BTreeMap::new();
    for part in Part::ALL {
        there.insert(part.directory(), store.snapshots(part)?);
    }
    let mut expired = Trees::default();
    for (part, verdict, outcome) in tried {
        let left = there.get(part.directory()).map(Vec::as_slice).unwrap_or_default();
        let gone = left.iter().all(|stored| stored.id != verdict.stored.id);
        let (status, message) = match outcome {
            Err(Outcome::Left(reason)) => (Status::Left, reason.to_owned()),
            Err(Outcome::Failed(error)) => (Status::Failed, error.to_string()),
            Ok(()) if gone => {
                // A set that did not change has the same tree in every backup; while one is kept, the tree is not let go.
                if left.iter().all(|stored| stored.tree != verdict.stored.tree) {
                    expired.add(part, &verdict.stored);
                }
                (Status::Ok, format!("removed: {}", verdict.why))
            }
            Ok(()) => (Status::Ineffective, "removed without an error, but it is there still".to_owned()),
        };
        work.run.emit(&backup_record(Kind::Step, &verdict.stored, status, message));
    }
    Ok(remember_expired(store, &expired)?)
}

enum Outcome {
    Left(&'static str),
    Failed(StoreError),
}

/// The archived WAL of one cluster.
struct Wal {
    system: u64,
    archive: Archive,
    files: Vec<Archived>,
    ways: Vec<History>,
}

/// Files of one timeline that go together, oldest first.
struct Batch {
    system: u64,
    timeline: u32,
    files: Vec<Archived>,
}

fn archives(store: &Store) -> Result<Vec<Wal>, ArchiveError> {
    let open = |system| {
        let archive = Archive::new(Arc::clone(store.storage()), store.keys(), system);
        let files = archive.names()?;
        let ways = archive.histories_of(&files)?;
        Ok(Wal { system, archive, files, ways })
    };
    systems(store.storage().as_ref())?.into_iter().map(open).collect()
}

impl Wal {
    /// What no backup needs, by timeline.
    fn unneeded(&self, kept: &[ClusterBackup]) -> Vec<Batch> {
        let kept: Vec<&ClusterBackup> = kept.iter().filter(|backup| backup.system_identifier == self.system).collect();
        let names: Vec<WalName> = self.files.iter().map(|file| file.name).collect();
        let mut sizes: BTreeMap<WalName, &Archived> = self.files.iter().map(|file| (file.name, file)).collect();
        let mut batches: BTreeMap<u32, Vec<Archived>> = BTreeMap::new();
        for name in wal::unneeded(&names, &self.ways, &kept) {
            batches.entry(name.timeline()).or_default().extend(sizes.remove(&name).cloned());
        }
        batches.into_iter().map(|(timeline, files)| Batch { system: self.system, timeline, files }).collect()
    }
}

impl Batch {
    fn record(&self, kind: Kind, status: Status, message: &str) -> Record {
        let bytes: u64 = self.files.iter().map(|file| file.stored_bytes).sum();
        let name = |file: Option<&Archived>| file.map(|file| file.name.to_string());
        let message = format!("{} files, {}: {message}", self.files.len(), format_bytes(bytes));
        Record::new(kind, format!("WAL of timeline {}", self.timeline), status, message)
            .field("kind", "wal")
            .field("system_identifier", self.system.to_string())
            .field("timeline", self.timeline)
            .field("files", self.files.len())
            .field("stored_bytes", bytes)
            .field("first", name(self.files.first()))
            .field("last", name(self.files.last()))
    }
}

/// Removes one timeline's files, oldest first, then looks which are gone.
fn remove_wal(wal: &Wal, batch: &Batch, guard: &Guard, work: &Work<'_>) {
    let mut trouble = None;
    for file in &batch.files {
        if let Err(stop) = guard.may_start() {
            trouble = Some((Status::Left, stop.reason().to_owned()));
            break;
        }
        match wal.archive.remove(file.name) {
            // Gone already: what was wanted.
            Ok(()) | Err(ArchiveError::Absent { .. }) => {}
            Err(error) => {
                trouble = Some((Status::Failed, error.to_string()));
                break;
            }
        }
    }
    let (status, message, left) = match wal.archive.names() {
        Ok(names) => {
            let left = names.iter().filter(|file| batch.files.iter().any(|gone| gone.name == file.name)).count();
            let (status, message) = match trouble {
                Some(trouble) => trouble,
                None if left == 0 => (Status::Ok, "removed".to_owned()),
                None => (Status::Ineffective, format!("removed without an error, but {left} are there still")),
            };
            (status, message, Some(left))
        }
        Err(error) => (Status::Failed, error.to_string(), None),
    };
    work.run.emit(&batch.record(Kind::Step, status, &message).field("files_left", left));
}
