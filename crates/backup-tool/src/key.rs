//! (to come)
use maint_core::failure::Failure;

use crate::cli::NewPasswordArgs;
use crate::work::Work;
/// (to come)
///
/// # Errors
/// Always.
pub fn list(_work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::usage("not built yet"))
}
/// (to come)
///
/// # Errors
/// Always.
pub fn add(_args: &NewPasswordArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::usage("not built yet"))
}
/// (to come)
///
/// # Errors
/// Always.
pub fn rotate(_args: &NewPasswordArgs, _work: &mut Work<'_>) -> Result<(), Failure> {
    Err(Failure::usage("not built yet"))
}
