use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use maint_core::status::Exit;

use crate::storage::Storage as _;
use crate::storage::local::Local;
use crate::store::keys::Keys;
use crate::wal::header::sample;
use crate::wal::name::Segment;

use super::*;

const SYSTEM: u64 = 7_300_000_000_000_000_001;
const PATIENT: HumanDuration = HumanDuration(Duration::from_secs(60));

/// A data directory with files that wait, a repository, and a spool.
struct Bed {
    directory: tempfile::TempDir,
    spool: Spool,
    never: Cancel,
}

fn bed() -> Bed {
    let directory = tempfile::tempdir().unwrap();
    for path in ["data/global", "data/pg_wal/archive_status", "repository"] {
        fs::create_dir_all(directory.path().join(path)).unwrap();
    }
    fs::write(directory.path().join("data/global/pg_control"), SYSTEM.to_le_bytes()).unwrap();
    let spool = Spool::open(&directory.path().join("spool"), SYSTEM).unwrap();
    Bed { directory, spool, never: Cancel::never() }
}

impl Bed {
    fn pg_wal(&self) -> PathBuf {
        self.directory.path().join("data/pg_wal")
    }

    fn path(&self, number: u32) -> PathBuf {
        self.pg_wal().join(segment(number).to_string())
    }

    /// A segment that waits to be archived.
    fn ready(&self, number: u32) {
        fs::write(self.path(number), sample(segment(number), SYSTEM, 1)).unwrap();
        fs::write(local::ready_note(&self.path(number)), "").unwrap();
    }

    /// As the server does after exit code 0.
    fn done(&self, number: u32) {
        fs::remove_file(local::ready_note(&self.path(number))).unwrap();
    }

    fn archive(&self) -> Result<Archive, Failure> {
        let local = Local::open(&self.directory.path().join("repository"))?;
        Ok(Archive::new(Arc::new(local), &Keys::from_master(&[1; 32]), SYSTEM))
    }

    fn work(&self, threads: usize) -> Result<usize, Failure> {
        worker::work(&self.pg_wal(), &self.spool, threads, &self.never, || self.archive())
    }

    /// A call by the server; the worker runs in a thread where it would be a process.
    fn push(&self, number: u32, timeout: HumanDuration) -> Result<(), PushError> {
        std::thread::scope(|scope| {
            let start = || {
                scope.spawn(|| drop(self.work(2)));
                Ok(())
            };
            wait(&self.path(number), name(number), &self.spool, timeout, &self.never, start)
        })
    }

    fn stamp(&self, number: u32) -> String {
        local::stamp_of(&self.path(number)).unwrap()
    }
}

fn segment(number: u32) -> Segment {
    Segment { timeline: 1, log: 0, segment: number }
}

fn name(number: u32) -> WalName {
    WalName::Segment(segment(number))
}

#[test]
fn a_call_waits_until_the_worker_has_archived_the_file() {
    let bed = bed();
    (1..=5).for_each(|number| bed.ready(number));
    bed.push(1, PATIENT).unwrap();
    assert!(bed.archive().unwrap().fetch(name(1)).unwrap() == sample(segment(1), SYSTEM, 1));
}

#[test]
fn the_worker_archives_all_that_waits_and_later_calls_find_it_done() {
    let bed = bed();
    (1..=5).for_each(|number| bed.ready(number));
    assert_eq!(bed.work(3).unwrap(), 5);
    let nobody = || panic!("no worker is needed");
    for number in 1..=5 {
        wait(&bed.path(number), name(number), &bed.spool, PATIENT, &bed.never, nobody).unwrap();
        assert_eq!(bed.spool.outcome(name(number), &bed.stamp(number)).unwrap(), None, "the note was taken");
        bed.done(number);
    }
    assert_eq!(bed.work(3).unwrap(), 0);
    assert_eq!(bed.archive().unwrap().names().unwrap().len(), 5);
}

#[test]
fn a_note_of_another_file_of_the_same_name_is_not_believed() {
    let bed = bed();
    bed.ready(1);
    bed.spool.tell(name(1), "the stamp of a file that is gone", &Outcome::Archived).unwrap();
    bed.push(1, PATIENT).unwrap();
    assert_eq!(bed.archive().unwrap().names().unwrap().len(), 1);
}

#[test]
fn the_worker_removes_notes_on_files_that_do_not_wait() {
    let bed = bed();
    bed.spool.tell(name(9), "old", &Outcome::Archived).unwrap();
    bed.spool.tell(name(8), "old", &Outcome::Failed("old".into())).unwrap();
    bed.work(1).unwrap();
    assert_eq!(bed.spool.outcome(name(9), "old").unwrap(), None);
    assert_eq!(bed.spool.outcome(name(8), "old").unwrap(), None);
}

#[test]
fn what_the_archive_refuses_fails_the_call_once_and_is_tried_again() {
    let bed = bed();
    bed.ready(1);
    fs::write(bed.path(1), sample(segment(1), 99, 1)).unwrap();
    let error = bed.push(1, PATIENT).unwrap_err();
    assert!(matches!(&error, PushError::Worker(why) if why.contains("system identifier")), "{error}");
    bed.ready(1);
    bed.push(1, PATIENT).unwrap();
}

#[test]
fn after_a_failure_nothing_new_is_begun() {
    let bed = bed();
    (1..=6).for_each(|number| bed.ready(number));
    fs::write(bed.path(2), "short").unwrap();
    assert_eq!(bed.work(1).unwrap(), 1);
    assert_eq!(bed.archive().unwrap().names().unwrap().len(), 1);
    bed.push(1, PATIENT).unwrap();
    bed.done(1);
    assert!(matches!(bed.push(2, PATIENT), Err(PushError::Worker(_))));
}

#[test]
fn a_worker_that_cannot_begin_says_why_to_the_call() {
    let bed = bed();
    bed.ready(1);
    fs::remove_dir(bed.directory.path().join("repository")).unwrap();
    let error = bed.push(1, PATIENT).unwrap_err();
    assert!(matches!(&error, PushError::Worker(why) if why.contains("repository")), "{error}");
    fs::create_dir(bed.directory.path().join("repository")).unwrap();
    bed.push(1, PATIENT).unwrap();
}

#[test]
fn of_workers_at_the_same_time_one_works() {
    let bed = bed();
    (1..=3).for_each(|number| bed.ready(number));
    let opened = AtomicUsize::new(0);
    let lock = bed.spool.lock().unwrap();
    let open = || {
        opened.fetch_add(1, Ordering::Relaxed);
        bed.archive()
    };
    assert_eq!(worker::work(&bed.pg_wal(), &bed.spool, 2, &bed.never, open).unwrap(), 0);
    assert_eq!(opened.load(Ordering::Relaxed), 0);
    drop(lock);
    assert_eq!(worker::work(&bed.pg_wal(), &bed.spool, 2, &bed.never, open).unwrap(), 3);
}

#[test]
fn a_worker_that_is_too_slow_fails_the_call_and_loses_nothing() {
    let bed = bed();
    bed.ready(1);
    let _busy = bed.spool.lock().unwrap();
    let soon = HumanDuration(Duration::from_millis(50));
    let error = bed.push(1, soon).unwrap_err();
    assert!(matches!(error, PushError::Late { .. }), "{error}");
    assert!(bed.path(1).exists() && local::ready_note(&bed.path(1)).exists());
}

#[test]
fn an_interrupted_call_does_not_claim_that_the_file_is_archived() {
    let bed = bed();
    bed.ready(1);
    bed.never.cancel(Exit::Terminated);
    let error = bed.push(1, PATIENT).unwrap_err();
    assert!(matches!(error, PushError::Interrupted(_)), "{error}");
}

#[test]
fn histories_are_archived_before_segments() {
    let bed = bed();
    bed.ready(1);
    let history = bed.pg_wal().join("00000002.history");
    fs::write(&history, "1\t0/100000\tx\n").unwrap();
    fs::write(local::ready_note(&history), "").unwrap();
    fs::write(bed.path(1), "short").unwrap();
    assert_eq!(bed.work(1).unwrap(), 1);
    assert_eq!(bed.archive().unwrap().names().unwrap()[0].name, WalName::History(2));
}

#[test]
fn a_failure_is_told_on_one_line_with_what_to_do() {
    let failure = Failure::critical("cannot write\n  x").hint("make room");
    assert_eq!(one_line(&failure), "cannot write x; to do: make room");
}

#[test]
fn the_same_file_by_hand_is_archived_at_once() {
    let bed = bed();
    bed.ready(1);
    let stamp = push_file(&bed.archive().unwrap(), &bed.path(1)).unwrap();
    assert_eq!(stamp, bed.stamp(1));
    let listed = Local::open(&bed.directory.path().join("repository")).unwrap().list("wal").unwrap();
    assert_eq!(listed.len(), 2, "the segment, and whose archive it is");
    let error = push_file(&bed.archive().unwrap(), &bed.pg_wal().join("x")).unwrap_err();
    assert!(matches!(error, PushError::Local(LocalError::Name(_))), "{error}");
}
