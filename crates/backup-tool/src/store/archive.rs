//! Putting a source into the repository.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rustic_core::repofile::{Node, SnapshotFile, SnapshotSummary};
use rustic_core::{BackupOptions, ReadSource, SnapshotOptions, StringList};

use super::memory::{MemoryFile, MemorySource};
use super::snapshots::PENDING;
use super::{Part, Store, StoreError, Stored};
use crate::TOOL;
use crate::backup::About;

/// How a source is put into the repository.
#[derive(Debug, Default)]
pub struct ArchiveSpec<'a> {
    /// What restic shows as the snapshot's paths.
    pub paths: Vec<PathBuf>,
    /// Tags beside `pending`.
    pub tags: Vec<String>,
    /// The snapshot whose unchanged files are taken over.
    pub parent: Option<&'a Stored>,
}

/// A source that was put into the repository, but that nobody has seen whole: its snapshot is `pending`.
#[derive(Debug)]
pub struct Archived {
    part: Part,
    file: SnapshotFile,
    extra: Vec<SnapshotFile>,
    stored_bytes: u64,
    unchanged: u64,
}

impl Archived {
    /// Bytes that it added to the repository.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Files that were taken over from the parent.
    pub fn unchanged_files(&self) -> u64 {
        self.unchanged
    }

    /// The root of what was stored.
    pub fn tree(&self) -> rustic_core::TreeId {
        self.file.tree
    }
}

impl Store {
    /// Puts a source into the repository as a pending snapshot. What the source could not read, the source must count
    /// itself: the engine only logs it.
    ///
    /// # Errors
    /// The repository cannot be read or written.
    pub fn archive<R>(&self, part: Part, source: &R, spec: &ArchiveSpec<'_>) -> Result<Archived, StoreError>
    where
        R: ReadSource + 'static,
        R::Open: Send,
        R::Iter: Send,
    {
        // A pack that is lost must become unknown, so that what was in it is stored again. And a pack that a killed run left
        // without an index must get one: the engine's own `to_indexed_ids_checked` reads such a pack and takes its blobs for
        // stored, but writes no index for them, so that the new snapshot would be one that nobody can read.
        self.repair_index(part)?;
        let file = self.snapshot_of(part, source, spec)?;
        let summary = file.summary.clone().unwrap_or_default();
        Ok(Archived {
            part,
            stored_bytes: summary.data_added_packed,
            unchanged: summary.files_unmodified,
            file,
            extra: Vec::new(),
        })
    }

    fn snapshot_of<R>(&self, part: Part, source: &R, spec: &ArchiveSpec<'_>) -> Result<SnapshotFile, StoreError>
    where
        R: ReadSource + 'static,
        R::Open: Send,
        R::Iter: Send,
    {
        let repository = self.repository(part)?;
        let repository = repository.to_indexed_ids().map_err(|error| self.failed("read the index", &error))?;
        let mut options = BackupOptions::default();
        options.no_scan = true;
        match spec.parent {
            Some(parent) => options.parent_opts.parents = vec![parent.id.clone()],
            None => options.parent_opts.force = true,
        }
        let mut tags = StringList::default();
        spec.tags.iter().map(String::as_str).chain([PENDING]).for_each(|tag| tags.add(tag.to_owned()));
        let mut described = SnapshotOptions::default();
        described.command = Some(TOOL.to_owned());
        described.tags = vec![tags];
        let snapshot =
            SnapshotFile::from_options(&described).map_err(|error| self.failed("begin a snapshot", &error))?;
        let paths = if spec.paths.is_empty() { vec![PathBuf::from("/")] } else { spec.paths.clone() };
        self.guarded("write", || repository.archive(&options, source, snapshot, &paths))
    }

    /// Runs the engine; where it panics, that is an error like any other.
    pub(super) fn guarded<T>(
        &self,
        doing: &'static str,
        run: impl FnOnce() -> rustic_core::RusticResult<T>,
    ) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(done) => done.map_err(|error| self.failed(doing, &error)),
            Err(_) => Err(StoreError::Engine {
                doing,
                place: self.storage().location(),
                why: "the storage engine gave up; its message is above".to_owned(),
            }),
        }
    }

    /// Adds files to what was archived, in the places that their paths name.
    ///
    /// # Errors
    /// The repository cannot be read or written.
    pub fn add_files(&self, archived: &mut Archived, files: Vec<MemoryFile>) -> Result<(), StoreError> {
        let source = MemorySource::new(files);
        let spec = ArchiveSpec { paths: vec![PathBuf::from("/")], ..ArchiveSpec::default() };
        let file = self.snapshot_of(archived.part, &source, &spec)?;
        let summary = file.summary.clone().unwrap_or_default();
        archived.stored_bytes += summary.data_added_packed;
        let repository = self.repository(archived.part)?;
        let repository = repository.to_indexed().map_err(|error| self.failed("read the index", &error))?;
        let trees = [archived.file.tree, file.tree];
        let mut summary = SnapshotSummary::default();
        let tree = self.guarded("write", || repository.merge_trees(&trees, &prefer_described, &mut summary))?;
        archived.extra.push(file);
        archived.file.tree = tree;
        Ok(())
    }

    /// Makes a pending snapshot a complete one.
    ///
    /// # Errors
    /// The repository cannot be written; the snapshot is pending still.
    pub fn complete(&self, archived: Archived, about: &About) -> Result<(), StoreError> {
        let description = serde_json::to_string(about).map_err(|error| StoreError::Engine {
            doing: "describe a snapshot",
            place: self.storage().location(),
            why: error.to_string(),
        })?;
        let repository = self.repository(archived.part)?;
        let mut file = archived.file.clone();
        file.description = Some(description);
        file.original = None;
        let mut pending = StringList::default();
        pending.add(PENDING.to_owned());
        file.remove_tags(&[pending]);
        repository.save_snapshots(vec![file]).map_err(|error| self.failed("write a snapshot", &error))?;
        self.discard(archived)
    }

    /// Removes a pending snapshot.
    ///
    /// # Errors
    /// It cannot be removed.
    #[allow(clippy::needless_pass_by_value, reason = "what was discarded is not to be completed")]
    pub fn discard(&self, archived: Archived) -> Result<(), StoreError> {
        let ids: Vec<_> = archived.extra.iter().chain([&archived.file]).map(|file| file.id).collect();
        let repository = self.repository(archived.part)?;
        repository.delete_snapshots(&ids).map_err(|error| self.failed("remove a snapshot", &error))
    }
}

/// Of two entries of one name, the one with a time: directories that were only made up have none.
fn prefer_described(a: &Node, b: &Node) -> Ordering {
    a.meta.mtime.is_some().cmp(&b.meta.mtime.is_some())
}
