//! `diff`: what a change of the lock file brings.

use std::collections::{BTreeMap, BTreeSet};

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::DiffArgs;
use crate::finding::{Finding, FindingKind};
use crate::lock::Lock;
use crate::policy::{FailOn, status};
use crate::scan::scan;
use crate::source;
use crate::work::Work;

/// Tells which packages came, went and changed, and which findings the newer file has that the older one had not.
///
/// # Errors
/// A file cannot be read, or the database cannot be used.
pub fn run(args: &DiffArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let load = |path| Lock::load(path).map_err(|error| Failure::usage(error.to_string()));
    let (old, new) = (load(&args.old)?, load(&args.new)?);
    work.subject = format!("{} to {}", old.path.display(), new.path.display());
    let source = source::open(work)?;
    let (before, after) = (versions(&old), versions(&new));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let empty = BTreeSet::new();
        let (from, to) = (before.get(name).unwrap_or(&empty), after.get(name).unwrap_or(&empty));
        if from == to {
            continue;
        }
        let list = |versions: &BTreeSet<String>| versions.iter().cloned().collect::<Vec<_>>().join(", ");
        let message = match (from.is_empty(), to.is_empty()) {
            (true, _) => "new",
            (_, true) => "gone",
            _ => "changed",
        };
        let record =
            Record::new(Kind::Metric, name, Status::Ok, message).field("from", list(from)).field("to", list(to));
        work.run.emit(&record);
    }
    let key = |finding: &Finding| (finding.id.clone(), finding.package.clone(), finding.version.clone());
    let known: BTreeSet<_> = scan(&old, &source.database, &|_, _| None).iter().map(key).collect();
    for finding in scan(&new, &source.database, &|_, _| None) {
        if finding.kind != FindingKind::Unscanned && !known.contains(&key(&finding)) {
            work.run.emit(&finding.record(status(&finding, FailOn::Active)));
        }
    }
    Ok(())
}

fn versions(lock: &Lock) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for locked in &lock.packages {
        all.entry(locked.package.name.to_string()).or_default().insert(locked.package.version.to_string());
    }
    all
}
