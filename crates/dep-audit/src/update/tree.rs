//! Whether the working tree may be changed.
//!
//! A lock file with uncommitted changes is somebody's unfinished work, and manifests with such changes would bring their own
//! moves into every step. Whether a step is built or only audited makes no difference to that, so both refuse. A lock file
//! that git does not keep (ignored, or no repository at all) has no such state; the copy is its way back.

use std::path::Path;
use std::time::Duration;

use maint_core::failure::Failure;

use super::cargo;
use crate::work::Work;

/// Refuses when the lock file or a manifest has uncommitted changes.
///
/// # Errors
/// It has.
pub(crate) fn refuse_dirty(lockfile: &Path, work: &Work<'_>) -> Result<(), Failure> {
    let directory = lockfile.parent().unwrap_or(Path::new("/"));
    let in_repository = directory.ancestors().any(|above| above.join(".git").exists());
    if !in_repository {
        return Ok(());
    }
    let command = ["git", "status", "--porcelain", "--", "Cargo.lock", ":(glob)**/Cargo.toml"].map(Into::into);
    let said = cargo::run(work, directory, &command, Duration::from_secs(60), |_| Ok(()))?;
    if !said.ok {
        return Err(Failure::usage(format!("cannot ask git about {}: {}", lockfile.display(), said.tail)));
    }
    if said.tail.trim().is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("there are uncommitted changes in {}: {}", directory.display(), said.tail.trim()))
        .hint("commit them, so that what this run changes can be told apart"))
}
