//! The advisory database: RustSec's, as files or packed.
//!
//! An audit is worth what its advisories are worth, so a [`Database`] always comes with its [`Stamp`]: where it is from,
//! how many advisories, how old. One that is empty, or of which a single advisory cannot be read, is no database: a missing
//! advisory looks exactly like a healthy crate.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use semver::Version;
use serde::Serialize;

use crate::advisory::{Advisory, Collection};

mod directory;
mod markdown;
mod osv;
mod pack;

pub use pack::{Packed, pack};

/// A database cannot be used. None of these is ever taken for "nothing found".
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// There is nothing there.
    #[error("there is no advisory database at {}", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is there and has no advisories.
    #[error("{} holds no advisories", .0.display())]
    Empty(PathBuf),
    /// An advisory does not hold.
    #[error("{path}: {why}")]
    Advisory {
        /// The advisory's file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A pack does not hold.
    #[error("{}: {why}", path.display())]
    Pack {
        /// The pack.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl DbError {
    fn read(path: &Path) -> impl FnOnce(std::io::Error) -> DbError {
        move |source| DbError::Read { path: path.to_owned(), source }
    }
}

/// Where advisories came from and how much they are worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stamp {
    /// The path that was given.
    pub path: PathBuf,
    /// `directory`, `git`, `pack` or `osv`.
    pub form: &'static str,
    /// The commit of a git checkout, or the one that a pack was made of.
    pub commit: Option<String>,
    /// SHA-256 over all advisories, in hexadecimal: the same for the same advisories in whatever form.
    pub sha256: String,
    /// How many advisories, withdrawn ones left out.
    pub advisories: usize,
    /// The date of the newest one: of how old the database is, its own word.
    pub newest: Date,
}

/// Advisories, found by package.
#[derive(Debug)]
pub struct Database {
    advisories: Vec<Advisory>,
    by_package: HashMap<String, Vec<usize>>,
    /// Where they came from.
    pub stamp: Stamp,
}

impl Database {
    /// Opens whatever is at `path`: a directory of advisories, a git checkout of one, a `.tar.zst` of either, or a zip
    /// archive of advisories in OSV's form.
    ///
    /// # Errors
    /// It is not there, cannot be read, is empty, or something in it does not hold.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(DbError::Missing(path.to_owned()));
            }
            Err(error) => return Err(DbError::read(path)(error)),
        };
        if meta.is_dir() {
            directory::open(path)
        } else if osv::is_archive(path)? {
            osv::open(path)
        } else {
            pack::open(path)
        }
    }

    fn new(
        mut advisories: Vec<Advisory>,
        stamp: impl FnOnce(usize, Date) -> Stamp,
        path: &Path,
    ) -> Result<Self, DbError> {
        advisories.sort_by(|a, b| a.id.cmp(&b.id));
        let Some(newest) = advisories.iter().map(|advisory| advisory.date).max() else {
            return Err(DbError::Empty(path.to_owned()));
        };
        let mut by_package: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, advisory) in advisories.iter().enumerate() {
            by_package.entry(advisory.package.clone()).or_default().push(index);
        }
        let stamp = stamp(advisories.len(), newest);
        Ok(Database { advisories, by_package, stamp })
    }

    /// All advisories, by id.
    pub fn advisories(&self) -> &[Advisory] {
        &self.advisories
    }

    /// An advisory by its id or another name of it.
    pub fn find(&self, name: &str) -> Option<&Advisory> {
        self.advisories.iter().find(|advisory| {
            advisory.id.eq_ignore_ascii_case(name)
                || advisory.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
        })
    }

    /// The advisories that speak of this version of a crate.
    pub fn of_crate<'a>(&'a self, name: &str, version: &'a Version) -> impl Iterator<Item = &'a Advisory> + 'a {
        self.of(name, Collection::Crates, version)
    }

    /// The advisories that speak of this version of a part of the toolchain (`std`, `cargo`, `rustdoc`, ...).
    pub fn of_toolchain<'a>(&'a self, name: &str, version: &'a Version) -> impl Iterator<Item = &'a Advisory> + 'a {
        self.of(name, Collection::Rust, version)
    }

    fn of<'a>(
        &'a self,
        name: &str,
        collection: Collection,
        version: &'a Version,
    ) -> impl Iterator<Item = &'a Advisory> + 'a {
        let indices = self.by_package.get(name).map(Vec::as_slice).unwrap_or_default();
        indices
            .iter()
            .filter_map(|&index| self.advisories.get(index))
            .filter(move |advisory| advisory.collection == collection && advisory.affects(version))
    }
}

/// Reads a database whole; of a pack the index is compared with the texts behind it.
///
/// # Errors
/// It does not hold, or a pack's index is not that of its texts.
pub fn verify(path: &Path) -> Result<Stamp, DbError> {
    // All others are read whole whenever they are opened.
    if path.is_file() && !osv::is_archive(path)? {
        return pack::verify(path);
    }
    Database::open(path).map(|database| database.stamp)
}

/// SHA-256 over advisories, by their ids and contents.
fn digest(advisories: &[(String, String)]) -> String {
    use std::fmt::Write as _;

    use sha2::{Digest as _, Sha256};
    let mut all: Vec<(&str, &str)> = advisories.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    all.sort_unstable();
    let mut digest = Sha256::new();
    for (name, text) in all {
        // The name's end is told by its length, so that no two databases run together.
        digest.update((name.len() as u64).to_le_bytes());
        digest.update(name);
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    digest.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
