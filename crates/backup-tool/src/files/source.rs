//! A file set as the storage engine reads it, strictly: what cannot be read is written down, because the engine only logs
//! it, and a set that lacks a file is no backup of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use maint_core::cancel::Cancel;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{ReadSource, ReadSourceEntry, ReadSourceOpen, RusticResult};

use super::attribute;
use super::set::{Excludes, FileSet};
use crate::cluster::source::{go_mode, moment};

/// What came of reading a set.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Files, with their sizes in bytes, by their path in the snapshot.
    pub files: BTreeMap<PathBuf, u64>,
    /// Entries of all kinds.
    pub entries: u64,
    /// What could not be read.
    pub errors: Vec<String>,
    /// Whether reading ended early.
    pub interrupted: bool,
}

/// Shared by a source and its readers.
#[derive(Debug, Default)]
pub struct Report(Mutex<Outcome>);

impl Report {
    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, path: &Path, why: impl std::fmt::Display) {
        self.outcome().errors.push(format!("{}: {why}", path.display()));
    }

    /// All that was written down; to be asked when the engine has ended.
    pub fn finish(&self) -> Outcome {
        self.outcome().clone()
    }
}

/// A file set to be archived, once.
#[derive(Debug)]
pub struct FilesSource {
    set: FileSet,
    cancel: Cancel,
    report: Arc<Report>,
}

impl FilesSource {
    /// Nothing is read before the engine asks.
    pub fn new(set: FileSet, cancel: Cancel) -> Self {
        FilesSource { set, cancel, report: Arc::default() }
    }

    /// What becomes of the files.
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }
}

impl ReadSource for FilesSource {
    type Open = OpenFile;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Entries {
        let mut paths = self.set.paths.clone();
        paths.sort();
        let mut waiting: Vec<Waiting> = Vec::new();
        // The directories above the paths come too, or they would be restored with made up owners and modes.
        for path in &paths {
            for above in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
                let known = waiting.iter().any(|one| one.path == above);
                if above != Path::new("/") && !known {
                    waiting.push(Waiting { path: above.to_owned(), device: None, only_itself: true });
                }
            }
            waiting.push(Waiting { path: path.clone(), device: None, only_itself: false });
        }
        // Taken from the end; the order of a tree is by name, level for level.
        waiting.sort_by(|a, b| b.path.cmp(&a.path));
        Entries {
            waiting,
            excludes: self.set.excludes(),
            one_file_system: self.set.one_file_system,
            cancel: self.cancel.clone(),
            report: Arc::clone(&self.report),
        }
    }
}

#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    device: Option<u64>,
    only_itself: bool,
}

/// The entries of a set, parents before children, siblings by name.
#[derive(Debug)]
pub struct Entries {
    waiting: Vec<Waiting>,
    excludes: Excludes,
    one_file_system: bool,
    cancel: Cancel,
    report: Arc<Report>,
}

impl Entries {
    fn entry(&mut self, waiting: &Waiting) -> io::Result<Option<ReadSourceEntry<OpenFile>>> {
        let path = &waiting.path;
        let found = fs::symlink_metadata(path)?;
        if self.one_file_system && waiting.device.is_some_and(|device| device != found.dev()) {
            return Ok(None);
        }
        let kind = found.file_type();
        let mut open = None;
        let node_type = if kind.is_dir() {
            if !waiting.only_itself {
                self.list(path, found.dev())?;
            }
            NodeType::Dir
        } else if kind.is_symlink() {
            NodeType::from_link(&fs::read_link(path)?)
        } else if kind.is_file() {
            open = Some(OpenFile { path: path.clone(), size: found.len(), report: Arc::clone(&self.report) });
            NodeType::File
        } else if kind.is_fifo() {
            NodeType::Fifo
        } else if kind.is_socket() {
            NodeType::Socket
        } else if kind.is_block_device() {
            NodeType::Dev { device: found.rdev() }
        } else {
            NodeType::Chardev { device: found.rdev() }
        };
        let mut meta = metadata(&found);
        if !kind.is_symlink() {
            attribute::put(&mut meta, &attributes(path)?).map_err(io::Error::other)?;
        }
        let tree = path.strip_prefix("/").unwrap_or(path).to_owned();
        let mut outcome = self.report.outcome();
        outcome.entries += 1;
        if kind.is_file() {
            outcome.files.insert(tree.clone(), found.len());
        }
        let node = Node::new_node(tree.file_name().unwrap_or_default(), node_type, meta);
        Ok(Some(ReadSourceEntry { path: tree, node, open }))
    }

    fn list(&mut self, directory: &Path, device: u64) -> io::Result<()> {
        let mut names: Vec<OsString> =
            fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        for name in names.into_iter().rev() {
            let path = directory.join(name);
            if !self.excludes.has(&path) {
                self.waiting.push(Waiting { path, device: Some(device), only_itself: false });
            }
        }
        Ok(())
    }
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<OpenFile>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.cancel.is_cancelled() {
                self.report.outcome().interrupted = true;
                return None;
            }
            let waiting = self.waiting.pop()?;
            match self.entry(&waiting) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(error) => self.report.fail(&waiting.path, error),
            }
        }
    }
}

fn metadata(found: &fs::Metadata) -> Metadata {
    Metadata {
        mode: Some(go_mode(found.mode())),
        mtime: Some(moment(found.mtime(), found.mtime_nsec())),
        atime: Some(moment(found.mtime(), found.mtime_nsec())),
        ctime: Some(moment(found.ctime(), found.ctime_nsec())),
        uid: Some(found.uid()),
        gid: Some(found.gid()),
        inode: found.ino(),
        device_id: found.dev(),
        links: found.nlink(),
        size: if found.is_file() { found.len() } else { 0 },
        ..Metadata::default()
    }
}

/// Extended attributes, access control lists among them.
fn attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0_u8; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        found.push((String::from_utf8_lossy(name).into_owned(), value));
    }
    Ok(found)
}

/// A file that the engine may want to read.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    size: u64,
    report: Arc<Report>,
}

impl ReadSourceOpen for OpenFile {
    type Reader = Reader;

    fn open(self) -> RusticResult<Reader> {
        let file = File::open(&self.path);
        if let Err(error) = &file {
            self.report.fail(&self.path, error);
        }
        Ok(Reader { file: file.ok(), left: self.size, source: self })
    }
}

/// Reads exactly as much as the file was long when it was looked at, and says when that was not all of it.
#[derive(Debug)]
pub struct Reader {
    file: Option<File>,
    left: u64,
    source: OpenFile,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else {
            // The error is written down; the engine is given nothing, and the backup is discarded.
            return Ok(0);
        };
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = if most == 0 { Ok(0) } else { file.read(buffer.get_mut(..most).unwrap_or_default()) };
        match read {
            Ok(0) => {
                let length = file.metadata().map(|metadata| metadata.len());
                match length {
                    _ if self.left > 0 => {
                        self.source.report.fail(&self.source.path, "changed while it was read: it is shorter now");
                    }
                    Ok(length) if length > self.source.size => {
                        self.source.report.fail(&self.source.path, "changed while it was read: it is longer now");
                    }
                    _ => {}
                }
                self.file = None;
                Ok(0)
            }
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.source.report.fail(&self.source.path, &error);
                self.file = None;
                Ok(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: FileSet) -> (Vec<String>, Outcome) {
        let source = FilesSource::new(set, Cancel::never());
        let report = source.report();
        let mut seen = Vec::new();
        for entry in source.entries() {
            let entry = entry.unwrap();
            seen.push(entry.path.display().to_string());
            if let Some(open) = entry.open {
                io::copy(&mut open.open().unwrap(), &mut io::sink()).unwrap();
            }
        }
        (seen, report.finish())
    }

    fn set(path: &Path, exclude: &[&str]) -> FileSet {
        FileSet {
            paths: vec![path.to_owned()],
            exclude: exclude.iter().map(|text| (*text).to_owned()).collect(),
            one_file_system: false,
        }
    }

    #[test]
    fn entries_come_by_name_with_the_directories_above_them() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b", "a.c", "a"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        for name in ["b/2", "b/1", "a/x", "skipped.swp"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let (seen, outcome) = read(set(directory.path(), &["*.swp", "a.c"]));
        let root = directory.path().strip_prefix("/").unwrap().display().to_string();
        let below: Vec<&str> = seen.iter().filter_map(|path| path.strip_prefix(&format!("{root}/"))).collect();
        assert_eq!(below, ["a", "a/x", "b", "b/1", "b/2"]);
        assert_eq!(seen.first().map(String::as_str), root.split('/').next());
        assert_eq!((outcome.files.len(), outcome.errors.len()), (3, 0));
    }

    #[test]
    fn a_file_that_grows_or_shrinks_while_it_is_read_is_an_error() {
        for (length, word) in [(2, "shorter"), (9, "longer")] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            fs::write(&path, "12345").unwrap();
            let source = FilesSource::new(set(&path, &[]), Cancel::never());
            let report = source.report();
            let entry = source.entries().map(Result::unwrap).find(|entry| entry.open.is_some()).unwrap();
            let mut reader = entry.open.unwrap().open().unwrap();
            File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            io::copy(&mut reader, &mut io::sink()).unwrap();
            let errors = report.finish().errors;
            assert!(errors.len() == 1 && errors[0].contains(word), "{errors:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let (_, outcome) = read(set(&directory.path().join("none"), &[]));
        assert_eq!(outcome.errors.len(), 1, "{outcome:?}");
    }
}
