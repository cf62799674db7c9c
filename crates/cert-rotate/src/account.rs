//! `account`: the account at an ACME authority.

use maint_core::failure::Failure;

use crate::cli::AccountAction;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_action: &AccountAction, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
