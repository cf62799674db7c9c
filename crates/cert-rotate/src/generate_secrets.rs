//! `generate-secrets`: make what is lacking.

use maint_core::failure::Failure;

use crate::cli::GenerateSecretsArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &GenerateSecretsArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
