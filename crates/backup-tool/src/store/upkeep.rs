//! What keeps a repository healthy, tried on real ones in a temporary directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use maint_core::secret::Secret;
use rustic_core::repofile::Metadata;

use super::archive::ArchiveSpec;
use super::copy::is_repository;
use super::memory::{MemoryFile, MemorySource};
use super::*;
use crate::backup::{About, FilesBackup};
use crate::storage::local::Local;

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

fn local(directory: &Path) -> Arc<dyn Storage> {
    Arc::new(Local::open(directory).unwrap())
}

fn create(directory: &Path) -> Store {
    Store::create(local(directory), &secret("one"), 64 << 10).unwrap()
}

/// Content that does not compress, different for each seed.
fn noise(seed: u8, length: usize) -> Bytes {
    let block =
        |number: usize| ring::digest::digest(&ring::digest::SHA256, &[&number.to_le_bytes()[..], &[seed]].concat());
    (0..length / 32).flat_map(|number| block(number).as_ref().to_vec()).collect()
}

fn back_up(store: &Store, label: &str, files: &[(&str, u8)]) -> Stored {
    let file = |(path, seed): &(&str, u8)| MemoryFile {
        path: PathBuf::from(path),
        meta: Metadata { mtime: Some(jiff::Timestamp::UNIX_EPOCH), ..Metadata::default() },
        content: noise(*seed, 256 << 10),
    };
    let source = MemorySource::new(files.iter().map(file).collect());
    let archived = store.archive(Part::Files, &source, &ArchiveSpec::default()).unwrap();
    let about = FilesBackup {
        label: label.into(),
        set: "etc".into(),
        paths: vec![],
        entries: files.len() as u64,
        bytes: 0,
        stored_bytes: 0,
    };
    store.complete(archived, &About::Files(about)).unwrap();
    store.snapshots(Part::Files).unwrap().into_iter().find(|stored| stored.label() == label).unwrap()
}

fn packs(directory: &Path) -> Vec<PathBuf> {
    let objects = local(directory).list("files/data").unwrap();
    objects.into_iter().map(|object| directory.join(object.key)).collect()
}

#[test]
fn prune_marks_first_and_takes_nothing_from_what_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = create(directory.path());
    let gone = back_up(&store, "gone", &[("a", 1), ("shared", 2)]);
    let kept = back_up(&store, "kept", &[("b", 3), ("shared", 2)]);
    store.remove_snapshots(Part::Files, &[gone.id]).unwrap();
    let before = store.stored_bytes(Part::Files).unwrap();
    let pruning = store.prune_plan(Part::Files).unwrap();
    let numbers = pruning.numbers();
    assert_eq!(numbers.removed_bytes, 0, "{numbers:?}");
    assert!(numbers.marked_bytes >= 256 << 10, "{numbers:?}");
    store.prune(pruning).unwrap();
    assert!(store.stored_bytes(Part::Files).unwrap() + 4096 >= before, "nothing is removed by the run that marks");
    let reader = store.reader(Part::Files).unwrap();
    for (path, seed) in [("b", 3), ("shared", 2)] {
        assert_eq!(reader.file(kept.tree, Path::new(path)).unwrap().unwrap(), noise(seed, 256 << 10));
    }
    assert_eq!(store.prune_plan(Part::Files).unwrap().numbers().removed_bytes, 0, "and the next one comes too early");
}

#[test]
fn prune_stops_when_a_snapshot_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = create(directory.path());
    let one = back_up(&store, "one", &[("a", 1)]);
    let path = directory.path().join(format!("files/snapshots/{}", one.id));
    let mut body = fs::read(&path).unwrap();
    body[20] ^= 1;
    fs::write(&path, body).unwrap();
    assert!(store.snapshots(Part::Files).is_err());
    assert!(store.prune_plan(Part::Files).is_err());
    assert!(!packs(directory.path()).is_empty());
}

#[test]
fn a_snapshot_that_lost_data_is_found_marked_and_taken_back_when_the_data_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = create(directory.path());
    back_up(&store, "whole", &[("b", 3)]);
    let before = packs(directory.path());
    let hurt = back_up(&store, "hurt", &[("dir/a", 1), ("b", 3)]);
    let biggest = packs(directory.path()).into_iter().filter(|pack| !before.contains(pack));
    let lost = biggest.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let aside = directory.path().join("aside");
    fs::rename(&lost, &aside).unwrap();

    let trouble = store.index_trouble(Part::Files).unwrap();
    assert_eq!(trouble.lost, [lost.file_name().unwrap().to_str().unwrap()]);
    assert!(trouble.unnamed.is_empty());
    store.repair_index(Part::Files).unwrap();
    assert!(store.index_trouble(Part::Files).unwrap().is_none());
    let judge = || {
        let mut inventory = store.inventory(Part::Files).unwrap();
        store.snapshots(Part::Files).unwrap().iter().map(|stored| inventory.lost(stored)).collect::<Vec<_>>()
    };
    let found = judge();
    assert_eq!(found[0].count, 0);
    assert_eq!((found[1].count, &found[1].first[..]), (1, &[PathBuf::from("dir/a")][..]));
    store.mark_broken(Part::Files, &hurt.id, true).unwrap();
    let labels: Vec<_> = store.file_sets().unwrap().into_iter().map(|(_, backup)| backup.label).collect();
    assert_eq!(labels, ["whole"]);

    // The disk is found again.
    fs::rename(&aside, &lost).unwrap();
    assert_eq!(store.index_trouble(Part::Files).unwrap().unnamed.len(), 1);
    store.repair_index(Part::Files).unwrap();
    assert_eq!(judge()[1].count, 0);
    let marked = store.snapshots(Part::Files).unwrap().into_iter().find(|stored| stored.broken).unwrap();
    store.mark_broken(Part::Files, &marked.id, false).unwrap();
    assert_eq!(store.file_sets().unwrap().len(), 2);
}

#[test]
fn a_twin_has_the_same_keys_cuts_the_same_way_and_gets_every_backup_once() {
    let directory = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let first = create(directory.path());
    first.put_note("attest/x", &7).unwrap();
    let one = back_up(&first, "one", &[("a", 1)]);
    back_up(&first, "two", &[("a", 1), ("b", 2)]);
    let second = first.create_twin(local(other.path()), &secret("two")).unwrap();
    assert!(first.is_twin_of(&second));
    assert!(is_repository(local(other.path()).as_ref()).unwrap());
    for part in Part::ALL {
        let (a, b) = (first.repository(part).unwrap(), second.repository(part).unwrap());
        assert!(a.config().has_same_chunker(b.config()));
        assert_ne!(a.config().id, b.config().id);
        assert!(second.key_of_password(part, &secret("two")).unwrap().is_some());
        assert_eq!(second.key_of_password(part, &secret("one")).unwrap(), None);
    }
    let missing = first.missing_in(&second, Part::Files).unwrap();
    assert_eq!(missing.iter().map(Stored::label).collect::<Vec<_>>(), ["one", "two"]);
    for snapshot in &missing {
        first.copy_snapshot(&second, Part::Files, snapshot).unwrap();
    }
    assert!(first.missing_in(&second, Part::Files).unwrap().is_empty());
    let reader = second.reader(Part::Files).unwrap();
    assert_eq!(reader.file(one.tree, Path::new("a")).unwrap().unwrap(), noise(1, 256 << 10));
    // A note is copied as it is.
    let body = first.storage().get("notes/attest/x").unwrap();
    second.storage().put_new("notes/attest/x", &[body]).unwrap();
    assert_eq!(second.note::<i32>("attest/x").unwrap(), 7);
    let stranger = tempfile::tempdir().unwrap();
    assert!(!first.is_twin_of(&create(stranger.path())));
}

#[test]
fn a_password_can_be_added_and_taken_away_and_the_master_key_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = create(directory.path());
    let (old, new) = (secret("one"), secret("two"));
    let part = Part::Clusters;
    assert_eq!(store.key_of_password(part, &new).unwrap(), None);
    store.add_password(part, &new).unwrap();
    assert_eq!(store.password_keys(part).unwrap().len(), 2);
    let id = store.key_of_password(part, &old).unwrap().unwrap();
    store.remove_key(part, &id).unwrap();
    assert_eq!(store.key_of_password(part, &old).unwrap(), None);
    let left = store.password_keys(part).unwrap();
    assert_eq!(left.len(), 1);
    assert!(left[0].created.is_some() && left[0].hostname.is_some());
    assert_eq!(store.key_of_password(part, &new).unwrap().as_deref(), Some(left[0].id.as_str()));
}
