//! How far each package of a workspace is used.
//!
//! A lock file holds everything that any feature and any platform could need, and more. Which of it is built by default
//! decides how urgent a finding is. Cargo's own metadata joins the features of all platforms; the sets here are those of
//! `cargo tree`, by guppy's simulation of cargo's resolver (version 2).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use guppy::CargoMetadata;
use guppy::graph::cargo::{CargoOptions, CargoResolverVersion, CargoSet};
use guppy::graph::feature::StandardFeatures;
use guppy::graph::{DependencyDirection, PackageGraph};
use guppy::platform::PlatformSpec;
use maint_core::failure::Failure;

use crate::finding::Tier;

/// Name and version.
type Package = (String, String);

/// The tier of every package of a workspace, and the members through which it comes.
#[derive(Debug)]
pub struct Tiers {
    by_package: BTreeMap<Package, (Tier, BTreeSet<String>)>,
    traits: BTreeMap<Package, Traits>,
}

/// What a package's manifest says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traits {
    /// Its licence.
    pub license: Option<String>,
    /// It names where its source is kept.
    pub has_repository: bool,
    /// It runs a program when it is built.
    pub has_build_script: bool,
    /// It runs inside of the compiler.
    pub is_proc_macro: bool,
    /// It links a library of another language.
    pub has_links: bool,
}

impl Tiers {
    /// Asks cargo for the workspace of a manifest, and fetches nothing.
    ///
    /// Cargo obeys the workspace's own configuration, which may name programs to run: this is for workspaces that are
    /// trusted.
    ///
    /// # Errors
    /// Cargo is missing, the manifest does not hold, the lock file is not up to date, or packages have not been fetched.
    pub fn of(manifest: &Path) -> Result<Self, Failure> {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = std::process::Command::new(program);
        command.args([
            "metadata",
            "--all-features",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--manifest-path",
        ]);
        command.arg(manifest);
        // What changes how things are built has no say in what is looked at.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_BUILD_") || text.starts_with("RUSTC") || text.contains("RUSTFLAGS") {
                command.env_remove(&name);
            }
        }
        let output = command.output().map_err(|error| Failure::usage(format!("cannot run cargo: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().find(|line| line.starts_with("error")).unwrap_or("it failed").to_owned();
            return Err(Failure::usage(format!("cargo cannot tell what {} needs: {said}", manifest.display()))
                .hint("`cargo fetch --locked` gets what it needs to look at"));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Tiers::parse(&text)
            .map_err(|error| Failure::usage(format!("cargo's metadata of {} do not hold: {error}", manifest.display())))
    }

    fn parse(json: &str) -> Result<Self, guppy::Error> {
        let graph = CargoMetadata::parse_json(json)?.build_graph()?;
        let here = PlatformSpec::build_target().unwrap_or(PlatformSpec::Any);
        let active = packages(&reached(&graph, StandardFeatures::Default, here)?);
        let gated = packages(&reached(&graph, StandardFeatures::All, PlatformSpec::Any)?);
        let mut by_package = BTreeMap::new();
        let mut traits = BTreeMap::new();
        for package in graph.packages() {
            let key = (package.name().to_owned(), package.version().to_string());
            let tier = if active.contains(&key) {
                Tier::Active
            } else if gated.contains(&key) {
                Tier::Gated
            } else {
                Tier::LockOnly
            };
            let above = graph.query_reverse(std::iter::once(package.id()))?.resolve();
            let members = above
                .packages(DependencyDirection::Reverse)
                .filter(guppy::graph::PackageMetadata::in_workspace)
                .map(|member| member.name().to_owned())
                .collect();
            let own = Traits {
                license: package.license().map(str::to_owned),
                has_repository: package.repository().is_some(),
                has_build_script: package.has_build_script(),
                is_proc_macro: package.is_proc_macro(),
                has_links: package.links().is_some(),
            };
            traits.insert(key.clone(), own);
            by_package.insert(key, (tier, members));
        }
        Ok(Tiers { by_package, traits })
    }

    /// What a package's manifest says of it.
    pub fn traits(&self, name: &str, version: &str) -> Option<&Traits> {
        self.traits.get(&(name.to_owned(), version.to_owned()))
    }

    /// The tier of a package and the members through which it comes. What cargo does not name is in the lock file alone.
    pub fn tell(&self, name: &str, version: &str) -> (Tier, Vec<String>) {
        let found = self.by_package.get(&(name.to_owned(), version.to_owned()));
        found.map_or((Tier::LockOnly, Vec::new()), |(tier, members)| (*tier, members.iter().cloned().collect()))
    }
}

fn reached(
    graph: &PackageGraph,
    features: StandardFeatures,
    platform: PlatformSpec,
) -> Result<CargoSet<'_>, guppy::Error> {
    let mut options = CargoOptions::new();
    options.set_resolver(CargoResolverVersion::V2).set_include_dev(true).set_platform(platform);
    graph.resolve_workspace().to_feature_set(features).into_cargo_set(&options)
}

fn packages(set: &CargoSet<'_>) -> BTreeSet<Package> {
    [set.target_features(), set.host_features()]
        .into_iter()
        .flat_map(|features| {
            let packages = features.to_package_set();
            let named: Vec<Package> = packages
                .packages(DependencyDirection::Forward)
                .map(|package| (package.name().to_owned(), package.version().to_string()))
                .collect();
            named
        })
        .collect()
}
