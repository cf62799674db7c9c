//! Passwords: keys that each hold the master key, one object a password in each of the two restic repositories.

use rustic_core::repofile::KeyId;
use rustic_core::{Credentials, FileType, KeyOptions};

use super::{Part, Store, StoreError, backend};
use maint_core::secret::Secret;

/// A password's key, as far as it can be read without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordKey {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// When it was made, when that was noted.
    pub created: Option<String>,
    /// The host it was made on, when that was noted.
    pub hostname: Option<String>,
    /// Who made it, when that was noted.
    pub username: Option<String>,
}

impl Store {
    /// The keys of a part, sorted by id.
    ///
    /// # Errors
    /// They cannot be listed, or one cannot be read.
    pub fn password_keys(&self, part: Part) -> Result<Vec<PasswordKey>, StoreError> {
        let mut keys = Vec::new();
        for object in self.storage().list(&format!("{}/keys", part.directory()))? {
            let text = self.storage().get(&object.key)?;
            let about: serde_json::Value = serde_json::from_slice(&text).map_err(|error| StoreError::Sealed {
                key: object.key.clone(),
                place: self.storage().location(),
                why: error.to_string(),
            })?;
            let field = |name: &str| about.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
            let id = object.key.rsplit('/').next().unwrap_or_default().to_owned();
            keys.push(PasswordKey {
                id,
                created: field("created"),
                hostname: field("hostname"),
                username: field("username"),
            });
        }
        Ok(keys)
    }

    /// The key of a part that the password opens; `None` when it opens none. Takes half a second of computing for each key.
    ///
    /// # Errors
    /// The keys cannot be read, or the password opens one that holds another master key.
    pub fn key_of_password(&self, part: Part, password: &Secret) -> Result<Option<String>, StoreError> {
        let engine = backend::repository(self.storage(), part)?;
        let opened = match engine.open(&Credentials::Password(password.expose().to_owned())) {
            Ok(opened) => opened,
            Err(error) if error.is_incorrect_password() => return Ok(None),
            Err(error) => return Err(self.failed("open", &error)),
        };
        let same = opened.key().encrypt == self.master().0.encrypt
            && opened.key().mac.k == self.master().0.mac.k
            && opened.key().mac.r == self.master().0.mac.r;
        if !same {
            return Err(StoreError::WrongPassword(self.storage().location()));
        }
        Ok(opened.key_id().as_ref().map(|id| id.to_hex().as_str().to_owned()))
    }

    /// Adds a key for a password to a part.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add_password(&self, part: Part, password: &Secret) -> Result<(), StoreError> {
        let repository = self.repository(part)?;
        let mut options = KeyOptions::default();
        options.hostname = Some(rustix::system::uname().nodename().to_string_lossy().into_owned());
        options.with_created = true;
        repository.add_key(password.expose(), &options).map_err(|error| self.failed("add a key", &error))?;
        Ok(())
    }

    /// Removes a key of a part.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub fn remove_key(&self, part: Part, id: &str) -> Result<(), StoreError> {
        let parsed = id.parse::<KeyId>().map_err(|error| self.failed("read the id of a key", &error))?;
        Ok(self.storage().remove(&backend::key_of(part, FileType::Key, &parsed))?)
    }
}
