//! The workspace as cargo describes it: its crates, their targets, and what they need of each other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, TargetKind};
use maint_core::failure::Failure;

use crate::cargo::{Answer, cargo};
use crate::cli::PlaceArgs;
use crate::work::Work;

/// A workspace, and how cargo is run on it.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Its directory.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// Its crates, by name.
    pub members: Vec<Member>,
    target_dir: Option<PathBuf>,
    offline: bool,
    all_features: bool,
}

/// One crate of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// How cargo names it in messages.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where its Cargo.toml is.
    pub directory: PathBuf,
    /// What is built of it.
    pub targets: Vec<Target>,
    /// The other crates of the workspace that it needs.
    pub needs: Vec<Need>,
}

/// What is built of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its first file.
    pub path: PathBuf,
    /// It is only built with features that are not on by themselves.
    pub optional: bool,
}

/// What a target is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A library, or a procedural macro.
    Library,
    /// A program.
    Program,
    /// Tests and benches.
    Test,
    /// Examples.
    Example,
    /// The build script.
    Build,
}

/// That one crate of the workspace needs another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The other one.
    pub name: String,
    /// Only for tests, benches and examples.
    pub tests_only: bool,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// There is no cargo, or it finds no workspace or cannot read it.
    pub fn load(args: &PlaceArgs, work: &Work<'_>) -> Result<Self, Failure> {
        let mut command: Vec<OsString> = ["metadata", "--no-deps", "--format-version", "1"].map(OsString::from).into();
        let mut directory = std::env::current_dir()
            .map_err(|error| Failure::usage(format!("cannot tell the working directory: {error}")))?;
        if let Some(manifest) = &args.manifest_path {
            let manifest = std::path::absolute(manifest)
                .map_err(|error| Failure::usage(format!("--manifest-path {}: {error}", manifest.display())))?;
            if !manifest.is_file() {
                return Err(Failure::usage(format!("--manifest-path {}: there is no such file", manifest.display())));
            }
            if let Some(parent) = manifest.parent() {
                parent.clone_into(&mut directory);
            }
            command.extend([OsString::from("--manifest-path"), manifest.into_os_string()]);
        }
        if args.offline {
            command.push("--offline".into());
        }
        let answer = cargo(work, &directory, command, Vec::new())?;
        if answer.code != Some(0) {
            return Err(Failure::usage(format!("cargo cannot describe the workspace: {}", answer.complaint()))
                .hint("run it inside of a Cargo workspace, or name one with --manifest-path"));
        }
        let line = answer.stdout.iter().find(|line| line.starts_with('{')).map_or("", String::as_str);
        let metadata = MetadataCommand::parse(line)
            .map_err(|error| Failure::usage(format!("cannot read what cargo says of the workspace: {error}")))?;
        let target_dir = args.target_dir.as_ref().and_then(|path| std::path::absolute(path).ok());
        let workspace = Self::of(&metadata, target_dir, args);
        if workspace.members.is_empty() {
            return Err(Failure::usage(format!("the workspace {} has no crates", workspace.root.display()))
                .hint("look at `members` in its Cargo.toml"));
        }
        Ok(workspace)
    }

    fn of(metadata: &Metadata, target_dir: Option<PathBuf>, args: &PlaceArgs) -> Self {
        let packages = metadata.workspace_packages();
        let mut members: Vec<Member> = packages.iter().map(|package| member(package, &packages)).collect();
        members.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        let target = target_dir.clone().unwrap_or_else(|| metadata.target_directory.as_std_path().to_owned());
        let root = metadata.workspace_root.as_std_path().to_owned();
        let PlaceArgs { offline, all_features, .. } = *args;
        Workspace { root, target, members, target_dir, offline, all_features }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(root: PathBuf, members: Vec<Member>) -> Self {
        let target = root.join("target");
        Workspace { root, target, members, target_dir: None, offline: false, all_features: false }
    }

    /// Builds with cargo. The lock file is never changed where there is one. `args` begins with cargo's subcommand; what
    /// comes after `--` goes into `rest`.
    ///
    /// # Errors
    /// As [`cargo`].
    pub fn cargo(
        &self,
        work: &Work<'_>,
        args: &[&str],
        rest: &[String],
        env: Vec<(OsString, OsString)>,
    ) -> Result<Answer, Failure> {
        let mut all: Vec<OsString> = args.iter().map(OsString::from).collect();
        if self.root.join("Cargo.lock").exists() {
            all.push("--locked".into());
        }
        if self.offline {
            all.push("--offline".into());
        }
        if self.all_features {
            all.push("--all-features".into());
        }
        if let Some(directory) = &self.target_dir {
            all.extend(["--target-dir".into(), directory.as_os_str().to_owned()]);
        }
        if !rest.is_empty() {
            all.push("--".into());
            all.extend(rest.iter().map(OsString::from));
        }
        cargo(work, &self.root, all, env)
    }

    /// The member of that id.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The member whose directory a file is in: the deepest one.
    pub fn owner(&self, file: &Path) -> Option<&Member> {
        let holding = self.members.iter().filter(|member| file.starts_with(&member.directory));
        holding.max_by_key(|member| member.directory.components().count())
    }

    /// A path as it is shown: relative to the workspace.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

fn member(package: &Package, all: &[&Package]) -> Member {
    let directory = |package: &Package| {
        let manifest = package.manifest_path.as_std_path();
        manifest.parent().unwrap_or(manifest).to_owned()
    };
    let targets = package.targets.iter().map(|target| {
        let role = target.kind.iter().map(role).next().unwrap_or(Role::Library);
        let optional = !target.required_features.is_empty();
        Target { name: target.name.clone(), role, path: target.src_path.as_std_path().to_owned(), optional }
    });
    let mut needs: Vec<Need> = package
        .dependencies
        .iter()
        .filter_map(|dependency| {
            let path = dependency.path.as_ref()?.as_std_path();
            let other = all.iter().find(|other| directory(other) == path)?;
            Some(Need { name: other.name.to_string(), tests_only: dependency.kind == DependencyKind::Development })
        })
        .collect();
    // A crate that is needed for tests and otherwise is needed otherwise.
    needs.sort();
    needs.dedup_by(|next, kept| next.name == kept.name);
    Member {
        id: package.id.repr.clone(),
        name: package.name.to_string(),
        directory: directory(package),
        targets: targets.collect(),
        needs,
    }
}

fn role(kind: &TargetKind) -> Role {
    match kind {
        TargetKind::Bin => Role::Program,
        TargetKind::Test | TargetKind::Bench => Role::Test,
        TargetKind::Example => Role::Example,
        TargetKind::CustomBuild => Role::Build,
        _ => Role::Library,
    }
}
