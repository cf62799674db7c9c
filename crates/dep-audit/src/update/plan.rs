//! What to move: from findings, a lock file and what is known of releases to an ordered list of steps. Nothing in here
//! looks at the world.
//!
//! The lowest release that is out of the advisories is chosen, because the least that changes is the least that breaks. It
//! is judged by the advisories' own ranges, not by their "patched" requirements, which treat prereleases otherwise. Where
//! there is no way, the [`Residual`] names the chain that blocks it.
//!
//! A release that is younger than the cooldown is not chosen, unless it ends a finding: then waiting is the greater risk.
//! What has to move first so that it can end the finding shares that waiver, as it would otherwise be worth nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use semver::Version;

use super::model::{Model, Moved};
use super::route::{Chain, Link, Router};
use super::step::{Move, Step, age_seconds};
use crate::registry::Release;

/// The advisories that speak of a version of a crate, of every kind.
pub(crate) type Affects<'a> = dyn Fn(&str, &Version) -> BTreeSet<String> + 'a;

/// What stands for an advisory where a version was taken back.
pub(crate) const YANKED: &str = "yanked";

/// A locked package that has to go, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) package: String,
    pub(crate) version: Version,
    /// Advisories, or [`YANKED`].
    pub(crate) ids: Vec<String>,
}

/// How it is planned.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) lockfile: PathBuf,
    pub(crate) now: Timestamp,
    pub(crate) cooldown: Duration,
    /// Bring everything up as far as requirements allow, not only what has findings.
    pub(crate) everything: bool,
}

/// What stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Residual {
    pub(crate) package: String,
    pub(crate) version: Version,
    pub(crate) ids: Vec<String>,
    /// In short.
    pub(crate) why: String,
    /// Who blocks the lowest version that would help.
    pub(crate) chains: Vec<Chain>,
    /// That version.
    pub(crate) wanted: Option<Version>,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) residuals: Vec<Residual>,
}

/// Makes a plan.
pub(crate) fn plan(model: &Model, wanted: &[Wanted], affects: &Affects<'_>, rules: &Rules) -> Plan {
    let allowed = |name: &str, from: &Version, to: &Version| affects(name, to).is_subset(&affects(name, from));
    let mut planner = Planner { model, affects, allowed: &allowed, rules, moved: Moved::new(), plan: Plan::default() };
    for wanted in wanted {
        planner.mend(wanted);
    }
    if rules.everything {
        planner.raise();
    }
    planner.plan
}

struct Planner<'a> {
    model: &'a Model,
    affects: &'a Affects<'a>,
    allowed: &'a super::route::Allowed<'a>,
    rules: &'a Rules,
    moved: Moved,
    plan: Plan,
}

impl Planner<'_> {
    /// Finds a way out of what is wrong with one package.
    fn mend(&mut self, wanted: &Wanted) {
        let residual = |ids: &[String], why: String, chains: Vec<Chain>, to: Option<Version>| Residual {
            package: wanted.package.clone(),
            version: wanted.version.clone(),
            ids: ids.to_vec(),
            why,
            chains,
            wanted: to,
        };
        let Some(index) = self.model.find(&wanted.package, &wanted.version) else {
            let why = "it does not come from the registry, so it cannot be moved".to_owned();
            return self.plan.residuals.push(residual(&wanted.ids, why, Vec::new(), None));
        };
        let current = self.model.version(index, &self.moved).unwrap_or(&wanted.version).clone();
        let mut open = wanted.ids.clone();
        if current != wanted.version {
            // A step for another package has moved it; what that ends is to that step's credit.
            let (still, ended): (Vec<String>, Vec<String>) =
                open.into_iter().partition(|id| self.has(&wanted.package, &current, id));
            let by = |mv: &Move| mv.package == wanted.package && mv.from == wanted.version;
            if let Some(step) = self.plan.steps.iter_mut().find(|step| step.moves().any(by)) {
                step.fixes.extend(ended);
            }
            open = still;
        }
        if open.is_empty() {
            return;
        }
        let candidates = self.candidates(index, &current, &open);
        let route = if candidates.is_empty() { Err(Vec::new()) } else { self.route(index, &candidates) };
        let mut left = open.clone();
        if let Ok(route) = route {
            let to = route.last().map_or(current, |(_, version)| version.clone());
            left.retain(|id| self.has(&wanted.package, &to, id));
            let fixes = open.into_iter().filter(|id| !left.contains(id)).collect();
            self.add(&route, fixes);
        }
        for id in &left {
            let id = std::slice::from_ref(id);
            let current = self.model.version(index, &self.moved).unwrap_or(&wanted.version).clone();
            let to = self.candidates(index, &current, id);
            let found = match to.first() {
                Some(lowest) => {
                    let chains = self.route(index, &to).err().unwrap_or_default();
                    residual(id, format!("{lowest} would end it"), chains, Some(lowest.clone()))
                }
                None => residual(id, self.why_none(&wanted.package, &current, id), Vec::new(), None),
            };
            self.plan.residuals.push(found);
        }
    }

    /// Whether a version has what is wrong with the locked one.
    fn has(&self, package: &str, version: &Version, id: &str) -> bool {
        if id == YANKED {
            return self.model.release(package, version).is_some_and(|release| release.yanked);
        }
        (self.affects)(package, version).contains(id)
    }

    /// Versions that end some of it and bring nothing, those first that end most and build with our compiler, then the lowest.
    fn candidates(&self, index: usize, current: &Version, ids: &[String]) -> Vec<Version> {
        let Some(node) = self.model.node(index) else { return Vec::new() };
        let mut found: Vec<(usize, bool, &Release)> = self
            .model
            .above(index, current)
            .filter(|release| (self.allowed)(&node.name, current, &release.version))
            .map(|release| {
                let left = ids.iter().filter(|id| self.has(&node.name, &release.version, id)).count();
                (left, self.model.is_too_new_for_the_compiler(release, &node.name, current), release)
            })
            .filter(|(left, _, _)| *left < ids.len())
            .collect();
        found.sort_by(|a, b| (a.0, a.1, &a.2.version).cmp(&(b.0, b.1, &b.2.version)));
        found.into_iter().map(|(_, _, release)| release.version.clone()).collect()
    }

    fn route(&self, index: usize, wanted: &[Version]) -> Result<Vec<(usize, Version)>, Vec<Chain>> {
        Router::new(self.model, self.allowed).route(index, wanted, &self.moved)
    }

    fn why_none(&self, package: &str, current: &Version, ids: &[String]) -> String {
        if !self.model.known.contains_key(package) {
            return format!("cargo's cache does not know {package}; `cargo update --dry-run` fills it");
        }
        let newer = self.model.releases(package).iter().filter(|release| release.version > *current);
        let helps = |release: &&Release| ids.iter().all(|id| !self.has(package, &release.version, id));
        match newer.clone().find(|release| helps(release) && release.version.pre.is_empty() && !release.yanked) {
            Some(release) => format!("{} would end it and has another advisory", release.version),
            None if newer.clone().any(|release| helps(&release)) => {
                "every version that would end it was taken back or is a prerelease".to_owned()
            }
            None => "no release that cargo's cache knows ends it".to_owned(),
        }
    }

    /// Adds a step for a route, the last move of which is what it is about.
    fn add(&mut self, route: &[(usize, Version)], fixes: Vec<String>) {
        let mut moves: Vec<Move> = Vec::new();
        for (index, to) in route {
            let Some(node) = self.model.node(*index) else { continue };
            let from = self.model.version(*index, &self.moved).unwrap_or(&node.version).clone();
            let release = self.model.release(&node.name, to);
            let too_new = release.filter(|r| self.model.is_too_new_for_the_compiler(r, &node.name, &from));
            moves.push(Move {
                package: node.name.clone(),
                from,
                to: to.clone(),
                published: release.and_then(|release| release.published),
                needs_rust: too_new.and_then(|release| release.rust_version.clone()),
            });
        }
        for (index, to) in route {
            self.moved.insert(*index, to.clone());
        }
        if let Some(target) = moves.pop() {
            let is_young = |mv: &Move| !is_cool(mv.published, self.rules.now, self.rules.cooldown);
            let waived = is_young(&target) || moves.iter().any(is_young);
            self.plan.steps.push(Step { lockfile: self.rules.lockfile.clone(), target, first: moves, fixes, waived });
        }
    }

    /// Moves everything else up as far as requirements, compiler and cooldown allow.
    fn raise(&mut self) {
        for index in 0..self.model.nodes.len() {
            let Some(node) = self.model.node(index).filter(|node| node.movable) else { continue };
            let current = self.model.version(index, &self.moved).unwrap_or(&node.version).clone();
            let best = self
                .model
                .above(index, &current)
                .rev()
                .filter(|release| {
                    self.is_cool(release) && !self.model.is_too_new_for_the_compiler(release, &node.name, &current)
                })
                .filter(|release| (self.allowed)(&node.name, &current, &release.version))
                .find(|release| self.model.refusals(index, &release.version, &self.moved).is_empty());
            if let Some(best) = best {
                let version = best.version.clone();
                self.add(&[(index, version)], Vec::new());
            }
        }
    }

    fn is_cool(&self, release: &Release) -> bool {
        is_cool(release.published, self.rules.now, self.rules.cooldown)
    }
}

/// Whether something was published longer ago than the cooldown. What has no date is not known to be.
pub(crate) fn is_cool(published: Option<Timestamp>, now: Timestamp, cooldown: Duration) -> bool {
    cooldown.is_zero() || age_seconds(published, now).is_some_and(|age| age >= cooldown.as_secs_f64())
}

/// Since when each of the findings could have been ended: when the first release was published that does.
pub(crate) fn patched_since(model: &Model, wanted: &Wanted, affects: &Affects<'_>) -> BTreeMap<String, Timestamp> {
    let mut since = BTreeMap::new();
    for id in wanted.ids.iter().filter(|id| *id != YANKED) {
        let patched = model
            .releases(&wanted.package)
            .iter()
            .filter(|release| release.version > wanted.version && !release.yanked && release.version.pre.is_empty())
            .filter(|release| !affects(&wanted.package, &release.version).contains(id));
        if let Some(first) = patched.filter_map(|release| release.published).min() {
            since.insert(id.clone(), first);
        }
    }
    since
}

/// A requirement of the workspace's own manifests that keeps out the newest release: only a person can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breaking {
    /// What keeps it out.
    pub(crate) link: Link,
    pub(crate) package: String,
    pub(crate) locked: Version,
    pub(crate) newest: Version,
}

/// What `--breaking` lists.
pub(crate) fn breaking(model: &Model) -> Vec<Breaking> {
    let mut found = Vec::new();
    for (index, node) in model.nodes.iter().enumerate().filter(|(_, node)| node.movable) {
        if let Some(release) = model.above(index, &node.version).next_back() {
            for refusal in model.refusals(index, &release.version, &Moved::new()) {
                let Some(by) = model.node(refusal.dependant).filter(|by| !by.movable) else { continue };
                found.push(Breaking {
                    link: Link {
                        by: format!("{}@{}", by.name, by.version),
                        requires: refusal.requirement.map(|requirement| requirement.to_string()),
                        of: node.name.clone(),
                        because: None,
                    },
                    package: node.name.clone(),
                    locked: node.version.clone(),
                    newest: release.version.clone(),
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
