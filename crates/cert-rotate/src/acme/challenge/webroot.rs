//! http-01 by files that a web server hands out.

use std::path::{Path, PathBuf};

use maint_core::durable;
use maint_core::failure::Failure;

use super::Proof;

/// Writes a file for each proof, readable by everybody; the web server runs under an account of its own.
pub(super) fn write(root: &Path, proofs: &[Proof]) -> Result<Vec<PathBuf>, Failure> {
    if !root.is_dir() {
        return Err(Failure::usage(format!("the challenge's path {} is no directory", root.display())));
    }
    let directory = root.join(".well-known/acme-challenge");
    std::fs::create_dir_all(&directory)
        .map_err(|error| Failure::critical(format!("cannot make {}: {error}", directory.display())))?;
    let mut files = Vec::new();
    for proof in proofs {
        let path = directory.join(&proof.token);
        let written = durable::replace_quickly(&path, proof.key_authorization.as_bytes(), 0o644);
        files.push(path);
        if let Err(error) = written {
            remove(&files);
            return Err(Failure::critical(error.to_string()).hint("may this user write below the challenge's `path`?"));
        }
    }
    Ok(files)
}

/// Removes them; what could not be removed is returned.
pub(super) fn remove(files: &[PathBuf]) -> Vec<String> {
    let mut left = Vec::new();
    for path in files {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                left.push(format!("cannot remove {}: {error}", path.display()));
            }
            _ => {}
        }
    }
    left
}
