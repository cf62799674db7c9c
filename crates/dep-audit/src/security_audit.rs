//! `security-audit`: what is known to be bad in lock files.

use std::collections::BTreeMap;

use maint_core::failure::Failure;
use maint_core::output::Format;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::advisory::Collection;
use crate::audit::audit;
use crate::baseline::Baseline;
use crate::cli::{SECTION, SecurityAuditArgs};
use crate::exceptions::{Exceptions, Rules};
use crate::finding::{Finding, FindingKind, Tier};
use crate::formats;
use crate::policy::{FailOn, status};
use crate::report::{Report, files};
use crate::work::Work;

/// Looks at every lock file, and tells of each what was found, what was only locked, and what could not be looked at.
///
/// # Errors
/// The database cannot be used, or there is nothing to look at.
pub fn run(args: &SecurityAuditArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    work.settings.flag(&SECTION, "fail_on", args.fail_on.clone())?;
    let fail_on: String = work.settings.get(&SECTION, "fail_on")?;
    let fail_on: FailOn = fail_on.parse().map_err(Failure::usage)?;
    let mut report = audit(&args.input, args.trust, work)?;
    if args.toolchain {
        toolchain(&mut report)?;
    }
    if let Some(exceptions) = Exceptions::find(work)? {
        exceptions.apply(&mut report, Rules::of(work)?);
        work.run.result("exceptions", exceptions.path.display().to_string());
    }
    match &args.baseline {
        Some(path) => Baseline::load(path)?.mark(&mut report),
        None if fail_on == FailOn::New => {
            return Err(Failure::usage("nothing is new beside nothing").hint(
                "name an earlier run's output with --baseline FILE (`dep-audit security-audit -o ndjson >FILE`)",
            ));
        }
        None => {}
    }
    work.subject = match report.locks.as_slice() {
        [one] if report.unread.is_empty() => one.path.display().to_string(),
        _ => files(&report),
    };
    stamp(&report, work);
    if let Format::Document(form) = work.format {
        work.run.document(&formats::render(form, &report, fail_on)?);
    }
    for finding in &report.findings {
        work.run.emit(&finding.record(status(finding, fail_on)));
    }
    for unread in &report.unread {
        let subject = unread.path.display().to_string();
        work.run.emit(&Record::new(Kind::Check, subject, Status::Unknown, &unread.why));
    }
    for lock in &report.locks {
        let of: Vec<&Finding> = report.findings.iter().filter(|finding| finding.lockfile == lock.path).collect();
        work.run.emit(&summed(lock, &of));
    }
    for note in &report.notes {
        work.run.emit(&Record::new(Kind::Check, "evidence", Status::Warning, note));
    }
    Ok(())
}

/// Adds what is known of the compiler and cargo that are used here.
fn toolchain(report: &mut Report) -> Result<(), Failure> {
    let said = std::process::Command::new("rustc").arg("--version").output();
    let said = said.map_err(|error| Failure::usage(format!("cannot run rustc: {error}")))?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = text.split_whitespace().nth(1).and_then(|version| semver::Version::parse(version).ok());
    let version =
        version.ok_or_else(|| Failure::usage(format!("rustc does not tell its version: {:?}", text.trim())))?;
    let database = &report.database;
    let parts: std::collections::BTreeSet<&str> = database
        .advisories()
        .iter()
        .filter(|advisory| advisory.collection == Collection::Rust)
        .map(|advisory| advisory.package.as_str())
        .collect();
    let mut found = Vec::new();
    for part in parts {
        for advisory in database.of_toolchain(part, &version) {
            found.push(crate::scan::of_toolchain(part, &version, advisory));
        }
    }
    report.findings.append(&mut found);
    Ok(())
}

/// What everything was judged by, in the summary of every run.
fn stamp(report: &Report, work: &Work<'_>) {
    work.run.result("database", &report.stamp);
    work.run.result("database_age_seconds", report.age.as_secs());
    work.run.result("yanked_unknown", report.unknown_yanked);
    work.run.result("excepted", report.findings.iter().filter(|finding| finding.is_excepted()).count());
}

/// The counts of one lock file: together they are all that the advisories say of it.
fn summed(lock: &crate::lock::Lock, findings: &[&Finding]) -> Record {
    let advisories =
        |tier: Option<Tier>| findings.iter().filter(|finding| !finding.id.is_empty() && (finding.tier == tier)).count();
    let mut kinds: BTreeMap<FindingKind, usize> = BTreeMap::new();
    for finding in findings {
        *kinds.entry(finding.kind).or_default() += 1;
    }
    let of = |kind| kinds.get(&kind).copied().unwrap_or(0);
    let is_placed = findings.iter().any(|finding| finding.tier.is_some());
    let (active, gated, lock_only, anywhere) = (
        advisories(Some(Tier::Active)),
        advisories(Some(Tier::Gated)),
        advisories(Some(Tier::LockOnly)),
        advisories(None),
    );
    let total = active + gated + lock_only + anywhere;
    let mut message = match total {
        0 => format!("{} packages, no advisory speaks of them", lock.packages.len()),
        _ if is_placed => {
            format!(
                "{total} advisories: {active} for what is built, {gated} behind a feature or for another platform, {lock_only} in the lock file alone"
            )
        }
        _ => format!("{total} advisories"),
    };
    for (kind, what) in [(FindingKind::Yanked, "taken back"), (FindingKind::Unscanned, "from elsewhere, not looked at")]
    {
        if of(kind) > 0 {
            message.push_str(&format!("; {} {what}", of(kind)));
        }
    }
    let excepted = findings.iter().filter(|finding| finding.is_excepted()).count();
    if excepted > 0 {
        message.push_str(&format!("; {excepted} let pass by somebody"));
    }
    // The findings have a status each; this only adds them up.
    Record::new(Kind::Metric, lock.path.display().to_string(), Status::Ok, message)
        .field("packages", lock.packages.len())
        .field("advisories", total)
        .field("active", active)
        .field("gated", gated)
        .field("lock_only", lock_only)
        .field("not_placed", anywhere)
        .field("vulnerabilities", of(FindingKind::Vulnerability))
        .field("unsound", of(FindingKind::Unsound))
        .field("unmaintained", of(FindingKind::Unmaintained))
        .field("notices", of(FindingKind::Notice))
        .field("yanked", of(FindingKind::Yanked))
        .field("unscanned", of(FindingKind::Unscanned))
        .field("excepted", excepted)
}
