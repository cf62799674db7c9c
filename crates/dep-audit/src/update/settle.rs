//! Bringing back what a move has taken along without need.
//!
//! `cargo update --precise` frees what the moved package depends on as well, and takes the newest of it. That is more change
//! than the move needs, and the newest may have been published this morning. So each package that came along goes back to
//! the version it had, or to the lowest one above it that is accepted now and is old enough. Dependants come before what
//! they depend on, because moving back frees dependencies just as moving on does.

use std::collections::{BTreeMap, BTreeSet};

use maint_core::failure::Failure;
use semver::Version;

use super::apply::Applier;
use super::keep;
use super::model::{Model, Moved};
use super::plan::is_cool;
use super::step::Step;
use crate::lock::Lock;

/// Each package that comes back may free others; that many moves are enough for any lock file that was seen.
const MOST: usize = 400;

/// A move back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Back {
    package: String,
    from: Version,
    to: Version,
}

/// Brings back what came along. Tells whether it was interrupted.
///
/// # Errors
/// The lock file or cargo's cache cannot be read.
pub(crate) fn settle(
    applier: &Applier<'_>,
    step: &Step,
    kept: &mut keep::Step<'_>,
    old: &Lock,
) -> Result<bool, Failure> {
    let mut in_vain: BTreeSet<Back> = BTreeSet::new();
    for _ in 0..MOST {
        let now = applier.lock()?;
        let model = applier.model(&now)?;
        let Some(back) = next(applier, step, old, &now, &model, &in_vain) else { return Ok(false) };
        let said = applier.precise(&back.package, &back.from, &back.to, kept)?;
        if said.cancelled {
            return Ok(true);
        }
        tracing::debug!("{} {} back to {}: {}", back.package, back.from, back.to, said.ok);
        if !said.ok {
            in_vain.insert(back);
        }
    }
    Ok(false)
}

fn versions<'a>(lock: &'a Lock, package: &'a str) -> impl Iterator<Item = &'a Version> {
    lock.packages.iter().filter(move |p| p.package.name.as_str() == package).map(|p| &p.package.version)
}

/// The next package that can come back further: one that no other of them depends on.
fn next(
    applier: &Applier<'_>,
    step: &Step,
    old: &Lock,
    now: &Lock,
    model: &Model,
    in_vain: &BTreeSet<Back>,
) -> Option<Back> {
    let is_cool = |published| is_cool(published, applier.work.now, applier.cooldown);
    let mut found: BTreeMap<usize, Back> = BTreeMap::new();
    for (index, node) in model.nodes.iter().enumerate().filter(|(_, node)| node.movable) {
        // A move that did not even come to its planned version is not for us to judge.
        let is_meant =
            step.moves().any(|mv| mv.package == node.name && node.version <= mv.to && node.version > mv.from);
        if is_meant || versions(old, &node.name).any(|version| *version == node.version) {
            continue;
        }
        let had = versions(old, &node.name)
            .filter(|version| **version < node.version && !versions(now, &node.name).any(|v| v == *version))
            .max();
        // What could not be brought to the planned version, because something new asks for more, comes as near as it can.
        let planned = step.moves().find(|mv| mv.package == node.name && had == Some(&mv.from)).map(|mv| &mv.to);
        let had = planned.filter(|to| **to < node.version).or(had);
        let fits = |to: &Version| {
            let back = Back { package: node.name.clone(), from: node.version.clone(), to: to.clone() };
            (model.refusals(index, to, &Moved::new()).is_empty() && !in_vain.contains(&back)).then_some(back)
        };
        let releases = || {
            let releases = model.releases(&node.name).iter();
            releases
                .filter(|r| !r.yanked && r.version < node.version && r.version.pre.is_empty() && is_cool(r.published))
        };
        let back = match had {
            Some(had) => fits(had).or_else(|| {
                releases().filter(|release| release.version > *had).find_map(|release| fits(&release.version))
            }),
            // It is new here: the newest will do, unless it is too young.
            None if model.release(&node.name, &node.version).is_some_and(|r| is_cool(r.published)) => None,
            None => releases().rev().find_map(|release| fits(&release.version)),
        };
        if let Some(back) = back {
            found.insert(index, back);
        }
    }
    let is_outermost = |index: &usize| {
        model.node(*index).is_some_and(|node| !node.dependants.iter().any(|dependant| found.contains_key(dependant)))
    };
    let index = found.keys().copied().find(is_outermost).or_else(|| found.keys().next().copied())?;
    found.remove(&index)
}
