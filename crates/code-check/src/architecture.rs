//! `architecture`.

use maint_core::failure::Failure;

use crate::cli::ArchitectureArgs;
use crate::work::Work;
use crate::workspace::Workspace;

/// Runs it.
///
/// # Errors
/// It is not there yet.
pub fn run(_args: &ArchitectureArgs, _workspace: &Workspace, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::usage("not built yet"))
}
