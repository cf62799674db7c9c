//! `secrets`: rotate and check.

use maint_core::failure::Failure;

use crate::cli::SecretsAction;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_action: &SecretsAction, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
