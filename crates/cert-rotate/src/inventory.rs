//! `inventory`: every certificate once, and where it is used.

use maint_core::failure::Failure;

use crate::cli::InventoryArgs;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &InventoryArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
