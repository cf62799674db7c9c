//! `incremental-backup`: only files that changed are read; the result restores alone all the same.

use maint_core::failure::Failure;

use crate::backup::Kind;
use crate::cli::IncrementalArgs;
use crate::take::{Taking, take};
use crate::work::Work;

/// Takes an incremental backup.
///
/// # Errors
/// See [`take`]; or there is no backup that it could build on.
pub fn run(args: &IncrementalArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let taking = Taking {
        args: &args.backup,
        kind: Kind::Incremental,
        parent: args.parent.as_deref(),
        force_read: args.force_read,
        why: None,
    };
    take(&taking, work)
}
