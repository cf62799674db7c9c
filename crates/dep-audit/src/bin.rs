//! `bin`: advisories in built programs.

use maint_core::failure::Failure;

use crate::cli::BinArgs;
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// It is not there yet.
pub fn run(args: &BinArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let _ = (args, work);
    Err(Failure::usage("this command is not there yet"))
}
