//! `sbom`: a bill of materials.

use maint_core::failure::Failure;

use crate::cli::SbomArgs;
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// It is not there yet.
pub fn run(args: &SbomArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let _ = (args, work);
    Err(Failure::usage("this command is not there yet"))
}
