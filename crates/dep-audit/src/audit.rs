//! An audit: lock files against advisories, by how far each package is used.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use maint_core::failure::Failure;
use semver::Version;

use crate::cli::InputArgs;
use crate::finding::{Finding, FindingKind};
use crate::graph::Tiers;
use crate::inputs::{locks, nearest};
use crate::lock::{Lock, LockError};
use crate::registry::Registry;
use crate::report::{Report, Unread};
use crate::scan::scan;
use crate::source::{self, Source};
use crate::work::Work;

/// Looks at everything that was named. Cargo is asked how far packages are used only of the workspace that the user stands
/// in, and with `trust` of every other: it obeys the configuration that it finds there.
///
/// # Errors
/// The database cannot be used, or there is nothing to look at.
pub fn audit(input: &InputArgs, trust: bool, work: &Work<'_>) -> Result<Report, Failure> {
    judge(locks(input)?, trust, work)
}

/// The same of what was read already.
///
/// # Errors
/// The database cannot be used.
pub(crate) fn judge(read: Vec<Result<Lock, LockError>>, trust: bool, work: &Work<'_>) -> Result<Report, Failure> {
    let Source { database, age, warning } = source::open(work)?;
    let stamp = database.stamp.clone();
    let mut report = Report {
        database,
        stamp,
        age,
        locks: Vec::new(),
        unread: Vec::new(),
        findings: Vec::new(),
        notes: warning.into_iter().collect(),
        unknown_yanked: 0,
        tiers: BTreeMap::new(),
    };
    let registry = Registry::open();
    if let Err(failure) = &registry {
        report.notes.push(format!("which versions were taken back is not known: {}", failure.message));
    }
    let releases = Releases { registry: registry.ok(), known: RefCell::default() };
    let own = nearest().ok().and_then(|path| path.canonicalize().ok());
    for read in read {
        if work.cancel.is_cancelled() {
            return Ok(report);
        }
        match read {
            // Cargo locks at least the package that it is for; a file without any tells nothing.
            Ok(lock) if lock.packages.is_empty() => {
                report.unread.push(Unread { path: lock.path, why: "there is no package in it".to_owned() });
            }
            Ok(lock) => {
                let mut findings = scan(&lock, &report.database, &|name, version| releases.is_yanked(name, version));
                let is_own = lock.path.canonicalize().ok().is_some_and(|path| Some(path) == own);
                if trust || is_own {
                    place(&lock, &mut findings, trust, &mut report);
                }
                report.findings.append(&mut findings);
                report.locks.push(lock);
            }
            Err(error) => report.unread.push(Unread { path: path_of(&error), why: error.to_string() }),
        }
    }
    report.unknown_yanked = releases.known.borrow().values().filter(|known| known.is_none()).count();
    report.findings.sort_by_key(order);
    Ok(report)
}

fn path_of(error: &LockError) -> PathBuf {
    match error {
        LockError::Read { path, .. } | LockError::Format { path, .. } => path.clone(),
    }
}

/// The worst first: what is built before what is not, by severity from the highest, then by name.
fn order(finding: &Finding) -> impl Ord + use<> {
    (
        finding.kind,
        finding.tier,
        std::cmp::Reverse(finding.severity),
        finding.package.clone(),
        finding.version.clone(),
        finding.id.clone(),
        finding.lockfile.clone(),
    )
}

/// What cargo's cache knows of the crates of a run, each read once.
struct Releases {
    registry: Option<Registry>,
    known: RefCell<HashMap<String, Option<Vec<Version>>>>,
}

impl Releases {
    /// `None` for a crate that the cache does not know.
    fn is_yanked(&self, name: &str, version: &Version) -> Option<bool> {
        let mut known = self.known.borrow_mut();
        let yanked = known.entry(name.to_owned()).or_insert_with(|| self.registry.as_ref()?.yanked(name).ok()?);
        yanked.as_ref().map(|yanked| yanked.contains(version))
    }
}

/// Tells findings how far their packages are used.
fn place(lock: &Lock, findings: &mut [Finding], trust: bool, report: &mut Report) {
    let manifest = lock.path.with_file_name("Cargo.toml");
    if findings.iter().all(|finding| finding.kind == FindingKind::Unscanned) || lock.path == Path::new("-") {
        return;
    }
    let tiers = match Tiers::of(&manifest) {
        Ok(tiers) => tiers,
        Err(failure) => {
            let why = format!("how far packages are used is not known: {}", failure.message);
            // Who asked for it has no answer; who did not is told.
            if trust {
                report.unread.push(Unread { path: lock.path.clone(), why });
            } else {
                report.notes.push(why);
            }
            return;
        }
    };
    for finding in findings.iter_mut() {
        let (tier, members) = tiers.tell(&finding.package, &finding.version);
        finding.tier = Some(tier);
        finding.members = members;
    }
    report.tiers.insert(lock.path.clone(), tiers);
}
