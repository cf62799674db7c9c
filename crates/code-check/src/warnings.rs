//! `warnings`: what the compiler warns about, counted, against a ratchet that only falls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maint_core::cli::state_directory;
use maint_core::failure::Failure;
use maint_core::lock::RunLock;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::{SECTION, WarningsArgs};
use crate::compiled::{Compiled, Outcome};
use crate::ratchet::{Ratchet, Verdict};
use crate::words::counted;
use crate::work::Work;
use crate::workspace::Workspace;

/// Compiles, counts, compares, and lowers the ratchet when asked to.
///
/// # Errors
/// cargo cannot run, or the ratchet cannot be read or written.
pub fn run(args: &WarningsArgs, workspace: &Workspace, work: &mut Work<'_>) -> Result<(), Failure> {
    work.settings.flag(&SECTION, "ratchet", args.ratchet.as_ref().map(|path| path.display().to_string()))?;
    let path: Option<PathBuf> = work.settings.optional(&SECTION, "ratchet")?;
    if args.update && path.is_none() {
        return Err(Failure::usage("--update needs a ratchet").hint("name one with --ratchet FILE"));
    }
    let ratchet = path.as_deref().map(Ratchet::read).transpose()?.flatten();
    if let (Some(path), None, false) = (&path, &ratchet, args.update) {
        return Err(Failure::usage(format!("there is no ratchet {}", path.display()))
            .hint("write it with --update, which takes today's numbers"));
    }
    let check = ["check", "--workspace", "--all-targets", "--keep-going"];
    let compiled = Compiled::run(work, workspace, &check, &[], Vec::new())?;
    compiled.report_broken(work);
    // What was written for the first time holds from now on.
    let judged = ratchet.clone().or_else(|| path.is_some().then(|| Ratchet::first(&counts(&compiled))));
    for name in compiled.with(Outcome::Compiled) {
        report(&compiled, name, judged.as_ref(), work);
    }
    if let Some(ratchet) = &ratchet {
        for name in ratchet.warnings.keys().filter(|name| !compiled.outcomes.contains_key(*name)) {
            let message = "the ratchet has a number for it, but it is not in the workspace; --update drops it";
            work.run.emit(&Record::new(Kind::Finding, name, Status::Warning, message).label("crate", name));
        }
    }
    match path {
        Some(path) if args.update => update(&path, &compiled, args.dry_run, work),
        _ => Ok(()),
    }
}

fn counts(compiled: &Compiled) -> BTreeMap<String, usize> {
    compiled.with(Outcome::Compiled).map(|name| (name.to_owned(), compiled.warnings(name).count())).collect()
}

/// Reports one crate that was compiled: each warning, and what they add up to.
fn report(compiled: &Compiled, name: &str, ratchet: Option<&Ratchet>, work: &Work<'_>) {
    let count = compiled.warnings(name).count();
    let warnings = counted(count, "warning");
    let (status, message) = match ratchet {
        None if count == 0 => (Status::Ok, warnings),
        None => (Status::Warning, warnings),
        Some(ratchet) => {
            let allowed = ratchet.allows(name);
            match ratchet.judge(name, count) {
                Verdict::Above => (Status::Critical, format!("{warnings}, the ratchet allows {allowed}")),
                Verdict::Held => (Status::Ok, format!("{warnings}, as many as the ratchet allows")),
                Verdict::Below => {
                    (Status::Ok, format!("{warnings}, fewer than the {allowed} of the ratchet: --update lowers it"))
                }
            }
        }
    };
    for found in compiled.warnings(name) {
        // Those that are let pass are for whoever reads all records.
        if status == Status::Ok {
            work.run.detail(&found.record(Status::Ok));
        } else {
            work.run.emit(&found.record(Status::Warning));
        }
    }
    let mut record = Record::new(Kind::Check, name, status, message).label("crate", name).field("warnings", count);
    if let Some(ratchet) = ratchet {
        record = record.field("ratchet", ratchet.allows(name)).limits("warnings", "", ratchet.allows(name).to_string());
    }
    work.run.emit(&record);
}

/// Lowers the ratchet, or writes the first one, and looks again.
fn update(path: &Path, compiled: &Compiled, dry_run: bool, work: &Work<'_>) -> Result<(), Failure> {
    let subject = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let step = |kind, status, message: String| Record::new(kind, subject.clone(), status, message);
    let whole = compiled.failure.is_none() && compiled.outcomes.values().all(|outcome| *outcome == Outcome::Compiled);
    if !whole {
        let message = "left as it is: not every crate compiles, so not every number is known";
        work.run.emit(&step(Kind::Step, Status::Skipped, message.to_owned()));
        return Ok(());
    }
    let counts = counts(compiled);
    let state = state_directory()?;
    let _lock = RunLock::acquire(&state, &format!("code-check ratchet {subject}")).map_err(Failure::from)?;
    // Somebody may have lowered it while we compiled; from that it must not rise.
    let before = Ratchet::read(path)?;
    let after = before.as_ref().map_or_else(|| Ratchet::first(&counts), |before| before.lowered(&counts));
    let allowed = |ratchet: &Ratchet| ratchet.warnings.values().sum::<usize>();
    let message = match &before {
        Some(before) if *before == after => {
            work.run.emit(&step(Kind::Step, Status::Ok, "nothing to lower".to_owned()));
            return Ok(());
        }
        Some(before) => format!("lowered from {} to {}", allowed(before), counted(allowed(&after), "warning")),
        None => format!("written for the first time, with {}", counted(allowed(&after), "warning")),
    };
    if dry_run {
        work.run.emit(&step(Kind::Plan, Status::Planned, format!("would be {message}")));
        return Ok(());
    }
    work.run.journal_in(&state)?;
    after.write(path)?;
    let (status, message) = if Ratchet::read(path)?.as_ref() == Some(&after) {
        (Status::Ok, message)
    } else {
        (Status::Ineffective, "written, but it reads otherwise".to_owned())
    };
    work.run.emit(&step(Kind::Step, status, message));
    Ok(())
}
