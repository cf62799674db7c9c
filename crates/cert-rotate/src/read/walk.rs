//! The files below a directory.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::ReadError;

/// File systems whose files are no files but questions to the kernel (`linux/magic.h`): proc and sysfs.
const NOT_FILES: [u64; 2] = [0x9fa0, 0x6265_6572];

/// Visits a file, or every regular file below a directory, sorted by name. Links to files are visited as files, since they
/// are places where a certificate is used; links to directories are entered, but not those found behind another one, so
/// that the walk ends. Pipes, sockets and devices are passed over, and so are proc and sysfs below the directory.
///
/// # Errors
/// `path` cannot be looked at. A part below it that cannot is told at the end, after everything else was visited.
pub fn walk(path: &Path, visit: &mut dyn FnMut(&Path)) -> Result<(), ReadError> {
    let meta = std::fs::metadata(path).map_err(|error| failed("look at", path, error))?;
    if !meta.is_dir() {
        visit(path);
        return Ok(());
    }
    let mut walk = Walk { visit, above: HashSet::new(), first: None, others: 0 };
    walk.directory(path, &meta, false);
    match walk.first {
        Some(first) => Err(ReadError::Parts { first: Box::new(first), others: walk.others }),
        None => Ok(()),
    }
}

fn failed(step: &'static str, path: &Path, error: io::Error) -> ReadError {
    ReadError::Io { step, path: path.to_owned(), error }
}

struct Walk<'a> {
    visit: &'a mut dyn FnMut(&Path),
    /// The directories that we are in, by device and number.
    above: HashSet<(u64, u64)>,
    first: Option<ReadError>,
    others: usize,
}

impl Walk<'_> {
    fn problem(&mut self, error: ReadError) {
        match self.first {
            None => self.first = Some(error),
            Some(_) => self.others += 1,
        }
    }

    fn directory(&mut self, path: &Path, meta: &Metadata, behind_link: bool) {
        let identity = (meta.dev(), meta.ino());
        if !self.above.insert(identity) {
            return;
        }
        match names(path) {
            Ok(names) => {
                for name in names {
                    self.entry(&path.join(name), meta.dev(), behind_link);
                }
            }
            Err(error) => self.problem(failed("read the directory", path, error)),
        }
        self.above.remove(&identity);
    }

    fn entry(&mut self, path: &Path, device: u64, behind_link: bool) {
        let of_entry = match std::fs::symlink_metadata(path) {
            Ok(meta) => meta,
            // It went away since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.problem(failed("look at", path, error)),
        };
        let is_link = of_entry.is_symlink();
        let meta = if is_link {
            match std::fs::metadata(path) {
                Ok(meta) => meta,
                Err(error) => return self.problem(failed("follow the link", path, error)),
            }
        } else {
            of_entry
        };
        if meta.is_file() {
            (self.visit)(path);
        } else if meta.is_dir() && !(is_link && behind_link) {
            let elsewhere = meta.dev() != device;
            let kind = || rustix::fs::statfs(path).map(|found| found.f_type as u64);
            if !(elsewhere && kind().is_ok_and(|kind| NOT_FILES.contains(&kind))) {
                self.directory(path, &meta, behind_link || is_link);
            }
        }
    }
}

fn names(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(PathBuf::from(entry?.file_name()));
    }
    names.sort();
    Ok(names)
}
