use std::fs;
use std::sync::Barrier;

use crate::storage::local::Local;
use crate::wal::header::sample;

use super::*;

const SYSTEM: u64 = 7_300_000_000_000_000_001;

fn open(root: &std::path::Path, system: u64) -> Archive {
    Archive::new(Arc::new(Local::open(root).unwrap()), &Keys::from_master(&[1; 32]), system)
}

fn place() -> (tempfile::TempDir, Archive) {
    let directory = tempfile::tempdir().unwrap();
    let archive = open(directory.path(), SYSTEM);
    (directory, archive)
}

fn segment(number: u32) -> Segment {
    Segment { timeline: 1, log: 0, segment: number }
}

fn push(archive: &Archive, number: u32) -> Pushed {
    let segment = segment(number);
    archive.push(WalName::Segment(segment), &sample(segment, archive.system_identifier, 1)).unwrap()
}

#[test]
fn what_was_archived_is_fetched_and_archiving_it_again_changes_nothing() {
    let (directory, archive) = place();
    let name = WalName::Segment(segment(3));
    let content = sample(segment(3), SYSTEM, 1);
    assert_eq!(archive.push(name, &content).unwrap(), Pushed::Stored);
    let file = directory.path().join("wal/7300000000000000001/00000001/00000000/000000010000000000000003.wal");
    let object = fs::read(&file).unwrap();
    assert_eq!(archive.push(name, &content).unwrap(), Pushed::Already);
    assert!(archive.fetch(name).unwrap() == content);
    assert!(fs::read(&file).unwrap() == object);
    archive.remove(name).unwrap();
    assert!(matches!(archive.fetch(name), Err(ArchiveError::Absent { .. })));
    assert!(matches!(archive.remove(name), Err(ArchiveError::Absent { .. })));
}

#[test]
fn another_file_of_the_same_name_fails_and_leaves_the_object_as_it_was() {
    let (directory, archive) = place();
    push(&archive, 3);
    let file = directory.path().join(archive.key_of(WalName::Segment(segment(3))));
    let object = fs::read(&file).unwrap();
    let other = sample(segment(3), SYSTEM, 2);
    let error = archive.push(WalName::Segment(segment(3)), &other).unwrap_err();
    assert!(matches!(error, ArchiveError::Differs { .. }), "{error}");
    assert!(fs::read(&file).unwrap() == object);
}

#[test]
fn a_damaged_object_is_never_called_archived_already() {
    let (directory, archive) = place();
    push(&archive, 3);
    let file = directory.path().join(archive.key_of(WalName::Segment(segment(3))));
    let mut object = fs::read(&file).unwrap();
    let middle = object.len() / 2;
    object[middle] ^= 1;
    fs::write(&file, &object).unwrap();
    let error = archive.push(WalName::Segment(segment(3)), &sample(segment(3), SYSTEM, 1)).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("000000010000000000000003.wal"), "{error}");
}

#[test]
fn of_eight_that_archive_the_same_file_one_stores_it_and_all_succeed() {
    let (_directory, archive) = place();
    let start = Barrier::new(8);
    let pushed: Vec<Pushed> = std::thread::scope(|scope| {
        let one = || {
            start.wait();
            push(&archive, 3)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(pushed.iter().filter(|pushed| **pushed == Pushed::Stored).count(), 1);
}

#[test]
fn of_clusters_that_come_at_once_one_wins_and_the_others_write_nothing() {
    for round in 0..8 {
        let (directory, _) = place();
        let start = Barrier::new(4);
        let won: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=4)
                .map(|system| {
                    let (archive, start) = (open(directory.path(), system), &start);
                    scope.spawn(move || {
                        start.wait();
                        let content = sample(segment(3), system, 1);
                        match archive.push(WalName::Segment(segment(3)), &content) {
                            Ok(_) => Some(system),
                            Err(ArchiveError::OtherCluster { .. }) => None,
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(systems(&Local::open(directory.path()).unwrap()).unwrap(), won);
    }
}

#[test]
fn another_cluster_is_refused_and_nothing_is_written() {
    let (directory, archive) = place();
    push(&archive, 3);
    let before = Local::open(directory.path()).unwrap().list("").unwrap();
    let other = open(directory.path(), 99);
    let history = other.push(WalName::History(2), b"1\t0/3000000\tx\n").unwrap_err();
    assert!(matches!(history, ArchiveError::OtherCluster { theirs: SYSTEM, ours: 99, .. }), "{history}");
    assert_eq!(Local::open(directory.path()).unwrap().list("").unwrap(), before);
    // Also when the object that names the owner was lost.
    fs::remove_file(directory.path().join(CLUSTER_KEY)).unwrap();
    let lost = other.push(WalName::History(2), b"1\t0/3000000\tx\n").unwrap_err();
    assert!(matches!(lost, ArchiveError::OtherCluster { .. }), "{lost}");
}

#[test]
fn a_segment_of_another_cluster_or_name_is_refused() {
    let (directory, archive) = place();
    for content in [sample(segment(3), 99, 1), sample(segment(4), SYSTEM, 1), b"short".to_vec()] {
        let error = archive.push(WalName::Segment(segment(3)), &content).unwrap_err();
        assert!(matches!(error, ArchiveError::Header(_)), "{error}");
        let error = archive.push(WalName::Partial(segment(3)), &content).unwrap_err();
        assert!(matches!(error, ArchiveError::Header(_)), "{error}");
    }
    assert!(archive.push(WalName::History(2), b"nonsense").is_err());
    assert!(Local::open(directory.path()).unwrap().list("").unwrap().is_empty());
}

#[test]
fn an_object_under_another_name_does_not_open() {
    let (directory, archive) = place();
    push(&archive, 3);
    let from = directory.path().join(archive.key_of(WalName::Segment(segment(3))));
    fs::copy(from, directory.path().join(archive.key_of(WalName::Segment(segment(4))))).unwrap();
    let error = archive.fetch(WalName::Segment(segment(4))).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
}

#[test]
fn a_repository_that_is_gone_is_not_one_without_the_file() {
    let (directory, archive) = place();
    push(&archive, 3);
    directory.close().unwrap();
    assert!(matches!(archive.fetch(WalName::Segment(segment(3))), Err(ArchiveError::Storage(_))));
    assert!(matches!(archive.require(), Err(ArchiveError::Storage(_))));
}

#[test]
fn names_are_sorted_and_histories_complete() {
    let (directory, archive) = place();
    let second = Segment { timeline: 2, ..segment(5) };
    archive.push(WalName::Segment(second), &sample(second, SYSTEM, 1)).unwrap();
    archive.push(WalName::History(2), b"1\t0/500000\tx\n").unwrap();
    archive.push(WalName::Backup(segment(4), 0x28), b"START WAL LOCATION").unwrap();
    archive.push(WalName::Partial(segment(5)), &sample(segment(5), SYSTEM, 1)).unwrap();
    push(&archive, 4);
    push(&archive, 3);
    fs::write(directory.path().join(format!("wal/{SYSTEM}/README")), "not ours").unwrap();
    let names: Vec<String> = archive.names().unwrap().iter().map(|found| found.name.to_string()).collect();
    assert_eq!(
        names,
        [
            "000000010000000000000003",
            "000000010000000000000004",
            "000000020000000000000005",
            "000000010000000000000005.partial",
            "000000010000000000000004.00000028.backup",
            "00000002.history",
        ]
    );
    let histories = archive.histories().unwrap();
    assert_eq!(histories[0], History::first(1));
    assert_eq!(histories[1].ancestors.len(), 1);
    assert_eq!(histories.len(), 2);
}
