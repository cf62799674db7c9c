//! The walk of a data directory: which files belong into a backup, in the order in which a tree stores them.
//!
//! Directories whose contents are left out (see `area`) stay as empty ones, since a server does not start
//! without them.
//!
//! The walk is lazy, because a cluster changes while it is copied: a file is opened and looked at right before it is handed
//! on, and what is handed on is the open file, so that its size, its times and its bytes are those of one file even when
//! another takes its name. A file that is gone by then is normal where a server removes files of its own accord; a file
//! that cannot be opened never is.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::OFlags;

use super::area::{Area, is_number};
use super::relation::{Fork, RelationFile};

/// Top of a snapshot's tree: the data directory.
pub const DATA_TREE: &str = "pgdata";

/// Top of a snapshot's tree: tablespaces outside of the data directory, by their oid.
pub const TABLESPACE_TREE: &str = "tablespaces";

/// A tablespace that is being dropped loses its directory before its link: so long we wait for the link to go.
const DROP_TRIES: u32 = 25;
const DROP_PAUSE: Duration = Duration::from_millis(20);

/// Something of a cluster that could not be copied; any of these makes a backup worthless.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system said no.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A link that a backup cannot follow.
    #[error(
        "{} is a symbolic link to {}: only pg_wal and the links in pg_tblspc may be links in a data directory; \
         move what it points to into its place, or out of the data directory by a setting", path.display(), target.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
    /// A tablespace whose directory is not there.
    #[error("tablespace {oid} has no {directory} in {}: is its file system mounted?", location.display())]
    NoTablespace {
        /// Its oid.
        oid: String,
        /// Where it should be.
        location: PathBuf,
        /// The directory that is missing there.
        directory: String,
    },
    /// A file's bytes were not taken to their end.
    #[error("{} was not stored to its end", path.display())]
    Unfinished {
        /// The file, relative to the data directory.
        path: PathBuf,
    },
}

/// An entry of the tree.
#[derive(Debug)]
pub struct Entry {
    /// Its path in the tree.
    pub tree: PathBuf,
    /// Where it is.
    pub source: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Its owner, mode, size and times.
    pub metadata: Metadata,
}

/// What an entry is.
#[derive(Debug)]
pub enum EntryKind {
    /// A directory; what is in it follows.
    Directory,
    /// A file, open, and which relation's it is.
    File(File, Option<RelationFile>),
    /// The link to a tablespace.
    Link {
        /// The tablespace.
        oid: u32,
        /// Its directory.
        location: PathBuf,
    },
}

/// What the walk comes upon.
#[derive(Debug)]
pub enum Step {
    /// Something to store.
    Entry(Box<Entry>),
    /// A file was removed while the walk went on, as a server does.
    Vanished,
    /// Something that whoever takes the backup should know.
    Note(String),
    /// Something that belongs into the backup and cannot be had.
    Failed(SourceError),
}

/// A directory that the walk is in.
#[derive(Debug)]
struct Level {
    area: Area,
    source: PathBuf,
    tree: PathBuf,
    names: std::vec::IntoIter<OsString>,
    unlogged: HashSet<u32>,
}

/// The walk.
#[derive(Debug)]
pub struct Walk {
    pgdata: PathBuf,
    version_directory: String,
    levels: Vec<Level>,
    next: Option<Step>,
    begun: bool,
    /// Oids of the tablespaces whose links were stored; walked after the data directory. `None` once that was begun.
    tablespaces: Option<Vec<OsString>>,
    /// Device and inode of tablespaces: one that lies inside of the data directory is not stored twice.
    locations: HashSet<(u64, u64)>,
}

/// The names in a directory, sorted by their bytes as trees are.
fn list(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

impl Walk {
    /// Begins at the data directory `pgdata`, of a server whose directory in tablespaces is `version_directory`.
    pub fn new(pgdata: &Path, version_directory: &str) -> Self {
        let links = pgdata.join("pg_tblspc");
        // What cannot be looked at now is named when the walk comes to it.
        let located = list(&links).unwrap_or_default().into_iter().filter_map(|oid| {
            let link = links.join(oid);
            let is_link = fs::symlink_metadata(&link).ok()?.is_symlink();
            let location = fs::metadata(&link).ok()?;
            is_link.then(|| (location.dev(), location.ino()))
        });
        Walk {
            pgdata: pgdata.to_owned(),
            version_directory: version_directory.to_owned(),
            levels: Vec::new(),
            next: None,
            begun: false,
            locations: located.collect(),
            tablespaces: Some(Vec::new()),
        }
    }

    /// Hands on the directory and goes into it.
    fn enter(&mut self, area: Area, source: PathBuf, tree: PathBuf, metadata: Metadata) -> Step {
        let listed = match area {
            Area::Emptied => Ok(Vec::new()),
            Area::Tablespaces => Ok(self.tablespaces.take().unwrap_or_default()),
            Area::Tablespace => Ok(vec![OsString::from(&self.version_directory)]),
            _ => list(&source),
        };
        let names = match listed {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound && area != Area::Data => {
                self.next = Some(Step::Vanished);
                Vec::new()
            }
            Err(error) => {
                self.next = Some(Step::Failed(SourceError::Io { step: "list", path: source.clone(), source: error }));
                Vec::new()
            }
        };
        let unlogged = names.iter().filter_map(|name| RelationFile::parse(name)).filter(|file| file.fork == Fork::Init);
        let unlogged = if area == Area::Database { unlogged.map(|file| file.number).collect() } else { HashSet::new() };
        self.levels.push(Level {
            area,
            source: source.clone(),
            tree: tree.clone(),
            names: names.into_iter(),
            unlogged,
        });
        Step::Entry(Box::new(Entry { tree, source, kind: EntryKind::Directory, metadata }))
    }

    /// Goes into the directory at the top of a tree.
    fn top(&mut self, area: Area, source: PathBuf, tree: &str) -> Step {
        match fs::metadata(&source) {
            Ok(metadata) => self.enter(area, source, PathBuf::from(tree), metadata),
            Err(error) => Step::Failed(SourceError::Io { step: "look at", path: source, source: error }),
        }
    }

    fn visit(&mut self, area: Area, name: &OsStr, source: PathBuf, tree: PathBuf) -> Step {
        match self.look(area, name, &source, tree) {
            Ok(step) => step,
            Err(error) if error.kind() == ErrorKind::NotFound => gone(area, name, source, error),
            Err(error) => Step::Failed(SourceError::Io { step: "open", path: source, source: error }),
        }
    }

    fn look(&mut self, area: Area, name: &OsStr, source: &Path, tree: PathBuf) -> io::Result<Step> {
        let metadata = if area == Area::Tablespaces { fs::metadata(source)? } else { fs::symlink_metadata(source)? };
        let kind = metadata.file_type();
        if kind.is_dir() {
            let doubled = area != Area::Tablespaces && self.locations.contains(&(metadata.dev(), metadata.ino()));
            let child = if doubled { Area::Emptied } else { area.child(name) };
            return Ok(self.enter(child, source.to_owned(), tree, metadata));
        }
        if kind.is_file() {
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
            let file = OpenOptions::new().read(true).custom_flags(flags).open(source)?;
            let metadata = file.metadata()?;
            let relation = if area.holds_relations() { RelationFile::parse(name) } else { None };
            let kind = EntryKind::File(file, relation);
            return Ok(Step::Entry(Box::new(Entry { tree, source: source.to_owned(), kind, metadata })));
        }
        if !kind.is_symlink() {
            let what = if kind.is_socket() { "socket" } else { "special file" };
            return Ok(Step::Note(format!("{} is a {what}, and is not in the backup", source.display())));
        }
        let location = fs::read_link(source)?;
        let oid =
            if area == Area::Links && is_number(name) { name.to_str().and_then(|oid| oid.parse().ok()) } else { None };
        if let Some(oid) = oid {
            if let Some(tablespaces) = &mut self.tablespaces {
                tablespaces.push(name.to_owned());
            }
            let kind = EntryKind::Link { oid, location };
            return Ok(Step::Entry(Box::new(Entry { tree, source: source.to_owned(), kind, metadata })));
        }
        let child = area.child(name);
        if area == Area::Data && matches!(child, Area::Wal | Area::Emptied) {
            let metadata = fs::metadata(source)?;
            return Ok(self.enter(child, source.to_owned(), tree, metadata));
        }
        Ok(Step::Failed(SourceError::Link { path: source.to_owned(), target: location }))
    }
}

/// What it means that `source`, called `name` in a directory of this kind, was listed and is not there.
fn gone(area: Area, name: &OsStr, source: PathBuf, error: io::Error) -> Step {
    match area {
        Area::Tablespaces => without_tablespace(&source, &source),
        Area::Tablespace => without_tablespace(source.parent().unwrap_or(&source), &source),
        _ if area.needs(name) => Step::Failed(SourceError::Io { step: "open", path: source, source: error }),
        _ if area.is_foreign() => {
            Step::Note(format!("{} was removed while the backup ran, and is not in it", source.display()))
        }
        _ => Step::Vanished,
    }
}

/// A tablespace's directory `missing` is not there: either it is being dropped, then its link goes, too, or it should be.
fn without_tablespace(link: &Path, missing: &Path) -> Step {
    for _ in 0..DROP_TRIES {
        if fs::symlink_metadata(link).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Step::Vanished;
        }
        sleep(DROP_PAUSE);
    }
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let directory = if link == missing { "directory".to_owned() } else { name(missing) };
    let location = fs::read_link(link).unwrap_or_else(|_| link.to_owned());
    Step::Failed(SourceError::NoTablespace { oid: name(link), location, directory })
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(step) = self.next.take() {
            return Some(step);
        }
        if !self.begun {
            self.begun = true;
            return Some(self.top(Area::Data, self.pgdata.clone(), DATA_TREE));
        }
        loop {
            let Some(level) = self.levels.last_mut() else {
                let any = self.tablespaces.as_ref().is_some_and(|oids| !oids.is_empty());
                return any.then(|| self.top(Area::Tablespaces, self.pgdata.join("pg_tblspc"), TABLESPACE_TREE));
            };
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            if !level.area.leaves_out(&name, &level.unlogged) {
                let (area, source, tree) = (level.area, level.source.join(&name), level.tree.join(&name));
                return Some(self.visit(area, &name, source, tree));
            }
        }
    }
}

#[cfg(test)]
mod tests;
