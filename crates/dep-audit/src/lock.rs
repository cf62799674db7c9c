//! A `Cargo.lock`: what is locked, and on which line.

use std::path::{Path, PathBuf};

use rustsec::cargo_lock::{Lockfile, Package};

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
    /// As the library reads it, for its dependency tree.
    pub file: Lockfile,
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
        let format = |why: String| LockError::Format { path: path.to_owned(), why };
        let file: Lockfile = text.parse().map_err(|error: rustsec::cargo_lock::Error| format(error.to_string()))?;
        let lines = lines(text);
        let packages = file
            .packages
            .iter()
            .map(|package| {
                let is_it = |(_, name, version): &&(usize, &str, &str)| {
                    *name == package.name.as_str() && *version == package.version.to_string()
                };
                let line = lines.iter().find(is_it).map_or(1, |(line, _, _)| *line);
                Locked { package: package.clone(), line }
            })
            .collect();
        Ok(Lock { path: path.to_owned(), packages, file })
    }
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
mod tests {
    use super::*;

    const TEXT: &str = "# made by cargo\nversion = 4\n\n[[package]]\nname = \"one\"\nversion = \"0.1.0\"\n\
        dependencies = [\n \"two\",\n]\n\n[[package]]\nname = \"two\"\nversion = \"1.2.3\"\n\
        source = \"registry+https://github.com/rust-lang/crates\u{2e}io-index\"\n";

    #[test]
    fn packages_know_their_lines_and_where_they_come_from() {
        let lock = Lock::parse(Path::new("Cargo.lock"), TEXT).unwrap();
        let found: Vec<_> = lock.packages.iter().map(|p| (p.package.name.as_str(), p.line)).collect();
        assert_eq!(found, [("one", 4), ("two", 11)]);
        assert!(!lock.packages[0].is_from_the_registry());
        assert!(lock.packages[1].is_from_the_registry());
    }

    #[test]
    fn what_is_no_lock_file_is_named() {
        let error = Lock::parse(Path::new("x/Cargo.lock"), "[[package]]\nname = 3\n").unwrap_err();
        assert!(error.to_string().starts_with("x/Cargo.lock: "), "{error}");
    }
}
