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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use jiff::Timestamp;
    use maint_core::status::Exit;

    use super::super::report::Outcome;
    use super::*;

    /// Page 0 and page 7 of real relations.
    const PAGES: &[u8] = include_bytes!("fixtures/pages-15.bin");

    struct Bench {
        _dir: tempfile::TempDir,
        path: PathBuf,
        report: Arc<Report>,
        cancel: Cancel,
    }

    fn bench(content: &[u8]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("16384");
        fs::write(&path, content).unwrap();
        Bench { _dir: dir, path, report: Arc::default(), cancel: Cancel::never() }
    }

    impl Bench {
        fn reader(&self, first_block: Option<u32>) -> FileReader {
            let file = File::open(&self.path).unwrap();
            let size = file.metadata().unwrap().len();
            let number = self.report.list("base/5/16384".into(), size, Timestamp::now());
            let (report, cancel) = (Arc::clone(&self.report), self.cancel.clone());
            let (source, path) = (self.path.clone(), "base/5/16384".into());
            FileReader::new(Job { file, number, source, path, size, first_block, report, cancel })
        }

        fn read(&self, first_block: Option<u32>) -> (Vec<u8>, Outcome) {
            let mut bytes = Vec::new();
            self.reader(first_block).read_to_end(&mut bytes).unwrap();
            (bytes, self.report.finish())
        }
    }

    fn crc(bytes: &[u8]) -> u32 {
        crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
    }

    #[test]
    fn bytes_come_as_they_are_with_their_checksum() {
        for size in [0, 1, 8192, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES] {
            let content: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            let (bytes, outcome) = bench(&content).read(None);
            assert_eq!(bytes, content);
            assert_eq!(outcome.files[0].crc, Some(crc(&content)), "{size}");
            assert!(outcome.errors.is_empty());
        }
    }

    #[test]
    fn what_was_appended_since_is_not_read() {
        let bench = bench(b"abc");
        let mut reader = bench.reader(None);
        fs::OpenOptions::new().append(true).open(&bench.path).unwrap().write_all(b"def").unwrap();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abc");
    }

    #[test]
    fn what_was_cut_off_since_is_zeros() {
        let bench = bench(&PAGES.repeat(40));
        let mut reader = bench.reader(None);
        fs::OpenOptions::new().write(true).open(&bench.path).unwrap().set_len(5).unwrap();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 40 * PAGES.len());
        assert_eq!(bytes[..5], PAGES[..5]);
        assert!(bytes[5..].iter().all(|byte| *byte == 0));
        let outcome = bench.report.finish();
        assert_eq!((outcome.shrunk, outcome.files[0].crc), (1, Some(crc(&bytes))));
    }

    #[test]
    fn good_and_new_pages_are_counted_and_the_newest_is_told() {
        let content = [&PAGES[..8192], &vec![0; 8192 * 6], &PAGES[8192..]].concat();
        let (bytes, outcome) = bench(&content).read(Some(0));
        assert_eq!(bytes, content);
        let pages = outcome.pages;
        assert_eq!((pages.checked, pages.torn, pages.damaged), (8, 0, 0));
        let lsn = |page: &[u8]| u64::from(u32::from_le_bytes(page[4..8].try_into().unwrap()));
        assert_eq!(pages.newest.unwrap().lsn.0, lsn(PAGES).max(lsn(&PAGES[8192..])));
    }

    #[test]
    fn a_page_that_stays_bad_is_damaged_and_named() {
        let mut content = [&PAGES[..8192], &PAGES[..8192]].concat();
        content[8192 + 4000] ^= 1;
        let (bytes, outcome) = bench(&content).read(Some(0));
        assert_eq!(bytes, content);
        let damaged = &outcome.pages.damaged_list;
        assert_eq!((outcome.pages.damaged, damaged.len(), outcome.pages.torn), (1, 1, 0));
        assert_eq!((damaged[0].file.as_str(), damaged[0].block), ("base/5/16384", 1));
        assert!(damaged[0].why.contains("checksum"), "{}", damaged[0].why);
        assert!(outcome.errors.is_empty());
    }

    #[test]
    fn pages_of_a_later_segment_count_on_from_those_before_it() {
        let content = &PAGES[8192..];
        assert_eq!(bench(content).read(Some(7)).1.pages.damaged, 0);
        assert_eq!(bench(content).read(Some(131_072)).1.pages.damaged, 1);
    }

    #[test]
    fn a_page_that_is_written_while_it_is_read_is_torn_and_comes_whole() {
        let bench = bench(&PAGES[..8192]);
        let mut reader = bench.reader(Some(0));
        // What the first read saw of it; the file is whole by now.
        reader.buffer = PAGES[..8192].to_vec();
        reader.buffer[5000..].fill(0);
        reader.check_pages(0, 8192).unwrap();
        assert_eq!(reader.buffer, PAGES[..8192]);
        assert_eq!((reader.pages.torn, reader.pages.damaged), (1, 0));
    }

    #[test]
    fn a_page_that_keeps_changing_is_torn_even_when_it_never_is_whole() {
        let mut content = PAGES[..8192].to_vec();
        content[5000] ^= 1;
        let bench = bench(&content);
        let mut reader = bench.reader(Some(0));
        reader.buffer = content;
        reader.buffer[5000] ^= 2;
        reader.check_pages(0, 8192).unwrap();
        assert_eq!((reader.pages.torn, reader.pages.damaged), (1, 0));
    }

    #[test]
    fn a_file_that_is_not_read_to_its_end_is_an_error() {
        let bench = bench(&PAGES.repeat(40));
        let mut reader = bench.reader(None);
        reader.read_exact(&mut [0; 100]).unwrap();
        drop(reader);
        let outcome = bench.report.finish();
        assert!(matches!(outcome.errors[..], [SourceError::Unfinished { .. }]), "{:?}", outcome.errors);
    }

    #[test]
    fn a_read_that_fails_is_an_error_that_names_the_file() {
        let bench = bench(b"");
        let number = bench.report.list("base/5/16384".into(), 8192, Timestamp::now());
        // A directory can be opened, and not read.
        let file = File::open(bench.path.parent().unwrap()).unwrap();
        let (report, cancel) = (Arc::clone(&bench.report), bench.cancel.clone());
        let (source, path) = (bench.path.clone(), "base/5/16384".into());
        let job = Job { file, number, source, path, size: 8192, first_block: Some(0), report, cancel };
        assert!(FileReader::new(job).read(&mut [0; 10]).is_err());
        let outcome = bench.report.finish();
        assert_eq!(outcome.errors.len(), 1);
        assert!(outcome.errors[0].to_string().contains("16384"), "{}", outcome.errors[0]);
    }

    #[test]
    fn a_run_that_is_asked_to_stop_stops_reading() {
        let bench = bench(&PAGES.repeat(40));
        let mut reader = bench.reader(None);
        reader.read_exact(&mut [0; 100]).unwrap();
        bench.cancel.cancel(Exit::Terminated);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        let outcome = bench.report.finish();
        assert!(outcome.interrupted && outcome.errors.is_empty());
    }
}
