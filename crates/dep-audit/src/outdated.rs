//! `outdated`: what is behind.

use maint_core::failure::Failure;

use crate::cli::OutdatedArgs;
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// It is not there yet.
pub fn run(args: &OutdatedArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let _ = (args, work);
    Err(Failure::usage("this command is not there yet"))
}
