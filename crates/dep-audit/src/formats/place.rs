//! Where a lock file is, for readers on other machines.

use std::path::{Component, Path, PathBuf};

/// A path as a URI reference (RFC 3986): relative to the working directory where it lies below it, as code scanning maps
/// that onto a checkout; a `file:` URI where it does not. Standard input has no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Below the working directory.
    Below(String),
    /// Somewhere else on this machine.
    Elsewhere(String),
    /// Read from standard input.
    Nowhere,
}

impl Place {
    pub(super) fn of(path: &Path) -> Self {
        if path == Path::new("-") {
            return Place::Nowhere;
        }
        let whole = real(path);
        let here = std::env::current_dir().map(|here| real(&here)).unwrap_or_default();
        match whole.strip_prefix(&here) {
            Ok(inner) if !inner.as_os_str().is_empty() => Place::Below(joined(inner)),
            _ => Place::Elsewhere(format!("file:///{}", joined(&whole))),
        }
    }

    /// What names it on every machine where the same checkout is.
    pub(super) fn key(&self) -> &str {
        match self {
            Place::Below(uri) | Place::Elsewhere(uri) => uri,
            Place::Nowhere => "-",
        }
    }
}

/// Without links, `.` and `..`; of what is not there by the words of the path alone.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

fn joined(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(escape(std::os::unix::ffi::OsStrExt::as_bytes(part))),
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// RFC 3986, 2.1.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_path_is_relative_where_it_can_be_and_whole_where_it_cannot() {
        let here = std::env::current_dir().unwrap();
        let below = Place::Below("some%20where/Cargo.lock".to_owned());
        assert_eq!(Place::of(Path::new("some where/Cargo.lock")), below);
        assert_eq!(Place::of(&here.join("some where/Cargo.lock")), below);
        assert_eq!(
            Place::of(Path::new("/nowhere/a b/Cargo.lock")),
            Place::Elsewhere("file:///nowhere/a%20b/Cargo.lock".into())
        );
        assert_eq!(Place::of(Path::new("-")), Place::Nowhere);
    }

    #[test]
    fn a_path_that_is_no_text_keeps_its_bytes() {
        let place = Place::of(Path::new(OsStr::from_bytes(b"a\xffb/Cargo.lock")));
        assert_eq!(place.key(), "a%FFb/Cargo.lock");
    }
}
