//! What cargo's own cache of the registry's index knows: releases, when they came, whether they were taken back.
//!
//! It is read where cargo keeps it and never filled: cargo is the transport.

use jiff::Timestamp;
use maint_core::failure::Failure;
use semver::{Version, VersionReq};

/// A dependency of a release.
#[derive(Debug, Clone)]
pub struct Needs {
    /// The crate's name in the registry.
    pub package: String,
    /// The versions that will do.
    pub requirement: VersionReq,
    /// It is needed only for tests and examples.
    pub is_dev: bool,
    /// It is needed only with some feature.
    pub is_optional: bool,
}

/// A release of a crate.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// When it was published, where the index says so.
    pub published: Option<Timestamp>,
    /// It was taken back.
    pub yanked: bool,
    /// The oldest compiler that it is for.
    pub rust_version: Option<Version>,
    /// What it needs.
    pub needs: Vec<Needs>,
}

/// Cargo's cache of the index.
#[derive(Debug)]
pub struct Registry {}

impl Registry {
    /// Opens the cache of this user's cargo (`CARGO_HOME`).
    ///
    /// # Errors
    /// There is none.
    pub fn open() -> Result<Self, Failure> {
        Err(Failure::usage("not there yet"))
    }

    /// All releases of a crate, the oldest version first; `None` when the cache does not know the crate.
    ///
    /// # Errors
    /// Its entry cannot be read.
    pub fn releases(&self, name: &str) -> Result<Option<Vec<Release>>, Failure> {
        let _ = name;
        Ok(None)
    }
}
