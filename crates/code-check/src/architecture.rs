//! `architecture`: the graph of crates and of modules, circles in it, sizes, and what has changed since the last time.
//!
//! This is what a review looks at once a quarter. Numbers are metrics and no judgement; a circle is something to look at, a
//! warning as long as the snapshot that this run is compared with does not know it.

mod circles;
mod modules;
mod report;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::cli::state_directory;
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::state_dir;
use maint_core::status::Status;
use sha2::{Digest as _, Sha256};

use crate::cli::ArchitectureArgs;
use crate::measure::{Measured, measure};
use crate::source::{Exclude, sources};
use crate::syntax::on_large_stack;
use crate::words::counted;
use crate::work::Work;
use crate::workspace::{Member, Workspace};
use modules::Modules;
use snapshot::{Crate, Snapshot};

/// Looks, compares with the snapshot before, and keeps this one.
///
/// # Errors
/// The snapshot cannot be read or written, the report cannot be written, or we were asked to stop.
pub fn run(args: &ArchitectureArgs, workspace: &Workspace, work: &mut Work<'_>) -> Result<(), Failure> {
    let place = match &args.baseline {
        Some(path) => path.clone(),
        None => state_file(&workspace.root)?,
    };
    let before = Snapshot::read(&place)?;
    if before.is_none() && args.baseline.is_some() && !args.update {
        return Err(Failure::usage(format!("there is no baseline {}", place.display())).hint("write it with --update"));
    }
    let found = sources(workspace, &Exclude::load(&args.exclude, workspace, work)?);
    let mut unread = found.problems;
    let cancel = work.cancel.clone();
    let (measured, unmeasured) = on_large_stack(|| measure(found.files, || cancel.is_cancelled()))?;
    work.go_on()?;
    unread.extend(unmeasured.iter().map(|file| format!("{}:{} {}", file.source.shown, file.why.line, file.why.why)));
    let modules = Modules::of(&measured);
    let after = snapshot(workspace, &measured, &modules);
    report_records(&after, before.as_ref(), &modules, work);
    for why in &unread {
        let record = Record::new(Kind::Finding, workspace.root.display().to_string(), Status::Unknown, why);
        work.run.emit(&record.field("kind", "unread"));
    }
    if let Some(path) = &args.report {
        let text = report::markdown(&after, before.as_ref(), &modules);
        durable::replace(path, text.as_bytes(), 0o644).map_err(|error| Failure::critical(error.to_string()))?;
    }
    keep(&after, &place, args, unread.is_empty(), work)
}

/// Where the last run of a workspace is kept.
fn state_file(root: &Path) -> Result<PathBuf, Failure> {
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let name = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Ok(state_directory()?.join("code-check").join(format!("architecture-{name:016x}.json")))
}

fn snapshot(workspace: &Workspace, measured: &[Measured], modules: &Modules) -> Snapshot {
    let crates: BTreeMap<String, Crate> =
        workspace.members.iter().map(|member| (member.name.clone(), one_crate(member, measured, modules))).collect();
    let mut circles: BTreeSet<Vec<String>> = modules.circles().into_iter().collect();
    let needs = |member: &Member| (member.name.clone(), member.needs.iter().map(|need| need.name.clone()).collect());
    circles.extend(circles::circles(&workspace.members.iter().map(needs).collect()));
    Snapshot { version: snapshot::VERSION, time: Timestamp::now(), crates, circles }
}

fn one_crate(member: &Member, measured: &[Measured], modules: &Modules) -> Crate {
    let files: Vec<&Measured> = measured.iter().filter(|file| file.source.krate == member.name).collect();
    let sum = |measure: fn(&Measured) -> usize| files.iter().map(|file| measure(file)).sum();
    Crate {
        files: files.len(),
        modules: modules.all.values().filter(|module| module.krate == member.name).count(),
        code_lines: sum(|file| file.code_lines),
        test_code_lines: sum(|file| file.test_code_lines),
        public_items: sum(|file| file.public_items),
        functions: sum(|file| file.functions.len()),
        unsafe_places: sum(|file| file.unsafes.len()),
        needs: member.needs.iter().filter(|need| !need.tests_only).map(|need| need.name.clone()).collect(),
    }
}

fn report_records(after: &Snapshot, before: Option<&Snapshot>, modules: &Modules, work: &Work<'_>) {
    for (name, krate) in &after.crates {
        let old = before.and_then(|before| before.crates.get(name));
        let message = match old {
            Some(old) => old.difference(krate),
            None => String::new(),
        };
        let mut record = Record::new(Kind::Metric, name, Status::Ok, message).label("crate", name);
        for (field, value) in krate.numbers() {
            record = record.field(field, value);
        }
        record = record.field("fan_in", after.fan_in(name)).field("fan_out", krate.needs.len());
        if let Some(old) = old {
            for ((field, now), (_, then)) in krate.numbers().into_iter().zip(old.numbers()) {
                record = record.field(&format!("{field}_change"), now as i64 - then as i64);
            }
        }
        work.run.emit(&record);
    }
    for (name, module) in &modules.all {
        let record = Record::new(Kind::Metric, name, Status::Ok, "")
            .label("crate", &module.krate)
            .field("code_lines", module.code_lines)
            .field("public_items", module.public_items)
            .field("fan_in", modules.fan_in(name))
            .field("fan_out", modules.uses.get(name).map_or(0, BTreeSet::len));
        work.run.detail(&record);
    }
    let mut unknown = 0;
    for circle in &after.circles {
        let known = before.is_some_and(|before| before.circles.contains(circle));
        unknown += usize::from(!known);
        let (status, word) = if known { (Status::Ok, "a known circle") } else { (Status::Warning, "a circle") };
        let subject = circle.first().cloned().unwrap_or_default();
        let message = format!("{word}: {} need each other", circle.join(", "));
        work.run.emit(
            &Record::new(Kind::Finding, subject, status, message).field("kind", "circle").field("members", circle),
        );
    }
    for change in before.map(|before| before.changes(after)).unwrap_or_default() {
        let record = Record::new(Kind::Finding, change.subject, Status::Ok, change.message);
        work.run.emit(&record.field("kind", "change"));
    }
    let lines: usize = after.crates.values().map(|krate| krate.code_lines).sum();
    let compared = before.map(|before| format!("; compared with {}", before.time.strftime("%Y-%m-%d %H:%M UTC")));
    let sizes = [
        counted(after.crates.len(), "crate"),
        counted(modules.all.len(), "module"),
        counted(lines, "line") + " of code",
        counted(after.circles.len(), "circle"),
    ];
    let message = sizes.join(", ") + &compared.unwrap_or_default();
    let status = if unknown == 0 { Status::Ok } else { Status::Warning };
    let record = Record::new(Kind::Check, work.subject.clone(), status, message);
    work.run.emit(&record.field("circles", after.circles.len()).field("new_circles", unknown));
}

/// Keeps the snapshot for the next run: a baseline only when asked to, and never one that does not know every file.
fn keep(after: &Snapshot, place: &Path, args: &ArchitectureArgs, whole: bool, work: &Work<'_>) -> Result<(), Failure> {
    let shown = place.display().to_string();
    if args.baseline.is_some() && !args.update {
        return Ok(());
    }
    if !whole {
        let message = "the snapshot was not kept: not every file could be looked at";
        work.run.emit(&Record::new(Kind::Step, shown, Status::Skipped, message));
        return Ok(());
    }
    if args.update {
        work.run.journal_in(&state_directory()?)?;
        after.write(place, 0o644)?;
        let good = Snapshot::read(place)?.as_ref() == Some(after);
        let (status, message) = if good {
            (Status::Ok, "the baseline was written")
        } else {
            (Status::Ineffective, "written, but it reads otherwise")
        };
        work.run.emit(&Record::new(Kind::Step, shown, status, message));
        return Ok(());
    }
    if let Some(directory) = place.parent() {
        state_dir::ensure(directory).map_err(|error| Failure::usage(error.to_string()))?;
    }
    after.write(place, 0o600)
}
