use std::fs;
use std::sync::Arc;

use crate::storage::local::Local;
use crate::store::keys::Keys;
use crate::wal::header::sample;

use super::*;

const AT_ONCE: Duration = Duration::ZERO;

struct Bed {
    directory: tempfile::TempDir,
    archive: Archive,
}

fn bed(numbers: &[u32]) -> Bed {
    let directory = tempfile::tempdir().unwrap();
    for path in ["repository", "pg_wal"] {
        fs::create_dir(directory.path().join(path)).unwrap();
    }
    let local = Local::open(&directory.path().join("repository")).unwrap();
    let archive = Archive::new(Arc::new(local), &Keys::from_master(&[1; 32]), 7);
    for number in numbers {
        archive.push(name(*number), &content(*number)).unwrap();
    }
    Bed { directory, archive }
}

fn segment(number: u32) -> Segment {
    Segment { timeline: 1, log: 0, segment: number }
}

fn name(number: u32) -> WalName {
    WalName::Segment(segment(number))
}

fn content(number: u32) -> Vec<u8> {
    sample(segment(number), 7, 1)
}

impl Bed {
    fn destination(&self) -> PathBuf {
        self.directory.path().join("pg_wal/RECOVERYXLOG")
    }

    fn object(&self, number: u32) -> PathBuf {
        self.directory.path().join("repository").join(self.archive.key_of(name(number)))
    }

    fn fetch(&self, number: u32, ahead: Option<&Ahead>) -> Result<bool, FetchError> {
        deliver(&self.archive, name(number), &self.destination(), ahead, AT_ONCE)
    }

    fn ahead(&self, count: usize) -> Ahead {
        Ahead { spool: Spool::open(&self.directory.path().join("spool"), 7).unwrap(), count }
    }

    fn delivered(&self) -> usize {
        fs::read_dir(self.directory.path().join("pg_wal")).unwrap().count()
    }
}

#[test]
fn a_file_that_is_there_is_delivered_whole_and_leftovers_are_removed() {
    let bed = bed(&[3]);
    fs::write(bed.directory.path().join("pg_wal/.RECOVERYXLOG.new-abc"), "half").unwrap();
    assert!(bed.fetch(3, None).unwrap());
    assert!(fs::read(bed.destination()).unwrap() == content(3));
    assert_eq!(bed.delivered(), 1);
}

#[test]
fn the_end_of_the_archive_is_not_an_error_and_a_gap_is() {
    let bed = bed(&[3, 5]);
    assert!(!bed.fetch(6, None).unwrap());
    let error = bed.fetch(4, None).unwrap_err();
    assert!(matches!(error, FetchError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("000000010000000000000005"), "{error}");
    assert_eq!(bed.delivered(), 0);
}

#[test]
fn a_damaged_file_is_an_error_and_nothing_is_delivered() {
    let bed = bed(&[3, 4]);
    let whole = fs::read(bed.object(3)).unwrap();
    for place in (0..whole.len()).step_by(whole.len() / 50) {
        let mut object = whole.clone();
        object[place] ^= 4;
        fs::write(bed.object(3), object).unwrap();
        let error = bed.fetch(3, None).unwrap_err();
        assert!(matches!(error, FetchError::Archive(ArchiveError::Damaged { .. })), "{place}: {error}");
    }
    assert_eq!(bed.delivered(), 0);
}

#[test]
fn a_repository_that_is_gone_empty_or_of_another_cluster_is_no_end_of_the_archive() {
    let bed = bed(&[3]);
    let repository = bed.directory.path().join("repository");
    let local = Arc::new(Local::open(&repository).unwrap());
    let other = Archive::new(local, &Keys::from_master(&[1; 32]), 8);
    let error = deliver(&other, name(9), &bed.destination(), None, AT_ONCE).unwrap_err();
    assert!(matches!(error, FetchError::Archive(ArchiveError::OtherCluster { .. })), "{error}");

    fs::rename(&repository, bed.directory.path().join("elsewhere")).unwrap();
    let error = bed.fetch(9, None).unwrap_err();
    assert!(matches!(error, FetchError::Archive(ArchiveError::Storage(_))), "{error}");

    // The directory that a disk is mounted on, without the disk.
    fs::create_dir(&repository).unwrap();
    let error = bed.fetch(9, None).unwrap_err();
    assert!(matches!(error, FetchError::Archive(ArchiveError::Empty(_))), "{error}");
}

#[test]
fn a_file_that_was_overtaken_by_a_later_one_is_waited_for() {
    let bed = bed(&[3, 5]);
    let fetched = std::thread::scope(|scope| {
        scope.spawn(|| bed.archive.push(name(4), &content(4)).unwrap());
        deliver(&bed.archive, name(4), &bed.destination(), None, Duration::from_secs(60))
    });
    assert!(fetched.unwrap());
    assert!(fs::read(bed.destination()).unwrap() == content(4));
}

#[test]
fn segments_fetched_ahead_are_the_archived_ones() {
    let bed = bed(&[3, 4, 5, 6]);
    let ahead = bed.ahead(2);
    assert!(bed.fetch(3, Some(&ahead)).unwrap());
    assert!(ahead.spool.kept(bed.archive.sealer(), segment(4)).is_some());
    assert!(ahead.spool.kept(bed.archive.sealer(), segment(5)).is_some());
    for number in 4..=6 {
        assert!(bed.fetch(number, Some(&ahead)).unwrap());
        assert!(fs::read(bed.destination()).unwrap() == content(number), "{number}");
    }
    assert!(ahead.spool.kept(bed.archive.sealer(), segment(4)).is_none(), "what was used is dropped");
    assert!(!bed.fetch(7, Some(&ahead)).unwrap());
}

#[test]
fn what_is_damaged_ahead_is_an_error_in_its_turn_only() {
    let bed = bed(&[3, 4, 5]);
    fs::write(bed.object(4), "damaged").unwrap();
    let ahead = bed.ahead(2);
    assert!(bed.fetch(3, Some(&ahead)).unwrap());
    assert!(matches!(bed.fetch(4, Some(&ahead)), Err(FetchError::Archive(ArchiveError::Damaged { .. }))));
}

#[test]
fn a_damaged_spool_costs_time_only() {
    let bed = bed(&[3, 4]);
    let ahead = bed.ahead(1);
    assert!(bed.fetch(3, Some(&ahead)).unwrap());
    let kept = bed.directory.path().join("spool/7/in").join(segment(4).to_string());
    let mut bytes = fs::read(&kept).unwrap();
    bytes[700_000] ^= 1;
    fs::write(&kept, bytes).unwrap();
    assert!(bed.fetch(4, Some(&ahead)).unwrap());
    assert!(fs::read(bed.destination()).unwrap() == content(4));
}

#[test]
fn files_that_may_be_missing_are_absent() {
    let bed = bed(&[3, 4]);
    for name in ["00000002.history", "000000010000000000000003.partial", "000000010000000000000003.00000028.backup"] {
        assert!(!deliver(&bed.archive, name.parse().unwrap(), &bed.destination(), None, AT_ONCE).unwrap(), "{name}");
    }
}

#[test]
fn a_destination_that_cannot_be_written_is_an_error() {
    let bed = bed(&[3]);
    let nowhere = bed.directory.path().join("none/RECOVERYXLOG");
    let error = deliver(&bed.archive, name(3), &nowhere, None, AT_ONCE).unwrap_err();
    assert!(matches!(error, FetchError::Deliver(_)), "{error}");
}
