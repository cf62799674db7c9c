//! `unused`: dependencies that nothing uses.
//!
//! The compiler decides. It knows of every target which of the crates that it was given were of use, macros, renames and build
//! scripts included, and says so with a lint of its own, which is forced on here without touching the workspace. What the
//! compiler did not see - code for other platforms, examples in documentation, features - is searched for by name, and
//! whatever is found there is kept. `--prove` builds a copy without each candidate; only what is proven is taken out by
//! `--fix`.

mod compiler;
mod kept;
mod proof;
pub mod wrapper;

use std::collections::BTreeSet;
use std::path::PathBuf;

use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};
use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::lock::RunLock;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::UnusedArgs;
use crate::inputs::nearest;
use crate::work::Work;

use proof::Proof;

/// A dependency as a manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    /// The member that declares it.
    package: PackageId,
    /// The member's name.
    member: String,
    /// The member's manifest.
    manifest: PathBuf,
    /// The key in the manifest.
    key: String,
    /// What code calls it.
    name: String,
    /// In which table.
    kind: DependencyKind,
}

impl Declared {
    fn subject(&self) -> String {
        format!("{}/{}", self.member, self.key)
    }

    fn table(&self) -> &'static str {
        match self.kind {
            DependencyKind::Development => "dev-dependencies",
            DependencyKind::Build => "build-dependencies",
            _ => "dependencies",
        }
    }
}

/// Looks at the workspace of the working directory. It is built, so its build scripts run: it is the user's own.
///
/// # Errors
/// There is no workspace, cargo cannot tell what it is made of, or it does not compile.
pub fn run(args: &UnusedArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let manifest = nearest()?.with_file_name("Cargo.toml");
    work.subject = manifest.display().to_string();
    let metadata = compiler::metadata(&manifest)?;
    let seen = compiler::check(&manifest, &metadata, work)?;
    if work.cancel.is_cancelled() {
        // What was not compiled used nothing.
        return Ok(());
    }
    let (declared, mut not_judged) = declared(&metadata);
    let mut candidates = Vec::new();
    for one in &declared {
        let verdict = seen.of(&one.package, &one.name, one.kind);
        match verdict {
            compiler::Verdict::Used => continue,
            compiler::Verdict::NotBuilt => {
                not_judged += 1;
                continue;
            }
            compiler::Verdict::Unused | compiler::Verdict::OnlyTests => {}
        }
        // Tests name what only they use: a search by name would always find it.
        let reason = kept::by_declaration(one, &metadata).or_else(|| match verdict {
            compiler::Verdict::Unused => kept::by_name(one, &metadata),
            _ => None,
        });
        match (verdict, reason) {
            (_, Some(why)) => work.run.emit(&record(one, Status::Ok, "kept", &why)),
            (compiler::Verdict::OnlyTests, None) => {
                let why = "only tests, examples or benches use it on this platform: it belongs into [dev-dependencies]";
                work.run.emit(&record(one, Status::Warning, "only-tests", why));
            }
            (_, None) => candidates.push(one),
        }
    }
    let mut proof = None;
    if args.prove || args.fix {
        proof = Some(Proof::begin(&manifest, work)?);
    }
    let mut gone = BTreeSet::new();
    for one in candidates {
        if work.cancel.is_cancelled() {
            return Ok(());
        }
        let Some(proof) = &mut proof else {
            work.run.emit(&record(one, Status::Warning, "unused", "no target uses it; --prove builds without it"));
            continue;
        };
        let refused = proof.without(one, work)?;
        if work.cancel.is_cancelled() {
            return Ok(());
        }
        if let Some(why) = refused {
            work.run.emit(&record(one, Status::Ok, "kept", &format!("it does not build without it: {why}")));
            continue;
        }
        gone.insert(one.manifest.clone());
        if !args.fix {
            let why = format!("no target uses it, and it builds without it: take it out of [{}]", one.table());
            work.run.emit(&record(one, Status::Warning, "unused", &why).field("proven", true));
        }
    }
    if args.fix
        && let Some(proof) = &proof
    {
        fix(proof, &gone, args, work)?;
    }
    work.run.result("declared", declared.len());
    // What is for other platforms, or for targets that there are not, was given to no compiler here.
    work.run.result("not_judged", not_judged);
    Ok(())
}

fn record(one: &Declared, status: Status, verdict: &str, message: &str) -> Record {
    Record::new(Kind::Finding, one.subject(), status, message)
        .field("code", verdict)
        .field("package", &one.member)
        .field("dependency", &one.key)
        .field("table", one.table())
        .field("manifest", one.manifest.display().to_string())
}

/// Writes what was proven into the workspace, all of it or nothing.
fn fix(proof: &Proof, manifests: &BTreeSet<PathBuf>, args: &UnusedArgs, work: &Work<'_>) -> Result<(), Failure> {
    if !args.change.dry_run && !manifests.is_empty() {
        let state = state_directory()?;
        work.run.journal_in(&state)?;
        let _lock = RunLock::acquire(&state, &format!("dep-audit unused {}", work.subject)).map_err(Failure::from)?;
        proof.keep(manifests)?;
    }
    for one in &proof.gone {
        let (kind, status) = if args.change.dry_run { (Kind::Plan, Status::Planned) } else { (Kind::Step, Status::Ok) };
        let message = format!("taken out of [{}] of {}", one.table(), one.manifest.display());
        work.run.emit(&Record::new(kind, one.subject(), status, message).field("dependency", &one.key));
    }
    Ok(())
}

/// Everything that members declare and that is for this platform; and how many are for others.
fn declared(metadata: &Metadata) -> (Vec<Declared>, usize) {
    let mut found = Vec::new();
    let mut elsewhere = 0;
    let nodes = metadata.resolve.as_ref().map(|resolve| resolve.nodes.as_slice()).unwrap_or_default();
    for package in metadata.workspace_packages() {
        let Some(node) = nodes.iter().find(|node| node.id == package.id) else { continue };
        for dependency in &package.dependencies {
            let key = dependency.rename.as_ref().unwrap_or(&dependency.name).clone();
            let named = node.deps.iter().find(|resolved| {
                let is_it = metadata
                    .packages
                    .iter()
                    .any(|other| other.id == resolved.pkg && other.name.as_str() == dependency.name);
                is_it
                    && resolved.dep_kinds.iter().any(|kind| kind.kind == dependency.kind)
                    && dependency.rename.as_ref().is_none_or(|rename| resolved.name == rename.replace('-', "_"))
            });
            match named {
                Some(resolved) => found.push(Declared {
                    package: package.id.clone(),
                    member: package.name.to_string(),
                    manifest: package.manifest_path.clone().into_std_path_buf(),
                    key,
                    name: resolved.name.clone(),
                    kind: dependency.kind,
                }),
                None => elsewhere += 1,
            }
        }
    }
    (found, elsewhere)
}

/// The member that declares something.
pub(crate) fn member<'a>(one: &Declared, metadata: &'a Metadata) -> Option<&'a Package> {
    metadata.packages.iter().find(|package| package.id == one.package)
}
