//! Carrying out steps: cargo moves, the audit looks again, the workspace is built; what does not hold is put back.
//!
//! What cargo says of its own success is not listened to: it exits with 0 when it has moved nothing. Only what the audit
//! finds afterwards counts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use rustsec::cargo_lock::SourceId;
use semver::Version;

use super::cargo::{self, Said};
use super::keep::{self, Keep};
use super::model::{Known, Model};
use super::plan::{YANKED, is_cool};
use super::settle::settle;
use super::step::Step;
use super::workspace::Workspace;
use crate::cli::Verify;
use crate::finding::{Finding, FindingKind};
use crate::lock::Lock;
use crate::registry::Registry;
use crate::work::Work;

/// What steps are carried out with.
pub(crate) struct Applier<'a> {
    pub(crate) work: &'a Work<'a>,
    pub(crate) lockfile: PathBuf,
    pub(crate) workspace: &'a Workspace,
    pub(crate) registry: &'a Registry,
    pub(crate) keep: &'a Keep,
    /// `None`: the audit alone verifies.
    pub(crate) verify: Option<Verify>,
    pub(crate) cooldown: Duration,
    /// Audits the lock file as it is now.
    pub(crate) audit: &'a dyn Fn() -> Result<Vec<Finding>, Failure>,
    /// What was read of cargo's cache so far.
    pub(crate) known: RefCell<Known>,
}

/// What became of a step, before the lock file is kept or put back.
enum Verdict {
    /// It helped, and everything holds.
    Good(String),
    /// It did not do what it was for.
    Useless(String),
    /// It broke something.
    Bad(String),
    /// The run was asked to stop.
    Stopped,
}

/// How often something is found: the kind, the advisory, the crate.
type Counts = BTreeMap<(FindingKind, String, String), usize>;

fn counts(findings: &[Finding]) -> Counts {
    let mut counts = Counts::new();
    for finding in findings {
        *counts.entry((finding.kind, finding.id.clone(), finding.package.clone())).or_default() += 1;
    }
    counts
}

/// What a step's findings are counted by: all kinds of an advisory, or what was taken back.
fn count_of(counts: &Counts, id: &str, package: &str) -> usize {
    let is_it = |(kind, found, of): &(FindingKind, String, String)| {
        of == package && if id == YANKED { *kind == FindingKind::Yanked } else { found == id }
    };
    counts.iter().filter(|(key, _)| is_it(key)).map(|(_, count)| count).sum()
}

impl Applier<'_> {
    /// Verifies the workspace as it is, so that a step is not blamed for what was broken before it.
    ///
    /// # Errors
    /// It does not hold, or could not be tried.
    pub(crate) fn verify_before(&self) -> Result<(), Failure> {
        let Some(verify) = &self.verify else { return Ok(()) };
        let said = self.run_verify(verify)?;
        if said.ok || said.cancelled {
            return Ok(());
        }
        Err(Failure::critical(format!("`{verify}` fails before anything was changed: {}", said.tail))
            .hint("mend that first, or verify by something else (--verify CMD) or by the audit alone (--lock-only)"))
    }

    /// Carries out one step and tells what became of it.
    ///
    /// # Errors
    /// Something that has nothing to do with the step failed, or the lock file could not be put back.
    pub(crate) fn step(&self, step: &Step) -> Result<Record, Failure> {
        let now = self.work.now;
        let told = step.told(now);
        let record = |status: Status, message: String| step.record(Kind::Step, status, message, now);
        let lock = self.lock()?;
        let is_locked = |name: &str, version: &Version| {
            lock.packages.iter().any(|p| p.package.name.as_str() == name && p.package.version == *version)
        };
        let gone = step.moves().find(|mv| !is_locked(&mv.package, &mv.from));
        if let Some(gone) = gone {
            let message = format!("{} {} is not locked any more; plan again", gone.package, gone.from);
            return Ok(record(Status::Gone, message));
        }
        let before = counts(&(self.audit)()?);
        if !step.fixes.is_empty() && step.fixes.iter().all(|id| count_of(&before, id, &step.target.package) == 0) {
            return Ok(record(Status::Gone, format!("{} is ended already", step.fixes.join(", "))));
        }
        let mut kept = self.keep.begin()?;
        let verdict = self.attempt(step, &mut kept, &lock, &before);
        let put_back =
            |kept: keep::Step<'_>, what: &str| kept.restore().map(|()| format!("{what}; Cargo.lock is as before"));
        match verdict {
            Ok(Verdict::Good(how)) => {
                kept.keep()?;
                Ok(record(Status::Ok, format!("{told}; {how}")))
            }
            Ok(Verdict::Useless(why)) => Ok(record(Status::Ineffective, put_back(kept, &format!("{told}: {why}"))?)),
            Ok(Verdict::Bad(why)) => Ok(record(Status::RolledBack, put_back(kept, &format!("{told}: {why}"))?)),
            Ok(Verdict::Stopped) => Ok(record(Status::Left, put_back(kept, &format!("{told}: interrupted"))?)),
            Err(failure) => {
                kept.restore()?;
                Err(failure)
            }
        }
    }

    /// The lock file as it is now.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        Lock::load(&self.lockfile).map_err(|error| Failure::critical(error.to_string()))
    }

    fn lock_bytes(&self) -> Result<Vec<u8>, Failure> {
        let lockfile = &self.lockfile;
        std::fs::read(lockfile)
            .map_err(|error| Failure::critical(format!("cannot read {}: {error}", lockfile.display())))
    }

    /// The model of a lock file.
    pub(crate) fn model(&self, lock: &Lock) -> Result<Model, Failure> {
        let known = super::known(lock, self.registry, self.known.take())?;
        self.known.replace(known.clone());
        Ok(Model::new(lock, &self.workspace.manifests, known, self.workspace.rust_version.clone()))
    }

    fn attempt(&self, step: &Step, kept: &mut keep::Step<'_>, old: &Lock, before: &Counts) -> Result<Verdict, Failure> {
        let manifests = self.manifests();
        for mv in step.moves() {
            let Some(now) = self.place_of(&mv.package, &mv.from, old)? else { continue };
            if now == mv.to {
                continue;
            }
            let said = self.precise(&mv.package, &now, &mv.to, kept)?;
            if said.cancelled {
                return Ok(Verdict::Stopped);
            }
            // One that an earlier move has taken along may have to stay where something new needs it: the audit will tell.
            if !said.ok && now == mv.from {
                return Ok(Verdict::Bad(format!("cargo cannot move {} to {}: {}", mv.package, mv.to, said.tail)));
            }
        }
        if self.lock_bytes()? != kept.old && settle(self, step, kept, old)? {
            return Ok(Verdict::Stopped);
        }
        let bytes = kept.is_moved()?;
        if bytes == kept.old {
            return Ok(Verdict::Useless("cargo has moved nothing".to_owned()));
        }
        let new = self.lock()?;
        let after = counts(&(self.audit)()?);
        let package = &step.target.package;
        let open: Vec<&str> = step
            .fixes
            .iter()
            .filter(|id| count_of(&after, id, package) >= count_of(before, id, package))
            .map(String::as_str)
            .collect();
        if !step.fixes.is_empty() && open.len() == step.fixes.len() {
            return Ok(Verdict::Useless(format!("the audit still finds {}", open.join(", "))));
        }
        if let Some(why) = self.is_worse(step, old, &new, before, &after)? {
            return Ok(Verdict::Bad(why));
        }
        if self.manifests() != manifests {
            return Ok(Verdict::Bad("a manifest has changed on the way".to_owned()));
        }
        let changed = packages(&new).difference(&packages(old)).count();
        let mut how = format!("{changed} of the lock file's entries changed");
        let (package, planned) = (&step.target.package, &step.target.to);
        if let Some(at) = self.place_of(package, &step.target.from, old)?.filter(|at| at != planned) {
            how.push_str(&format!(", {package} has come to {at}, as something else needs that"));
        }
        if !open.is_empty() {
            how.push_str(&format!(", and {} is still found", open.join(", ")));
        }
        if let Some(verify) = &self.verify {
            let said = self.run_verify(verify)?;
            if said.cancelled {
                return Ok(Verdict::Stopped);
            }
            if !said.ok {
                return Ok(Verdict::Bad(format!("`{verify}` fails with it: {}", said.tail)));
            }
            if self.lock_bytes()? != bytes {
                return Ok(Verdict::Bad(format!("`{verify}` has changed the lock file")));
            }
            how.push_str(&format!(", `{verify}` passes"));
        }
        Ok(if self.work.cancel.is_cancelled() { Verdict::Stopped } else { Verdict::Good(how) })
    }

    /// The version that a package has come to: the locked one, or where an earlier move of the step has brought it. `None`
    /// when it is needed no more.
    fn place_of(&self, package: &str, from: &Version, old: &Lock) -> Result<Option<Version>, Failure> {
        let now = self.lock()?;
        let of = |lock: &Lock| -> BTreeSet<Version> {
            let found = lock.packages.iter().filter(|p| p.package.name.as_str() == package);
            found.map(|p| p.package.version.clone()).collect()
        };
        let (now, old) = (of(&now), of(old));
        Ok(if now.contains(from) { Some(from.clone()) } else { now.difference(&old).next().cloned() })
    }

    /// Moves one package, without the network if that will do.
    pub(crate) fn precise(
        &self,
        package: &str,
        from: &Version,
        to: &Version,
        kept: &mut keep::Step<'_>,
    ) -> Result<Said, Failure> {
        let (spec, to) = (format!("{package}@{from}"), to.to_string());
        let online = ["update", "--package", &spec, "--precise", &to];
        let offline = [online.as_slice(), &["--offline"]].concat();
        let mut move_by = |args: &[&str]| {
            let command = cargo::cargo(args);
            cargo::run(self.work, &self.workspace.directory, &command, cargo::UPDATE_LIMIT, |process| {
                kept.writes(process)
            })
        };
        let said = move_by(&offline)?;
        maint_core::fault::point("update-cargo");
        if said.ok || said.cancelled { Ok(said) } else { move_by(&online) }
    }

    /// What the new lock file has that the old one had not, and must not have.
    fn is_worse(
        &self,
        step: &Step,
        old: &Lock,
        new: &Lock,
        before: &Counts,
        after: &Counts,
    ) -> Result<Option<String>, Failure> {
        for ((kind, id, package), count) in after {
            let was = before.get(&(*kind, id.clone(), package.clone())).copied().unwrap_or_default();
            if *count > was {
                let what = if id.is_empty() { format!("{kind:?}").to_lowercase() } else { id.clone() };
                return Ok(Some(format!("the audit finds something new: {what} in {package}")));
            }
        }
        let had = packages(old);
        for (name, version, source) in packages(new).difference(&had) {
            if source.as_ref().is_none_or(|source| !source.starts_with("registry+") && !source.starts_with("sparse+")) {
                return Ok(Some(format!("it brings {name} {version}, which does not come from the registry")));
            }
            let release =
                self.registry.releases(name)?.into_iter().flatten().find(|release| release.version == *version);
            if release.as_ref().is_some_and(|release| release.yanked) {
                return Ok(Some(format!("it brings {name} {version}, which was taken back")));
            }
            let is_waived = !step.fixes.is_empty() && step.moves().any(|mv| mv.package == *name && mv.to == *version);
            let published = release.and_then(|release| release.published);
            if !is_waived && !is_cool(published, self.work.now, self.cooldown) {
                let age = published.map_or_else(|| "nobody knows when".to_owned(), |time| time.to_string());
                return Ok(Some(format!("it brings {name} {version}, too young for the cooldown (published: {age})")));
            }
        }
        Ok(None)
    }

    fn run_verify(&self, verify: &Verify) -> Result<Said, Failure> {
        let command = match verify {
            Verify::Check => cargo::cargo(&["check", "--workspace", "--all-targets", "--locked"]),
            Verify::Test => cargo::cargo(&["test", "--workspace", "--locked"]),
            Verify::Command(command) => ["sh", "-c", command].map(Into::into).to_vec(),
        };
        cargo::run(self.work, &self.workspace.directory, &command, cargo::VERIFY_LIMIT, |_| Ok(()))
    }

    /// The manifests' contents: cargo has no business there.
    fn manifests(&self) -> Vec<Option<String>> {
        self.workspace.files.iter().map(|path| std::fs::read(path).ok().map(|bytes| keep::sha256(&bytes))).collect()
    }
}

/// Name, version and source of everything locked.
fn packages(lock: &Lock) -> BTreeSet<(String, Version, Option<String>)> {
    let source = |source: &SourceId| source.to_string();
    lock.packages
        .iter()
        .map(|p| (p.package.name.to_string(), p.package.version.clone(), p.package.source.as_ref().map(source)))
        .collect()
}
