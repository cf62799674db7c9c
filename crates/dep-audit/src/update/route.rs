//! How a package gets to another version: by itself, or after those that would not accept it have moved.

use std::collections::BTreeSet;

use semver::Version;

use super::model::{Model, Moved, Refusal};

/// Parents of parents of parents: beyond that a lock file is better updated as a whole.
const DEEPEST: usize = 6;

/// How many pairs of a version and a set of dependants are looked at for one package, so that an odd graph ends.
const BUDGET: usize = 20_000;

/// One link of a chain of blockers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Link {
    /// Who, as `crate@version`.
    pub(crate) by: String,
    /// What it requires; `None` where its manifest is not at hand.
    pub(crate) requires: Option<String>,
    /// Of what.
    pub(crate) of: String,
    /// Why it does not move itself; only the last link of a chain has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<String>,
}

/// From the package outwards to what cannot move.
pub(crate) type Chain = Vec<Link>;

/// Tells whether a release may be used: whether it has no advisory that the locked version does not have.
pub(crate) type Allowed<'a> = dyn Fn(&str, &Version, &Version) -> bool + 'a;

pub(crate) struct Router<'a> {
    model: &'a Model,
    allowed: &'a Allowed<'a>,
    left: usize,
    /// What was tried in vain: a package, its wanted versions, and what had been moved.
    vain: BTreeSet<(usize, Vec<Version>, Moved)>,
}

impl<'a> Router<'a> {
    pub(crate) fn new(model: &'a Model, allowed: &'a Allowed<'a>) -> Self {
        Router { model, allowed, left: BUDGET, vain: BTreeSet::new() }
    }

    /// What has to be moved so that the package at `index` is at one of the wanted versions, the best of which comes first;
    /// `moved` was moved before. The outermost come first, the package itself last.
    ///
    /// # Errors
    /// What blocks the first of them.
    pub(crate) fn route(
        &mut self,
        index: usize,
        wanted: &[Version],
        moved: &Moved,
    ) -> Result<Vec<(usize, Version)>, Vec<Chain>> {
        self.search(index, wanted, moved, &mut Vec::new())
    }

    fn search(
        &mut self,
        index: usize,
        wanted: &[Version],
        moved: &Moved,
        path: &mut Vec<usize>,
    ) -> Result<Vec<(usize, Version)>, Vec<Chain>> {
        // The fewest moves: a version that everybody accepts comes before one for which somebody must move.
        for version in wanted {
            if self.model.refusals(index, version, moved).is_empty() {
                return Ok(vec![(index, version.clone())]);
            }
        }
        let key = (index, wanted.to_vec(), moved.clone());
        if path.len() >= DEEPEST || path.contains(&index) || self.vain.contains(&key) {
            return Err(self.blocked(index, wanted.first(), moved));
        }
        path.push(index);
        let mut first_blocked = None;
        for version in wanted {
            match self.climb(index, version, moved, path) {
                Ok(route) => {
                    path.pop();
                    return Ok(route);
                }
                Err(chains) => {
                    first_blocked.get_or_insert(chains);
                }
            }
            if self.left == 0 {
                break;
            }
        }
        path.pop();
        self.vain.insert(key);
        Err(first_blocked.unwrap_or_default())
    }

    /// Moves those that do not accept the version.
    fn climb(
        &mut self,
        index: usize,
        version: &Version,
        moved: &Moved,
        path: &mut Vec<usize>,
    ) -> Result<Vec<(usize, Version)>, Vec<Chain>> {
        let mut so_far = moved.clone();
        let mut route = Vec::new();
        let mut blocked = Vec::new();
        for refusal in self.model.refusals(index, version, moved) {
            self.left = self.left.saturating_sub(1);
            if self.model.refusal(refusal.dependant, index, version, &so_far).is_none() {
                continue;
            }
            let link = self.link(&refusal, index);
            let parents = self.parents(&refusal, index, version, &so_far);
            if parents.is_empty() || self.left == 0 || path.contains(&refusal.dependant) {
                blocked.push(vec![Link { because: Some(self.why(&refusal, index, version)), ..link }]);
                continue;
            }
            match self.search(refusal.dependant, &parents, &so_far, path) {
                Ok(moves) => {
                    for (moving, to) in moves {
                        so_far.insert(moving, to.clone());
                        route.push((moving, to));
                    }
                }
                Err(chains) => blocked.extend(chains.into_iter().map(|chain| {
                    let mut whole = vec![link.clone()];
                    whole.extend(chain);
                    whole
                })),
            }
        }
        if !blocked.is_empty() {
            blocked.sort();
            blocked.dedup();
            return Err(blocked);
        }
        route.push((index, version.clone()));
        Ok(route)
    }

    /// Releases of a dependant that accept the version and bring nothing bad: those first that build with our compiler, then
    /// the lowest.
    fn parents(&self, refusal: &Refusal, index: usize, version: &Version, moved: &Moved) -> Vec<Version> {
        let (Some(node), Some(current)) =
            (self.model.node(refusal.dependant), self.model.version(refusal.dependant, moved))
        else {
            return Vec::new();
        };
        if !node.movable {
            return Vec::new();
        }
        let accepts = |to: &Version| {
            let mut then = moved.clone();
            then.insert(refusal.dependant, to.clone());
            self.model.refusal(refusal.dependant, index, version, &then).is_none()
        };
        let mut found: Vec<(bool, Version)> = self
            .model
            .above(refusal.dependant, current)
            .filter(|release| accepts(&release.version) && (self.allowed)(&node.name, current, &release.version))
            .map(|release| {
                (self.model.is_too_new_for_the_compiler(release, &node.name, current), release.version.clone())
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, version)| version).collect()
    }

    fn link(&self, refusal: &Refusal, index: usize) -> Link {
        let name = |index: usize| self.model.node(index).map(|node| format!("{}@{}", node.name, node.version));
        Link {
            by: name(refusal.dependant).unwrap_or_default(),
            requires: refusal.requirement.as_ref().map(ToString::to_string),
            of: self.model.node(index).map(|node| node.name.clone()).unwrap_or_default(),
            because: None,
        }
    }

    /// Why a dependant does not move out of the way.
    fn why(&self, refusal: &Refusal, index: usize, version: &Version) -> String {
        let (Some(node), Some(of)) = (self.model.node(refusal.dependant), self.model.node(index)) else {
            return String::new();
        };
        if !node.movable {
            return match refusal.requirement {
                Some(_) => "its manifest says so".to_owned(),
                None => "it does not come from the registry, and its manifest is not at hand".to_owned(),
            };
        }
        if !self.model.known.contains_key(&node.name) {
            return format!("cargo's cache does not know {}", node.name);
        }
        format!("no release of {} that may be used accepts {} {version}", node.name, of.name)
    }

    /// The blockers of a version that nobody will be asked to make way for.
    fn blocked(&self, index: usize, version: Option<&Version>, moved: &Moved) -> Vec<Chain> {
        let Some(version) = version else { return Vec::new() };
        let refusals = self.model.refusals(index, version, moved);
        let why = |refusal: &Refusal| {
            let movable = self.model.node(refusal.dependant).is_some_and(|node| node.movable);
            let because =
                if movable { "moving it as well goes too far".to_owned() } else { self.why(refusal, index, version) };
            Link { because: Some(because), ..self.link(refusal, index) }
        };
        refusals.iter().map(|refusal| vec![why(refusal)]).collect()
    }
}

/// A chain as words: `h2 0.3: hyper@0.14.1 requires ^0.3.24; no release ...`.
pub(crate) fn told(chain: &Chain) -> String {
    let mut text = String::new();
    for link in chain {
        if !text.is_empty() {
            text.push_str(", and ");
        }
        match &link.requires {
            Some(requires) => text.push_str(&format!("{} requires {} {requires}", link.by, link.of)),
            None => text.push_str(&format!("{} needs {}", link.by, link.of)),
        }
        if let Some(because) = &link.because {
            text.push_str(&format!(" ({because})"));
        }
    }
    text
}
