//! `check-renewal`: which certificates are due.

use maint_core::failure::Failure;

use crate::cli::CheckRenewalArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &CheckRenewalArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
