//! A second repository with the same master key, and the way of snapshots and objects into it.
//!
//! The same master key makes the WAL archive and the notes copies byte by byte, and the same way of cutting files makes the
//! second repository a full heir of the first: a backup into it finds what is there already.

use std::collections::HashSet;
use std::sync::Arc;

use rustic_core::repofile::SnapshotFile;
use rustic_core::{Credentials, Id, KeyOptions};

use super::keys::Purpose;
use super::{Part, Store, StoreError, Stored, backend, said};
use crate::storage::Storage;
use maint_core::secret::Secret;

/// Whether there is a repository. One that no password opens was broken off while it was created, and holds nothing.
///
/// # Errors
/// The storage cannot be looked at.
pub fn is_repository(storage: &dyn Storage) -> Result<bool, StoreError> {
    Ok(storage.size("pg/config")?.is_some() && !storage.list("pg/keys")?.is_empty())
}

impl Store {
    /// Creates an empty repository in `storage` that this one can be copied to: of the same master key, cutting files in the
    /// same way, with a password of its own.
    ///
    /// # Errors
    /// There is one already, or it cannot be written.
    pub fn create_twin(&self, storage: Arc<dyn Storage>, password: &Secret) -> Result<Store, StoreError> {
        if is_repository(storage.as_ref())? {
            return Err(StoreError::AlreadyThere(storage.location()));
        }
        // As with any new repository: the part whose configuration says that there is one comes last.
        for part in [Part::Files, Part::Clusters] {
            let mut config = self.repository(part)?.config().clone();
            config.id = Id::random().into();
            let key = format!("{}/config", part.directory());
            if storage.size(&key)?.is_some() {
                storage.remove(&key)?;
            }
            let failed = |error: Box<rustic_core::RusticError>| StoreError::Engine {
                doing: "create",
                place: storage.location(),
                why: said(&error),
            };
            let engine = backend::repository(&storage, part)?;
            let credentials = Credentials::Masterkey(self.master().0.clone());
            let opened = engine.init_with_config(&credentials, &KeyOptions::default(), config).map_err(failed)?;
            opened.add_key(password.expose(), &KeyOptions::default()).map_err(failed)?;
        }
        Ok(Store::with_master(storage, self.master().0.clone()))
    }

    /// Whether both repositories have the same master key.
    pub fn is_twin_of(&self, other: &Store) -> bool {
        let key =
            |store: &Store| ring::digest::digest(&ring::digest::SHA256, store.keys().derive(Purpose::Notes).as_ref());
        key(self).as_ref() == key(other).as_ref()
    }

    /// The complete snapshots of a part that `second` does not have, oldest first.
    ///
    /// # Errors
    /// The snapshots of either cannot be listed.
    pub fn missing_in(&self, second: &Store, part: Part) -> Result<Vec<Stored>, StoreError> {
        let there: HashSet<_> = second.snapshots(part)?.iter().map(|stored| (stored.time, stored.tree)).collect();
        let mut missing = self.snapshots(part)?;
        missing.retain(|stored| !stored.pending && !stored.broken && !there.contains(&(stored.time, stored.tree)));
        Ok(missing)
    }

    /// Copies one snapshot and the data of it that `second` lacks.
    ///
    /// # Errors
    /// Either repository cannot be read or written, or data of the snapshot is lost in this one.
    pub fn copy_snapshot(&self, second: &Store, part: Part, snapshot: &Stored) -> Result<(), StoreError> {
        let file: Option<SnapshotFile> =
            self.files(part)?.into_iter().find(|file| file.id.to_hex().as_str() == snapshot.id);
        let file = file.ok_or_else(|| StoreError::NoBackup(snapshot.label().to_owned()))?;
        let from = self.reader(part)?;
        let to = second.repository(part)?;
        // As before a backup: what a killed run left must be known to everybody or to nobody.
        second.repair_index(part)?;
        let to = second.guarded("read the index", || to.to_indexed_ids())?;
        second.guarded("copy a snapshot", || from.engine().copy(&to, [&file]))
    }
}
