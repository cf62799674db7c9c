//! `validate`: is it good, for whom, and if not, why.

use maint_core::failure::Failure;

use crate::cli::ValidateArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &ValidateArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
