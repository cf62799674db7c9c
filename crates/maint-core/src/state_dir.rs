//! Where a tool keeps what must outlive a run: the journal, locks and state.
//!
//! Root and everybody else have different places, so that a service's state never depends on whose shell started it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// No state directory to be had.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Nothing says where it is.
    #[error("no state directory: neither MAINT_STATE_DIR nor XDG_STATE_HOME nor HOME is set; set MAINT_STATE_DIR")]
    NoHome,
    /// It cannot be made, or is not a directory.
    #[error("cannot make the state directory {}: {source}; set MAINT_STATE_DIR to one you may write", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// `MAINT_STATE_DIR`, or `/var/lib/maint` for root, or `$XDG_STATE_HOME/maint`, or `~/.local/state/maint`. Always
/// absolute.
pub fn state_dir() -> Result<PathBuf, StateDirError> {
    resolve(|name| std::env::var_os(name), rustix::process::geteuid().is_root())
}

/// Makes the directory and its parents where they are missing, readable by this user only.
pub fn ensure(path: &Path) -> Result<(), StateDirError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StateDirError::Create { path: path.to_owned(), source })
}

fn resolve(env: impl Fn(&str) -> Option<OsString>, root: bool) -> Result<PathBuf, StateDirError> {
    let path_in = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = path_in("MAINT_STATE_DIR") {
        return std::path::absolute(&path).map_err(|source| StateDirError::Create { path, source });
    }
    if root {
        return Ok(PathBuf::from("/var/lib/maint"));
    }
    // The XDG specification has relative paths ignored.
    let xdg = path_in("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || path_in("HOME").filter(|path| path.is_absolute()).map(|home| home.join(".local/state"));
    xdg.or_else(home).map(|base| base.join("maint")).ok_or(StateDirError::NoHome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn resolved(vars: &[(&str, &str)], root: bool) -> Option<String> {
        let env = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        resolve(env, root).ok().map(|path| path.display().to_string())
    }

    #[test]
    fn the_first_that_is_set_decides() {
        let all = [("MAINT_STATE_DIR", "/m"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(resolved(&all, true).unwrap(), "/m");
        assert_eq!(resolved(&all[1..], true).unwrap(), "/var/lib/maint");
        assert_eq!(resolved(&all[1..], false).unwrap(), "/x/maint");
        assert_eq!(resolved(&all[2..], false).unwrap(), "/h/.local/state/maint");
        assert_eq!(resolved(&[], false), None);
    }

    #[test]
    fn empty_and_relative_settings_do_not_scatter_state() {
        assert_eq!(
            resolved(&[("MAINT_STATE_DIR", ""), ("XDG_STATE_HOME", "x"), ("HOME", "/h")], false).unwrap(),
            "/h/.local/state/maint"
        );
        assert!(resolved(&[("MAINT_STATE_DIR", "here")], false).unwrap().starts_with('/'));
    }

    #[test]
    fn a_made_directory_is_private_and_a_file_in_its_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        ensure(&path).unwrap();
        ensure(&path).unwrap();
        for made in [&path, &dir.path().join("a")] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(ensure(&file).unwrap_err().to_string().contains("file"));
    }
}
