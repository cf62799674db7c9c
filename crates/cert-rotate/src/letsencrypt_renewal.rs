//! `letsencrypt-renewal`: renew what is due at ACME authorities.

use maint_core::failure::Failure;

use crate::cli::LetsencryptRenewalArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &LetsencryptRenewalArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
