//! What the compiler saw: which targets were built, and which crates were of no use to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cargo_metadata::{
    Artifact, CompilerMessage, DependencyKind, Message, Metadata, MetadataCommand, PackageId, TargetKind,
};
use maint_core::failure::Failure;

use super::wrapper::MARK;
use crate::work::Work;

/// What is said of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No target that gets it uses it.
    Unused,
    /// Of a dependency of everything: only tests, examples and benches do.
    OnlyTests,
    /// Something uses it.
    Used,
    /// Nothing was built that gets it, so the compiler said nothing.
    NotBuilt,
}

/// A target of a package.
type Target = (PackageId, String);

/// What one target was built as.
#[derive(Debug, Clone, Default)]
struct Built {
    /// As a part of the product.
    product: usize,
    /// For tests, or as an example or a bench.
    tests: usize,
    /// As a build script.
    scripts: usize,
    /// How often each crate was of no use.
    useless: BTreeMap<String, usize>,
}

/// All targets of the workspace.
#[derive(Debug, Default)]
pub(super) struct Seen {
    targets: BTreeMap<Target, Built>,
}

impl Seen {
    /// What the targets of a package make of a crate that they get by this kind of dependency.
    pub(super) fn of(&self, package: &PackageId, name: &str, kind: DependencyKind) -> Verdict {
        let (mut built, mut product_uses, mut tests_use) = (0, false, false);
        for ((_, _), target) in self.targets.iter().filter(|((of, _), _)| of == package) {
            let useless = target.useless.get(name).copied().unwrap_or(0);
            match kind {
                DependencyKind::Build => {
                    built += target.scripts;
                    product_uses |= target.scripts > useless;
                }
                DependencyKind::Development => {
                    built += target.tests;
                    product_uses |= target.tests > useless;
                }
                _ => {
                    built += target.product + target.tests;
                    // What the product uses its tests get to see as well, so one warning of two is the product's.
                    product_uses |= target.product > 0 && useless == 0;
                    tests_use |= target.tests > 0 && useless < target.product + target.tests;
                }
            }
        }
        match (built, product_uses, tests_use) {
            (0, _, _) => Verdict::NotBuilt,
            (_, true, _) => Verdict::Used,
            (_, false, true) => Verdict::OnlyTests,
            (_, false, false) => Verdict::Unused,
        }
    }

    fn take(&mut self, message: Message, errors: &mut Vec<String>) {
        match message {
            Message::CompilerArtifact(artifact) => self.built(&artifact),
            Message::CompilerMessage(message) => {
                if message.message.level == cargo_metadata::diagnostic::DiagnosticLevel::Error {
                    errors.push(message.message.message.clone());
                }
                self.said(&message);
            }
            _ => {}
        }
    }

    fn built(&mut self, artifact: &Artifact) {
        let target = (artifact.package_id.clone(), key(&artifact.target));
        let built = self.targets.entry(target).or_default();
        let is = |kind: TargetKind| artifact.target.kind.contains(&kind);
        if is(TargetKind::CustomBuild) {
            built.scripts += 1;
        } else if artifact.profile.test || is(TargetKind::Test) || is(TargetKind::Example) || is(TargetKind::Bench) {
            built.tests += 1;
        } else {
            built.product += 1;
        }
    }

    fn said(&mut self, message: &CompilerMessage) {
        let is_it = message.message.code.as_ref().is_some_and(|code| code.code == "unused_crate_dependencies");
        // extern crate `NAME` is unused in crate `CRATE`
        let name = message.message.message.split('`').nth(1).filter(|_| is_it);
        if let Some(name) = name {
            let target = (message.package_id.clone(), key(&message.target));
            *self.targets.entry(target).or_default().useless.entry(name.to_owned()).or_default() += 1;
        }
    }
}

fn key(target: &cargo_metadata::Target) -> String {
    format!("{:?} {}", target.kind, target.name)
}

/// What the workspace is made of on this platform, without the network.
///
/// # Errors
/// Cargo cannot tell.
pub(super) fn metadata(manifest: &Path) -> Result<Metadata, Failure> {
    let said = Command::new("rustc").arg("-vV").output();
    let said = said.map_err(|error| Failure::usage(format!("cannot run rustc: {error}")))?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| Failure::usage("rustc does not tell what it builds for"))?;
    let mut command = MetadataCommand::new();
    command.manifest_path(manifest).features(cargo_metadata::CargoOpt::AllFeatures);
    command.other_options(["--offline", "--filter-platform", host].map(str::to_owned).to_vec());
    command.exec().map_err(|error| {
        Failure::usage(format!("cargo cannot tell what {} is made of: {error}", manifest.display()))
            .hint("`cargo fetch` gets what it needs")
    })
}

/// Builds everything once, as far as checking goes, and listens.
///
/// # Errors
/// It does not compile: what is not compiled uses nothing.
pub(super) fn check(manifest: &Path, metadata: &Metadata, work: &Work<'_>) -> Result<Seen, Failure> {
    let own =
        std::env::current_exe().map_err(|error| Failure::critical(format!("cannot find this program: {error}")))?;
    let mut command = cargo(manifest, &metadata.target_directory.clone().into_std_path_buf());
    // The lock file is the user's: one that is not up to date is their business.
    command
        .args(["--locked", "--all-features", "--message-format=json"])
        .env("RUSTC_WORKSPACE_WRAPPER", own)
        .env(MARK, "1");
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    tracing::info!("checking every target of {}", manifest.display());
    let mut child = command.spawn().map_err(|error| Failure::usage(format!("cannot run cargo: {error}")))?;
    let mut seen = Seen::default();
    let mut errors = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for message in Message::parse_stream(std::io::BufReader::new(stdout)) {
            let message = message.map_err(|error| Failure::usage(format!("cannot read what cargo says: {error}")))?;
            seen.take(message, &mut errors);
            if work.cancel.is_cancelled() {
                let _ = child.kill();
            }
        }
    }
    let status = child.wait().map_err(|error| Failure::usage(format!("cannot wait for cargo: {error}")))?;
    if status.success() || work.cancel.is_cancelled() {
        return Ok(seen);
    }
    let first = errors.first().map_or("cargo says no more", String::as_str);
    Err(Failure::usage(format!("{} does not compile, so nothing can be told: {first}", manifest.display()))
        .hint("`cargo check --workspace --all-targets --all-features` says more"))
}

/// `cargo check` of everything, in a target directory of its own: our lint must not make the user's builds stale.
pub(super) fn cargo(manifest: &Path, target: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    let target: PathBuf = target.join("dep-audit-unused");
    command.args(["check", "--workspace", "--all-targets", "--offline", "--manifest-path"]).arg(manifest);
    command.env("CARGO_TARGET_DIR", target).env_remove("RUSTFLAGS").env_remove("RUSTC_WRAPPER").env_remove(MARK);
    command.stdin(Stdio::null());
    command
}
