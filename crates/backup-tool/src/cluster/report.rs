//! What became of every file of a backup.
//!
//! The storage engine logs an error of its source and goes on without the file. So that no backup can succeed without a
//! file it should have, the source and its readers write down here what they met, and the engine's word is not asked.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::walk::{DATA_TREE, SourceError, TABLESPACE_TREE};
use crate::backup::{DamagedPage, Tablespace};
use crate::lsn::Lsn;

/// So many damaged pages and notes are named; beyond that they are counted.
const NAMED: usize = 1000;

/// A file that is in the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedFile {
    /// Its path, relative to the data directory, tablespaces as `pg_tblspc/<oid>/...`: as a manifest names it.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed.
    pub modified: Timestamp,
    /// CRC-32C of its bytes; `None` when it was not read, because it is the parent's file.
    pub crc: Option<u32>,
}

/// The page that was changed last, of all pages whose checksum held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestPage {
    /// Its position in the log. A page newer than the end of the backup comes from somewhere else.
    pub lsn: Lsn,
    /// Its file, relative to the data directory.
    pub file: String,
    /// Its number within the file.
    pub block: u32,
}

/// What a look at pages found.
#[derive(Debug, Default)]
pub struct Pages {
    /// Pages whose checksum was compared.
    pub checked: u64,
    /// Pages that changed between two reads before their checksum held.
    pub torn: u64,
    /// Pages that are damaged on disk.
    pub damaged: u64,
    /// The first of those.
    pub damaged_list: Vec<DamagedPage>,
    /// The page that was changed last.
    pub newest: Option<NewestPage>,
}

impl Pages {
    /// Adds a damaged page.
    pub fn add_damaged(&mut self, page: DamagedPage) {
        self.damaged += 1;
        if self.damaged_list.len() < NAMED {
            self.damaged_list.push(page);
        }
    }

    /// Adds a page whose checksum held.
    pub fn add_good(&mut self, lsn: Lsn, file: &str, block: u32) {
        if self.newest.as_ref().is_none_or(|newest| newest.lsn < lsn) {
            self.newest = Some(NewestPage { lsn, file: file.to_owned(), block });
        }
    }

    fn merge(&mut self, other: Pages) {
        self.checked += other.checked;
        self.torn += other.torn;
        let unnamed = other.damaged - other.damaged_list.len() as u64;
        other.damaged_list.into_iter().for_each(|page| self.add_damaged(page));
        self.damaged += unnamed;
        if let Some(newest) = other.newest {
            self.add_good(newest.lsn, &newest.file, newest.block);
        }
    }
}

/// All that came of reading a cluster.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The files of the backup, in the order of its tree.
    pub files: Vec<CopiedFile>,
    /// Tablespaces outside of the data directory.
    pub tablespaces: Vec<Tablespace>,
    /// Files that a server removed while the backup ran.
    pub vanished: u64,
    /// Files that had become shorter when they were read; zeros were stored instead.
    pub shrunk: u64,
    /// What was looked at of pages.
    pub pages: Pages,
    /// What whoever takes the backup should know.
    pub notes: Vec<String>,
    /// What belongs into the backup and is not in it. The backup is worthless unless this is empty.
    pub errors: Vec<SourceError>,
    /// Whether reading ended early, because the run was asked to stop. The backup is worthless then.
    pub interrupted: bool,
}

#[derive(Debug)]
enum Progress {
    /// Handed to the engine, not asked for: it took the parent's.
    Listed,
    /// Being read.
    Reading,
    /// Read to its end.
    Read(u32),
    /// Could not be read; an error says so.
    Lost,
}

#[derive(Debug, Default)]
struct State {
    outcome: Outcome,
    progress: Vec<Progress>,
}

/// Shared by a source and its readers.
#[derive(Debug, Default)]
pub struct Report {
    state: Mutex<State>,
}

/// Number of a file in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileNumber(usize);

impl Report {
    fn state(&self) -> MutexGuard<'_, State> {
        // What is written here is whole at every moment: a reader that panicked leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn list(&self, path: PathBuf, size: u64, modified: Timestamp) -> FileNumber {
        let mut state = self.state();
        state.outcome.files.push(CopiedFile { path, size, modified, crc: None });
        state.progress.push(Progress::Listed);
        FileNumber(state.progress.len() - 1)
    }

    fn set(&self, file: FileNumber, progress: Progress) {
        if let Some(slot) = self.state().progress.get_mut(file.0) {
            *slot = progress;
        }
    }

    pub(super) fn begin(&self, file: FileNumber) {
        self.set(file, Progress::Reading);
    }

    pub(super) fn end(&self, file: FileNumber, crc: u32, pages: Pages, shrunk: bool) {
        self.set(file, Progress::Read(crc));
        let mut state = self.state();
        state.outcome.pages.merge(pages);
        state.outcome.shrunk += u64::from(shrunk);
    }

    pub(super) fn lose(&self, file: FileNumber, error: SourceError) {
        self.set(file, Progress::Lost);
        self.fail(error);
    }

    pub(super) fn tablespace(&self, tablespace: Tablespace) {
        self.state().outcome.tablespaces.push(tablespace);
    }

    pub(super) fn vanish(&self) {
        self.state().outcome.vanished += 1;
    }

    pub(super) fn note(&self, note: String) {
        let notes = &mut self.state().outcome.notes;
        if notes.len() < NAMED {
            notes.push(note);
        }
    }

    pub(super) fn fail(&self, error: SourceError) {
        self.state().outcome.errors.push(error);
    }

    pub(super) fn interrupt(&self) {
        self.state().outcome.interrupted = true;
    }

    /// Takes all that was written down; to be asked once, after the engine has ended.
    pub fn finish(&self) -> Outcome {
        let State { mut outcome, progress } = std::mem::take(&mut *self.state());
        for (file, progress) in outcome.files.iter_mut().zip(progress) {
            match progress {
                Progress::Listed | Progress::Lost => {}
                Progress::Read(crc) => file.crc = Some(crc),
                Progress::Reading if outcome.interrupted => {}
                Progress::Reading => outcome.errors.push(SourceError::Unfinished { path: file.path.clone() }),
            }
        }
        outcome
    }
}

/// The path by which a manifest names what is at `tree` in a snapshot's tree.
pub fn manifest_path(tree: &Path) -> Option<PathBuf> {
    match tree.strip_prefix(TABLESPACE_TREE) {
        Ok(path) => Some(Path::new("pg_tblspc").join(path)),
        Err(_) => tree.strip_prefix(DATA_TREE).ok().map(Path::to_owned),
    }
}
