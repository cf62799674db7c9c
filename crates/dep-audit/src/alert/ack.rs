//! `alert ack`: somebody has seen it.

use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use super::state::{Ack, State};
use super::{lock, place};
use crate::cli::AlertAckArgs;
use crate::work::Work;

/// Notes it on every open finding of that name.
///
/// # Errors
/// There is none, or the state cannot be read or written.
pub(super) fn run(args: &AlertAckArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let path = place(args.state.as_ref())?;
    work.subject = path.display().to_string();
    let mut _lock = None;
    if !args.change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(lock(&path, work)?);
    }
    let missing = || Failure::usage(format!("nothing open in {} is called {}", path.display(), args.name));
    let mut state = State::load(&path)?.ok_or_else(missing)?;
    let mut count = 0_usize;
    for entry in state.entries.iter_mut().filter(|entry| entry.resolved.is_none()) {
        let finding = &entry.finding;
        let is_id = std::iter::once(&finding.id).chain(&finding.aliases).any(|id| id.eq_ignore_ascii_case(&args.name));
        if !is_id && finding.subject() != args.name && finding.package != args.name {
            continue;
        }
        count += 1;
        entry.ack = Some(Ack { by: args.by.clone(), at: work.now, note: args.note.clone() });
        let (kind, status) = if args.change.dry_run { (Kind::Plan, Status::Planned) } else { (Kind::Step, Status::Ok) };
        let message = format!("{} was seen by {}", args.name, args.by);
        work.run.emit(
            &Record::new(kind, entry.finding.subject(), status, message)
                .field("id", &entry.finding.id)
                .field("lockfile", entry.finding.lockfile.display().to_string()),
        );
    }
    if count == 0 {
        return Err(missing().hint("`dep-audit alert summary` has what is open"));
    }
    if args.change.dry_run { Ok(()) } else { state.save(&path) }
}
