//! `capacity`: how much load goes.

mod fit;
mod probe;
mod search;

use maint_core::failure::Failure;

use crate::cli::{CapacityAction, CapacityArgs};
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// The points or the target do not hold.
pub fn run(args: &CapacityArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    match (&args.action, &args.url) {
        (Some(CapacityAction::Fit(args)), _) => fit::run(args, work),
        (None, Some(url)) => search::run(url, args, work),
        (None, None) => Err(Failure::usage("capacity of what?").hint("give a URL, or `fit FILE.csv`")),
    }
}
