//! The server's programs: the right ones are those of the cluster's major version, because neither the data directory
//! nor the log means anything to another one.

use std::path::{Path, PathBuf};
use std::process::Command;

use maint_core::config::Settings;
use maint_core::failure::Failure;

use crate::cli::SECTION;

/// A program that is not there, or of another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {program} of PostgreSQL {major} was found: {found}")]
pub struct ProgramError {
    /// The program.
    pub program: &'static str,
    /// The major version that is needed.
    pub major: i32,
    /// What was found instead.
    pub found: String,
}

impl From<ProgramError> for Failure {
    fn from(error: ProgramError) -> Self {
        let major = error.major;
        Failure::usage(error.to_string()).hint(format!(
            "install the server package of PostgreSQL {major}, or set pg_bindir in [backup-tool] of maint.toml"
        ))
    }
}

/// Finds a program of the server of a major version: in `pg_bindir` of the configuration when that is set, otherwise where
/// packages put it, then in `PATH`.
///
/// # Errors
/// It is not there, or of another version.
pub fn find(settings: &Settings, program: &'static str, major: i32) -> Result<PathBuf, Failure> {
    let configured = settings.optional::<PathBuf>(&SECTION, "pg_bindir")?;
    Ok(find_in(&places(configured, major), program, major)?)
}

fn places(configured: Option<PathBuf>, major: i32) -> Vec<PathBuf> {
    if let Some(directory) = configured {
        return vec![directory];
    }
    let mut places = vec![format!("/usr/lib/postgresql/{major}/bin").into(), format!("/usr/pgsql-{major}/bin").into()];
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places
}

fn find_in(places: &[PathBuf], program: &'static str, major: i32) -> Result<PathBuf, ProgramError> {
    let mut others = Vec::new();
    for path in places.iter().map(|place| place.join(program)) {
        if !path.is_file() {
            continue;
        }
        match version(&path) {
            Some(found) if found == major => return Ok(path),
            Some(found) => others.push(format!("{} is of version {found}", path.display())),
            None => others.push(format!("{} does not tell its version", path.display())),
        }
    }
    let looked = || {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!("it is not in {}", places.join(", "))
    };
    Err(ProgramError { program, major, found: if others.is_empty() { looked() } else { others.join("; ") } })
}

fn version(path: &Path) -> Option<i32> {
    let output = Command::new(path).arg("--version").output().ok()?;
    major_of(&String::from_utf8_lossy(&output.stdout))
}

/// The major version in what a program answers to `--version`: `pg_waldump (PostgreSQL) 15.18 (Debian 15.18-1)`.
fn major_of(text: &str) -> Option<i32> {
    let rest = text.split_once("(PostgreSQL)")?.1.trim_start();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_release() {
        assert_eq!(major_of("pg_waldump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta2"), Some(18));
        assert_eq!(major_of("psql 15"), None);
    }

    #[test]
    fn a_program_of_another_version_is_named_and_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pg_waldump");
        std::fs::write(&path, "#!/bin/sh\necho 'pg_waldump (PostgreSQL) 16.1'\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let places = [directory.path().to_owned()];
        assert_eq!(find_in(&places, "pg_waldump", 16), Ok(path));
        let error = find_in(&places, "pg_waldump", 15).unwrap_err().to_string();
        assert!(error.contains("of version 16"), "{error}");
        assert!(find_in(&places, "pg_ctl", 15).unwrap_err().to_string().contains("not in"));
    }
}
