//! `unused`: what nothing uses.

use maint_core::failure::Failure;

use crate::cli::UnusedArgs;
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// It is not there yet.
pub fn run(args: &UnusedArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let _ = (args, work);
    Err(Failure::usage("this command is not there yet"))
}
