//! Where a repository's objects lie: a directory, or an S3 bucket.
//!
//! An object is written whole, once, and never changed: it is either not there or complete and durable. Nothing here
//! takes silence for an answer: a directory that cannot be listed is an error, never an empty list, because what follows
//! from an empty list is that things get deleted.

use std::fmt;

use bytes::Bytes;

pub mod local;
#[cfg(feature = "s3")]
pub mod s3;

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its whole key: names joined by slashes, relative to the repository's root.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What became of an attempt to create an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there now, durably, and was not before.
    Created,
    /// There was an object of that key already; it was not touched.
    Exists,
}

/// How full the place is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What an unprivileged process may still write.
    pub free: u64,
    /// The whole size.
    pub total: u64,
}

/// Something that could not be done to an object.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such object.
    #[error("there is no {key} in {place}")]
    NotFound {
        /// The object's key.
        key: String,
        /// The repository.
        place: String,
    },
    /// The object is shorter than it should be.
    #[error("{key} in {place} is cut short: it ends before byte {end}")]
    Short {
        /// The object's key.
        key: String,
        /// The repository.
        place: String,
        /// Where the wanted range ends, in bytes from the start.
        end: u64,
    },
    /// A key that could lead outside of the repository.
    #[error("`{0}` is no key of an object: names without dots in front, joined by single slashes")]
    BadKey(String),
    /// The storage said no, or nothing.
    #[error("cannot {step} {key} in {place}: {source}")]
    Io {
        /// What was being done, as the words between "cannot" and the key.
        step: &'static str,
        /// The object's key, or the prefix that was listed.
        key: String,
        /// The repository.
        place: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StorageError {
    /// Whether the object is simply not there; every other error means that nobody knows.
    pub fn is_not_found(&self) -> bool {
        matches!(self, StorageError::NotFound { .. })
    }
}

/// A place for objects. Implementations block; they may be called from several threads.
pub trait Storage: Send + Sync + fmt::Debug {
    /// The place, as an operator would name it; without secrets.
    fn location(&self) -> String;

    /// Every object whose key begins with `prefix` and a slash (all with an empty one), sorted by key. A prefix below
    /// which nothing was ever written is an empty list; a root that is not there is an error.
    fn list(&self, prefix: &str) -> Result<Vec<Object>, StorageError>;

    /// The whole object.
    fn get(&self, key: &str) -> Result<Bytes, StorageError>;

    /// `length` bytes from `offset`, all of them or an error.
    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, StorageError>;

    /// The object's size in bytes; `None` when it is not there.
    fn size(&self, key: &str) -> Result<Option<u64>, StorageError>;

    /// Creates an object of the concatenated `parts`. When it returns, the object is whole and survives a crash; of two
    /// that create the same key at once, exactly one gets [`Put::Created`].
    fn put_new(&self, key: &str, parts: &[Bytes]) -> Result<Put, StorageError>;

    /// Removes an object; one that is not there is [`StorageError::NotFound`].
    fn remove(&self, key: &str) -> Result<(), StorageError>;

    /// Removes what runs that were killed have left half written below `prefix`. Only for whoever knows that nobody writes
    /// there now.
    fn sweep(&self, _prefix: &str) -> Result<(), StorageError> {
        Ok(())
    }

    /// How full the place is; `None` where it has no bound.
    fn space(&self) -> Result<Option<Space>, StorageError>;
}

/// Checks that a key stays inside of the repository and is no name that the storage uses for itself.
pub fn check_key(key: &str) -> Result<(), StorageError> {
    let good = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if key.split('/').all(good) { Ok(()) } else { Err(StorageError::BadKey(key.to_owned())) }
}
