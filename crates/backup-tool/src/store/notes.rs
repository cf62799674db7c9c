//! Notes: small JSON documents beside the backups (what was verified, attestations, fingerprints), sealed so that they
//! can be neither read nor forged without the password.
//!
//! A note's object is 12 bytes of nonce and the JSON sealed by AES-256-GCM, with the object's key as associated data: a
//! note that was moved to another name does not open.

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::Purpose;
use super::{Store, StoreError};
use crate::storage::Put;

const ROOT: &str = "notes";

impl Store {
    fn sealed(&self, key: &str, why: impl Into<String>) -> StoreError {
        StoreError::Sealed { key: key.to_owned(), place: self.storage().location(), why: why.into() }
    }

    fn notes_key(&self) -> Option<LessSafeKey> {
        let bytes = self.keys().derive(Purpose::Notes);
        UnboundKey::new(&AES_256_GCM, bytes.as_ref()).ok().map(LessSafeKey::new)
    }

    /// Writes a note, once: a note of that name stays as it is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_note<T: Serialize>(&self, key: &str, value: &T) -> Result<Put, StoreError> {
        let key = format!("{ROOT}/{key}");
        let mut body = serde_json::to_vec(value).map_err(|error| self.sealed(&key, error.to_string()))?;
        let mut nonce = [0; NONCE_LEN];
        let sealing = self.notes_key().filter(|_| SystemRandom::new().fill(&mut nonce).is_ok());
        let sealing = sealing.ok_or_else(|| self.sealed(&key, "the system gave no random bytes"))?;
        sealing
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.as_bytes()), &mut body)
            .map_err(|_| self.sealed(&key, "it is too long to be sealed"))?;
        Ok(self.storage().put_new(&key, &[Bytes::copy_from_slice(&nonce), body.into()])?)
    }

    /// Reads a note.
    ///
    /// # Errors
    /// It is not there, or does not open.
    pub fn note<T: DeserializeOwned>(&self, key: &str) -> Result<T, StoreError> {
        let key = format!("{ROOT}/{key}");
        let object = self.storage().get(&key)?;
        let (nonce, body) =
            object.split_first_chunk::<NONCE_LEN>().ok_or_else(|| self.sealed(&key, "it is cut short"))?;
        let opening = self.notes_key().ok_or_else(|| self.sealed(&key, "there is no key for it"))?;
        let mut body = body.to_vec();
        let plain = opening
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(key.as_bytes()), &mut body)
            .map_err(|_| self.sealed(&key, "it was changed, moved, or sealed with another key"))?;
        serde_json::from_slice(plain).map_err(|error| self.sealed(&key, error.to_string()))
    }

    /// The names of all notes below a prefix, sorted; names are as [`Store::note`] wants them.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn notes(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let below = format!("{ROOT}/{prefix}");
        let objects = self.storage().list(below.trim_end_matches('/'))?;
        let name = |key: &str| key.strip_prefix(ROOT).map(|rest| rest.trim_start_matches('/').to_owned());
        Ok(objects.iter().filter_map(|object| name(&object.key)).collect())
    }

    /// Removes a note.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub fn remove_note(&self, key: &str) -> Result<(), StoreError> {
        Ok(self.storage().remove(&format!("{ROOT}/{key}"))?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustic_core::repofile::MasterKey;

    use super::*;
    use crate::storage::local::Local;

    fn store(directory: &std::path::Path) -> Store {
        Store::with_master(Arc::new(Local::open(directory).unwrap()), MasterKey::new())
    }

    #[test]
    fn a_note_reads_back_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        assert_eq!(store.put_note("a/one", &7).unwrap(), Put::Created);
        assert_eq!(store.put_note("a/one", &8).unwrap(), Put::Exists);
        assert_eq!(store.note::<i32>("a/one").unwrap(), 7);
        assert_eq!(store.notes("a").unwrap(), ["a/one"]);
        store.remove_note("a/one").unwrap();
        assert!(store.notes("a").unwrap().is_empty());
    }

    #[test]
    fn a_note_that_was_moved_or_changed_does_not_open() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store.put_note("one", &7).unwrap();
        let body = store.storage().get("notes/one").unwrap();
        store.storage().put_new("notes/two", std::slice::from_ref(&body)).unwrap();
        assert!(matches!(store.note::<i32>("two"), Err(StoreError::Sealed { .. })));
        for place in 0..body.len() {
            let mut changed = body.to_vec();
            changed[place] ^= 1;
            store.storage().put_new("notes/three", &[changed.into()]).unwrap();
            assert!(matches!(store.note::<i32>("three"), Err(StoreError::Sealed { .. })), "{place}");
            store.remove_note("three").unwrap();
        }
    }
}
