//! `except`: findings that are let pass.

use maint_core::failure::Failure;

use crate::cli::ExceptAction;
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// It is not there yet.
pub fn run(action: &ExceptAction, work: &mut Work<'_>) -> Result<(), Failure> {
    let _ = (action, work);
    Err(Failure::usage("this command is not there yet"))
}
