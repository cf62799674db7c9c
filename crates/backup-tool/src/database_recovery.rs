//! `database-recovery`: a backup, and all that was archived since.

use maint_core::failure::Failure;

use crate::cli::DatabaseRecoveryArgs;
use crate::recovery::recover::{Recovery, recover};
use crate::recovery::target::{TimelineChoice, Wanted};
use crate::work::Work;

/// Restores a backup; its server replays to the end of the archive, or with `--immediate` only until it is consistent.
///
/// # Errors
/// See [`recover`].
pub fn run(args: &DatabaseRecoveryArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let timeline: TimelineChoice = args.timeline.parse().map_err(|why| Failure::usage(format!("--timeline: {why}")))?;
    let wanted = if args.immediate { Wanted::immediate() } else { Wanted::latest(timeline) };
    let named = Some(args.backup.backup.as_str()).filter(|name| *name != "latest");
    recover(&Recovery { wanted, backup: named, destination: &args.destination, change: &args.change }, work)
}
