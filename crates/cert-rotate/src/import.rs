//! `import`: take over certificates from another program.

use maint_core::failure::Failure;

use crate::cli::ImportAction;
use crate::work::Work;

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_action: &ImportAction, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::critical("this command is not there yet"))
}
