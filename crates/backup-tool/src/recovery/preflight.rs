//! Whether a recovery can succeed, before anything is touched: a server that finds out for itself does so after hours of
//! restoring and replaying, and ends with nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::Timestamp;
use maint_core::cancel::Cancel;
use maint_core::failure::Failure;
use maint_core::units::format_bytes;

use crate::backup::ClusterBackup;
use crate::cli::SECTION;
use crate::lsn::Lsn;
use crate::recovery::base::{Base, Branch, Choice, Stop, Unreachable, choose};
use crate::recovery::locate::{Log, last_moment, stops};
use crate::recovery::place::Destination;
use crate::recovery::question::Question;
use crate::recovery::target::{Point, Wanted, written};
use crate::store::{Store, Stored};
use crate::wal::archive::{Archive, ArchiveError};
use crate::wal::dump::DumpError;
use crate::wal::gaps::{Shelf, is_on};
use crate::wal::name::{Segment, WalName};
use crate::work::Work;

/// Rates for the estimate, in bytes a second: what one disk of a small server does.
const RESTORE_RATE: f64 = 150e6;
const REPLAY_RATE: f64 = 60e6;
/// Segments that a recovering server keeps in its directory, besides the restored files.
const SEGMENTS_AT_WORK: u64 = 4;

/// A recovery that can succeed.
#[derive(Debug)]
pub struct Prepared {
    /// The snapshot that is restored.
    pub stored: Stored,
    /// The backup in it.
    pub backup: ClusterBackup,
    /// Backup, way, and where replay stops.
    pub choice: Choice,
    /// The segments that are replayed, under the names that the server asks for; each was opened.
    pub segments: Vec<Segment>,
    /// Their size in the archive, in bytes.
    pub segments_stored_bytes: u64,
}

/// Moments that one way leads to: after the end of a backup, and before the last end of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    timeline: u32,
    from: Timestamp,
    to: Option<Timestamp>,
}

impl Prepared {
    /// Bytes that the places of the cluster must have free: the files, and the log at work.
    pub fn needed_bytes(&self) -> u64 {
        self.backup.bytes + SEGMENTS_AT_WORK.min(self.segments.len() as u64) * self.backup.wal_segment_bytes
    }

    /// How long it will take, in seconds, very roughly.
    pub fn estimated_seconds(&self) -> f64 {
        let replayed = self.segments.len() as f64 * self.backup.wal_segment_bytes as f64;
        self.backup.bytes as f64 / RESTORE_RATE + replayed / REPLAY_RATE
    }
}

/// Finds what leads to the point, and opens every segment on the way: from the backup that is `named` (a label, the
/// beginning of an id, `latest`), or from the best one.
///
/// # Errors
/// Nothing leads there, and why, with the moments that can be had; or a segment is damaged. Exit 3, nothing was touched.
pub fn prepare(work: &Work<'_>, store: &Store, wanted: &Wanted, named: Option<&str>) -> Result<Prepared, Failure> {
    let only = named.map(|text| store.cluster(text)).transpose()?.map(|(stored, _)| stored.id);
    let question = Question::of(store)?;
    let choice = reach(work, &question, wanted, only.as_deref())?;
    let segments = choice.segments(&question.shelf);
    let workers = work.settings.get::<usize>(&SECTION, "wal_workers")?;
    open_all(&question.archive, &segments, workers, &work.cancel)?;
    let segments_stored_bytes = question.stored_bytes(&segments);
    let stored =
        question.snapshot(&choice.base).cloned().ok_or(Unreachable::NoBackup).map_err(|why| refusal(&why, &[]))?;
    Ok(Prepared { stored, backup: choice.base.backup.clone(), choice, segments, segments_stored_bytes })
}

/// Finds what leads to the point: the quick part of [`prepare`], which sees that every segment is there and opens few.
/// `only` is the id of the snapshot to start from.
///
/// # Errors
/// Nothing leads there, and why, with the moments that can be had. Exit 3.
pub fn reach(work: &Work<'_>, question: &Question<'_>, wanted: &Wanted, only: Option<&str>) -> Result<Choice, Failure> {
    let bases: Vec<Base> =
        question.bases.iter().filter(|base| only.is_none_or(|only| base.id == only)).cloned().collect();
    let choose_from = |stops: &[(u32, Stop)]| choose(&bases, &question.shelf, wanted, stops);
    if bases.is_empty() || matches!(wanted.point, Point::Latest | Point::Immediate) {
        return choose_from(&[]).map_err(|why| refusal(&why, &[]));
    }
    let mut dumper = question.dumper(work)?;
    let stops = stops(&question.shelf, &bases, wanted, &mut dumper)?;
    match choose_from(&stops) {
        Ok(choice) => Ok(choice),
        Err(why) => Err(refusal(&why, &spans(&question.shelf, &bases, &mut dumper)?)),
    }
}

/// Opens every segment, which proves that none of their bits is wrong.
fn open_all(archive: &Archive, segments: &[Segment], workers: usize, cancel: &Cancel) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let first: Mutex<Option<(Segment, ArchiveError)>> = Mutex::new(None);
    let note = |segment: Segment, error: ArchiveError| {
        failed.store(true, Ordering::Relaxed);
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|(known, _)| segment < *known) {
            *first = Some((segment, error));
        }
    };
    let open = || {
        while !failed.load(Ordering::Relaxed) && !cancel.is_cancelled() {
            let Some(segment) = segments.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            if let Err(error) = archive.fetch(WalName::Segment(*segment)) {
                note(*segment, error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, 16) {
            scope.spawn(open);
        }
    });
    if let Some(exit) = cancel.exit() {
        return Err(Failure::new(exit, "interrupted while WAL was verified; nothing was touched"));
    }
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((segment, error)) => {
            Err(Failure::usage(format!("WAL segment {segment} is needed and cannot be used: {error}"))
                .hint(error.hint()))
        }
        None => Ok(()),
    }
}

/// Whether the places can hold `needed` bytes. How they divide among tablespaces is not known before the restore, so with
/// several file systems their free space is taken together.
///
/// # Errors
/// They cannot: exit 3.
pub fn check_space(destination: &Destination, needed: u64) -> Result<(), Failure> {
    let mut devices = Vec::new();
    let mut free: u64 = 0;
    for place in std::iter::once(&destination.pgdata).chain(destination.tablespaces.values()) {
        let Some(existing) = place.ancestors().find(|path| path.exists()) else { continue };
        let Some(device) = std::fs::metadata(existing).ok().map(|found| found.dev()) else { continue };
        if devices.contains(&device) {
            continue;
        }
        devices.push(device);
        free = free.saturating_add(free_bytes(existing)?);
    }
    if free < needed {
        return Err(Failure::usage(format!(
            "{} needs {} for {}, and {} are free",
            destination.pgdata.display(),
            format_bytes(needed),
            "the restored files and the log at work",
            format_bytes(free)
        ))
        .hint("restore to another place, or make room; nothing was touched"));
    }
    Ok(())
}

fn free_bytes(path: &Path) -> Result<u64, Failure> {
    let found = rustix::fs::statvfs(path)
        .map_err(|error| Failure::usage(format!("cannot tell how much is free in {}: {error}", path.display())))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The moments that can be reached: for every way and every backup from which the log goes on without a gap.
fn spans(shelf: &Shelf, bases: &[Base], log: &mut dyn Log) -> Result<Vec<Span>, DumpError> {
    let size = shelf.segment_bytes();
    let mut found: Vec<Span> = Vec::new();
    for way in shelf.ways() {
        let mut on_way: Vec<&Base> = bases.iter().filter(|base| is_on(way, &base.backup)).collect();
        on_way.sort_by_key(|base| base.backup.stop_lsn);
        let mut covered = 0;
        for base in on_way {
            let start = base.backup.start_segment.number(size);
            let end = shelf.first_missing(way, start);
            if end <= base.backup.stop_segment.number(size) || end == covered {
                continue;
            }
            covered = end;
            let from = base.backup.stop_time;
            let to = last_moment(shelf, way, start..end, log)?.filter(|to| *to > from);
            let same = |span: &Span| (span.from, span.to) == (from, to);
            if !found.iter().any(same) {
                found.push(Span { timeline: way.timeline, from, to });
            }
        }
    }
    Ok(found)
}

/// Why not, and what can be had instead.
fn refusal(why: &Unreachable, spans: &[Span]) -> Failure {
    let instead = match why {
        Unreachable::NoBackup => "take one with `backup-tool full-backup`".to_owned(),
        Unreachable::Ambiguous { branches, .. } => {
            let listed: Vec<String> = branches.iter().map(branch).collect();
            format!("say which one is meant with --timeline: {}", listed.join("; "))
        }
        Unreachable::NotArchived(_) if !spans.is_empty() => {
            format!(
                "{}; a server would end with \"recovery ended before configured recovery target was reached\"; \
                 `database-recovery` replays all that was archived",
                reachable(spans)
            )
        }
        Unreachable::Gap { .. } => format!("{}; `backup-tool wal gaps` shows what is missing", reachable(spans)),
        _ => reachable(spans),
    };
    Failure::usage(why.to_string()).hint(instead)
}

fn branch(branch: &Branch) -> String {
    let Stop { lsn, time, .. } = branch.stop;
    let when = time.map(|time| format!(", {}", written(time))).unwrap_or_default();
    let from = branch.from.map(|(parent, at): (u32, Lsn)| format!(", which left timeline {parent} at {at}"));
    let backup = match &branch.backup {
        Some(label) => format!("reachable from {label}"),
        None => "not reachable".to_owned(),
    };
    format!("--timeline {}{}: stops at {lsn}{when}, {backup}", branch.timeline, from.unwrap_or_default())
}

fn reachable(spans: &[Span]) -> String {
    let one = |span: &Span| match span.to {
        Some(to) => format!("after {} and before {} (timeline {})", written(span.from), written(to), span.timeline),
        None => format!("the end of the backup of {} (timeline {})", written(span.from), span.timeline),
    };
    match spans {
        [] => "`backup-tool list` and `backup-tool wal gaps` show what there is".to_owned(),
        spans => format!("reachable: {}", spans.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::recovery::base::samples::at;
    use crate::storage::local::Local;
    use crate::store::keys::Keys;
    use crate::wal::header::sample;

    #[test]
    fn a_refusal_names_the_moments_that_can_be_had() {
        let spans = [Span { timeline: 1, from: at(0), to: Some(at(60)) }, Span { timeline: 2, from: at(90), to: None }];
        let failure = refusal(&Unreachable::NotArchived("2027-01-15 09:00:00.000000+00".into()), &spans);
        assert_eq!(failure.exit.code(), 3);
        assert!(failure.message.contains("2027-01-15 09:00:00.000000+00 is not in the archived WAL"));
        let hint = failure.hint.unwrap();
        for part in [
            "after 2027-01-15 08:00:00.000000+00 and before 2027-01-15 08:01:00.000000+00 (timeline 1)",
            "database-recovery",
        ] {
            assert!(hint.contains(part), "{hint}");
        }
    }

    #[test]
    fn branches_are_listed_with_what_to_type() {
        let stop = Stop { timeline: 2, lsn: Lsn(0x500_0028), end: Lsn(0x500_0050), time: Some(at(5)), certain: true };
        let one = Branch { timeline: 2, stop, from: Some((1, Lsn(0x400_0000))), backup: Some("a".into()) };
        let other = Branch { timeline: 1, stop: Stop { timeline: 1, ..stop }, from: None, backup: None };
        let failure = refusal(&Unreachable::Ambiguous { point: "x".into(), branches: vec![one, other] }, &[]);
        let hint = failure.hint.unwrap();
        assert!(hint.contains("--timeline 2, which left timeline 1 at 0/4000000: stops at 0/5000028"), "{hint}");
        assert!(hint.contains("--timeline 1: stops") && hint.contains("not reachable"), "{hint}");
    }

    #[test]
    fn a_damaged_segment_is_named_before_anything_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let local = Local::open(directory.path()).unwrap();
        let archive = Archive::new(Arc::new(local), &Keys::from_master(&[1; 32]), 7);
        let segments: Vec<Segment> = (3..9).map(|number| Segment::numbered(1, number, 1 << 20)).collect();
        for segment in &segments {
            archive.push(WalName::Segment(*segment), &sample(*segment, 7, 1)).unwrap();
        }
        open_all(&archive, &segments, 2, &Cancel::never()).unwrap();
        let file = directory.path().join(archive.key_of(WalName::Segment(segments[3])));
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let failure = open_all(&archive, &segments, 2, &Cancel::never()).unwrap_err();
        assert_eq!(failure.exit.code(), 3);
        assert!(failure.message.contains(&segments[3].to_string()), "{}", failure.message);
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let pgdata = directory.path().join("not/there/yet");
        let destination = Destination { pgdata, tablespaces: BTreeMap::new(), in_place: false };
        check_space(&destination, 1).unwrap();
        let failure = check_space(&destination, u64::MAX).unwrap_err();
        assert!(failure.message.contains("are free"), "{}", failure.message);
    }
}
