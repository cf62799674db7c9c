//! What is under way for one certificate, and survives a crash: the new key, the order, the chain.
//!
//! A key is written before anybody is asked to sign it and an order's address before its result is fetched, so that the
//! next run goes on where this one was killed instead of ordering again.

use std::path::{Path, PathBuf};

use maint_core::failure::Failure;
use maint_core::{durable, state_dir};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key::{KeyType, PrivateKey};

/// The directory `pending/NAME`.
#[derive(Debug)]
pub struct Pending {
    directory: PathBuf,
}

impl Pending {
    /// Of one certificate, below the tool's directory. Nothing is made yet.
    pub fn of(root: &Path, name: &str) -> Self {
        Pending { directory: root.join("pending").join(name) }
    }

    /// What was in the places of copies before the first copies were made; it outlives what is under way.
    pub fn originals(root: &Path, name: &str) -> Self {
        Pending { directory: root.join("originals").join(name) }
    }

    /// The key that is to be certified: the one that was made before, or a new one, on disk before this returns.
    ///
    /// # Errors
    /// It cannot be read, made or written.
    pub fn key(&self, kind: KeyType) -> Result<PrivateKey, Failure> {
        let path = self.directory.join("privkey.pem");
        match std::fs::read(&path) {
            Ok(pem) => {
                let pem = zeroize::Zeroizing::new(pem);
                PrivateKey::from_pem(&pem)
                    .map_err(|error| Failure::critical(format!("{}: {error}", path.display())).hint("remove it"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = PrivateKey::generate(kind)?;
                self.put("privkey.pem", key.to_pem().as_bytes())?;
                Ok(key)
            }
            Err(error) => Err(Failure::critical(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Writes a note, durably.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(value)
            .map_err(|error| Failure::critical(format!("cannot encode the note {name}: {error}")))?;
        self.put(&format!("{name}.json"), &text)
    }

    /// Reads a note; `None` when there is none. One that does not hold is as good as none: what it saves is work.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let text = std::fs::read(self.directory.join(format!("{name}.json"))).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes a file, durably, for this user alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        // The tool's directory itself is for servers to pass through; what is pending is not.
        if let Some(root) = self.directory.ancestors().nth(2) {
            crate::live::make_public(root)?;
        }
        state_dir::ensure(&self.directory).map_err(|error| Failure::critical(error.to_string()))?;
        durable::replace(&self.directory.join(name), bytes, 0o600).map_err(|error| Failure::critical(error.to_string()))
    }

    /// A file's content, if it is there.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.directory.join(name)).ok()
    }

    /// Forgets everything: it is done, or will never be.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn clear(&self) -> Result<(), Failure> {
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::critical(format!("cannot remove {}: {error}", self.directory.display())))
            }
            _ => Ok(()),
        }
    }
}
