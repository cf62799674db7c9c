//! `bin`: what programs are made of, by what they carry with them.
//!
//! A program that `cargo auditable` built has the whole list in its section `.dep-v0`. Of any other the messages of its
//! panics name the crates that can panic: about half of them. What that shows is there, but what it does not show may be
//! there all the same, so such a program never passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use auditable_info::{Error as AuditableError, Limits};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use rustsec::cargo_lock::{Package, SourceId};
use semver::Version;

use crate::audit::judge;
use crate::cli::{BinArgs, SECTION};
use crate::exceptions::{Exceptions, Rules};
use crate::finding::{Finding, Tier};
use crate::lock::{Lock, LockError, Locked};
use crate::policy::{FailOn, status};
use crate::work::Work;

/// Where an advisory's crates come from, as a lock file writes it.
const REGISTRY: &str = concat!("registry+https://github.com/rust-lang/crates", ".io-index");

/// How a program's list of packages was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// The build wrote it down.
    Auditable,
    /// From the messages of panics.
    Panics,
}

/// What a program is made of.
struct Program {
    evidence: Evidence,
    /// As a lock file would have it.
    lock: Lock,
    /// Packages that only helped to build it.
    build_only: Vec<(String, Version)>,
    /// Packages from elsewhere, and from what kind of place.
    elsewhere: Vec<(String, Version, String)>,
}

/// Looks at every program that is named.
///
/// # Errors
/// The database cannot be used.
pub fn run(args: &BinArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    work.settings.flag(&SECTION, "fail_on", args.fail_on.clone())?;
    let fail_on: String = work.settings.get(&SECTION, "fail_on")?;
    let fail_on: FailOn = fail_on.parse().map_err(Failure::usage)?;
    if fail_on == FailOn::New {
        return Err(Failure::usage("`new` is for lock files: there is no baseline of programs"));
    }
    let mut programs: BTreeMap<PathBuf, Program> = BTreeMap::new();
    let mut locks = Vec::new();
    for path in &args.files {
        match program(path) {
            Ok(program) => {
                locks.push(Ok(program.lock.clone()));
                programs.insert(path.clone(), program);
            }
            Err(error) => locks.push(Err(error)),
        }
    }
    let mut report = judge(locks, false, work)?;
    for finding in &mut report.findings {
        let Some(program) = programs.get(&finding.lockfile) else { continue };
        let is_build_only = program
            .build_only
            .iter()
            .any(|(name, version)| *name == finding.package && version.to_string() == finding.version);
        finding.tier = Some(if is_build_only { Tier::Gated } else { Tier::Active });
    }
    if let Some(exceptions) = Exceptions::find(work)? {
        exceptions.mark(&mut report, Rules::of(work)?);
    }
    for (path, program) in &programs {
        let from = |(name, version, place): &(String, Version, String)| {
            crate::scan::unscanned(path, name, version, &format!("it comes from {place}, of which no advisory speaks"))
        };
        report.findings.extend(program.elsewhere.iter().map(from));
    }
    work.subject = match args.files.as_slice() {
        [one] => one.display().to_string(),
        more => format!("{} programs", more.len()),
    };
    work.run.result("database", &report.stamp);
    work.run.result("database_age_seconds", report.age.as_secs());
    work.run.result("yanked_unknown", report.unknown_yanked);
    for finding in &report.findings {
        work.run.emit(&finding.record(status(finding, fail_on)));
    }
    for unread in &report.unread {
        work.run.emit(&Record::new(Kind::Check, unread.path.display().to_string(), Status::Unknown, &unread.why));
    }
    for (path, program) in &programs {
        let of: Vec<&Finding> = report.findings.iter().filter(|finding| finding.lockfile == *path).collect();
        work.run.emit(&summed(path, program, &of));
    }
    for note in &report.notes {
        work.run.emit(&Record::new(Kind::Check, "evidence", Status::Warning, note));
    }
    Ok(())
}

fn program(path: &Path) -> Result<Program, LockError> {
    let format = |why: String| LockError::Format { path: path.to_owned(), why };
    let bytes = std::fs::read(path).map_err(|source| LockError::Read { path: path.to_owned(), source })?;
    match auditable_info::audit_info_from_slice(&bytes, Limits::default().decompressed_json_size) {
        Ok(info) => auditable(path, &info).map_err(format),
        Err(AuditableError::NoAuditData) => panics(path, &bytes),
        Err(error) => Err(format(format!("its list of packages cannot be read: {error}"))),
    }
}

fn auditable(path: &Path, info: &auditable_serde::VersionInfo) -> Result<Program, String> {
    use auditable_serde::{DependencyKind, Source};
    let registry = SourceId::from_url(REGISTRY).map_err(|error| error.to_string())?;
    let mut program = Program {
        evidence: Evidence::Auditable,
        lock: Lock { path: path.to_owned(), packages: Vec::new() },
        build_only: Vec::new(),
        elsewhere: Vec::new(),
    };
    for package in &info.packages {
        let source = match &package.source {
            Source::CratesIo => Some(registry.clone()),
            Source::Local => None,
            other => {
                let place = match other {
                    Source::Registry => "another registry".to_owned(),
                    other => String::from(other.clone()),
                };
                program.elsewhere.push((package.name.clone(), package.version.clone(), place));
                continue;
            }
        };
        program.lock.packages.push(locked(&package.name, &package.version, source)?);
        if package.kind == DependencyKind::Build {
            program.build_only.push((package.name.clone(), package.version.clone()));
        }
    }
    Ok(program)
}

fn panics(path: &Path, bytes: &[u8]) -> Result<Program, LockError> {
    let format = |why: String| LockError::Format { path: path.to_owned(), why };
    let found = quitters::versions(bytes);
    if found.is_empty() {
        return Err(format(
            "nothing in it tells what it is made of; `cargo auditable build` writes that into a program".to_owned(),
        ));
    }
    let registry = SourceId::from_url(REGISTRY).map_err(|error| format(error.to_string()))?;
    let packages: Result<Vec<Locked>, String> =
        found.iter().map(|(name, version)| locked(name, version, Some(registry.clone()))).collect();
    Ok(Program {
        evidence: Evidence::Panics,
        lock: Lock { path: path.to_owned(), packages: packages.map_err(format)? },
        build_only: Vec::new(),
        elsewhere: Vec::new(),
    })
}

fn locked(name: &str, version: &Version, source: Option<SourceId>) -> Result<Locked, String> {
    let name = name.parse().map_err(|error| format!("{name:?} is no name of a package: {error}"))?;
    let package =
        Package { name, version: version.clone(), source, checksum: None, dependencies: Vec::new(), replace: None };
    Ok(Locked { package, line: 0 })
}

fn summed(path: &Path, program: &Program, findings: &[&Finding]) -> Record {
    let packages = program.lock.packages.len() + program.elsewhere.len();
    let advisories = findings.iter().filter(|finding| !finding.id.is_empty()).count();
    let said = match advisories {
        0 => "no advisory speaks of them".to_owned(),
        some => format!("{some} advisories"),
    };
    let subject = path.display().to_string();
    let (record, evidence) = match program.evidence {
        // The findings have a status each; this only adds them up.
        Evidence::Auditable => {
            (Record::new(Kind::Metric, subject, Status::Ok, format!("{packages} packages, {said}")), "auditable")
        }
        Evidence::Panics => {
            let message = format!(
                "{packages} packages by the messages of its panics, {said}; there are others that nobody can see: \
                 `cargo auditable build` writes them all into a program"
            );
            (Record::new(Kind::Check, subject, Status::Unknown, message), "panic-messages")
        }
    };
    record
        .field("evidence", evidence)
        .field("packages", packages)
        .field("build_only", program.build_only.len())
        .field("unscanned", program.elsewhere.len())
        .field("advisories", advisories)
        .field("excepted", findings.iter().filter(|finding| finding.is_excepted()).count())
}
