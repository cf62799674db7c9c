//! Reads one file of a cluster while its server may be writing to it.
//!
//! A reader gives exactly as many bytes as the file had when it was opened: what was appended since belongs to the log, and
//! what was cut off is given as zeros, as `pg_basebackup` does; replay puts both right. Where pages carry checksums, each
//! page of a relation is checked on its way. A page that fails is read again after a pause. When its bytes change, a server
//! was writing it, and the log holds a whole copy of it, since a backup is under way. When they stay, it is damaged.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use crc_fast::{CrcAlgorithm, Digest};
use maint_core::cancel::Cancel;

use super::page::{self, PAGE_BYTES, Page, Verdict};
use super::report::{FileNumber, Pages, Report};
use super::walk::SourceError;
use crate::backup::DamagedPage;

/// How much is read at once.
const BUFFER_BYTES: usize = 32 * PAGE_BYTES;

/// So often a page that fails is read again, with a pause before each time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// What a reader needs to know of its file.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) file: File,
    pub(super) number: FileNumber,
    /// Where it is, for messages.
    pub(super) source: PathBuf,
    /// Its path in the manifest.
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// Number within its relation of its first page, when its pages are to be checked.
    pub(super) first_block: Option<u32>,
    pub(super) report: Arc<Report>,
    pub(super) cancel: Cancel,
}

/// Reads a file to the size that it had.
#[derive(Debug)]
pub struct FileReader {
    job: Job,
    /// Bytes of the file that were read into the buffer so far.
    read: u64,
    buffer: Vec<u8>,
    /// How much of the buffer was given on.
    given: usize,
    crc: Digest,
    pages: Pages,
    shrunk: bool,
    ended: bool,
}

/// Reads until the buffer is full or the file ends; gives how much it read.
fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A page that failed.
struct Suspect {
    index: usize,
    fault: page::Fault,
    changed: bool,
}

impl FileReader {
    pub(super) fn new(job: Job) -> Self {
        job.report.begin(job.number);
        let mut reader = FileReader {
            job,
            read: 0,
            buffer: Vec::new(),
            given: 0,
            crc: Digest::new(CrcAlgorithm::Crc32Iscsi),
            pages: Pages::default(),
            shrunk: false,
            ended: false,
        };
        reader.end_if_done();
        reader
    }

    fn end_if_done(&mut self) {
        if !self.ended && self.read == self.job.size && self.given == self.buffer.len() {
            self.ended = true;
            let crc = self.crc.finalize() as u32;
            self.job.report.end(self.job.number, crc, std::mem::take(&mut self.pages), self.shrunk);
        }
    }

    /// Reads the next part into the buffer.
    fn fill(&mut self) -> io::Result<()> {
        let wanted = (self.job.size - self.read).min(BUFFER_BYTES as u64) as usize;
        self.given = 0;
        self.buffer.clear();
        self.buffer.resize(wanted, 0);
        let filled = read_full(&self.job.file, &mut self.buffer, self.read)?;
        if filled < wanted {
            self.shrunk = true;
            self.buffer.iter_mut().skip(filled).for_each(|byte| *byte = 0);
        }
        if let Some(first_block) = self.job.first_block {
            self.check_pages(first_block, filled)?;
        }
        self.crc.update(&self.buffer);
        self.read += wanted as u64;
        Ok(())
    }

    /// Checks the whole pages among the first `filled` bytes of the buffer.
    fn check_pages(&mut self, first_block: u32, filled: usize) -> io::Result<()> {
        let in_file = (self.read / PAGE_BYTES as u64) as u32;
        let block = |index: usize| in_file + index as u32;
        let name = self.job.path.to_string_lossy().into_owned();
        let whole = self.buffer.get_mut(..filled).unwrap_or_default();
        let (pages, _) = whole.as_chunks_mut::<PAGE_BYTES>();
        self.pages.checked += pages.len() as u64;

        let mut suspects = Vec::new();
        for (index, page) in pages.iter().enumerate() {
            match page::check(page, first_block.wrapping_add(block(index))) {
                Verdict::New => {}
                Verdict::Good(lsn) => self.pages.add_good(lsn, &name, block(index)),
                Verdict::Bad(fault) => suspects.push(Suspect { index, fault, changed: false }),
            }
        }
        for _ in 0..TRIES {
            if suspects.is_empty() {
                break;
            }
            sleep(PAUSE);
            let mut still = Vec::new();
            for mut suspect in suspects {
                let mut again: Page = [0; PAGE_BYTES];
                let offset = u64::from(block(suspect.index)) * PAGE_BYTES as u64;
                // A page that was cut off meanwhile stays zero, and thereby is a new one.
                read_full(&self.job.file, &mut again, offset)?;
                let Some(page) = pages.get_mut(suspect.index) else { continue };
                suspect.changed |= *page != again;
                *page = again;
                match page::check(page, first_block.wrapping_add(block(suspect.index))) {
                    Verdict::Bad(fault) => still.push(Suspect { fault, ..suspect }),
                    Verdict::Good(lsn) => {
                        self.pages.torn += 1;
                        self.pages.add_good(lsn, &name, block(suspect.index));
                    }
                    Verdict::New => self.pages.torn += 1,
                }
            }
            suspects = still;
        }
        for suspect in suspects {
            if suspect.changed {
                self.pages.torn += 1;
            } else {
                let (block, why) = (block(suspect.index), suspect.fault.to_string());
                self.pages.add_damaged(DamagedPage { file: name.clone(), block, why });
            }
        }
        Ok(())
    }
}

impl Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.buffer.len() && self.read < self.job.size {
            if self.job.cancel.is_cancelled() {
                self.job.report.interrupt();
                return Err(io::Error::other("the run was asked to stop"));
            }
            if let Err(source) = self.fill() {
                let told = io::Error::new(source.kind(), source.to_string());
                let path = self.job.source.clone();
                self.job.report.lose(self.job.number, SourceError::Io { step: "read", path, source });
                return Err(told);
            }
        }
        let rest = self.buffer.get(self.given..).unwrap_or_default();
        let given = rest.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..given), rest.get(..given)) {
            to.copy_from_slice(from);
        }
        self.given += given;
        self.end_if_done();
        Ok(given)
    }
}
