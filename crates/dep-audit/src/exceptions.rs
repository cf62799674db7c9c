//! Exceptions: findings that somebody lets pass, why, and until when.

use std::path::Path;

use jiff::civil::Date;
use maint_core::failure::Failure;

use crate::db::Database;
use crate::finding::Finding;

/// All exceptions of a file.
#[derive(Debug, Default)]
pub struct Exceptions {}

impl Exceptions {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or does not hold.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let _ = path;
        Err(Failure::usage("not there yet"))
    }

    /// Marks what is excepted today, and adds a finding for each exception that has expired, fits nothing, or names no
    /// advisory.
    pub fn apply(&self, findings: &mut Vec<Finding>, database: &Database, today: Date) {
        let _ = (findings, database, today);
    }
}
