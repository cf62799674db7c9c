//! `revoke`: take a certificate back.

use maint_core::failure::Failure;

use crate::cli::RevokeArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &RevokeArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
