//! `update`: the fewest moves that mend what is vulnerable.

use maint_core::failure::Failure;

use crate::cli::UpdateArgs;
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// It is not there yet.
pub fn run(args: &UpdateArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let _ = (args, work);
    Err(Failure::usage("this command is not there yet"))
}
