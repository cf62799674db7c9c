//! `probe`: what servers show.

use maint_core::failure::Failure;

use crate::cli::ProbeArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &ProbeArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
