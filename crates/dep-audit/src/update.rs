//! `update`: the fewest moves that mend what is vulnerable.
//!
//! `plan` makes an ordered list of steps from the audit's findings and what cargo's cache knows of releases; `route`
//! finds the way of one package, parents first, or who blocks it; `apply` carries steps out one by one, with `keep` as
//! the way back. Only the audit's second look says that something was mended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::guard::{Guard, Stop};
use maint_core::lock::RunLock;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{HumanDuration, format_seconds};
use semver::Version;

use crate::cli::{SECTION, UpdateArgs};
use crate::db::Database;
use crate::finding::{Finding, FindingKind};
use crate::lock::Lock;
use crate::registry::Registry;
use crate::work::Work;

mod apply;
mod cargo;
mod keep;
pub(crate) mod model;
mod plan;
mod read;
mod route;
mod settle;
mod step;
mod tree;
pub(crate) mod workspace;

use apply::Applier;
use keep::{Found, Keep};
use model::{Known, Model};
use plan::{Plan, Residual, Rules, Wanted, YANKED};
use step::{Step, age_seconds};
use workspace::Workspace;

/// Runs it.
///
/// # Errors
/// There is no lock file or nothing to judge it by, another run is at it, the workspace does not build before anything was
/// changed, or the lock file could not be put back.
pub fn run(args: &UpdateArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    work.settings.flag(&SECTION, "cooldown", args.cooldown)?;
    let apply = args.apply && !args.change.dry_run;
    let guard = open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let lockfile = crate::inputs::nearest()?;
    let lockfile = lockfile
        .canonicalize()
        .map_err(|error| Failure::usage(format!("cannot find {}: {error}", lockfile.display())))?;
    work.subject = lockfile.display().to_string();
    let state = state_directory()?;
    // A plan takes the lock as well: in the middle of another run's step there is nothing to plan by.
    let _lock = if args.change.dry_run { None } else { Some(lock(&state, &lockfile)?) };
    let keep = Keep::of(&state, &lockfile)?;
    recover(&keep, &lockfile, !args.change.dry_run, work)?;

    let scene = Scene::look(&lockfile, work)?;
    let steps = match &args.from {
        Some(path) => Plan { steps: read::plan(path, &lockfile)?, residuals: Vec::new() },
        None => scene.plan(args, work)?,
    };
    let most = args.max_changes.unwrap_or(usize::MAX);
    let (now, later) = steps.steps.split_at(most.min(steps.steps.len()));
    if apply {
        if !now.is_empty() {
            tree::refuse_dirty(&lockfile, work)?;
            work.run.journal_in(&state)?;
            carry_out(args, now, &scene, &keep, &guard, work)?;
        }
    } else {
        for step in now {
            work.run.emit(&step.planned(work.now));
        }
    }
    for step in later {
        let message =
            format!("{}: not {}: beyond --max-changes", step.told(work.now), if apply { "done" } else { "planned" });
        work.run.emit(&step.record(Kind::Finding, Status::Left, message, work.now));
    }
    if work.cancel.is_cancelled() {
        return Ok(());
    }
    scene.leftover(args, &steps, apply, work)
}

fn lock(state: &Path, lockfile: &Path) -> Result<RunLock, Failure> {
    RunLock::acquire(state, &format!("update {}", lockfile.display())).map_err(Failure::from)
}

/// Ends what a killed run has begun.
fn recover(keep: &Keep, lockfile: &Path, touch: bool, work: &Work<'_>) -> Result<(), Failure> {
    let Some(found) = keep.recover(touch)? else { return Ok(()) };
    let (status, message) = match found {
        Found::Old if touch => {
            (Status::Ok, "an earlier run was killed; its lock file was not verified, the old one is back")
        }
        Found::Old => (
            Status::Warning,
            "an earlier run was killed; its lock file is not verified, the next run puts the old one back",
        ),
        Found::Verified => {
            (Status::Ok, "an earlier run was killed after it had verified the new lock file, which stays")
        }
        Found::Other => {
            (Status::Warning, "an earlier run was killed; somebody has changed the lock file since, so it stays")
        }
    };
    let record = Record::new(Kind::Step, lockfile.display().to_string(), status, message).field("aside", keep.aside());
    work.run.emit(&record);
    Ok(())
}

/// All that is looked at.
struct Scene {
    lockfile: PathBuf,
    workspace: Workspace,
    registry: Registry,
    database: Database,
    findings: Vec<Finding>,
    model: Model,
}

impl Scene {
    fn look(lockfile: &Path, work: &Work<'_>) -> Result<Self, Failure> {
        let lock = Lock::load(lockfile).map_err(|error| Failure::usage(error.to_string()))?;
        let workspace = Workspace::of(&lock)?;
        let registry = Registry::open_for(&workspace.directory)?;
        let database = crate::source::open(work)?.database;
        let findings = audit(lockfile, &database, &registry)?;
        let model = Model::new(
            &lock,
            &workspace.manifests,
            known(&lock, &registry, Known::new())?,
            workspace.rust_version.clone(),
        );
        Ok(Scene { lockfile: lockfile.to_owned(), workspace, registry, database, findings, model })
    }

    fn affects(&self, name: &str, version: &Version) -> BTreeSet<String> {
        self.database.of_crate(name, version).map(|advisory| advisory.id.clone()).collect()
    }

    fn plan(&self, args: &UpdateArgs, work: &Work<'_>) -> Result<Plan, Failure> {
        let rules = Rules {
            lockfile: self.lockfile.clone(),
            now: work.now,
            cooldown: work.settings.get::<HumanDuration>(&SECTION, "cooldown")?.0,
            everything: args.compatible,
        };
        Ok(plan::plan(&self.model, &wanted(&self.findings), &|name, version| self.affects(name, version), &rules))
    }

    /// What is still to do: blocked findings, overdue ones, requirements that keep releases out, and the verdict.
    fn leftover(&self, args: &UpdateArgs, plan: &Plan, applied: bool, work: &Work<'_>) -> Result<(), Failure> {
        let affects = |name: &str, version: &Version| self.affects(name, version);
        let sla = work.settings.get::<HumanDuration>(&SECTION, "sla")?.0;
        let findings =
            if applied { audit(&self.lockfile, &self.database, &self.registry)? } else { self.findings.clone() };
        let still = wanted(&findings);
        let is_open = |package: &str, id: &String| still.iter().any(|w| w.package == package && w.ids.contains(id));
        for residual in &plan.residuals {
            let ids: Vec<String> = residual.ids.iter().filter(|id| is_open(&residual.package, id)).cloned().collect();
            if !ids.is_empty() {
                work.run.emit(&told(residual));
            }
        }
        for wanted in &still {
            for (id, since) in plan::patched_since(&self.model, wanted, &affects) {
                let Some(age) = age_seconds(Some(since), work.now).filter(|age| *age > sla.as_secs_f64()) else {
                    continue;
                };
                let message = format!("{id}: overdue, a release that ends it has been out for {}", format_seconds(age));
                let record = Record::new(
                    Kind::Finding,
                    format!("{}@{}", wanted.package, wanted.version),
                    Status::Warning,
                    message,
                )
                .field("code", "overdue")
                .field("crate", &wanted.package)
                .field("version", &wanted.version)
                .field("id", id)
                .field("patched_since", since)
                .field("overdue_seconds", age - sla.as_secs_f64());
                work.run.emit(&record);
            }
        }
        if args.breaking {
            for found in plan::breaking(&self.model) {
                let requires = found.link.requires.as_deref().unwrap_or("an unknown version");
                let message =
                    format!("{} requires {} {requires}; the newest is {}", found.link.by, found.package, found.newest);
                let subject = format!("{}@{}", found.package, found.locked);
                let record = Record::new(Kind::Finding, subject, Status::Warning, message)
                    .field("code", "breaking")
                    .field("crate", &found.package)
                    .field("from", &found.locked)
                    .field("to", &found.newest)
                    .field("held_by", &found.link);
                work.run.emit(&record);
            }
        }
        let open: usize = still.iter().map(|wanted| wanted.ids.len()).sum();
        let ends: usize = plan.steps.iter().map(|step| step.fixes.len()).sum();
        let to_do = open > 0 || !(applied || plan.steps.is_empty());
        let message = if applied {
            format!("{open} findings are left")
        } else {
            format!("{} steps would end {ends} of {open} findings", plan.steps.len())
        };
        let status = if to_do { Status::Warning } else { Status::Ok };
        let record = Record::new(Kind::Check, self.lockfile.display().to_string(), status, message)
            .field("steps", plan.steps.len())
            .field("findings", open)
            .field("ended_by_plan", ends)
            .field("blocked", plan.residuals.len())
            .field("database", &self.database.stamp);
        work.run.emit(&record);
        Ok(())
    }
}

/// A residual as a record.
fn told(residual: &Residual) -> Record {
    let mut message = format!("{}: {}", residual.ids.join(", "), residual.why);
    for chain in &residual.chains {
        message.push_str(&format!("; {}", route::told(chain)));
    }
    let code = if residual.chains.is_empty() { "no-patch" } else { "blocked" };
    Record::new(Kind::Finding, format!("{}@{}", residual.package, residual.version), Status::Warning, message)
        .field("code", code)
        .field("crate", &residual.package)
        .field("version", &residual.version)
        .field("ids", &residual.ids)
        .field("wanted", &residual.wanted)
        .field("chains", &residual.chains)
}

fn carry_out(
    args: &UpdateArgs,
    steps: &[Step],
    scene: &Scene,
    keep: &Keep,
    guard: &Guard,
    work: &Work<'_>,
) -> Result<(), Failure> {
    let applier = Applier {
        work,
        lockfile: scene.lockfile.clone(),
        workspace: &scene.workspace,
        registry: &scene.registry,
        keep,
        verify: (!args.lock_only).then(|| args.verify.clone()),
        cooldown: work.settings.get::<HumanDuration>(&SECTION, "cooldown")?.0,
        audit: &|| audit(&scene.lockfile, &scene.database, &scene.registry),
        known: std::cell::RefCell::new(scene.model.known.clone()),
    };
    applier.verify_before()?;
    let mut stopped: Option<Stop> = None;
    for step in steps {
        if stopped.is_none() {
            stopped = guard.may_start().err();
        }
        let record = match &stopped {
            Some(stop) => {
                let message = format!("{}: {}", step.told(work.now), stop.reason());
                step.record(Kind::Step, Status::Left, message, work.now)
            }
            None => applier.step(step)?,
        };
        work.run.emit(&record);
    }
    Ok(())
}

/// All that cargo's cache knows of a lock file's packages, with what was read before.
///
/// # Errors
/// An entry of the cache cannot be read.
pub(crate) fn known(lock: &Lock, registry: &Registry, mut known: Known) -> Result<Known, Failure> {
    for locked in lock.packages.iter().filter(|locked| locked.is_from_the_registry()) {
        let name = locked.package.name.as_str();
        if !known.contains_key(name)
            && let Some(releases) = registry.releases(name)?
        {
            known.insert(name.to_owned(), releases);
        }
    }
    Ok(known)
}

/// What is wrong with the lock file as it is now.
fn audit(lockfile: &Path, database: &Database, registry: &Registry) -> Result<Vec<Finding>, Failure> {
    let lock = Lock::load(lockfile).map_err(|error| Failure::usage(error.to_string()))?;
    let is_yanked = |name: &str, version: &Version| {
        let releases = registry.releases(name).ok()??;
        releases.iter().find(|release| release.version == *version).map(|release| release.yanked)
    };
    let mut findings = crate::scan::scan(&lock, database, &is_yanked);
    findings.retain(|finding| finding.kind != FindingKind::Unscanned);
    Ok(findings)
}

/// The packages that have to go: those with an advisory that newer versions can end, and those that were taken back.
fn wanted(findings: &[Finding]) -> Vec<Wanted> {
    let mut found: BTreeMap<(String, Version), BTreeSet<String>> = BTreeMap::new();
    for finding in findings {
        let id = match finding.kind {
            FindingKind::Vulnerability | FindingKind::Unsound => finding.id.clone(),
            FindingKind::Unmaintained | FindingKind::Notice if !finding.patched.is_empty() => finding.id.clone(),
            FindingKind::Yanked => YANKED.to_owned(),
            _ => continue,
        };
        if let Ok(version) = Version::parse(&finding.version) {
            found.entry((finding.package.clone(), version)).or_default().insert(id);
        }
    }
    found
        .into_iter()
        .map(|((package, version), ids)| Wanted { package, version, ids: ids.into_iter().collect() })
        .collect()
}
