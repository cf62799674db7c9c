//! What opens the repository: a password, or the master keys cached in a file.

use std::path::Path;

use maint_core::failure::Failure;

/// What opens the repository.
#[derive(Debug)]
pub struct Credentials;

impl Credentials {
    /// Reads the files that are configured.
    ///
    /// # Errors
    /// None is, or one cannot be read safely.
    pub fn load(password: Option<&Path>, keys: Option<&Path>) -> Result<Self, Failure> {
        let _ = (password, keys);
        Ok(Credentials)
    }
}
