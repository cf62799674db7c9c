//! `pin`: keep a backup whatever the rules say, or no more.

use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::PinArgs;
use crate::info::find;
use crate::work::Work;

/// Pins or unpins, and looks again.
///
/// # Errors
/// There is no such backup, or the repository cannot be written.
pub fn run(args: &PinArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let store = work.store()?;
    let (part, stored) = find(&store, &args.backup.backup)?;
    let label = stored.label().to_owned();
    work.subject.clone_from(&label);
    let (pinned, will) =
        if args.remove { (false, "the rules decide on it again") } else { (true, "it is kept whatever the rules say") };
    let record =
        |kind, status, message: String| Record::new(kind, label.clone(), status, message).field("pinned", pinned);
    if stored.pinned == pinned {
        work.run.emit(&record(Kind::Step, Status::Ok, format!("nothing to do: {will} already")));
        return Ok(());
    }
    if args.change.dry_run {
        work.run.emit(&record(Kind::Plan, Status::Planned, will.to_owned()));
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    let _lock = store.lock("write")?;
    store.pin(part, &stored.id, pinned)?;
    let (_, after) = find(&store, &label)?;
    let (status, message) = if after.pinned == pinned {
        (Status::Ok, will.to_owned())
    } else {
        (Status::Ineffective, "written, but it does not show".to_owned())
    };
    work.run.emit(&record(Kind::Step, status, message));
    Ok(())
}
