//! (to come)
use crate::work::Work;
use maint_core::failure::Failure;
/// (to come)
///
/// # Errors
/// Always.
pub fn run(_args: &crate::cli::ConfigBackupArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::usage("not built yet"))
}
