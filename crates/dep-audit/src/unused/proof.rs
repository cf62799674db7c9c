//! Proof by removal: a copy of the workspace is built without a dependency, in three ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use maint_core::durable;
use maint_core::failure::Failure;
use toml_edit::DocumentMut;

use super::Declared;
use super::compiler::cargo;
use crate::work::Work;

/// What may be left out of a build.
const WAYS: [&[&str]; 3] = [&[], &["--all-features"], &["--no-default-features"]];

/// A copy of the workspace, without everything that is proven so far.
pub(super) struct Proof {
    root: PathBuf,
    copy: tempfile::TempDir,
    target: PathBuf,
    /// Files as they were when they were copied.
    originals: BTreeMap<PathBuf, Vec<u8>>,
    /// What it builds without.
    pub(super) gone: Vec<Declared>,
}

impl Proof {
    /// Copies what git would keep, and sees that it builds as it is.
    ///
    /// # Errors
    /// It cannot be copied, or does not build in one of the three ways: nothing could be proven then.
    pub(super) fn begin(manifest: &Path, work: &Work<'_>) -> Result<Self, Failure> {
        let root = manifest.parent().unwrap_or(Path::new(".")).to_owned();
        let failed = |error: &dyn std::fmt::Display| Failure::usage(format!("cannot copy {}: {error}", root.display()));
        let copy = tempfile::tempdir().map_err(|error| failed(&error))?;
        for entry in ignore::WalkBuilder::new(&root).hidden(false).require_git(false).build() {
            let entry = entry.map_err(|error| failed(&error))?;
            let inner = entry.path().strip_prefix(&root).map_err(|error| failed(&error))?;
            if inner.starts_with(".git") || inner.starts_with("target") {
                continue;
            }
            let to = copy.path().join(inner);
            let kind = entry.file_type();
            if kind.is_some_and(|kind| kind.is_dir()) {
                std::fs::create_dir_all(&to).map_err(|error| failed(&error))?;
            } else if kind.is_some_and(|kind| kind.is_file()) {
                std::fs::copy(entry.path(), &to).map_err(|error| failed(&error))?;
            }
        }
        let target = copy.path().join("target");
        let proof = Proof { root, copy, target, originals: BTreeMap::new(), gone: Vec::new() };
        match proof.builds(work)? {
            None => Ok(proof),
            Some(why) => {
                Err(Failure::usage(format!("nothing can be proven, as a copy does not build as it is: {why}"))
                    .hint("paths that lead out of the workspace, and files that .gitignore names, are not copied"))
            }
        }
    }

    /// Why it does not build without a dependency; `None`: it does, and stays without it.
    ///
    /// # Errors
    /// The copy cannot be changed.
    pub(super) fn without(&mut self, one: &Declared, work: &Work<'_>) -> Result<Option<String>, Failure> {
        let place = self.place(&one.manifest)?;
        let lock = self.copy.path().join("Cargo.lock");
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| Failure::critical(format!("cannot read {}: {error}", path.display())))
        };
        let write = |path: &Path, bytes: &[u8]| {
            std::fs::write(path, bytes)
                .map_err(|error| Failure::critical(format!("cannot write {}: {error}", path.display())))
        };
        let (before, locked) = (read(&place)?, read(&lock)?);
        self.originals.entry(one.manifest.clone()).or_insert_with(|| before.clone());
        self.originals.entry(self.root.join("Cargo.lock")).or_insert_with(|| locked.clone());
        let text = String::from_utf8_lossy(&before).into_owned();
        write(&place, removed(&text, one)?.as_bytes())?;
        let why = self.builds(work)?;
        if why.is_some() {
            write(&place, &before)?;
            write(&lock, &locked)?;
        } else {
            self.gone.push(one.clone());
        }
        Ok(why)
    }

    /// Brings the manifests and the lock file of the copy into the workspace.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn keep(&self, manifests: &BTreeSet<PathBuf>) -> Result<(), Failure> {
        let lock = self.root.join("Cargo.lock");
        for path in manifests.iter().chain([&lock]) {
            let now = std::fs::read(path).ok();
            if now.as_ref() != self.originals.get(path) {
                return Err(Failure::usage(format!(
                    "{} has changed since it was looked at; nothing was written",
                    path.display()
                )));
            }
        }
        for path in manifests.iter().chain([&lock]) {
            let from = self.place(path)?;
            let failed =
                |error: &dyn std::fmt::Display| Failure::critical(format!("cannot write {}: {error}", path.display()));
            let bytes = std::fs::read(&from).map_err(|error| failed(&error))?;
            durable::replace(path, &bytes, 0o644).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn place(&self, path: &Path) -> Result<PathBuf, Failure> {
        let inner = path.strip_prefix(&self.root).map_err(|_| {
            Failure::usage(format!("{} lies outside of the workspace {}", path.display(), self.root.display()))
        })?;
        Ok(self.copy.path().join(inner))
    }

    fn builds(&self, work: &Work<'_>) -> Result<Option<String>, Failure> {
        for way in WAYS {
            let mut command = cargo(&self.copy.path().join("Cargo.toml"), &self.target);
            let output = command
                .args(way)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .output()
                .map_err(|error| Failure::usage(format!("cannot run cargo: {error}")))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let first = said.lines().find(|line| line.starts_with("error")).unwrap_or("it failed").to_owned();
                return Ok(Some(if way.is_empty() { first } else { format!("{first} ({})", way.join(" ")) }));
            }
            if work.cancel.is_cancelled() {
                return Ok(Some("it was interrupted".to_owned()));
            }
        }
        Ok(None)
    }
}

/// A manifest without a dependency, in the plain table and in those of targets; everything else stays.
fn removed(text: &str, one: &Declared) -> Result<String, Failure> {
    let bad = |why: String| Failure::usage(format!("{}: {why}", one.manifest.display()));
    let mut document: DocumentMut = text.parse().map_err(|error| bad(format!("{error}")))?;
    let mut found = false;
    let mut take = |item: Option<&mut toml_edit::Item>| {
        if let Some(table) = item.and_then(toml_edit::Item::as_table_like_mut) {
            found |= table.remove(&one.key).is_some();
        }
    };
    take(document.get_mut(one.table()));
    if let Some(targets) = document.get_mut("target").and_then(toml_edit::Item::as_table_like_mut) {
        for (_, target) in targets.iter_mut() {
            take(target.get_mut(one.table()));
        }
    }
    // A feature of its own, written out, goes with it.
    if let Some(features) = document.get_mut("features").and_then(toml_edit::Item::as_table_like_mut) {
        let own = format!("dep:{}", one.key);
        let is_own = features.get(&one.key).and_then(toml_edit::Item::as_array).is_some_and(|parts| {
            parts.len() == 1 && parts.get(0).and_then(toml_edit::Value::as_str) == Some(own.as_str())
        });
        if is_own {
            features.remove(&one.key);
        }
    }
    if found { Ok(document.to_string()) } else { Err(bad(format!("there is no {} in it", one.key))) }
}
