//! `rotate`: a new certificate, live and proven.

use maint_core::failure::Failure;

use crate::cli::RotateArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &RotateArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
