//! `clean`: format, lints, and the measures of the code against limits.
//!
//! Three parts that do not need each other: one that cannot tell (no clippy is installed, a file does not parse) says so, and
//! the others are done all the same.

mod format;
mod limits;
mod lints;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::{CleanArgs, CleanPart, SECTION};
use crate::work::Work;
use crate::workspace::Workspace;

/// Does the parts that are asked for.
///
/// # Errors
/// The settings do not hold, or we were asked to stop.
pub fn run(args: &CleanArgs, workspace: &Workspace, work: &mut Work<'_>) -> Result<(), Failure> {
    for (key, value) in args.limits.by_key() {
        work.settings.flag(&SECTION, key, value)?;
    }
    let wanted = |part: CleanPart| args.only.is_empty() || args.only.contains(&part);
    if wanted(CleanPart::Limits) {
        limits::run(args, workspace, work)?;
    }
    if wanted(CleanPart::Format) {
        told("format", format::run(args, workspace, work), work)?;
    }
    if wanted(CleanPart::Lints) {
        told("lints", lints::run(args, workspace, work), work)?;
    }
    Ok(())
}

/// A part that could not tell is a record, and does not end the others.
fn told(part: &str, outcome: Result<(), Failure>, work: &Work<'_>) -> Result<(), Failure> {
    work.go_on()?;
    if let Err(failure) = outcome {
        let message = match failure.hint {
            Some(hint) => format!("{} ({hint})", failure.message),
            None => failure.message,
        };
        work.run.emit(&Record::new(Kind::Check, part, Status::Unknown, message).field("kind", part));
    }
    Ok(())
}
