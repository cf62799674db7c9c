//! A cluster as the storage engine reads it: the entries of the [walk](super::walk) as nodes of a tree, and files as
//! [readers](super::reader).
//!
//! An incremental backup takes a file over from its parent when name, size, time of change and time of status change are
//! what the parent stored. That is not enough for a file that was changed while the parent was taken: the change may have
//! come after the parent read it and still in the same tick of the kernel's clock, and then the file looks unchanged for
//! ever. So every file that was touched since the parent began (and a moment before, for coarse clocks) is read again.
//! The engine has no switch for that per file; what it compares and what no restore uses is the time of status change,
//! so such a file gets the moment of this walk there, which no parent can have stored. The next backup reads it once more.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use maint_core::cancel::Cancel;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{ReadSource, ReadSourceEntry, ReadSourceOpen, RusticResult};

use super::control::Control;
use super::reader::{FileReader, Job};
use super::relation::RelationFile;
use super::report::{Report, manifest_path};
use super::walk::{Entry, EntryKind, Step, Walk};
use crate::backup::Tablespace;
use crate::store::form::{go_mode, moment};

/// File systems stamp files by clocks that lag behind: by milliseconds mostly, by up to two seconds on old ones.
const TICK: SignedDuration = SignedDuration::from_secs(2);

/// What is to be read, and how.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// The data directory.
    pub pgdata: PathBuf,
    /// Name of this server's directory in tablespaces ([`Control::version_directory`]).
    pub version_directory: String,
    /// Pages of a segment, when pages carry checksums that are to be compared.
    pub checked_segment_pages: Option<u32>,
    /// When the parent began to read, or earlier, for an incremental backup; a full one has none.
    pub parent_began: Option<Timestamp>,
    /// Ends reading early.
    pub cancel: Cancel,
}

impl ClusterSpec {
    /// The cluster in `pgdata`, with this control file, of a server with this major version.
    pub fn new(
        pgdata: PathBuf,
        control: &Control,
        major: i32,
        parent_began: Option<Timestamp>,
        cancel: Cancel,
    ) -> Self {
        ClusterSpec {
            pgdata,
            version_directory: control.version_directory(major),
            checked_segment_pages: control.data_checksums().then_some(control.segment_pages),
            parent_began,
            cancel,
        }
    }
}

/// A cluster to be archived, once.
#[derive(Debug)]
pub struct ClusterSource {
    spec: ClusterSpec,
    report: Arc<Report>,
}

impl ClusterSource {
    /// Nothing is read before the engine asks.
    pub fn new(spec: ClusterSpec) -> Self {
        ClusterSource { spec, report: Arc::default() }
    }

    /// What becomes of the files; to be asked when the engine has ended.
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }
}

impl ReadSource for ClusterSource {
    type Open = OpenFile;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Entries {
        Entries {
            walk: Walk::new(&self.spec.pgdata, &self.spec.version_directory),
            spec: self.spec.clone(),
            now: Timestamp::now(),
            report: Arc::clone(&self.report),
        }
    }
}

/// The entries of a cluster, parents before children, siblings by name.
#[derive(Debug)]
pub struct Entries {
    walk: Walk,
    spec: ClusterSpec,
    now: Timestamp,
    report: Arc<Report>,
}

/// A file that the engine may want to read.
#[derive(Debug)]
pub struct OpenFile(Job);

impl ReadSourceOpen for OpenFile {
    type Reader = FileReader;

    fn open(self) -> RusticResult<FileReader> {
        Ok(FileReader::new(self.0))
    }
}

/// Whether a file with these times may have changed after a parent that began then read it.
fn touched(parent_began: Timestamp, modified: Timestamp, changed: Timestamp) -> bool {
    modified.max(changed) >= parent_began.saturating_sub(TICK).unwrap_or(Timestamp::MIN)
}

impl Entries {
    fn metadata(&self, found: &fs::Metadata) -> Metadata {
        let modified = moment(found.mtime(), found.mtime_nsec());
        let changed = moment(found.ctime(), found.ctime_nsec());
        let read_again =
            found.is_file() && self.spec.parent_began.is_some_and(|began| touched(began, modified, changed));
        Metadata {
            mode: Some(go_mode(found.mode())),
            mtime: Some(modified),
            atime: Some(modified),
            ctime: Some(if read_again { self.now } else { changed }),
            uid: Some(found.uid()),
            gid: Some(found.gid()),
            inode: found.ino(),
            size: if found.is_file() { found.len() } else { 0 },
            ..Metadata::default()
        }
    }

    fn store(&self, entry: Entry) -> ReadSourceEntry<OpenFile> {
        let Entry { tree, source, kind, metadata } = entry;
        let meta = self.metadata(&metadata);
        let (node_type, open) = match kind {
            EntryKind::Directory => (NodeType::Dir, None),
            EntryKind::Link { oid, location } => {
                let text = location.to_string_lossy().into_owned();
                self.report.tablespace(Tablespace { oid, location: text });
                (NodeType::from_link(&location), None)
            }
            EntryKind::File(file, relation) => {
                let path = manifest_path(&tree).unwrap_or_else(|| tree.clone());
                let number = self.report.list(path.clone(), meta.size, meta.mtime.unwrap_or_default());
                let first = |relation: RelationFile| {
                    self.spec.checked_segment_pages.map(|pages| relation.segment.wrapping_mul(pages))
                };
                let first_block = relation.and_then(first);
                let (report, cancel) = (Arc::clone(&self.report), self.spec.cancel.clone());
                (
                    NodeType::File,
                    Some(OpenFile(Job { file, number, source, path, size: meta.size, first_block, report, cancel })),
                )
            }
        };
        let node = Node::new_node(tree.file_name().unwrap_or_default(), node_type, meta);
        ReadSourceEntry { path: tree, node, open }
    }
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<OpenFile>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.spec.cancel.is_cancelled() {
                self.report.interrupt();
                return None;
            }
            match self.walk.next()? {
                Step::Entry(entry) => return Some(Ok(self.store(*entry))),
                Step::Vanished => self.report.vanish(),
                Step::Note(note) => self.report.note(note),
                Step::Failed(error) => self.report.fail(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::path::Path;

    use super::*;

    const VERSION: &str = "PG_15_202209061";

    fn cluster() -> tempfile::TempDir {
        let pgdata = tempfile::tempdir().unwrap();
        for name in ["base/5", "global", "pg_tblspc"] {
            fs::create_dir_all(pgdata.path().join(name)).unwrap();
        }
        fs::write(pgdata.path().join("base/5/16384"), b"rows").unwrap();
        fs::write(pgdata.path().join("PG_VERSION"), b"15\n").unwrap();
        pgdata
    }

    fn source(pgdata: &Path, parent_began: Option<Timestamp>) -> ClusterSource {
        ClusterSource::new(ClusterSpec {
            pgdata: pgdata.to_owned(),
            version_directory: VERSION.to_owned(),
            checked_segment_pages: None,
            parent_began,
            cancel: Cancel::never(),
        })
    }

    fn node(source: &ClusterSource, tree: &str) -> Node {
        let mut entries = source.entries().map(Result::unwrap);
        entries.find(|entry| entry.path == Path::new(tree)).unwrap().node
    }

    #[test]
    fn nodes_say_what_the_file_system_says() {
        let pgdata = cluster();
        let path = pgdata.path().join("base/5/16384");
        let found = fs::metadata(&path).unwrap();
        let node = node(&source(pgdata.path(), None), "pgdata/base/5/16384");
        assert_eq!((node.meta.size, node.meta.inode), (4, found.ino()));
        assert_eq!(node.meta.mode, Some(found.mode() & 0o777));
        assert_eq!(node.meta.mtime, Some(moment(found.mtime(), found.mtime_nsec())));
        assert_eq!(node.meta.ctime, Some(moment(found.ctime(), found.ctime_nsec())));
        assert_eq!((node.meta.uid, node.meta.gid), (Some(found.uid()), Some(found.gid())));
    }

    #[test]
    fn only_a_file_that_was_touched_since_the_parent_began_looks_changed() {
        let pgdata = cluster();
        let found = fs::metadata(pgdata.path().join("base/5/16384")).unwrap();
        let changed = moment(found.ctime(), found.ctime_nsec());
        let ctime = |began: Timestamp| node(&source(pgdata.path(), Some(began)), "pgdata/base/5/16384").meta.ctime;
        assert_ne!(ctime(changed.saturating_sub(TICK).unwrap()), Some(changed));
        assert_ne!(ctime(changed.saturating_add(TICK).unwrap()), Some(changed));
        let long_after = changed.saturating_add(TICK).unwrap() + SignedDuration::from_nanos(1);
        assert_eq!(ctime(long_after), Some(changed));
    }

    #[test]
    fn two_walks_never_give_a_touched_file_the_same_time() {
        let pgdata = cluster();
        let ctime = || node(&source(pgdata.path(), Some(Timestamp::MIN)), "pgdata/PG_VERSION").meta.ctime;
        assert_ne!(ctime(), ctime());
    }

    #[test]
    fn the_report_tells_files_that_were_read_from_those_that_were_not() {
        let pgdata = cluster();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), pgdata.path().join("pg_tblspc/16400")).unwrap();
        fs::create_dir(outside.path().join(VERSION)).unwrap();
        fs::write(outside.path().join(VERSION).join("x"), b"").unwrap();
        let source = source(pgdata.path(), None);
        for entry in source.entries().map(Result::unwrap) {
            if entry.path.ends_with("16384") {
                entry.open.unwrap().open().unwrap().read_to_end(&mut Vec::new()).unwrap();
            }
        }
        let outcome = source.report().finish();
        let files: Vec<_> =
            outcome.files.iter().map(|file| (file.path.to_str().unwrap(), file.size, file.crc.is_some())).collect();
        let expected =
            [("PG_VERSION", 3, false), ("base/5/16384", 4, true), ("pg_tblspc/16400/PG_15_202209061/x", 0, false)];
        assert_eq!(files, expected);
        assert_eq!(outcome.tablespaces[0].oid, 16400);
        assert_eq!(Path::new(&outcome.tablespaces[0].location), outside.path());
    }
}
