//! Files that are either the old one or the new one, whatever happens in between.
//!
//! The new content goes to a temporary file in the same directory, is synced, renamed over the old name, and the
//! directory is synced, so that a crash or a full disk never leaves a mixture. A temporary file has its final mode
//! before the first byte is in it; a secret is never readable for a moment. A symbolic link is replaced itself, not
//! what it points to.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A step of replacing or removing a file that failed. The file is the old one, unless the step was the last.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {source}", path.display())]
pub struct DurableError {
    /// What was being done, as the words between "cannot" and the path.
    pub step: &'static str,
    /// The file or directory it was done to.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DurableError {
    move |source| DurableError { step, path: path.to_owned(), source }
}

/// Makes `bytes` the content of `path`, with the permission bits `mode` (for a secret `0o600`), surviving a crash.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    write_beside(path, bytes, mode, true)?;
    sync_directory(directory_of(path))
}

/// As [`replace`], but without waiting for the disk: whole after the program is killed, possibly the old one after the
/// power is lost. For notes that a later run could do without.
pub fn replace_quickly(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    write_beside(path, bytes, mode, false)
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32, sync: bool) -> Result<(), DurableError> {
    let directory = directory_of(path);
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".new-");
    // Nobody else may read it before the mode is set; the umask can only take bits away.
    let mut file = tempfile::Builder::new()
        .prefix(&prefix)
        .permissions(Permissions::from_mode(mode & 0o600))
        .tempfile_in(directory)
        .map_err(failed("create a temporary file in", directory))?;
    let mode = Permissions::from_mode(mode);
    file.as_file().set_permissions(mode).map_err(failed("set the mode of the new", path))?;
    file.write_all(bytes).map_err(failed("write the new", path))?;
    if sync {
        file.as_file().sync_all().map_err(failed("sync the new", path))?;
    }
    file.persist(path).map_err(|e| failed("rename the new file to", path)(e.error))?;
    Ok(())
}

/// Removes the file `path` for good; one that is not there is an error, as for the system.
pub fn remove(path: &Path) -> Result<(), DurableError> {
    fs::remove_file(path).map_err(failed("remove", path))?;
    sync_directory(directory_of(path))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_directory(directory: &Path) -> Result<(), DurableError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(failed("sync the directory", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn content_and_mode_are_the_given_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        replace(&path, b"one", 0o644).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode_of(&path)), (b"one".to_vec(), 0o644));
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode_of(&path)), (b"two".to_vec(), 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_leaves_nothing_and_names_path_and_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir_all(path.join("inside")).unwrap();
        let error = replace(&path, b"x", 0o600).unwrap_err().to_string();
        assert!(error.contains("rename") && error.contains("taken"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let error = replace(&dir.path().join("absent/file"), b"x", 0o600).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn a_link_is_replaced_and_its_target_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read(&link).unwrap(), b"new");
    }

    #[test]
    fn removing_what_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "").unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        assert!(remove(&path).unwrap_err().to_string().contains("cannot remove"));
    }
}
