//! Which lock files are meant.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use maint_core::failure::Failure;

use crate::cli::InputArgs;
use crate::lock::{Lock, LockError};

/// A lock file holds a few hundred kilobytes; what is larger is something else.
const MOST_BYTES: u64 = 64 << 20;

/// Reads what was named: files, standard input, every lock file below directories; the one of the working directory or
/// above it when nothing was. A file that does not hold is in its place in the list: the others are looked at all the same.
///
/// # Errors
/// There is none at all, or a directory cannot be searched.
pub fn locks(args: &InputArgs) -> Result<Vec<Result<Lock, LockError>>, Failure> {
    let mut found = Vec::new();
    for path in &args.lockfiles {
        found.push(if path == Path::new("-") { stdin() } else { Lock::load(path) });
    }
    for root in &args.root {
        found.extend(below(root)?.iter().map(|path| Lock::load(path)));
    }
    if args.lockfiles.is_empty() && args.root.is_empty() {
        found.push(Lock::load(&nearest()?));
    }
    if found.is_empty() {
        let roots: Vec<String> = args.root.iter().map(|root| root.display().to_string()).collect();
        return Err(Failure::usage(format!("there is no Cargo.lock below {}", roots.join(", ")))
            .hint("`cargo generate-lockfile` makes one; files that .gitignore names are not looked at"));
    }
    Ok(found)
}

fn stdin() -> Result<Lock, LockError> {
    let path = Path::new("-");
    let mut text = String::new();
    std::io::stdin()
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .map_err(|source| LockError::Read { path: path.to_owned(), source })?;
    Lock::parse(path, &text)
}

/// The lock file of the working directory or above it.
///
/// # Errors
/// There is none.
pub(crate) fn nearest() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::usage(format!("cannot tell the working directory: {error}")))?;
    here.ancestors().map(|directory| directory.join("Cargo.lock")).find(|path| path.is_file()).ok_or_else(|| {
        Failure::usage(format!("there is no Cargo.lock in {} nor above it", here.display()))
            .hint("name one, or a directory with --root DIR")
    })
}

/// Every lock file below a directory, sorted; what .gitignore leaves out is left out, links are not followed.
fn below(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let walk = ignore::WalkBuilder::new(root).hidden(false).require_git(false).sort_by_file_path(Path::cmp).build();
    for entry in walk {
        let entry = entry.map_err(|error| Failure::usage(format!("cannot search {}: {error}", root.display())))?;
        if entry.file_type().is_some_and(|kind| kind.is_file()) && entry.file_name() == "Cargo.lock" {
            found.push(entry.into_path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lock_files_are_found_wherever_they_are_and_ignored_ones_are_not() {
        let root = tempfile::tempdir().unwrap();
        for path in ["Cargo.lock", "fuzz/Cargo.lock", "target/package/Cargo.lock", "a/b/.hidden/Cargo.lock"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "version = 4\n").unwrap();
        }
        fs::write(root.path().join(".gitignore"), "/target\n").unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("a/loop")).unwrap();
        let found = below(root.path()).unwrap();
        let shown: Vec<_> =
            found.iter().map(|path| path.strip_prefix(root.path()).unwrap().display().to_string()).collect();
        assert_eq!(shown, ["Cargo.lock", "a/b/.hidden/Cargo.lock", "fuzz/Cargo.lock"]);
    }

    #[test]
    fn one_that_does_not_hold_leaves_the_others() {
        let root = tempfile::tempdir().unwrap();
        let (good, bad) = (root.path().join("good.lock"), root.path().join("bad.lock"));
        fs::write(&good, "version = 4\n").unwrap();
        fs::write(&bad, "[[package").unwrap();
        let args = InputArgs { lockfiles: vec![bad, good, root.path().join("none.lock")], root: Vec::new() };
        let read: Vec<bool> = locks(&args).unwrap().iter().map(Result::is_ok).collect();
        assert_eq!(read, [false, true, false]);
    }
}
