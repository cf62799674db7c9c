//! `ca`: an authority of our own.

use maint_core::failure::Failure;

use crate::cli::CaAction;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_action: &CaAction, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
