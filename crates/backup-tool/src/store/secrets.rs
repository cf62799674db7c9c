//! What opens the repository: a password, or the master key cached in a file.
//!
//! Deriving the key from a password takes half a second of computing, by design (scrypt). A server archives a segment
//! every few seconds, so the master key is kept in a file beside the password's, readable by its owner only; it opens
//! nothing that the password would not. When it does not fit the repository, the password decides.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::secret::{self, Secret};
use rustic_core::repofile::MasterKey;
use rustix::fs::{Gid, Uid};
use zeroize::Zeroizing;

use super::{Part, StoreError, backend, said};
use crate::storage::Storage;

/// What opens the repository.
#[derive(Debug)]
pub struct Credentials {
    password: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

impl Credentials {
    /// The files that are configured. Without a file of its own, the master key is cached beside the password's file, with
    /// `.keys` appended to the name.
    ///
    /// # Errors
    /// None is configured.
    pub fn load(password: Option<&Path>, keys: Option<&Path>) -> Result<Self, Failure> {
        if password.is_none() && keys.is_none() {
            return Err(Failure::usage("no password for the repository is configured")
                .hint("set `password_file` in [backup-tool] of maint.toml, or give --password-file"));
        }
        let beside = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".keys");
            PathBuf::from(name)
        };
        let key_file = keys.map(Path::to_owned).or_else(|| password.map(beside));
        Ok(Credentials { password: password.map(Path::to_owned), key_file })
    }

    /// The password.
    ///
    /// # Errors
    /// None is configured, or its file cannot be read, or others can read it.
    pub fn password(&self) -> Result<Secret, StoreError> {
        let path =
            self.password.as_deref().ok_or_else(|| StoreError::Secret("no password_file is configured".into()))?;
        secret::from_file(path).map_err(|error| StoreError::Secret(error.to_string()))
    }

    fn cached(&self) -> Result<Option<MasterKey>, StoreError> {
        let Some(path) = self.key_file.as_deref().filter(|path| path.exists()) else { return Ok(None) };
        let text = secret::from_file(path).map_err(|error| StoreError::Secret(error.to_string()))?;
        serde_json::from_str(text.expose())
            .map(Some)
            .map_err(|_| StoreError::Secret(format!("{} holds no master key", path.display())))
    }

    /// Keeps the master key for later runs. That it cannot be kept (a directory that is not ours) only costs time.
    pub fn cache(&self, master: &super::Master) {
        let Some(path) = self.key_file.as_deref() else { return };
        let kept = serde_json::to_string(&master.0).map(Zeroizing::new).map_err(|error| error.to_string());
        let kept = kept.and_then(|text| {
            durable::replace(path, text.as_bytes(), 0o600).map_err(|error| error.to_string())?;
            give_to_owner_of(path, self.password.as_deref().or(path.parent()))
        });
        if let Err(why) = kept {
            tracing::info!("the master key is not cached: {why}");
        }
    }
}

/// Root's file for the account that the password's file belongs to.
fn give_to_owner_of(path: &Path, like: Option<&Path>) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let Some(owner) = like.and_then(|like| fs::metadata(like).ok()) else { return Ok(()) };
    rustix::fs::chown(path, Some(Uid::from_raw(owner.uid())), Some(Gid::from_raw(owner.gid())))
        .map_err(|error| error.to_string())
}

/// Finds the master key of the repository.
pub(super) fn master(storage: &Arc<dyn Storage>, credentials: &Credentials) -> Result<MasterKey, StoreError> {
    let opens = |master: &MasterKey| {
        let engine = backend::repository(storage, Part::Clusters)?;
        Ok::<bool, StoreError>(engine.open(&rustic_core::Credentials::Masterkey(master.clone())).is_ok())
    };
    // A cached key that cannot be read is only fatal when there is no password to fall back to.
    let cached = match credentials.cached() {
        Ok(cached) => cached,
        Err(_) if credentials.password.is_some() => None,
        Err(error) => return Err(error),
    };
    if let Some(master) = cached {
        if opens(&master)? {
            return Ok(master);
        }
        // The configuration is read here once more, so that storage that is down is not taken for a wrong key.
        storage.get("pg/config")?;
        if credentials.password.is_none() {
            return Err(StoreError::WrongPassword(storage.location()));
        }
    }
    let password = credentials.password()?;
    let engine = backend::repository(storage, Part::Clusters)?;
    let opened = engine.open(&rustic_core::Credentials::Password(password.expose().to_owned())).map_err(|error| {
        if error.is_incorrect_password() {
            return StoreError::WrongPassword(storage.location());
        }
        StoreError::Engine { doing: "open", place: storage.location(), why: said(&error) }
    })?;
    let master = opened.key();
    credentials.cache(&super::Master(master.clone()));
    Ok(master)
}
