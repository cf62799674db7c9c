//! `import certbot`: take over a directory of certbot.
//!
//! All generations are copied into ours, our `live/NAME` becomes what certbot's is, and then certbot's four links for each
//! certificate are pointed through it. Whatever names certbot's paths (web servers' configurations do) follows our rotations
//! from then on without a change. Both sides hold the same pair while the links are switched one by one, so that no reader
//! can see a mixture.
//!
//! Everything is looked at first, and one certificate that does not hold stops all before anything is touched: half a
//! takeover would leave two programs in charge. A takeover that was killed is finished by running it again.

mod certbot;
mod describe;
mod renewal;
mod take;

use std::path::Path;

use maint_core::cli::{ChangeArgs, open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::ImportAction;
use crate::work::Work;
use certbot::Lineage;

/// Takes over.
///
/// # Errors
/// The directory does not hold, a name is taken, or something cannot be written.
pub fn run(action: &ImportAction, work: &mut Work<'_>) -> Result<(), Failure> {
    let ImportAction::Certbot { directory, change } = action;
    from_certbot(directory, change, work)
}

fn from_certbot(directory: &Path, change: &ChangeArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let guard = open_guard(change, &mut work.settings, &work.cancel)?;
    work.subject = directory.display().to_string();
    // Our links are reached from certbot's directory: only a whole path leads there.
    let live = crate::live::Live::at(absolute(work.live()?.root())?);
    let directory = &absolute(directory)?;
    let look = || {
        let lineages = certbot::inspect(directory, &live)?;
        let plans = lineages.iter().map(|lineage| take::plan(lineage, &live)).collect::<Result<Vec<_>, Failure>>()?;
        Ok::<_, Failure>((lineages, plans))
    };
    let (mut lineages, mut plans) = look()?;
    let mut _lock = None;
    if !change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(live.lock()?);
        // Another run may have been at work until we had the lock.
        (lineages, plans) = look()?;
    }
    for (lineage, plan) in lineages.iter().zip(&plans) {
        let record = match guard.may_start() {
            _ if change.dry_run => take::planned(lineage, plan, &live),
            Ok(()) => take::carry_out(lineage, plan, &live, work)?,
            Err(stop) => Record::new(Kind::Step, &lineage.name, Status::Left, stop.reason()),
        };
        work.run.emit(&record);
        tell_configuration(lineage, work);
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<std::path::PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("cannot make a whole path of {}: {error}", path.display())))
}

fn tell_configuration(lineage: &Lineage, work: &Work<'_>) {
    let described = describe::describe(lineage);
    let record = Record::new(
        Kind::Finding,
        &lineage.name,
        Status::Ok,
        "the description for certs.toml is in this record's field `toml`; with -o json or ndjson it is shown",
    );
    work.run.emit(&record.field("code", "description").field("toml", described));
}
