//! `history`: the generations of a certificate.

use maint_core::failure::Failure;

use crate::cli::HistoryArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &HistoryArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
