//! A `Cargo.lock`: what is locked, and on which line.

use std::path::{Path, PathBuf};

use rustsec::cargo_lock::{Lockfile, Package};

mod plain;

/// A lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not hold.
    #[error("{}: {why}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where it is known.
        why: String,
    },
}

/// A package of a lock file.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Name, version, source, dependencies.
    pub package: Package,
    /// The line of its `[[package]]`, counted from 1.
    pub line: usize,
}

impl Locked {
    /// Whether it comes from the default registry, of which the advisories speak.
    pub fn is_from_the_registry(&self) -> bool {
        self.package.source.as_ref().is_some_and(rustsec::cargo_lock::SourceId::is_default_registry)
    }
}

/// A lock file.
#[derive(Debug, Clone)]
pub struct Lock {
    /// Where it was read from; `-` for stdin.
    pub path: PathBuf,
    /// Its packages, in the file's order.
    pub packages: Vec<Locked>,
}

impl Lock {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or does not hold.
    pub fn load(path: &Path) -> Result<Self, LockError> {
        let text = std::fs::read_to_string(path).map_err(|source| LockError::Read { path: path.to_owned(), source })?;
        Lock::parse(path, &text)
    }

    /// Reads a text; `path` is what messages call it.
    ///
    /// # Errors
    /// It does not hold.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LockError> {
        let packages = match plain::packages(text) {
            Some(packages) => packages,
            None => by_library(path, text)?,
        };
        Ok(Lock { path: path.to_owned(), packages })
    }
}

fn by_library(path: &Path, text: &str) -> Result<Vec<Locked>, LockError> {
    let format = |why: String| LockError::Format { path: path.to_owned(), why };
    let file: Lockfile = text.parse().map_err(|error: rustsec::cargo_lock::Error| format(error.to_string()))?;
    let lines = lines(text);
    let line = |package: &Package| {
        let is_it = |(_, name, version): &&(usize, &str, &str)| {
            *name == package.name.as_str() && *version == package.version.to_string()
        };
        lines.iter().find(is_it).map_or(1, |(line, _, _)| *line)
    };
    Ok(file.packages.into_iter().map(|package| Locked { line: line(&package), package }).collect())
}

/// Line, name and version of every `[[package]]`, as cargo writes them: one key a line.
fn lines(text: &str) -> Vec<(usize, &str, &str)> {
    let value = |line: &'_ str, key: &str| -> Option<(usize, usize)> {
        let rest = line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim();
        let inner = rest.strip_prefix('"')?.strip_suffix('"')?;
        let start = inner.as_ptr() as usize - line.as_ptr() as usize;
        Some((start, start + inner.len()))
    };
    let mut found: Vec<(usize, &str, &str)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim() == "[[package]]" {
            found.push((index + 1, "", ""));
        } else if let Some(last) = found.last_mut() {
            if let Some((from, to)) = value(line, "name") {
                last.1 = line.get(from..to).unwrap_or_default();
            } else if let Some((from, to)) = value(line, "version") {
                last.2 = line.get(from..to).unwrap_or_default();
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
