//! A lock file as the planner sees it: who needs whom, and with which requirement.
//!
//! A lock file has edges without requirements. Those of releases are in the index, those of the workspace's own packages in
//! its manifests; of a package from elsewhere whose manifest is not at hand, only that it runs with what is locked is known,
//! so it is taken to accept what is compatible with that. Cargo has the last word when a move is made.

use std::collections::BTreeMap;

use semver::{Version, VersionReq};

use super::workspace::Manifest;
use crate::lock::Lock;
use crate::registry::{Needs, Release};

/// Releases by crate; a crate that cargo's cache does not know is not in it.
pub(crate) type Known = BTreeMap<String, Vec<Release>>;

/// A package of the lock file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) version: Version,
    /// It can be moved: it comes from the registry.
    pub(crate) movable: bool,
    /// What its manifest says, for what does not come from the registry.
    manifest: Option<Vec<Needs>>,
    /// Who needs it, as indices.
    pub(crate) dependants: Vec<usize>,
}

/// A lock file and all that is known of its packages.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) nodes: Vec<Node>,
    pub(crate) known: Known,
    /// The oldest compiler that the workspace is for.
    pub(crate) rust_version: Option<Version>,
}

/// Packages that have been moved in thought, by index.
pub(crate) type Moved = BTreeMap<usize, Version>;

/// A dependant that does not accept a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) dependant: usize,
    /// What it requires; `None` where its manifest is not at hand.
    pub(crate) requirement: Option<VersionReq>,
}

impl Model {
    pub(crate) fn new(lock: &Lock, manifests: &[Manifest], known: Known, rust_version: Option<Version>) -> Self {
        let mut nodes: Vec<Node> = lock
            .packages
            .iter()
            .map(|locked| {
                let package = &locked.package;
                let name = package.name.as_str();
                let manifest = manifests.iter().find(|manifest| {
                    manifest.name == name && manifest.version == package.version && !locked.is_from_the_registry()
                });
                Node {
                    name: name.to_owned(),
                    version: package.version.clone(),
                    movable: locked.is_from_the_registry(),
                    manifest: manifest.map(|manifest| manifest.needs.clone()),
                    dependants: Vec::new(),
                }
            })
            .collect();
        let mut places: BTreeMap<(&str, &Version), Vec<usize>> = BTreeMap::new();
        for (index, locked) in lock.packages.iter().enumerate() {
            places.entry((locked.package.name.as_str(), &locked.package.version)).or_default().push(index);
        }
        for (dependant, locked) in lock.packages.iter().enumerate() {
            for dependency in &locked.package.dependencies {
                let found = places.get(&(dependency.name.as_str(), &dependency.version));
                for &index in found.into_iter().flatten() {
                    let same = lock.packages.get(index).is_some_and(|other| dependency.matches(&other.package));
                    if let Some(node) = nodes.get_mut(index).filter(|_| same) {
                        node.dependants.push(dependant);
                    }
                }
            }
        }
        Model { nodes, known, rust_version }
    }

    pub(crate) fn find(&self, name: &str, version: &Version) -> Option<usize> {
        self.nodes.iter().position(|node| node.movable && node.name == name && node.version == *version)
    }

    pub(crate) fn node(&self, index: usize) -> Option<&Node> {
        self.nodes.get(index)
    }

    /// The version of a package after what was moved.
    pub(crate) fn version<'a>(&'a self, index: usize, moved: &'a Moved) -> Option<&'a Version> {
        moved.get(&index).or_else(|| self.nodes.get(index).map(|node| &node.version))
    }

    pub(crate) fn releases(&self, name: &str) -> &[Release] {
        self.known.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn release(&self, name: &str, version: &Version) -> Option<&Release> {
        self.releases(name).iter().find(|release| release.version == *version)
    }

    /// What a dependant at `version` needs of a crate: `None` where nobody knows, empty where it needs nothing of it.
    fn needs_of(&self, dependant: usize, version: &Version, name: &str) -> Option<Vec<&VersionReq>> {
        let node = self.nodes.get(dependant)?;
        // What a release needs for its own tests binds nobody; what a member needs for its tests is locked as well.
        let needs = if node.movable {
            let release = self.release(&node.name, version)?;
            release.needs.iter().filter(|need| !need.is_dev).collect::<Vec<_>>()
        } else {
            node.manifest.as_ref()?.iter().collect()
        };
        Some(needs.into_iter().filter(|need| need.package == name).map(|need| &need.requirement).collect())
    }

    /// Whether a dependant, after what was moved, accepts `wanted` for the package at `index`; if not, what it requires.
    pub(crate) fn refusal(&self, dependant: usize, index: usize, wanted: &Version, moved: &Moved) -> Option<Refusal> {
        let (node, at) = (self.nodes.get(index)?, self.version(dependant, moved)?);
        let current = self.version(index, moved)?;
        let refused = |requirement: Option<&VersionReq>| Some(Refusal { dependant, requirement: requirement.cloned() });
        match self.needs_of(dependant, at, &node.name) {
            Some(needs) if needs.is_empty() => None,
            Some(needs) => {
                // A crate may need two versions of another: those count that the locked one meets.
                let met: Vec<&VersionReq> = needs.iter().copied().filter(|need| need.matches(current)).collect();
                if met.is_empty() {
                    let any = needs.iter().any(|need| need.matches(wanted));
                    if any { None } else { refused(needs.first().copied()) }
                } else {
                    met.into_iter().find(|need| !need.matches(wanted)).and_then(|need| refused(Some(need)))
                }
            }
            None => match VersionReq::parse(&format!("^{}", node.version)) {
                Ok(compatible) if compatible.matches(wanted) => None,
                _ => refused(None),
            },
        }
    }

    /// Who does not accept `wanted` for the package at `index`.
    pub(crate) fn refusals(&self, index: usize, wanted: &Version, moved: &Moved) -> Vec<Refusal> {
        let dependants = self.nodes.get(index).map(|node| node.dependants.as_slice()).unwrap_or_default();
        dependants.iter().filter_map(|&dependant| self.refusal(dependant, index, wanted, moved)).collect()
    }

    /// Whether a release needs a newer compiler than the workspace is for. One that needs no newer compiler than what is
    /// locked now makes nothing worse.
    pub(crate) fn is_too_new_for_the_compiler(&self, release: &Release, name: &str, current: &Version) -> bool {
        let (Some(ours), Some(theirs)) = (&self.rust_version, &release.rust_version) else { return false };
        let now = self.release(name, current).and_then(|release| release.rust_version.as_ref());
        theirs > ours && now.is_none_or(|now| theirs > now)
    }

    /// Releases that a package could be moved up to, the lowest first: no yanked ones, and prereleases only when it is one.
    pub(crate) fn above<'a>(
        &'a self,
        index: usize,
        than: &'a Version,
    ) -> impl DoubleEndedIterator<Item = &'a Release> + 'a {
        let name = self.nodes.get(index).map(|node| node.name.as_str()).unwrap_or_default();
        self.releases(name)
            .iter()
            .filter(move |release| release.version > *than && !release.yanked)
            .filter(move |release| release.version.pre.is_empty() || !than.pre.is_empty())
    }
}
