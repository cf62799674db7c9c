//! `pitr-recovery`: a cluster as it was at a moment.

use maint_core::failure::Failure;

use crate::cli::PitrRecoveryArgs;
use crate::recovery::recover::{Recovery, recover};
use crate::work::Work;

/// Restores the best backup before the point; its server replays to exactly there.
///
/// # Errors
/// See [`recover`].
pub fn run(args: &PitrRecoveryArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let wanted = args.target.wanted().map_err(Failure::usage)?;
    recover(&Recovery { wanted, backup: None, destination: &args.destination, change: &args.change }, work)
}
