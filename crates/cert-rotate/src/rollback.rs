//! `rollback`: an earlier generation, live and proven.

use maint_core::failure::Failure;

use crate::cli::RollbackArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &RollbackArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
