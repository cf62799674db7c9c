//! Making room for a cluster where one is: what is there is moved aside, never removed.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
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

/// Moves everything that is in the way to names that end in `.before-TIME`. When something cannot be moved, what was moved
/// goes back.
///
/// # Errors
/// Something cannot be moved; nothing is changed then.
pub(super) fn make(room: &Room<'_>, now: Timestamp) -> Result<Vec<Moved>, Failure> {
    let stamp = now.strftime("%Y%m%d-%H%M%S").to_string();
    let mut moved = Vec::new();
    let done = move_all(room, &stamp, &mut moved);
    done.map(|()| moved.clone()).map_err(|(what, error)| {
        let back = moved.iter().rev().filter(|moved| fs::rename(&moved.to, &moved.from).is_err());
        let stuck: Vec<String> = back.map(|moved| moved.to.display().to_string()).collect();
        let failure = Failure::critical(format!("cannot move {} aside: {error}", what.display()));
        if stuck.is_empty() {
            failure.hint("what was moved already is back in its place; nothing was changed")
        } else {
            failure.hint(format!("these could not be moved back: {}", stuck.join(", ")))
        }
    })
}

fn move_all(room: &Room<'_>, stamp: &str, moved: &mut Vec<Moved>) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let mut shift = |from: PathBuf, to: PathBuf| {
        fs::rename(&from, &to).map_err(at(&from))?;
        moved.push(Moved { from, to });
        Ok(())
    };
    let data = room.pgdata;
    let inside = names(data).map_err(at(data))?;
    if !inside.is_empty() && is_mount_point(data).map_err(at(data))? {
        // A mount point cannot be renamed, so what is in it goes into a directory of its own.
        let aside = data.join(format!("before-{stamp}"));
        fs::DirBuilder::new().mode(0o700).create(&aside).map_err(at(&aside))?;
        for name in inside.into_iter().filter(|name| *name != "lost+found") {
            shift(data.join(&name), aside.join(&name))?;
        }
    } else if !inside.is_empty() {
        shift(data.to_owned(), with_ending(data, stamp))?;
    }
    let own = format!("PG_{}_", room.major);
    for place in &room.tablespaces {
        for name in names(place).map_err(at(place))? {
            let text = name.to_string_lossy();
            if text.starts_with(&own) && !text.contains(".before-") {
                let from = place.join(&name);
                let to = with_ending(&from, stamp);
                shift(from, to)?;
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
    name.push(format!(".before-{stamp}"));
    PathBuf::from(name)
}

/// Whether another file system begins at the directory. One that is bound to its place from the same file system is not
/// seen; moving it fails then, and changes nothing.
fn is_mount_point(directory: &Path) -> io::Result<bool> {
    let above = directory.parent().unwrap_or(directory);
    Ok(fs::metadata(directory)?.dev() != fs::metadata(above)?.dev())
}

#[cfg(test)]
mod tests {
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
    fn nothing_there_is_nothing_to_move() {
        let root = tempfile::tempdir().unwrap();
        let room = Room { pgdata: &root.path().join("none"), tablespaces: vec![], major: 15 };
        assert_eq!(make(&room, now()).unwrap(), []);
        let room = Room { pgdata: root.path(), tablespaces: vec![], major: 15 };
        assert_eq!(make(&room, now()).unwrap(), []);
    }
}
