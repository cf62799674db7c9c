//! A directory of advisories, or a git checkout of one: `crates/NAME/ID.md` and `rust/NAME/ID.md`.

use std::path::{Path, PathBuf};

use super::{Database, DbError, Stamp, digest, markdown};
use crate::advisory::Collection;

/// Collections and their directories.
pub(super) const COLLECTIONS: [(&str, Collection); 2] = [("crates", Collection::Crates), ("rust", Collection::Rust)];

pub(super) fn open(path: &Path) -> Result<Database, DbError> {
    let texts = texts(path)?;
    let commit = commit(path);
    let form = if commit.is_some() { "git" } else { "directory" };
    of_texts(path, form, commit, &texts)
}

/// A database from advisories by their paths within it.
pub(super) fn of_texts(
    path: &Path,
    form: &'static str,
    commit: Option<String>,
    texts: &[(String, String)],
) -> Result<Database, DbError> {
    let mut advisories = Vec::with_capacity(texts.len());
    for (name, text) in texts {
        if let Some(collection) = collection(name) {
            advisories.extend(markdown::read(&format!("{}/{name}", path.display()), text, collection)?);
        }
    }
    let stamp = |advisories: usize, newest| Stamp {
        path: path.to_owned(),
        form,
        commit,
        sha256: digest(texts),
        advisories,
        newest,
    };
    Database::new(advisories, stamp, path)
}

/// The collection of an advisory's path within the database.
fn collection(name: &str) -> Option<Collection> {
    COLLECTIONS.iter().find(|(directory, _)| name.starts_with(&format!("{directory}/"))).map(|(_, kind)| *kind)
}

/// Whether a path within the database is an advisory's: not a draft (`RUSTSEC-0000-0000.md`), not a note.
pub(super) fn is_advisory(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let [_, _, file] = parts.as_slice() else { return false };
    let markdown = file.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("md"));
    collection(name).is_some() && markdown && !file.starts_with("RUSTSEC-0000-0000.") && !file.starts_with('.')
}

/// Every advisory's text, by its path within the database, sorted.
pub(super) fn texts(path: &Path) -> Result<Vec<(String, String)>, DbError> {
    let mut found = Vec::new();
    for (collection, _) in COLLECTIONS {
        let directory = path.join(collection);
        if !directory.exists() {
            continue;
        }
        for package in entries(&directory)?.into_iter().filter(|entry| entry.is_dir()) {
            for file in entries(&package)? {
                let name = file.strip_prefix(path).unwrap_or(&file).display().to_string();
                if is_advisory(&name) {
                    let text = std::fs::read_to_string(&file).map_err(DbError::read(&file))?;
                    found.push((name, text));
                }
            }
        }
    }
    Ok(found)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, DbError> {
    let listed = std::fs::read_dir(directory).map_err(DbError::read(directory))?;
    let mut all = Vec::new();
    for entry in listed {
        all.push(entry.map_err(DbError::read(directory))?.path());
    }
    all.sort_unstable();
    Ok(all)
}

/// The commit that a git checkout is at, read from its files: no program of git is started in a directory that may come
/// from elsewhere.
pub(super) fn commit(path: &Path) -> Option<String> {
    let git = path.join(".git");
    let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
    let is_id = |text: &str| text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some(name) = head.trim().strip_prefix("ref: ") else {
        return Some(head.trim().to_owned()).filter(|id| is_id(id));
    };
    let loose = std::fs::read_to_string(git.join(name)).ok().map(|id| id.trim().to_owned());
    let packed = || {
        let refs = std::fs::read_to_string(git.join("packed-refs")).ok()?;
        let line = refs.lines().find(|line| line.ends_with(&format!(" {name}")))?;
        line.split(' ').next().map(str::to_owned)
    };
    loose.or_else(packed).filter(|id| is_id(id))
}
