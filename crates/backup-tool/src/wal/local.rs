//! The server's side: WAL files in a data directory, and whose they are.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::wal::name::WalName;

/// A WAL file of a server that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A path that does not end with the name of a file that servers archive.
    #[error("{} is no file that a server archives", .0.display())]
    Name(PathBuf),
    /// It changed under our eyes, which no file that is ready to be archived does.
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// The system said no.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn io(path: &Path) -> impl FnOnce(io::Error) -> LocalError {
    move |source| LocalError::Io { path: path.to_owned(), source }
}

/// The name that a path ends with.
///
/// # Errors
/// It is no name of a WAL file.
pub fn name_of(path: &Path) -> Result<WalName, LocalError> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    name.ok_or_else(|| LocalError::Name(path.to_owned()))
}

/// The directory that a file lies in; for a bare name the working directory.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// System identifier of the cluster that a `pg_wal` directory belongs to, or, when that is elsewhere, of the one whose
/// data directory is the working directory, as it is for every command that a server calls. `None` when neither has a
/// control file. It is the first field of the control file, little-endian (`ControlFileData` in
/// `src/include/catalog/pg_control.h`), and never changes.
///
/// # Errors
/// There is a control file and it cannot be read.
pub fn system_identifier(pg_wal: &Path) -> Result<Option<u64>, LocalError> {
    let beside = pg_wal.parent().unwrap_or(Path::new("")).join("global/pg_control");
    for path in [beside, PathBuf::from("global/pg_control")] {
        let mut first = [0; 8];
        match File::open(&path).and_then(|mut file| file.read_exact(&mut first)) {
            Ok(()) => return Ok(Some(u64::from_le_bytes(first))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(io(&path)(error)),
        }
    }
    Ok(None)
}

/// What tells a file apart from every other one, and from itself before or after a change.
pub fn stamp(metadata: &Metadata) -> String {
    let m = metadata;
    format!("{} {} {}.{} {}.{}", m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
}

/// The whole file, and its stamp.
///
/// # Errors
/// It cannot be read, or changed meanwhile.
pub fn read(path: &Path) -> Result<(Vec<u8>, String), LocalError> {
    let mut file = File::open(path).map_err(io(path))?;
    let before = file.metadata().map_err(io(path))?;
    let mut content = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0).min(1 << 30));
    file.read_to_end(&mut content).map_err(io(path))?;
    let after = file.metadata().map_err(io(path))?;
    if stamp(&before) != stamp(&after) {
        return Err(LocalError::Changed(path.to_owned()));
    }
    Ok((content, stamp(&after)))
}

/// The stamp of a file.
///
/// # Errors
/// It cannot be looked at.
pub fn stamp_of(path: &Path) -> Result<String, LocalError> {
    fs::metadata(path).map(|metadata| stamp(&metadata)).map_err(io(path))
}

/// Where the server notes that a file waits to be archived.
pub fn ready_note(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".ready");
    directory_of(path).join("archive_status").join(name)
}

/// The files that wait to be archived, in the order in which the server would have them archived: histories first, then
/// by name (`pgarch_readyXlog`).
///
/// # Errors
/// The directory cannot be read.
pub fn ready(pg_wal: &Path) -> Result<Vec<WalName>, LocalError> {
    let status = pg_wal.join("archive_status");
    let mut names = Vec::new();
    for entry in fs::read_dir(&status).map_err(io(&status))? {
        let file = entry.map_err(io(&status))?.file_name();
        let name: Option<WalName> =
            file.to_str().and_then(|file| file.strip_suffix(".ready")).and_then(|name| name.parse().ok());
        names.extend(name);
    }
    names.sort_by_cached_key(|name| (!matches!(name, WalName::History(_)), name.to_string()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_listed_as_the_server_would_archive_it() {
        let data = tempfile::tempdir().unwrap();
        let status = data.path().join("pg_wal/archive_status");
        fs::create_dir_all(&status).unwrap();
        for name in [
            "000000020000000000000001.ready",
            "000000010000000000000003.ready",
            "000000010000000000000003.00000028.backup.ready",
            "000000010000000000000002.done",
            "00000002.history.ready",
            "nonsense.ready",
        ] {
            fs::write(status.join(name), "").unwrap();
        }
        let names: Vec<String> = ready(&data.path().join("pg_wal")).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "00000002.history",
                "000000010000000000000003",
                "000000010000000000000003.00000028.backup",
                "000000020000000000000001",
            ]
        );
    }

    #[test]
    fn the_cluster_is_told_by_the_control_file_beside_pg_wal() {
        let data = tempfile::tempdir().unwrap();
        let wal = data.path().join("pg_wal");
        fs::create_dir_all(data.path().join("global")).unwrap();
        assert_eq!(system_identifier(&wal).unwrap(), None);
        fs::write(data.path().join("global/pg_control"), [7, 1, 0, 0, 0, 0, 0, 0, 9, 9]).unwrap();
        assert_eq!(system_identifier(&wal).unwrap(), Some(263));
        fs::write(data.path().join("global/pg_control"), [7]).unwrap();
        assert!(system_identifier(&wal).is_err(), "a control file that is cut short is no missing one");
    }

    #[test]
    fn a_file_that_was_written_again_has_another_stamp() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("000000010000000000000001");
        fs::write(&path, "one").unwrap();
        let (content, first) = read(&path).unwrap();
        assert_eq!((content.as_slice(), &first), (&b"one"[..], &stamp_of(&path).unwrap()));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "longer").unwrap();
        assert_ne!(stamp_of(&path).unwrap(), first);
    }
}
