use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use maint_core::durable;
use rustic_core::repofile::Metadata;

use super::archive::ArchiveSpec;
use super::memory::{MemoryFile, MemorySource};
use super::secrets::Credentials;
use super::*;
use crate::backup::FilesBackup;
use crate::storage::local::Local;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(password: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        durable::replace(&directory.path().join("password"), password.as_bytes(), 0o600).unwrap();
        std::fs::create_dir(directory.path().join("repository")).unwrap();
        Place { directory }
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(Local::open(&self.directory.path().join("repository")).unwrap())
    }

    fn credentials(&self) -> Credentials {
        Credentials::load(Some(&self.directory.path().join("password")), None).unwrap()
    }

    fn create(&self) -> Store {
        Store::create(self.storage(), &self.credentials().password().unwrap(), 32 << 10).unwrap()
    }
}

fn file(path: &str, content: &'static str, seconds: i64) -> MemoryFile {
    let mtime = Some(jiff::Timestamp::from_second(seconds).unwrap());
    MemoryFile {
        path: PathBuf::from(path),
        meta: Metadata { mtime, ..Metadata::default() },
        content: Bytes::from_static(content.as_bytes()),
    }
}

fn about(label: &str) -> About {
    About::Files(FilesBackup {
        label: label.into(),
        set: "etc".into(),
        paths: vec![],
        entries: 0,
        bytes: 0,
        stored_bytes: 0,
    })
}

use crate::backup::About;

#[test]
fn what_was_archived_reads_back_with_the_files_that_were_added_in_their_places() {
    let place = Place::new("one");
    let store = place.create();
    let source = MemorySource::new(vec![file("pgdata/base/1", "one", 1), file("pgdata/global/2", "two", 1)]);
    let mut archived = store.archive(Part::Clusters, &source, &ArchiveSpec::default()).unwrap();
    assert!(store.snapshots(Part::Clusters).unwrap()[0].pending);
    let added = vec![file("pgdata/backup_label", "label", 2), file("pgdata/global/pg_control", "control", 2)];
    store.add_files(&mut archived, added).unwrap();
    store.complete(archived, &about("x")).unwrap();
    let snapshots = store.snapshots(Part::Clusters).unwrap();
    assert_eq!(snapshots.len(), 1);
    assert!(!snapshots[0].pending);
    assert_eq!(snapshots[0].label(), "x");
    let reader = store.reader(Part::Clusters).unwrap();
    let mut seen = Vec::new();
    reader
        .walk(snapshots[0].tree, &mut |path, _| {
            seen.push(path.display().to_string());
            Ok(())
        })
        .unwrap();
    assert_eq!(
        seen,
        [
            "pgdata",
            "pgdata/backup_label",
            "pgdata/base",
            "pgdata/global",
            "pgdata/base/1",
            "pgdata/global/2",
            "pgdata/global/pg_control"
        ]
    );
    let read = |path: &str| reader.file(snapshots[0].tree, Path::new(path)).unwrap();
    assert_eq!(read("pgdata/global/pg_control").as_deref(), Some(&b"control"[..]));
    assert_eq!(read("pgdata/base/1").as_deref(), Some(&b"one"[..]));
    assert_eq!(read("pgdata/nothing"), None);
}

#[test]
fn what_a_killed_run_left_without_an_index_is_in_the_index_after_the_next() {
    let place = Place::new("one");
    let store = place.create();
    let source = MemorySource::new(vec![file("a", "content that both runs find", 1)]);
    let first = store.archive(Part::Clusters, &source, &ArchiveSpec::default()).unwrap();
    store.discard(first).unwrap();
    // Killed after its packs and before its index.
    for object in store.storage().list("pg/index").unwrap() {
        store.storage().remove(&object.key).unwrap();
    }
    let second = store.archive(Part::Clusters, &source, &ArchiveSpec::default()).unwrap();
    // With the index alone, as every other program reads it: the checked one would look into the packs as well.
    let repository = store.repository(Part::Clusters).unwrap().to_indexed().unwrap();
    let nodes = repository.get_tree(&second.tree()).unwrap().nodes;
    let blob = rustic_core::BlobId::from(nodes[0].content.as_ref().unwrap()[0].into_inner());
    let bytes = repository.get_blob_cached(&blob, rustic_core::repofile::BlobType::Data).unwrap();
    assert_eq!(bytes, "content that both runs find");
}

#[test]
fn a_discarded_archive_leaves_no_snapshot() {
    let place = Place::new("one");
    let store = place.create();
    let source = MemorySource::new(vec![file("a", "one", 1)]);
    let archived = store.archive(Part::Files, &source, &ArchiveSpec::default()).unwrap();
    store.discard(archived).unwrap();
    assert!(store.snapshots(Part::Files).unwrap().is_empty());
}

#[test]
fn the_cached_key_opens_and_a_wrong_one_is_not_trusted() {
    let place = Place::new("one");
    let store = place.create();
    let master = place.directory.path().join("password.keys");
    assert!(!master.exists());
    Store::open(place.storage(), &place.credentials()).unwrap();
    assert!(master.exists(), "opening with the password caches the master key");
    // Without the password's file the cached key is enough.
    let keys_only = Credentials::load(None, Some(&master)).unwrap();
    let opened = Store::open(place.storage(), &keys_only).unwrap();
    assert_eq!(opened.keys().derive(keys::Purpose::Notes), store.keys().derive(keys::Purpose::Notes));
    // The key of another repository: the password decides, and mends the cache.
    let other = Place::new("two");
    Store::open(other.create().storage().clone(), &other.credentials()).unwrap();
    std::fs::copy(other.directory.path().join("password.keys"), &master).unwrap();
    assert!(matches!(Store::open(place.storage(), &keys_only), Err(StoreError::WrongPassword(_))));
    Store::open(place.storage(), &place.credentials()).unwrap();
    Store::open(place.storage(), &keys_only).unwrap();
}

#[test]
fn another_password_opens_nothing() {
    let place = Place::new("one");
    place.create();
    durable::replace(&place.directory.path().join("password"), b"other", 0o600).unwrap();
    assert!(matches!(Store::open(place.storage(), &place.credentials()), Err(StoreError::WrongPassword(_))));
}

#[test]
fn an_empty_place_is_no_repository_and_a_repository_is_not_created_twice() {
    let place = Place::new("one");
    assert!(matches!(Store::open(place.storage(), &place.credentials()), Err(StoreError::NoRepository(_))));
    place.create();
    let again = Store::create(place.storage(), &place.credentials().password().unwrap(), 32 << 10);
    assert!(matches!(again, Err(StoreError::AlreadyThere(_))));
}

#[test]
fn a_pin_stays_through_another_look() {
    let place = Place::new("one");
    let store = place.create();
    let source = MemorySource::new(vec![file("a", "one", 1)]);
    let archived = store.archive(Part::Files, &source, &ArchiveSpec::default()).unwrap();
    store.complete(archived, &about("kept")).unwrap();
    let id = store.snapshots(Part::Files).unwrap()[0].id.clone();
    store.pin(Part::Files, &id, true).unwrap();
    let after = store.snapshots(Part::Files).unwrap();
    assert_eq!((after.len(), after[0].pinned, after[0].label()), (1, true, "kept"));
}

#[test]
fn unchanged_files_are_taken_from_the_parent() {
    let place = Place::new("one");
    let store = place.create();
    let source = || MemorySource::new(vec![file("a", "one", 1), file("b", "two", 1)]);
    let first = store.archive(Part::Files, &source(), &ArchiveSpec::default()).unwrap();
    store.complete(first, &about("first")).unwrap();
    let parent = store.snapshots(Part::Files).unwrap().remove(0);
    let spec = ArchiveSpec { parent: Some(&parent), ..ArchiveSpec::default() };
    let second = store.archive(Part::Files, &source(), &spec).unwrap();
    assert_eq!(second.unchanged_files(), 2);
}
