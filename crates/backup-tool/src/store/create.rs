//! Creating a repository.

use std::sync::Arc;

use rustic_core::repofile::{Chunker, MasterKey};
use rustic_core::{ConfigOptions, Credentials, KeyOptions};

use super::copy::is_repository;
use super::{Master, Part, Store, StoreError, backend, said};
use crate::storage::Storage;
use maint_core::secret::Secret;

const GIB: u64 = 1 << 30;

/// The size of chunks for a cluster of this size, in bytes. Small chunks store less of a cluster that changes in place;
/// but each costs some 50 bytes of memory in every run.
pub fn chunk_bytes(cluster_bytes: u64) -> u32 {
    match cluster_bytes {
        0..=0x32_0000_0000 => 32 << 10,
        _ if cluster_bytes <= 1024 * GIB => 64 << 10,
        _ => 128 << 10,
    }
}

impl Store {
    /// Creates a repository in an empty place: both restic repositories with the same master key and the same password.
    ///
    /// # Errors
    /// There is one already, or it cannot be written.
    pub fn create(storage: Arc<dyn Storage>, password: &Secret, chunk_bytes: u32) -> Result<Self, StoreError> {
        Store::create_with(storage, password, chunk_bytes, MasterKey::new())
    }

    /// As [`Store::create`], with the master key of another repository, so that their objects can be copied as they are.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create_like(
        storage: Arc<dyn Storage>,
        password: &Secret,
        chunk_bytes: u32,
        master: &Master,
    ) -> Result<Self, StoreError> {
        Store::create_with(storage, password, chunk_bytes, master.0.clone())
    }

    fn create_with(
        storage: Arc<dyn Storage>,
        password: &Secret,
        chunk_bytes: u32,
        master: MasterKey,
    ) -> Result<Self, StoreError> {
        // A configuration without a key is what a run that was killed has left: nothing can open it.
        if is_repository(storage.as_ref())? {
            return Err(StoreError::AlreadyThere(storage.location()));
        }
        let failed = |error: Box<rustic_core::RusticError>| StoreError::Engine {
            doing: "create",
            place: storage.location(),
            why: said(&error),
        };
        // The one that says that there is a repository comes last: a run that is killed before leaves a place in which it
        // can be created again.
        for part in [Part::Files, Part::Clusters] {
            let mut options = ConfigOptions::default();
            options.set_version = Some(2);
            if part == Part::Clusters {
                options.set_chunker = Some(Chunker::FixedSize);
                options.set_chunk_size = format!("{chunk_bytes}").parse().ok();
            }
            let engine = backend::repository(&storage, part)?;
            let credentials = Credentials::Masterkey(master.clone());
            let existing = storage.size(&format!("{}/config", part.directory()))?.is_some();
            if existing {
                storage.remove(&format!("{}/config", part.directory()))?;
            }
            let opened = engine.init(&credentials, &KeyOptions::default(), &options).map_err(failed)?;
            opened.add_key(password.expose(), &KeyOptions::default()).map_err(failed)?;
        }
        Ok(Store::with_master(storage, master))
    }
}
