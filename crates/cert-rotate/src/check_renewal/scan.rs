//! Every file below a directory, looked at by as many threads as there are processors.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::validity::{Validity, of_file};

/// What became of one file.
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Why it cannot be told, or from when to when its first certificate is valid.
    pub(super) validity: Result<Validity, String>,
}

/// Every file with a certificate below a directory, sorted by path. Links are followed, and no directory is entered twice.
/// What cannot be looked into is in the list as well.
pub(super) fn directory(root: &Path) -> Vec<Found> {
    let (mut files, mut found) = (Vec::new(), Vec::new());
    gather(root, &mut BTreeSet::new(), &mut files, &mut found);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = files.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = files.chunks(share).map(|files| scope.spawn(|| look(files))).collect();
        for worker in workers {
            // A thread that panicked would be a bug; what it found is missing then, and the panic is on stderr.
            found.extend(worker.join().unwrap_or_default());
        }
    });
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn look(files: &[PathBuf]) -> Vec<Found> {
    let mut room = Vec::new();
    let look = |path: &PathBuf| {
        let validity = of_file(path, &mut room).transpose()?;
        Some(Found { path: path.clone(), validity })
    };
    files.iter().filter_map(look).collect()
}

fn gather(directory: &Path, entered: &mut BTreeSet<(u64, u64)>, files: &mut Vec<PathBuf>, failed: &mut Vec<Found>) {
    let mut fail = |path: &Path, error: &std::io::Error| {
        failed.push(Found { path: path.to_owned(), validity: Err(format!("cannot be read: {error}")) });
    };
    match fs::metadata(directory) {
        Ok(metadata) if entered.insert((metadata.dev(), metadata.ino())) => {}
        Ok(_) => return,
        Err(error) => return fail(directory, &error),
    }
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return fail(directory, &error),
    };
    let mut inner = Vec::new();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                fail(directory, &error);
                break;
            }
        };
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => match fs::metadata(entry.path()) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => {
                    fail(&entry.path(), &error);
                    continue;
                }
            },
            Ok(kind) => kind,
            Err(error) => {
                fail(&entry.path(), &error);
                continue;
            }
        };
        if kind.is_file() {
            files.push(entry.path());
        } else if kind.is_dir() {
            inner.push(entry.path());
        }
    }
    inner.sort();
    for directory in inner {
        gather(&directory, entered, files, failed);
    }
}
