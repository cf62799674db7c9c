//! `convert`: between kinds of files.

use maint_core::failure::Failure;

use crate::cli::ConvertArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &ConvertArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
