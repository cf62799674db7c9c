//! The workspace of a lock file: what its own manifests require.

use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use maint_core::failure::Failure;
use semver::Version;

use crate::lock::{Lock, Locked};
use crate::registry::Needs;

/// A package that does not come from the registry, and what its manifest says.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) needs: Vec<Needs>,
}

/// The workspace of a lock file.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// Where the lock file is.
    pub(crate) directory: PathBuf,
    pub(crate) manifests: Vec<Manifest>,
    /// The manifests' files, of the workspace's own packages.
    pub(crate) files: Vec<PathBuf>,
    /// The oldest compiler that all members are for.
    pub(crate) rust_version: Option<Version>,
}

impl Workspace {
    /// Asks cargo, which fetches nothing and changes nothing for it.
    ///
    /// The manifests of the members are read without cargo's lock on its packages, so that nothing waits for a build. Only
    /// where packages come from git or from a path outside, the whole graph is asked for: their manifests are where cargo
    /// has put them, if they are on this disk at all.
    ///
    /// # Errors
    /// There is no manifest beside the lock file, or it does not hold.
    pub(crate) fn of(lock: &Lock) -> Result<Self, Failure> {
        let directory = lock.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let manifest = directory.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(Failure::usage(format!(
                "there is no {}, so nobody knows what may be moved",
                manifest.display()
            ))
            .hint("run it in a workspace, as its manifests say which versions will do"));
        }
        let ask = |whole: bool| {
            let mut command = MetadataCommand::new();
            command.current_dir(directory).manifest_path("Cargo.toml");
            if whole {
                command.other_options(["--locked".to_owned(), "--offline".to_owned()]);
            } else {
                command.no_deps().other_options(["--offline".to_owned()]);
            }
            command.exec()
        };
        let members = ask(false).map_err(|error| {
            Failure::usage(format!("cargo cannot read {}: {}", manifest.display(), error.to_string().trim()))
        })?;
        let workspace = Workspace::from(&members, directory);
        let is_known = |locked: &Locked| {
            workspace
                .manifests
                .iter()
                .any(|m| m.name == locked.package.name.as_str() && m.version == locked.package.version)
        };
        if lock.packages.iter().all(|locked| locked.is_from_the_registry() || is_known(locked)) {
            return Ok(workspace);
        }
        Ok(ask(true).map(|metadata| Workspace::from(&metadata, directory)).unwrap_or(workspace))
    }

    fn from(metadata: &Metadata, directory: &Path) -> Self {
        let own: Vec<_> = metadata
            .packages
            .iter()
            .filter(|package| package.source.as_ref().is_none_or(|s| !s.is_crates_io()))
            .collect();
        let manifests = own
            .iter()
            .map(|package| Manifest {
                name: package.name.to_string(),
                version: package.version.clone(),
                needs: package
                    .dependencies
                    .iter()
                    .map(|dependency| Needs {
                        package: dependency.name.clone(),
                        requirement: dependency.req.clone(),
                        is_dev: dependency.kind == DependencyKind::Development,
                        is_optional: dependency.optional,
                    })
                    .collect(),
            })
            .collect();
        let mut files: Vec<PathBuf> = vec![directory.join("Cargo.toml")];
        files.extend(own.iter().filter(|p| p.source.is_none()).map(|p| p.manifest_path.clone().into_std_path_buf()));
        files.sort();
        files.dedup();
        let rust_version =
            metadata.workspace_packages().iter().filter_map(|package| package.rust_version.clone()).min();
        Workspace { directory: directory.to_owned(), manifests, files, rust_version }
    }
}
