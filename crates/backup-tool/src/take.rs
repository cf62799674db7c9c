//! Taking a backup of a cluster: what full and incremental have in common.
//!
//! The order is what makes it right. The server is put into backup mode, then the files are read, `pg_control` last of them;
//! then backup mode ends, and only then is known from where to where the log must be replayed. Label, manifest and control
//! file are added, the log is proven to be in the archive, and only then does the snapshot stop being `pending`. Whatever
//! goes wrong before removes it.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::record::{Kind as RecordKind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count};
use rustic_core::repofile::Metadata;

use crate::backup::{About, ClusterBackup, Kind};
use crate::cli::{ClusterBackupArgs, SECTION};
use crate::cluster::control::{CONTROL_PATH, Control, ControlError, ControlFile};
use crate::cluster::label::{BackupLabel, LABEL_NAME, MAP_NAME};
use crate::cluster::manifest::{MANIFEST_NAME, Manifest, ManifestFile, WalRange};
use crate::cluster::report::{Outcome, manifest_path};
use crate::cluster::source::{ClusterSource, ClusterSpec};
use crate::cluster::walk::DATA_TREE;
use crate::server::session::{BackupSession, Started, Stopped};
use crate::store::archive::{ArchiveSpec, Archived};
use crate::store::memory::MemoryFile;
use crate::store::{Part, Store, Stored};
use crate::wal::archive::{Archive, ArchiveError};
use crate::wal::name::{Segment, WalName};
use crate::work::Work;

/// How long a backup waits for the last of its WAL.
const WAL_PATIENCE: Duration = Duration::from_secs(300);

/// Which backup to take.
pub struct Taking<'a> {
    /// The command line.
    pub args: &'a ClusterBackupArgs,
    /// Full, or building on another.
    pub kind: Kind,
    /// The backup to build on; the newest when not named.
    pub parent: Option<&'a str>,
    /// Read every file although there is a parent.
    pub force_read: bool,
    /// Why this one, for the record.
    pub why: Option<String>,
}

/// What a run has found out before it begins.
struct Ready {
    store: Store,
    archive: Archive,
    session: BackupSession,
    control: Control,
    pgdata: PathBuf,
    parent: Option<(Stored, ClusterBackup)>,
    label: String,
}

/// Takes a backup.
///
/// # Errors
/// The server, its files or the repository cannot be reached; they belong to different clusters; a file cannot be read;
/// the WAL does not arrive. No backup is listed then.
pub fn take(taking: &Taking<'_>, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&taking.args.change, &mut work.settings, &work.cancel)?;
    let mut ready = prepare(taking, work)?;
    if taking.args.change.dry_run {
        work.run.emit(&planned(taking, &ready));
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    let _lock = ready.store.lock("write")?;
    ready.archive.claim()?;
    let begun = Instant::now();
    let started = work.block_on(ready.session.start(&ready.label, !taking.args.spread_checkpoint))?;
    let (backup, segments, unchanged) = backup(taking, work, &mut ready, &started)?;
    for page in &backup.damaged {
        let subject = format!("{} block {}", page.file, page.block);
        let message = format!("damaged on disk: {}", page.why);
        let record = Record::new(RecordKind::Finding, subject, Status::Critical, message);
        work.run.emit(&record.field("file", &page.file).field("block", page.block));
    }
    work.run.emit(&done(taking, &backup, segments, unchanged, begun.elapsed()));
    Ok(())
}

fn prepare(taking: &Taking<'_>, work: &mut Work<'_>) -> Result<Ready, Failure> {
    let pgdata = work.pgdata(&taking.args.data)?;
    work.subject = pgdata.display().to_string();
    let store = work.store()?;
    let control = ControlFile::read(&pgdata).map_err(|error| unreadable(&error))?.control;
    let target = work.target(&taking.args.server)?;
    let task = match taking.kind {
        Kind::Full => "full-backup",
        Kind::Incremental => "incremental-backup",
    };
    let session = work.block_on(BackupSession::open(&target, task))?;
    let facts = &session.facts;
    if facts.system_identifier != control.system_identifier {
        return Err(Failure::usage(format!(
            "{} belongs to cluster {}, but the server at {target} is cluster {}, with its files in {}",
            pgdata.display(),
            control.system_identifier,
            facts.system_identifier,
            facts.data_directory
        ))
        .hint("name the server's own data directory with --pgdata, or the right server"));
    }
    if facts.server_version < 130_000 {
        let major = facts.server_version / 10_000;
        return Err(Failure::usage(format!("PostgreSQL {major} is not supported: 13 is the oldest that is")));
    }
    if facts.wal_level == "minimal" {
        return Err(Failure::usage("the server has wal_level = minimal: a backup of it could not be replayed")
            .hint("set wal_level = replica and restart it"));
    }
    let archive = Archive::new(store.storage().clone(), store.keys(), control.system_identifier);
    match archive.require() {
        Ok(()) | Err(ArchiveError::Empty(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let parent = match taking.kind {
        Kind::Full => None,
        Kind::Incremental => Some(parent(&store, taking.parent, &control)?),
    };
    let label = label(&store, taking.kind, facts.now)?;
    Ok(Ready { store, archive, session, control, pgdata, parent, label })
}

/// The backup to build on: the one that was named, or the newest of this cluster.
fn parent(store: &Store, named: Option<&str>, control: &Control) -> Result<(Stored, ClusterBackup), Failure> {
    let same = |backup: &ClusterBackup| backup.system_identifier == control.system_identifier;
    let found = match named {
        Some(text) => Some(store.cluster(text)?),
        None => store.clusters()?.into_iter().rfind(|(_, backup)| same(backup)),
    };
    match found {
        Some((stored, backup)) if same(&backup) => Ok((stored, backup)),
        Some((_, backup)) => {
            Err(Failure::usage(format!("{} is a backup of cluster {}", backup.label, backup.system_identifier)))
        }
        None => Err(Failure::usage("there is no backup of this cluster to build on").hint("take a full backup first")),
    }
}

/// A name that no other backup has.
fn label(store: &Store, kind: Kind, now: Timestamp) -> Result<String, Failure> {
    let letter = match kind {
        Kind::Full => 'F',
        Kind::Incremental => 'I',
    };
    let taken: Vec<String> = store.snapshots(Part::Clusters)?.iter().map(|stored| stored.label().to_owned()).collect();
    let mut at = now;
    loop {
        let label = format!("{}{letter}", at.strftime("%Y%m%d-%H%M%S"));
        if !taken.contains(&label) {
            return Ok(label);
        }
        at = at.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
    }
}

fn planned(taking: &Taking<'_>, ready: &Ready) -> Record {
    let on = ready.parent.as_ref().map_or_else(String::new, |(_, parent)| format!(" on {}", parent.label));
    let why = taking.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let message = format!("a backup ({}{on}) of {}{why}", taking.kind.as_str(), ready.pgdata.display());
    Record::new(RecordKind::Plan, ready.label.clone(), Status::Planned, message)
        .field("kind", taking.kind)
        .field("parent", ready.parent.as_ref().map(|(_, parent)| &parent.label))
        .field("system_identifier", ready.control.system_identifier.to_string())
}

/// From the first file to the complete snapshot.
fn backup(
    taking: &Taking<'_>,
    work: &Work<'_>,
    ready: &mut Ready,
    started: &Started,
) -> Result<(ClusterBackup, u64, u64), Failure> {
    let force_read = taking.force_read || reread_is_due(work, ready)?;
    let parent = ready.parent.as_ref().filter(|_| !force_read);
    let major = ready.session.facts.server_version / 10_000;
    // By whichever clock it began earlier: this host's or the database's.
    let began = parent.map(|(stored, backup)| stored.time.min(backup.start_time));
    let spec = ClusterSpec::new(ready.pgdata.clone(), &ready.control, major, began, work.cancel.clone());
    let source = ClusterSource::new(spec);
    let report = source.report();
    let spec = ArchiveSpec {
        paths: vec![ready.pgdata.clone()],
        tags: vec!["cluster".to_owned()],
        parent: parent.map(|(stored, _)| stored),
    };
    let mut archived = ready.store.archive(Part::Clusters, &source, &spec)?;
    let outcome = report.finish();
    let whole = read_whole(work, &outcome).and_then(|()| close(work, ready, started, outcome, &mut archived));
    match whole {
        Ok(closed) => {
            let backup = closed.backup(ready, taking.kind, started, archived.stored_bytes());
            let unchanged = archived.unchanged_files();
            ready.store.complete(archived, &About::Cluster(backup.clone()))?;
            let (_, listed) = ready.store.cluster(&backup.label)?;
            Ok((listed, closed.segments, unchanged))
        }
        Err(failure) => {
            ready.store.discard(archived)?;
            Err(failure)
        }
    }
}

/// Whether the parents since the last time that all files were read are many enough.
fn reread_is_due(work: &Work<'_>, ready: &Ready) -> Result<bool, Failure> {
    let every = work.settings.get::<u32>(&SECTION, "reread_every")?;
    if every == 0 || ready.parent.is_none() {
        return Ok(false);
    }
    let all = ready.store.clusters()?;
    let since = all.iter().rev().take_while(|(_, backup)| backup.kind == Kind::Incremental).count();
    Ok((since + 1).is_multiple_of(every as usize))
}

fn unreadable(error: &ControlError) -> Failure {
    let hint = "is this a data directory, and may this account read it?";
    match error {
        ControlError::Io { .. } => Failure::usage(error.to_string()).hint(hint),
        ControlError::Fault { .. } => Failure::critical(error.to_string()),
    }
}

/// Mode, owner and time of a file, as the snapshot keeps them.
fn metadata(path: &Path) -> Result<Metadata, Failure> {
    let found = std::fs::metadata(path)
        .map_err(|error| Failure::critical(format!("cannot look at {}: {error}", path.display())))?;
    let mtime = Timestamp::new(found.mtime(), found.mtime_nsec() as i32).ok();
    let (uid, gid) = (Some(found.uid()), Some(found.gid()));
    Ok(Metadata { mode: Some(found.mode() & 0o777), mtime, uid, gid, ..Metadata::default() })
}

/// Everything was read, and nobody asked to stop.
fn read_whole(work: &Work<'_>, outcome: &Outcome) -> Result<(), Failure> {
    if let Some(exit) = work.cancel.exit() {
        return Err(Failure::new(exit, "interrupted; nothing of this backup was kept"));
    }
    if outcome.interrupted {
        return Err(Failure::critical("reading ended early; nothing of this backup was kept"));
    }
    if outcome.errors.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = outcome.errors.iter().take(20).map(ToString::to_string).collect();
    let more = outcome.errors.len().saturating_sub(shown.len());
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Err(Failure::critical(format!("not every file could be read: {}{more}", shown.join("; ")))
        .hint("nothing of this backup was kept; a backup that lacks a file is none"))
}

/// What is known when a backup is closed.
struct Closed {
    stopped: Stopped,
    timeline: u32,
    start: Segment,
    stop: Segment,
    segments: u64,
    outcome: Outcome,
    files: u64,
    bytes: u64,
}

/// Ends backup mode, adds what belongs to the end, and proves files and WAL to be in the repository.
fn close(
    work: &Work<'_>,
    ready: &mut Ready,
    started: &Started,
    outcome: Outcome,
    archived: &mut Archived,
) -> Result<Closed, Failure> {
    // The control file is read before backup mode ends: its checkpoint may be newer than the backup's, never older.
    let control = ControlFile::read(&ready.pgdata).map_err(|error| unreadable(&error))?.bytes;
    let meta = metadata(&ready.pgdata.join(CONTROL_PATH))?;
    let stopped = work.block_on(ready.session.stop()).map_err(|error| {
        let mut failure = Failure::from(&error);
        failure.message = format!("the server did not end the backup: {}", failure.message);
        failure
    })?;
    let label = BackupLabel::parse(&stopped.label).map_err(|error| Failure::critical(error.to_string()))?;
    let (size, timeline) = (ready.control.wal_segment_bytes, label.timeline);
    let start = Segment::holding(timeline, started.lsn, size);
    let stop = Segment::ending_at(timeline, stopped.lsn, size);
    let file = |name: &str, content: Vec<u8>| MemoryFile {
        path: Path::new(DATA_TREE).join(name),
        meta: meta.clone(),
        content: content.into(),
    };
    let mut extra = vec![file(CONTROL_PATH, control), file(LABEL_NAME, stopped.label.clone().into_bytes())];
    if !stopped.tablespace_map.is_empty() {
        extra.push(file(MAP_NAME, stopped.tablespace_map.clone().into_bytes()));
    }
    let listed = |added: &MemoryFile| {
        let name = added.path.strip_prefix(DATA_TREE).unwrap_or(&added.path);
        ManifestFile::of(name, &added.content, stopped.time)
    };
    let wal = vec![WalRange { timeline, start: started.lsn, end: stopped.lsn }];
    let before = parent_manifest(ready, &outcome)?;
    let manifest = Manifest::build(&outcome.files, extra.iter().map(listed).collect(), wal, before.as_ref())
        .map_err(|error| Failure::critical(format!("cannot write the backup's manifest: {error}")))?;
    extra.push(file(MANIFEST_NAME, manifest.to_bytes()));
    if let Some(page) = outcome.pages.newest.as_ref().filter(|page| page.lsn > stopped.lsn) {
        return Err(Failure::critical(format!(
            "{} block {} is of {}, after the backup's end at {}: the pages read are not of this server's present",
            page.file, page.block, page.lsn, stopped.lsn
        )));
    }
    let mut expected: HashMap<PathBuf, u64> = outcome.files.iter().map(|file| (file.path.clone(), file.size)).collect();
    for added in &extra {
        let name = added.path.strip_prefix(DATA_TREE).unwrap_or(&added.path);
        expected.insert(name.to_owned(), added.content.len() as u64);
    }
    let (files, bytes) = (expected.len() as u64, expected.values().sum::<u64>());
    ready.store.add_files(archived, extra)?;
    whole(&ready.store, archived, expected)?;
    let segments = prove_wal(work, ready, start, stop)?;
    Ok(Closed { stopped, timeline, start, stop, segments, outcome, files, bytes })
}

/// The manifest of the parent, for the checksums of files that were not read again.
fn parent_manifest(ready: &Ready, outcome: &Outcome) -> Result<Option<Manifest>, Failure> {
    let Some((stored, backup)) = &ready.parent else { return Ok(None) };
    if outcome.files.iter().all(|entry| entry.crc.is_some()) {
        return Ok(None);
    }
    let content = ready.store.file_of(Part::Clusters, stored, &Path::new(DATA_TREE).join(MANIFEST_NAME))?;
    let content = content.ok_or_else(|| Failure::critical(format!("{} has no manifest", backup.label)))?;
    Manifest::parse(&content)
        .map(Some)
        .map_err(|error| Failure::critical(format!("the manifest of {}: {error}", backup.label)))
}

/// Compares what is stored with what was read: the engine passes over a file that it could not store with a line in its
/// log.
fn whole(store: &Store, archived: &Archived, mut expected: HashMap<PathBuf, u64>) -> Result<(), Failure> {
    let mut strange = Vec::new();
    let reader = store.reader(Part::Clusters)?;
    reader.walk(archived.tree(), &mut |path, node| {
        if node.is_file() && manifest_path(path).and_then(|path| expected.remove(&path)) != Some(node.meta.size) {
            strange.push(path.display().to_string());
        }
        Ok(())
    })?;
    strange.extend(expected.into_keys().map(|path| path.display().to_string()));
    if strange.is_empty() {
        return Ok(());
    }
    let first: Vec<&str> = strange.iter().take(10).map(String::as_str).collect();
    Err(Failure::critical(format!(
        "{} files were not stored as they were read, among them {}",
        strange.len(),
        first.join(", ")
    )))
}

/// Makes sure that all segments from the backup's beginning to its end are in the archive and open. What the server has
/// not archived itself yet is archived from its directory; says how many segments there are.
fn prove_wal(work: &Work<'_>, ready: &Ready, start: Segment, stop: Segment) -> Result<u64, Failure> {
    let size = ready.control.wal_segment_bytes;
    let patience = Instant::now() + WAL_PATIENCE;
    let mut segment = start;
    let mut count = 0;
    loop {
        prove_segment(work, ready, segment, patience)?;
        count += 1;
        if segment.number(size) >= stop.number(size) {
            return Ok(count);
        }
        segment = segment.next(size);
    }
}

fn prove_segment(work: &Work<'_>, ready: &Ready, segment: Segment, patience: Instant) -> Result<(), Failure> {
    let name = WalName::Segment(segment);
    let path = ready.pgdata.join("pg_wal").join(segment.to_string());
    loop {
        match ready.archive.fetch(name) {
            Ok(_) => return Ok(()),
            Err(ArchiveError::Absent { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // A standby does not end its last segment on request; it must wait for its primary's.
        if !ready.session.facts.in_recovery {
            match std::fs::read(&path) {
                Ok(content) => {
                    ready.archive.push(name, &content)?;
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Failure::critical(format!(
                        "the backup needs WAL {segment}, which is neither in the archive nor in pg_wal any more"
                    ))
                    .hint("set continuous archiving up (`backup-tool pitr-backup --setup`), or raise wal_keep_size"));
                }
                Err(error) => return Err(Failure::critical(format!("cannot read {}: {error}", path.display()))),
            }
        }
        if let Some(exit) = work.cancel.exit() {
            return Err(Failure::new(exit, "interrupted; nothing of this backup was kept"));
        }
        if Instant::now() >= patience {
            return Err(Failure::critical(format!(
                "WAL {segment} did not arrive in the archive within {} s",
                WAL_PATIENCE.as_secs()
            ))
            .hint("see the server's log for its archive_command"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl Closed {
    fn backup(&self, ready: &Ready, kind: Kind, started: &Started, stored_bytes: u64) -> ClusterBackup {
        ClusterBackup {
            label: ready.label.clone(),
            kind,
            parent: ready.parent.as_ref().map(|(_, parent)| parent.label.clone()),
            system_identifier: ready.control.system_identifier,
            server_version: ready.session.facts.server_version,
            timeline: self.timeline,
            start_lsn: started.lsn,
            stop_lsn: self.stopped.lsn,
            start_segment: self.start,
            stop_segment: self.stop,
            wal_segment_bytes: ready.control.wal_segment_bytes,
            start_time: started.time,
            stop_time: self.stopped.time,
            from_standby: ready.session.facts.in_recovery,
            tablespaces: self.outcome.tablespaces.clone(),
            files: self.files,
            bytes: self.bytes,
            stored_bytes,
            data_checksums: ready.control.data_checksums(),
            pages_checked: self.outcome.pages.checked,
            torn_pages: self.outcome.pages.torn,
            damaged: self.outcome.pages.damaged_list.clone(),
            required: ready.control.required,
            superuser: ready.session.facts.superuser.clone(),
        }
    }
}

fn done(taking: &Taking<'_>, backup: &ClusterBackup, segments: u64, unchanged: u64, took: Duration) -> Record {
    let on = backup.parent.as_ref().map_or_else(String::new, |parent| format!(" on {parent}"));
    let why = taking.why.as_ref().map_or_else(String::new, |why| format!("; {why}"));
    let mut message = format!(
        "{}{on}: {} in {} files, {} stored, {} WAL segments in the archive{why}",
        backup.kind.as_str(),
        format_bytes(backup.bytes),
        format_count(backup.files),
        format_bytes(backup.stored_bytes),
        segments
    );
    let status = if backup.damaged.is_empty() {
        Status::Ok
    } else {
        message = format!("{message}; {} pages are damaged on disk", backup.damaged.len());
        Status::Critical
    };
    Record::new(RecordKind::Step, backup.label.clone(), status, message)
        .field("label", &backup.label)
        .field("kind", backup.kind)
        .field("parent", &backup.parent)
        .field("timeline", backup.timeline)
        .field("start_lsn", backup.start_lsn)
        .field("stop_lsn", backup.stop_lsn)
        .field("stop_time", backup.stop_time)
        .field("files", backup.files)
        .field("unchanged_files", unchanged)
        .field("size_bytes", backup.bytes)
        .field("stored_bytes", backup.stored_bytes)
        .field("wal_segments", segments)
        .field("pages_checked", backup.pages_checked)
        .field("torn_pages", backup.torn_pages)
        .field("damaged_pages", backup.damaged.len())
        .field("duration_seconds", took.as_secs_f64())
}
