//! What cargo's own cache of the registry's index knows: releases, when they came, whether they were taken back.
//!
//! It is read where cargo keeps it and never filled: cargo is the transport. Cargo's lock on its packages is not taken
//! either, so an audit never waits for a build or holds one up. In exchange an entry may be in the middle of being
//! written when it is read; such an entry is an error that names the file, and reading it again helps.
//!
//! What the cache does not know is unknown, which is not the same as "was never yanked" or "there is nothing newer".

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::failure::Failure;
use semver::{Version, VersionReq};
use tame_index::index::cache::ValidCacheEntry;
use tame_index::krate::DependencyKind;
use tame_index::{IndexLocation, IndexUrl, IndexVersion, KrateName};

/// A dependency of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The crate's name in the registry.
    pub package: String,
    /// The versions that will do.
    pub requirement: VersionReq,
    /// It is needed only for tests and examples.
    pub is_dev: bool,
    /// It is needed only with some feature.
    pub is_optional: bool,
}

/// A release of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// When it was published, where the index says so.
    pub published: Option<Timestamp>,
    /// It was taken back.
    pub yanked: bool,
    /// The oldest compiler that it is for.
    pub rust_version: Option<Version>,
    /// What it needs.
    pub needs: Vec<Needs>,
}

/// Cargo's cache of the index.
#[derive(Debug)]
pub struct Registry {
    directory: PathBuf,
    form: Form,
}

/// How the entries are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// What cargo keeps of a registry that it asks over the network, in a form of its own.
    Cache,
    /// A registry that lies on the disk as a whole: a line of JSON for each release.
    Local,
}

impl Registry {
    /// Opens the cache of this user's cargo (`CARGO_HOME`) as cargo would find it from the working directory.
    ///
    /// # Errors
    /// There is none.
    pub fn open() -> Result<Self, Failure> {
        let here = std::env::current_dir()
            .map_err(|error| Failure::usage(format!("cannot tell the working directory: {error}")))?;
        Registry::open_for(&here)
    }

    /// Opens the cache that cargo uses for the workspace in `directory`: of the default registry, or of the one that its
    /// configuration (`.cargo/config.toml` there or above, then in `CARGO_HOME`) names as the replacement.
    ///
    /// # Errors
    /// There is none.
    pub fn open_for(directory: &Path) -> Result<Self, Failure> {
        let home = tame_index::utils::cargo_home()
            .map_err(|error| Failure::usage(format!("cannot tell where cargo keeps its files: {error}")))?;
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        Registry::open_at(home.as_std_path(), &directory)
    }

    fn open_at(home: &Path, directory: &Path) -> Result<Self, Failure> {
        let utf8 = |path: &Path| {
            tame_index::PathBuf::from_path_buf(path.to_owned())
                .map_err(|path| Failure::usage(format!("{} is not UTF-8, which cargo needs", path.display())))
        };
        let (home, directory) = (utf8(home)?, utf8(directory)?);
        // The version is given so that no cargo is started to ask it; all that hangs on it is whether the index is asked
        // over HTTP by default, which it is since 1.70.
        let url = IndexUrl::crates_io(Some(directory), Some(&home), Some("1.85.0"))
            .map_err(|error| Failure::usage(format!("cannot read cargo's configuration: {error}")))?;
        if let IndexUrl::Local(path) = &url {
            return Ok(Registry { directory: path.join("index").into_std_path_buf(), form: Form::Local });
        }
        // Cargo 1.85 changed how the directory is named after the address.
        let mut looked_at = Vec::new();
        for stable in [true, false] {
            let location = IndexLocation {
                url: IndexUrl::NonCratesIo(url.as_str().to_owned().into()),
                root: tame_index::index::IndexPath::UserSpecified(home.clone()),
                cargo_version: Some(if stable { Version::new(1, 85, 0) } else { Version::new(1, 84, 0) }),
            };
            let (path, _) = location
                .into_parts()
                .map_err(|error| Failure::usage(format!("cargo's index {} is not usable: {error}", url.as_str())))?;
            let cache = path.join(".cache").into_std_path_buf();
            if cache.is_dir() {
                return Ok(Registry { directory: cache, form: Form::Cache });
            }
            looked_at.push(cache.display().to_string());
        }
        Err(Failure::usage(format!(
            "cargo has no cache of the index {}: {} are missing",
            url.as_str(),
            looked_at.join(" and ")
        ))
        .hint("`cargo fetch` or `cargo update --dry-run` in the workspace fills it"))
    }

    /// All releases of a crate, the oldest version first; `None` when the cache does not know the crate. A release of which
    /// cargo itself could make nothing (its version or a requirement does not hold) is left out.
    ///
    /// # Errors
    /// Its entry cannot be read.
    pub fn releases(&self, name: &str) -> Result<Option<Vec<Release>>, Failure> {
        let Some((path, bytes)) = self.entry(name)? else { return Ok(None) };
        let versions =
            rows(self.form, &bytes).and_then(|rows| rows.into_iter().map(read).collect::<Result<Vec<_>, _>>());
        let mut releases: Vec<Release> = versions.map_err(broken(&path))?.iter().filter_map(release).collect();
        releases.sort_by(|a, b| a.version.cmp(&b.version));
        Ok(Some(releases))
    }

    /// The versions of a crate that were taken back; `None` when the cache does not know the crate. An audit asks this of
    /// every package, so the releases that say plainly that they were not are not read further.
    ///
    /// # Errors
    /// Its entry cannot be read.
    pub fn yanked(&self, name: &str) -> Result<Option<Vec<Version>>, Failure> {
        let Some((path, bytes)) = self.entry(name)? else { return Ok(None) };
        // Within a string of JSON the quotes would have a backslash in front of them. Registries differ in the space.
        let plainly_not = [&b"\"yanked\":false"[..], b"\"yanked\": false"].map(memchr::memmem::Finder::new);
        let is_open = |row: &&[u8]| plainly_not.iter().all(|finder| finder.find(row).is_none());
        let versions: Result<Vec<_>, _> =
            rows(self.form, &bytes).and_then(|rows| rows.into_iter().filter(is_open).map(read).collect());
        let versions: Vec<IndexVersion> = versions.map_err(broken(&path))?;
        let yanked = versions.iter().filter(|version| version.is_yanked());
        Ok(Some(yanked.filter_map(|version| version.version.parse().ok()).collect()))
    }

    /// A crate's entry and where it is; `None` when there is none.
    fn entry(&self, name: &str) -> Result<Option<(PathBuf, Vec<u8>)>, Failure> {
        let Ok(name) = KrateName::cargo(name) else { return Ok(None) };
        let path = self.directory.join(name.relative_path(None));
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some((path, bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
        }
    }
}

fn broken(path: &Path) -> impl FnOnce(String) -> Failure {
    move |why| {
        Failure::usage(format!("{} is not an entry of cargo's index: {why}", path.display()))
            .hint("try again, as cargo may just have been writing it; `cargo update --dry-run` writes it anew")
    }
}

/// The releases of an entry, each a text of JSON.
fn rows(form: Form, bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    match form {
        Form::Local => Ok(bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()),
        Form::Cache => {
            let entries = ValidCacheEntry::read(bytes).map_err(|error| error.to_string())?.version_entries;
            // Version, NUL, its JSON, NUL, and so on (cargo, src/cargo/sources/registry/index/cache.rs).
            let parts: Vec<&[u8]> =
                entries.strip_suffix(b"\0").ok_or("it is cut off")?.split(|byte| *byte == 0).collect();
            let pairs = parts.chunks(2).map(|pair| pair.get(1).copied().ok_or_else(|| "it is cut off".to_owned()));
            pairs.collect()
        }
    }
}

fn read(row: &[u8]) -> Result<IndexVersion, String> {
    serde_json::from_slice(row).map_err(|error| error.to_string())
}

fn release(found: &IndexVersion) -> Option<Release> {
    let mut needs = Vec::with_capacity(found.dependencies().len());
    for dependency in found.dependencies() {
        needs.push(Needs {
            package: dependency.crate_name().to_owned(),
            requirement: dependency.req.parse().ok()?,
            is_dev: dependency.kind() == DependencyKind::Dev,
            is_optional: dependency.is_optional(),
        });
    }
    Some(Release {
        version: found.version.parse().ok()?,
        published: found.pubtime.as_deref().and_then(|time| time.parse().ok()),
        yanked: found.is_yanked(),
        rust_version: found.rust_version().and_then(compiler),
        needs,
    })
}

/// A compiler's version as manifests write it: `1.70` is `1.70.0`.
pub(crate) fn compiler(text: &str) -> Option<Version> {
    let dots = text.matches('.').count();
    Version::parse(&format!("{text}{}", ".0".repeat(2_usize.saturating_sub(dots)))).ok()
}

#[cfg(test)]
mod tests;
