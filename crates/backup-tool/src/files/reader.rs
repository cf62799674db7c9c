//! Reads one file of a set, and sees whether it stayed what it was.
//!
//! A file that is written while it is read gives bytes that it never had at any one moment. So a reader compares size and
//! times at the end with those from before the first byte. It does so before it gives the last bytes away: a file that
//! changed never gets into a tree.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use maint_core::cancel::Cancel;
use rustic_core::{ReadSourceOpen, RusticResult};

use super::report::{Report, SourceError};

/// A file that the engine may want to read.
#[derive(Debug)]
pub struct Job {
    /// The file, open, at its beginning.
    pub file: File,
    /// Where it is, for messages.
    pub path: PathBuf,
    /// What was found when it was opened; the entry in the tree says the same.
    pub before: fs::Metadata,
    /// Where trouble is written down.
    pub report: Arc<Report>,
    /// Ends reading early.
    pub cancel: Cancel,
}

impl ReadSourceOpen for Job {
    type Reader = FileReader;

    fn open(self) -> RusticResult<FileReader> {
        Ok(FileReader { left: self.before.len(), job: self, ended: false })
    }
}

/// Reads a file to the size that it had.
#[derive(Debug)]
pub struct FileReader {
    job: Job,
    left: u64,
    ended: bool,
}

/// What tells that a file was touched.
fn stamp(found: &fs::Metadata) -> [i64; 5] {
    [found.len() as i64, found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()]
}

impl FileReader {
    fn changed(&self) -> io::Error {
        let error = SourceError::Changed { path: self.job.path.clone() };
        let told = io::Error::other(error.to_string());
        self.job.report.fail(error);
        told
    }

    fn unreadable(&self, source: io::Error) -> io::Error {
        let told = io::Error::new(source.kind(), source.to_string());
        self.job.report.fail(SourceError::Io { step: "read", path: self.job.path.clone(), source });
        told
    }

    fn read_some(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.job.file.read(out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map_err(|error| self.unreadable(error)),
            }
        }
    }

    /// All bytes were read: nothing may follow, and nothing may have happened to the file.
    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        // Files of /proc and their like say that they have no bytes, and have some.
        let more = self.read_some(&mut [0])? > 0;
        let after = self.job.file.metadata().map_err(|error| self.unreadable(error))?;
        if more || stamp(&after) != stamp(&self.job.before) { Err(self.changed()) } else { Ok(()) }
    }
}

impl Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.job.cancel.is_cancelled() {
            self.job.report.interrupt();
            return Err(io::Error::other("the run was asked to stop"));
        }
        let wanted = self.left.min(out.len() as u64) as usize;
        let mut given = 0;
        if let Some(out) = out.get_mut(..wanted).filter(|out| !out.is_empty()) {
            given = self.read_some(out)?;
            if given == 0 {
                self.ended = true;
                return Err(self.changed());
            }
            self.left -= given as u64;
        }
        if self.left == 0 && !self.ended {
            self.end()?;
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use maint_core::status::Exit;

    use super::super::report::Outcome;
    use super::*;

    fn reader(path: &Path) -> (FileReader, Arc<Report>, Cancel) {
        let (report, cancel) = (Arc::<Report>::default(), Cancel::never());
        let file = File::open(path).unwrap();
        let before = file.metadata().unwrap();
        let job = Job { file, path: path.to_owned(), before, report: Arc::clone(&report), cancel: cancel.clone() };
        (job.open().unwrap(), report, cancel)
    }

    /// A file of this many bytes that was at rest for longer than a tick of the kernel's clock.
    fn file(bytes: usize) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![b'x'; bytes]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        file
    }

    fn is_changed(outcome: &Outcome) -> bool {
        outcome.may_pass() && matches!(outcome.errors[..], [SourceError::Changed { .. }])
    }

    #[test]
    fn a_file_at_rest_comes_whole() {
        for size in [0, 1, 4096, 100_000] {
            let file = file(size);
            let (mut reader, report, _) = reader(file.path());
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len(), size);
            assert_eq!(report.finish().error_count, 0);
        }
    }

    #[test]
    fn a_file_that_grows_shrinks_or_is_rewritten_is_no_file_of_one_moment() {
        type Change = fn(&Path);
        let changes: [Change; 4] = [
            |path| File::options().append(true).open(path).unwrap().write_all(b"more").unwrap(),
            |path| File::options().write(true).open(path).unwrap().set_len(50_000).unwrap(),
            |path| File::options().write(true).open(path).unwrap().write_all(b"y").unwrap(),
            |path| fs::remove_file(path).unwrap(),
        ];
        for change in changes {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            fs::copy(file(100_000).path(), &path).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(30));
            let (mut reader, report, _) = reader(&path);
            reader.read_exact(&mut [0; 1000]).unwrap();
            change(&path);
            let mut bytes = Vec::new();
            assert!(reader.read_to_end(&mut bytes).is_err());
            assert!(bytes.len() < 99_000, "the last bytes of a file that changed are never given away");
            assert!(is_changed(&report.finish()));
        }
    }

    #[test]
    fn a_file_that_hides_its_size_is_never_taken_for_an_empty_one() {
        let (mut reader, report, _) = reader(Path::new("/proc/self/status"));
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert!(is_changed(&report.finish()));
    }

    #[test]
    fn a_read_that_fails_names_the_file() {
        // The first page of a process is never there.
        let (mut reader, report, _) = reader(Path::new("/proc/self/mem"));
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        let outcome = report.finish();
        assert!(outcome.trouble().starts_with("cannot read \"/proc/self/mem\": "), "{}", outcome.trouble());
        assert!(!outcome.may_pass());
    }

    #[test]
    fn a_run_that_is_asked_to_stop_stops_reading() {
        let file = file(100_000);
        let (mut reader, report, cancel) = reader(file.path());
        reader.read_exact(&mut [0; 100]).unwrap();
        cancel.cancel(Exit::Terminated);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        let outcome = report.finish();
        assert!(outcome.interrupted && outcome.error_count == 0 && !outcome.may_pass());
    }
}
