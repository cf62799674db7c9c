//! Making room for a cluster where one is: what is there is moved aside, never removed.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::failure::Failure;

/// Something that was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    /// Where it was.
    pub from: PathBuf,
    /// Where it is.
    pub to: PathBuf,
}

/// What is to be moved aside for a cluster of a server of this major version.
pub(super) struct Room<'a> {
    /// The data directory.
    pub pgdata: &'a Path,
    /// Tablespaces; of each only the server's own directory is moved, since another cluster's may lie beside it.
    pub tablespaces: Vec<&'a Path>,
    /// The major version.
    pub major: i32,
}

/// Moves everything that is in the way to names with `before-TIME` in them. When something cannot be moved, what was moved
/// goes back.
///
/// # Errors
/// Something cannot be moved; nothing is changed then.
pub(super) fn make(room: &Room<'_>, now: Timestamp) -> Result<Vec<Moved>, Failure> {
    let stamp = format!("before-{}", now.strftime("%Y%m%d-%H%M%S"));
    let inner = room.pgdata.join(&stamp);
    let mut moved = Vec::new();
    match move_all(room, &stamp, &inner, &mut moved) {
        // One is enough to tell where all of it is.
        Ok(()) if moved.iter().any(|moved| moved.to.starts_with(&inner)) => {
            moved.retain(|moved| !moved.to.starts_with(&inner));
            moved.insert(0, Moved { from: room.pgdata.to_owned(), to: inner });
            Ok(moved)
        }
        Ok(()) => Ok(moved),
        Err((what, error)) => {
            let back = moved.iter().rev().filter(|moved| fs::rename(&moved.to, &moved.from).is_err());
            let stuck: Vec<String> = back.map(|moved| moved.to.display().to_string()).collect();
            let _ = fs::remove_dir(&inner);
            let failure = Failure::critical(format!("cannot move {} aside: {error}", what.display()));
            Err(if stuck.is_empty() {
                failure.hint("what was moved already is back in its place; nothing was changed")
            } else {
                failure.hint(format!("these could not be moved back: {}", stuck.join(", ")))
            })
        }
    }
}

fn move_all(room: &Room<'_>, stamp: &str, inner: &Path, moved: &mut Vec<Moved>) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let mut shift = |from: PathBuf, to: PathBuf| {
        fs::rename(&from, &to)?;
        moved.push(Moved { from, to });
        Ok::<(), io::Error>(())
    };
    let data = room.pgdata;
    let inside = names(data).map_err(at(data))?;
    if !inside.is_empty() {
        match shift(data.to_owned(), with_ending(data, stamp)) {
            // It is a mount point, or whoever owns it does not own the directory that it is in: what is in it can be moved.
            Err(error) if [ErrorKind::ResourceBusy, ErrorKind::PermissionDenied].contains(&error.kind()) => {
                fs::DirBuilder::new().mode(0o700).create(inner).map_err(at(inner))?;
                for name in inside.into_iter().filter(|name| *name != "lost+found") {
                    let from = data.join(&name);
                    shift(from.clone(), inner.join(&name)).map_err(at(&from))?;
                }
            }
            done => done.map_err(at(data))?,
        }
    }
    let own = format!("PG_{}_", room.major);
    for place in &room.tablespaces {
        for name in names(place).map_err(at(place))? {
            let text = name.to_string_lossy();
            if text.starts_with(&own) && !text.contains(".before-") {
                let from = place.join(&name);
                shift(from.clone(), with_ending(&from, stamp)).map_err(at(&from))?;
            }
        }
    }
    Ok(())
}

/// The names in a directory; none in one that is not there.
fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn with_ending(path: &Path, stamp: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{stamp}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T05:00:00Z".parse().unwrap()
    }

    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (data, space) = (root.path().join("data"), root.path().join("space"));
        fs::create_dir_all(data.join("base")).unwrap();
        fs::create_dir_all(space.join("PG_15_202209061/5")).unwrap();
        fs::create_dir_all(space.join("PG_16_202307071")).unwrap();
        (root, data, space)
    }

    #[test]
    fn the_old_cluster_is_kept_beside_the_new_one_and_another_version_is_left_alone() {
        let (root, data, space) = place();
        let room = Room { pgdata: &data, tablespaces: vec![&space], major: 15 };
        let moved = make(&room, now()).unwrap();
        assert_eq!(moved.len(), 2);
        assert!(!data.exists() && root.path().join("data.before-20261123-050000/base").is_dir());
        assert!(space.join("PG_15_202209061.before-20261123-050000/5").is_dir());
        assert!(space.join("PG_16_202307071").is_dir() && !space.join("PG_15_202209061").exists());
        // Once more: nothing is in the way any more.
        assert_eq!(make(&room, now()).unwrap(), []);
    }

    #[test]
    fn when_something_cannot_be_moved_everything_goes_back() {
        let (_root, data, space) = place();
        // Something of the new name is there already, and not empty.
        fs::create_dir_all(space.join("PG_15_202209061.before-20261123-050000/x")).unwrap();
        let room = Room { pgdata: &data, tablespaces: vec![&space], major: 15 };
        let failure = make(&room, now()).unwrap_err();
        assert!(failure.message.contains("PG_15_202209061"), "{failure}");
        assert!(failure.hint.unwrap().contains("nothing was changed"));
        assert!(data.join("base").is_dir() && space.join("PG_15_202209061/5").is_dir());
    }

    #[test]
    fn where_the_directory_itself_cannot_be_moved_what_is_in_it_is() {
        let (root, data, _) = place();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let room = Room { pgdata: &data, tablespaces: vec![], major: 15 };
        let moved = make(&room, now()).unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let inner = data.join("before-20261123-050000");
        // Root may do anything.
        if rustix::process::geteuid().is_root() {
            assert!(root.path().join("data.before-20261123-050000/base").is_dir());
        } else {
            assert_eq!(moved, [Moved { from: data.clone(), to: inner.clone() }]);
            assert!(inner.join("base").is_dir() && !data.join("base").exists());
        }
    }

    #[test]
    fn nothing_there_is_nothing_to_move() {
        let root = tempfile::tempdir().unwrap();
        let room = Room { pgdata: &root.path().join("none"), tablespaces: vec![], major: 15 };
        assert_eq!(make(&room, now()).unwrap(), []);
        let room = Room { pgdata: root.path(), tablespaces: vec![], major: 15 };
        assert_eq!(make(&room, now()).unwrap(), []);
    }
}
