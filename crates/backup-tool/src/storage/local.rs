//! Objects as files below a directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{Gid, Uid};

use super::{Object, Put, Space, Storage, StorageError, check_key};

/// A directory of objects.
///
/// An object is written to a temporary file beside its place (the name begins with a dot, so that no listing takes it
/// for an object), synced, linked to its name, which fails when the name is taken, and the directory is synced. Root
/// gives what it writes to the owner of the root directory, or the server's own account could not archive beside it.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    owner: Option<(Uid, Gid)>,
}

impl Local {
    /// Opens the directory `root`, which must be there.
    ///
    /// # Errors
    /// It is not there, is no directory, or cannot be looked at.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        let io = |source| StorageError::Io { step: "open", key: ".".into(), place: root.display().to_string(), source };
        let metadata = fs::metadata(root).map_err(io)?;
        if !metadata.is_dir() {
            return Err(io(io::Error::from(ErrorKind::NotADirectory)));
        }
        let owner = (rustix::process::geteuid().is_root() && metadata.uid() != 0)
            .then(|| (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid())));
        Ok(Local { root: root.to_owned(), owner })
    }

    /// Creates the directory `root` (0700) and those above it where they are missing, and opens it.
    ///
    /// # Errors
    /// It cannot be created or opened.
    pub fn create(root: &Path) -> Result<Self, StorageError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(|source| StorageError::Io {
            step: "create",
            key: ".".into(),
            place: root.display().to_string(),
            source,
        })?;
        Local::open(root)
    }

    fn io(&self, step: &'static str, key: &str) -> impl FnOnce(io::Error) -> StorageError {
        let (key, place) = (key.to_owned(), self.location());
        move |source| match source.kind() {
            ErrorKind::NotFound => StorageError::NotFound { key, place },
            _ => StorageError::Io { step, key, place, source },
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        check_key(key)?;
        Ok(self.root.join(key))
    }

    /// Makes the directory of `path`, and those above it, down from the root, each of them durable in its parent.
    fn make_parents(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if parent == self.root || parent.is_dir() {
            return Ok(());
        }
        self.make_parents(parent)?;
        match fs::DirBuilder::new().mode(0o700).create(parent) {
            Ok(()) => self.give(|uid, gid| rustix::fs::chown(parent, uid, gid))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        parent.parent().map_or(Ok(()), sync_directory)
    }

    fn give(&self, chown: impl FnOnce(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>) -> io::Result<()> {
        match self.owner {
            Some((uid, gid)) => chown(Some(uid), Some(gid)).map_err(io::Error::from),
            None => Ok(()),
        }
    }

    /// Writes and links; says whether the name was free.
    fn write(&self, path: &Path, parts: &[Bytes]) -> io::Result<Put> {
        self.make_parents(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".new-{}-{name}", ulid::Ulid::generate()));
        let linked = self.fill(&temporary, parts).and_then(|()| match fs::hard_link(&temporary, path) {
            Ok(()) => Ok(Put::Created),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Put::Exists),
            Err(error) => Err(error),
        });
        // Whatever happened, the temporary name must not stay.
        let removed = match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let put = linked?;
        removed?;
        // Also when another one created it: it is only safe to say "exists" of an entry that is on disk.
        path.parent().map_or(Ok(()), sync_directory)?;
        Ok(put)
    }

    fn fill(&self, temporary: &Path, parts: &[Bytes]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        self.give(|uid, gid| rustix::fs::fchown(&file, uid, gid))?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    }
}

impl Storage for Local {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StorageError> {
        let directory = if prefix.is_empty() { self.root.clone() } else { self.path(prefix)? };
        match fs::symlink_metadata(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Only below a root that is there can "nothing" be believed.
                fs::metadata(&self.root).map_err(self.io("list", prefix))?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(self.io("list", prefix)(error)),
            Ok(_) => {}
        }
        let mut found = Vec::new();
        walk(&directory, prefix, &mut found).map_err(self.io("list", prefix))?;
        found.sort();
        Ok(found)
    }

    fn get(&self, key: &str) -> Result<Bytes, StorageError> {
        fs::read(self.path(key)?).map(Bytes::from).map_err(self.io("read", key))
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        let file = File::open(self.path(key)?).map_err(self.io("read", key))?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                let (key, place) = (key.to_owned(), self.location());
                StorageError::Short { key, place, end: offset.saturating_add(length as u64) }
            }
            _ => self.io("read", key)(error),
        })?;
        Ok(bytes.into())
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        match fs::metadata(self.path(key)?) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io("look at", key)(error)),
        }
    }

    fn put_new(&self, key: &str, parts: &[Bytes]) -> Result<Put, StorageError> {
        let path = self.path(key)?;
        // A root that is gone (not mounted, say) must not be made anew on whatever is below it.
        fs::metadata(&self.root).map_err(self.io("write", key))?;
        self.write(&path, parts).map_err(|source| StorageError::Io {
            step: "write",
            key: key.to_owned(),
            place: self.location(),
            source,
        })
    }

    fn remove(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key)?;
        fs::remove_file(&path).map_err(self.io("remove", key))?;
        path.parent().map_or(Ok(()), sync_directory).map_err(self.io("remove", key))
    }

    fn sweep(&self, prefix: &str) -> Result<(), StorageError> {
        let directory = self.path(prefix)?;
        if !fs::exists(&directory).map_err(self.io("look at", prefix))? {
            return Ok(());
        }
        sweep(&directory).map_err(self.io("sweep", prefix))
    }

    fn space(&self) -> Result<Option<Space>, StorageError> {
        let all = rustix::fs::statvfs(&self.root).map_err(|error| self.io("look at", ".")(error.into()))?;
        Ok(Some(Space {
            free: all.f_bavail.saturating_mul(all.f_frsize),
            total: all.f_blocks.saturating_mul(all.f_frsize),
        }))
    }
}

fn walk(directory: &Path, key: &str, found: &mut Vec<Object>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let key = if key.is_empty() { name.to_owned() } else { format!("{key}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &key, found)?;
        } else if kind.is_file() {
            match entry.metadata() {
                Ok(metadata) => found.push(Object { key, size: metadata.len() }),
                // Removed by another run since the directory was read: then it is not there.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Removes temporary files below a directory.
fn sweep(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sweep(&entry.path())?;
        } else if entry.file_name().to_string_lossy().starts_with(".new-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn place() -> (tempfile::TempDir, Local) {
        let directory = tempfile::tempdir().unwrap();
        let local = Local::open(directory.path()).unwrap();
        (directory, local)
    }

    fn bytes(text: &'static str) -> [Bytes; 1] {
        [Bytes::from_static(text.as_bytes())]
    }

    #[test]
    fn an_object_is_created_once_and_never_changed() {
        let (_directory, local) = place();
        assert_eq!(local.put_new("a/b/c", &bytes("one")).unwrap(), Put::Created);
        assert_eq!(local.put_new("a/b/c", &bytes("two")).unwrap(), Put::Exists);
        assert_eq!(&local.get("a/b/c").unwrap()[..], b"one");
        assert_eq!(local.list("").unwrap(), [Object { key: "a/b/c".into(), size: 3 }]);
    }

    #[test]
    fn of_many_that_create_the_same_key_exactly_one_does() {
        let (directory, local) = place();
        let created = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| local.put_new("x/y", &bytes("same")))).collect();
            threads
                .into_iter()
                .filter(|_| true)
                .map(|t| t.join().unwrap().unwrap())
                .filter(|p| *p == Put::Created)
                .count()
        });
        assert_eq!(created, 1);
        assert_eq!(fs::read_dir(directory.path().join("x")).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_key_cannot_lead_outside() {
        let (_directory, local) = place();
        for key in ["", "/", "../x", "a/../../x", "a//b", ".hidden", "a/.b", "a b", "a/"] {
            assert!(matches!(local.put_new(key, &bytes("x")), Err(StorageError::BadKey(_))), "{key}");
        }
    }

    #[test]
    fn a_range_past_the_end_is_an_error() {
        let (_directory, local) = place();
        local.put_new("a", &bytes("abc")).unwrap();
        assert_eq!(&local.get_range("a", 1, 2).unwrap()[..], b"bc");
        assert!(matches!(local.get_range("a", 1, 3), Err(StorageError::Short { .. })));
        assert!(local.get_range("b", 0, 1).unwrap_err().is_not_found());
    }

    #[test]
    fn a_missing_root_is_no_empty_repository() {
        let (directory, local) = place();
        assert_eq!(local.list("data").unwrap(), []);
        directory.close().unwrap();
        assert!(local.list("data").is_err());
        assert!(local.put_new("a", &bytes("x")).is_err());
    }

    #[test]
    fn an_unreadable_directory_is_an_error_and_not_an_empty_list() {
        if rustix::process::geteuid().is_root() {
            // Root reads everything; the end-to-end tests run this as another account.
            return;
        }
        let (directory, local) = place();
        local.put_new("snapshots/a", &bytes("x")).unwrap();
        fs::set_permissions(directory.path().join("snapshots"), fs::Permissions::from_mode(0o000)).unwrap();
        assert!(matches!(local.list("snapshots"), Err(StorageError::Io { .. })));
        fs::set_permissions(directory.path().join("snapshots"), fs::Permissions::from_mode(0o700)).unwrap();
    }
}
