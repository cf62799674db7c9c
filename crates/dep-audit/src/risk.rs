//! `risk`: which dependencies deserve a look, and for what.
//!
//! The score adds up parts that everybody can see and argue with. What nobody here can know (how many people look after a
//! crate, how often it is downloaded) is not guessed, and what could not be looked at is null and named.

mod score;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::audit::audit;
use crate::cli::{InputArgs, RiskArgs};
use crate::exceptions::{Exceptions, Rules};
use crate::finding::Finding;
use crate::graph::Tiers;
use crate::inputs::nearest;
use crate::lock::{Lock, Locked};
use crate::registry::Registry;
use crate::report::Report;
use crate::work::Work;

use score::{Facts, Part};

/// Scores what is locked, the riskiest first.
///
/// # Errors
/// There is no lock file, nothing to judge by, or a named crate is not locked.
pub fn run(args: &RiskArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let lockfile = nearest()?;
    work.subject = lockfile.display().to_string();
    let input = InputArgs { lockfiles: vec![lockfile.clone()], root: Vec::new() };
    let mut report = audit(&input, false, work)?;
    if let Some(exceptions) = Exceptions::find(work)? {
        exceptions.mark(&mut report, Rules::of(work)?);
    }
    if let Some(unread) = report.unread.first() {
        return Err(Failure::usage(unread.why.clone()));
    }
    let Some(lock) = report.locks.first() else {
        return Err(Failure::usage(format!("nothing could be looked at in {}", lockfile.display())));
    };
    for name in &args.packages {
        if !lock.packages.iter().any(|locked| locked.package.name.as_str() == name) {
            return Err(Failure::usage(format!("{name} is not in {}", lockfile.display()))
                .hint("`cargo tree` shows what is locked"));
        }
    }
    // The audit asks cargo only where something was found.
    let asked = match report.tiers.get(&lock.path) {
        Some(_) => Ok(None),
        None => Tiers::of(&lock.path.with_file_name("Cargo.toml")).map(Some),
    };
    let tiers = match &asked {
        Ok(Some(tiers)) => Some(tiers),
        Ok(None) => report.tiers.get(&lock.path),
        Err(failure) => {
            let why = format!("what packages build and declare is not known: {}", failure.message);
            work.run.emit(&Record::new(Kind::Check, "evidence", Status::Warning, why));
            None
        }
    };
    let registry = Registry::open().ok();
    let scene = Scene { lock, report: &report, tiers, registry: registry.as_ref(), counts: Counts::of(lock) };
    let mut scored = Vec::new();
    for locked in lock.packages.iter().filter(|locked| locked.package.source.is_some()) {
        let name = locked.package.name.as_str();
        if args.packages.is_empty() || args.packages.iter().any(|wanted| wanted == name) {
            let parts = score::parts(&scene.facts(locked, work.now));
            scored.push((score::total(&parts), locked, parts));
        }
    }
    scored.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.package.name.as_str().cmp(b.1.package.name.as_str())));
    let all = scored.len();
    let most = if args.packages.is_empty() { args.top } else { usize::MAX };
    for (total, locked, parts) in scored.into_iter().take(most) {
        work.run.emit(&record(total, locked, &parts, args.warn));
    }
    work.run.result("packages", all);
    work.run.result("database", &report.stamp);
    Ok(())
}

fn record(total: u32, locked: &Locked, parts: &[Part], warn: u32) -> Record {
    let mut counted: Vec<&Part> = parts.iter().filter(|part| part.points.is_some_and(|points| points > 0)).collect();
    counted.sort_by_key(|part| std::cmp::Reverse(part.points));
    let why: Vec<String> =
        counted.iter().map(|part| format!("{} (+{})", part.why, part.points.unwrap_or_default())).collect();
    let message = if why.is_empty() { "nothing speaks against it".to_owned() } else { why.join(", ") };
    let unknown: Vec<&str> = parts.iter().filter(|part| part.points.is_none()).map(|part| part.name).collect();
    let shown: BTreeMap<&str, Option<u32>> = parts.iter().map(|part| (part.name, part.points)).collect();
    let status = if total >= warn { Status::Warning } else { Status::Ok };
    let subject = format!("{}@{}", locked.package.name, locked.package.version);
    Record::new(Kind::Check, subject, status, message)
        .field("crate", locked.package.name.as_str())
        .field("version", locked.package.version.to_string())
        .field("score", total)
        .field("parts", shown)
        .field("unknown", unknown)
}

/// How often things stand in a lock file.
struct Counts {
    /// Versions of a crate.
    versions: BTreeMap<String, usize>,
    /// Who needs a package.
    dependants: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Counts {
    fn of(lock: &Lock) -> Self {
        let mut counts = Counts { versions: BTreeMap::new(), dependants: BTreeMap::new() };
        for locked in &lock.packages {
            *counts.versions.entry(locked.package.name.to_string()).or_default() += 1;
            for needed in &locked.package.dependencies {
                let key = (needed.name.to_string(), needed.version.to_string());
                counts.dependants.entry(key).or_default().insert(locked.package.name.to_string());
            }
        }
        counts
    }
}

struct Scene<'a> {
    lock: &'a Lock,
    report: &'a Report,
    tiers: Option<&'a Tiers>,
    registry: Option<&'a Registry>,
    counts: Counts,
}

impl Scene<'_> {
    fn facts(&self, locked: &Locked, now: Timestamp) -> Facts<'_> {
        let (name, version) = (locked.package.name.to_string(), locked.package.version.to_string());
        let is_it = |finding: &&Finding| {
            finding.package == name && finding.version == version && finding.lockfile == self.lock.path
        };
        let releases = if locked.is_from_the_registry() {
            self.registry.and_then(|registry| registry.releases(&name).ok().flatten())
        } else {
            None
        };
        let published = |timestamp: Timestamp| now.duration_since(timestamp).as_secs().max(0);
        let own = releases.as_ref().and_then(|all| all.iter().find(|one| one.version == locked.package.version));
        Facts {
            findings: self.report.findings.iter().filter(is_it).filter(|finding| !finding.is_excepted()).collect(),
            age_seconds: own.and_then(|release| release.published).map(published),
            silence_seconds: releases
                .as_ref()
                .and_then(|all| all.iter().filter_map(|release| release.published).max())
                .map(published),
            traits: self.tiers.and_then(|tiers| tiers.traits(&name, &version)),
            is_before_one: locked.package.version.major == 0,
            versions: self.counts.versions.get(&name).copied().unwrap_or(1),
            dependants: self.counts.dependants.get(&(name, version)).map_or(0, BTreeSet::len),
            needs: locked.package.dependencies.len(),
        }
    }
}
