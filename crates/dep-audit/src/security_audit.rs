//! `security-audit`: what is known to be bad in lock files.

use maint_core::failure::Failure;

use crate::cli::SecurityAuditArgs;
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// It is not there yet.
pub fn run(args: &SecurityAuditArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let _ = (args, work);
    Err(Failure::usage("this command is not there yet"))
}
