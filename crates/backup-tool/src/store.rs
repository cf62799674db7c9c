//! The repository: two restic repositories (`pg` with fixed chunks for clusters, `files` with content-defined ones), the
//! archive of the write-ahead log (`wal`), and sealed notes (`notes`). One password opens all of it, and both restic
//! repositories with restic itself.
//!
//! The storage engine is `rustic_core`; nothing outside of this module and of the sources that it reads knows it. Every
//! failure of it that it would only log is caught here: sources count what they could not read, and a snapshot is
//! `pending` until whoever took it has seen that it is whole.

use std::path::Path;
use std::sync::Arc;

use maint_core::failure::Failure;
use maint_core::status::Exit;
use rustic_core::repofile::MasterKey;
use rustic_core::{OpenStatus, Repository, RusticError};

use crate::storage::{Storage, StorageError};

pub mod archive;
pub mod backend;
pub mod copy;
pub mod create;
pub mod form;
pub mod keys;
pub mod lock;
pub mod memory;
pub mod notes;
pub mod passwords;
pub mod prune;
pub mod reader;
pub mod repair;
pub mod secrets;
pub mod snapshots;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod upkeep;

pub use reader::Reader;
pub use snapshots::Stored;

use keys::Keys;
use secrets::Credentials;

/// One of the two restic repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Clusters: files in fixed chunks, as pages change in place.
    Clusters,
    /// File sets: chunks cut by content.
    Files,
}

impl Part {
    /// Both.
    pub const ALL: [Part; 2] = [Part::Clusters, Part::Files];

    /// The directory below the root.
    pub fn directory(self) -> &'static str {
        match self {
            Part::Clusters => "pg",
            Part::Files => "files",
        }
    }
}

/// An opened repository.
#[derive(Debug)]
pub struct Store {
    storage: Arc<dyn Storage>,
    master: Master,
    keys: Keys,
}

/// The key that encrypts both restic repositories.
#[derive(Clone)]
pub struct Master(pub(crate) MasterKey);

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Master(..)")
    }
}

/// Something that could not be done to the repository.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The storage below it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is no repository at this place.
    #[error("there is no repository in {0}")]
    NoRepository(String),
    /// There is one already.
    #[error("there is a repository in {0} already")]
    AlreadyThere(String),
    /// No password or key at hand opens it.
    #[error("the password does not open the repository in {0}")]
    WrongPassword(String),
    /// The storage engine failed.
    #[error("cannot {doing} in the repository {place}: {why}")]
    Engine {
        /// What was being done, as the words after "cannot".
        doing: &'static str,
        /// The repository.
        place: String,
        /// What the engine said.
        why: String,
    },
    /// There is no such backup.
    #[error("no backup `{0}` in the repository")]
    NoBackup(String),
    /// More than one backup is meant.
    #[error("`{0}` names more than one backup")]
    Ambiguous(String),
    /// An object of ours that does not open: damaged, moved, or written by another key.
    #[error("{key} in {place} does not open: {why}")]
    Sealed {
        /// The object's key.
        key: String,
        /// The repository.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file with a secret.
    #[error("{0}")]
    Secret(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::NoRepository(_) => Failure::critical(text)
                .hint("create it with `backup-tool init`; if it was there before, see whether its disk is mounted"),
            StoreError::WrongPassword(_) | StoreError::Secret(_) => {
                Failure::new(Exit::Unknown, text).hint("see password_file and key_file in [backup-tool] of maint.toml")
            }
            StoreError::NoBackup(_) | StoreError::Ambiguous(_) => {
                Failure::new(Exit::Unknown, text).hint("`backup-tool list` shows what there is")
            }
            StoreError::AlreadyThere(_) => Failure::new(Exit::Unknown, text),
            StoreError::Storage(error) => error.into(),
            StoreError::Engine { .. } | StoreError::Sealed { .. } => Failure::critical(text),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Failure::critical(error.to_string())
    }
}

/// What the engine said, on one line.
fn said(error: &RusticError) -> String {
    let text = error.display_log();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Store {
    /// Opens the repository in `storage`.
    ///
    /// # Errors
    /// It is none, or the credentials do not open it.
    pub fn open(storage: Arc<dyn Storage>, credentials: &Credentials) -> Result<Self, StoreError> {
        if storage.size("pg/config")?.is_none() {
            return Err(StoreError::NoRepository(storage.location()));
        }
        let master = secrets::master(&storage, credentials)?;
        Ok(Store::with_master(storage, master))
    }

    pub(crate) fn with_master(storage: Arc<dyn Storage>, master: MasterKey) -> Self {
        let keys = Keys::from_master(&[&master.encrypt[..], &master.mac.k, &master.mac.r].concat());
        Store { storage, master: Master(master), keys }
    }

    /// Where its objects lie.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The keys made from its master key.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The master key, for a second repository that is to hold the same objects.
    pub fn master(&self) -> &Master {
        &self.master
    }

    /// Opens one of the restic repositories with the engine.
    ///
    /// # Errors
    /// Its configuration cannot be read.
    pub fn repository(&self, part: Part) -> Result<Repository<OpenStatus>, StoreError> {
        backend::repository(&self.storage, part)?
            .open(&rustic_core::Credentials::Masterkey(self.master.0.clone()))
            .map_err(|error| self.failed("open", &error))
    }

    pub(crate) fn failed(&self, doing: &'static str, error: &RusticError) -> StoreError {
        StoreError::Engine { doing, place: self.storage.location(), why: said(error) }
    }

    /// A small file of a snapshot, whole; `None` when the snapshot has no such file.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn file_of(&self, part: Part, snapshot: &Stored, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        self.reader(part)?.file(snapshot.tree, path)
    }
}
