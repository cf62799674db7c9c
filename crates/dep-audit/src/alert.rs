//! `alert`: what is new, has changed or is gone, told once.

use maint_core::failure::Failure;

use crate::cli::AlertAction;
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// It is not there yet.
pub fn run(action: &AlertAction, work: &mut Work<'_>) -> Result<(), Failure> {
    let _ = (action, work);
    Err(Failure::usage("this command is not there yet"))
}
