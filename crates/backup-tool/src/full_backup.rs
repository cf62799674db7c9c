//! `full-backup`: every file of a cluster is read.

use maint_core::failure::Failure;

use crate::backup::Kind;
use crate::cli::ClusterBackupArgs;
use crate::take::{Taking, take};
use crate::work::Work;

/// Takes a full backup.
///
/// # Errors
/// See [`take`].
pub fn run(args: &ClusterBackupArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    take(&Taking { args, kind: Kind::Full, parent: None, force_read: false, why: None }, work)
}
