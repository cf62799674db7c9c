//! The walk of a set: its entries in the order in which a tree stores them, parents before children, siblings by the bytes
//! of their names.
//!
//! A set of `/etc/nginx` has the directories above it, too, with their owners, modes and times, so that what is restored
//! into an empty place looks like the original; one of them that is a link is stored as the directory it leads to.
//!
//! Below a path, everything is found by its name within the directory that is open, and no link is followed: whoever may
//! write there cannot lead the walk elsewhere. A file is opened when it is found, and what is handed on is the open file,
//! so that its owner, its times and its bytes are those of one file, even when another takes its name.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use super::attributes::{self, Attribute, Holder};
use super::report::SourceError;
use super::set::FileSet;

/// The kernel stamps files by a clock that stands still for up to so long: a file that was changed within it may be
/// changed again and keep its times.
const TICK: Duration = Duration::from_millis(20);

/// So often a file that is being written is given the time to come to rest.
const TRIES: u32 = 5;

/// An entry of the tree.
#[derive(Debug)]
pub struct Entry {
    /// Its path in the tree: the absolute path without the slash in front.
    pub tree: PathBuf,
    /// Where it is.
    pub source: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Its owner, mode, size and times.
    pub metadata: fs::Metadata,
    /// Its extended attributes.
    pub attributes: Vec<Attribute>,
}

/// What an entry is.
#[derive(Debug)]
pub enum EntryKind {
    /// A directory; what is in it follows.
    Directory,
    /// A file, open.
    File(File),
    /// A symbolic link, and what it says.
    Link(PathBuf),
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block device, by its number.
    Block(u64),
    /// A character device, by its number.
    Character(u64),
}

/// What the walk begins with, in the order of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Top {
    /// A directory above a path: itself, and not what is in it.
    Above(PathBuf),
    /// A path of the set: all of it.
    Path(PathBuf),
}

/// A directory that the walk is in.
#[derive(Debug)]
struct Level {
    directory: File,
    source: PathBuf,
    tree: PathBuf,
    names: std::vec::IntoIter<OsString>,
    /// The device of the path above it.
    device: u64,
}

/// The walk.
#[derive(Debug)]
pub struct Walk {
    set: FileSet,
    tops: std::vec::IntoIter<Top>,
    levels: Vec<Level>,
    /// What went wrong with the entry that was handed on last.
    errors: Vec<SourceError>,
}

/// An entry, and the directory behind it when there is something in it to visit.
struct Found {
    entry: Entry,
    below: Option<Level>,
}

/// Where an entry is looked for.
struct Place<'a> {
    directory: BorrowedFd<'a>,
    name: &'a OsStr,
    source: PathBuf,
    tree: PathBuf,
    /// The device that the walk stays on; none for the path itself, which may be on any.
    device: Option<u64>,
}

fn tops(paths: &[PathBuf]) -> Vec<Top> {
    let root = Path::new("/");
    let mut seen = BTreeSet::new();
    let mut tops = Vec::new();
    for path in paths {
        let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|above| *above != root).collect();
        above.reverse();
        tops.extend(above.into_iter().filter(|above| seen.insert(*above)).map(|above| Top::Above(above.to_owned())));
        tops.push(Top::Path(path.clone()));
    }
    tops
}

/// The path in the tree of an absolute one.
fn in_tree(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

fn open(place: &Place<'_>, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(place.directory, place.name, flags, Mode::empty())?))
}

/// The names in a directory, sorted by their bytes as trees are.
fn list(directory: &File) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether two looks were at the same file.
fn same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Looks at a file so that every later change of it will show in its times.
fn at_rest(file: &File) -> io::Result<fs::Metadata> {
    let mut tries = 0;
    loop {
        let found = file.metadata()?;
        let changed = SystemTime::UNIX_EPOCH
            + Duration::new(found.ctime().unsigned_abs(), found.ctime_nsec().unsigned_abs() as u32);
        let recent = SystemTime::now().duration_since(changed).is_ok_and(|age| age < TICK);
        if !recent || tries == TRIES {
            return Ok(found);
        }
        tries += 1;
        sleep(TICK);
    }
}

impl Walk {
    /// Begins a walk; nothing is looked at yet.
    pub fn new(set: FileSet) -> Self {
        let tops = tops(set.paths()).into_iter();
        Walk { set, tops, levels: Vec::new(), errors: Vec::new() }
    }

    /// A directory above a path.
    fn above(&mut self, path: PathBuf) -> Result<Option<Entry>, SourceError> {
        let failed = |source| SourceError::Io { step: "look at", path: path.clone(), source };
        let real = fs::canonicalize(&path).map_err(failed)?;
        let metadata = fs::metadata(&real).map_err(failed)?;
        let attributes = self.attributes(Holder::Named(&real), &path);
        let (tree, kind) = (in_tree(&path), EntryKind::Directory);
        Ok(Some(Entry { tree, source: path, kind, metadata, attributes }))
    }

    /// A path of the set. The root directory has no entry: it is the tree itself.
    fn path(&mut self, path: &Path) -> Result<Option<Entry>, SourceError> {
        let failed = |error: io::Error| SourceError::Io { step: "open", path: path.to_owned(), source: error };
        let (source, tree) = (path.to_owned(), in_tree(path));
        let place = Place { directory: CWD, name: path.as_os_str(), source, tree, device: None };
        let found = self.look(&place).map_err(failed)?;
        let Some(Found { entry, below }) = found else { return Err(SourceError::Changed { path: path.to_owned() }) };
        self.levels.extend(below);
        Ok((path != Path::new("/")).then_some(entry))
    }

    /// The next name in the directory that the walk is in.
    fn child(&mut self, level: &Level, name: &OsStr) -> Result<Option<Entry>, SourceError> {
        let (source, tree) = (level.source.join(name), level.tree.join(name));
        if self.set.leaves_out(&source, name) {
            return Ok(None);
        }
        let device = Some(level.device);
        let place = Place { directory: level.directory.as_fd(), name, source, tree, device };
        match self.look(&place) {
            Ok(Some(Found { entry, below })) => {
                self.levels.extend(below);
                Ok(Some(entry))
            }
            Ok(None) => Err(SourceError::Changed { path: place.source }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(SourceError::Vanished { path: place.source }),
            Err(source) => Err(SourceError::Io { step: "open", path: place.source, source }),
        }
    }

    /// Looks at an entry and opens it; nothing when it became another while it was looked at.
    fn look(&mut self, place: &Place<'_>) -> io::Result<Option<Found>> {
        let handle = open(place, OFlags::PATH)?;
        let metadata = handle.metadata()?;
        let kind = metadata.file_type();
        let flags = if kind.is_dir() {
            OFlags::RDONLY | OFlags::DIRECTORY
        } else if kind.is_file() {
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY
        } else {
            return Ok(Some(self.special(place, &handle, metadata)?));
        };
        let file = match open(place, flags) {
            Ok(file) => file,
            Err(error) if [Some(Errno::LOOP), Some(Errno::NOTDIR)].contains(&Errno::from_io_error(&error)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let opened = if kind.is_file() { at_rest(&file)? } else { file.metadata()? };
        if !same(&metadata, &opened) {
            return Ok(None);
        }
        let attributes = self.attributes(Holder::Open(file.as_fd()), &place.source);
        let (source, tree) = (place.source.clone(), place.tree.clone());
        if kind.is_file() {
            let entry = Entry { tree, source, kind: EntryKind::File(file), metadata: opened, attributes };
            return Ok(Some(Found { entry, below: None }));
        }
        let below = self.enter(place, file, &opened);
        let entry = Entry { tree, source, kind: EntryKind::Directory, metadata: opened, attributes };
        Ok(Some(Found { entry, below }))
    }

    /// The names in a directory, unless it is on a device that the set leaves out.
    fn enter(&mut self, place: &Place<'_>, directory: File, metadata: &fs::Metadata) -> Option<Level> {
        let device = place.device.unwrap_or(metadata.dev());
        if self.set.one_file_system() && metadata.dev() != device {
            return None;
        }
        let (source, tree) = (place.source.clone(), place.tree.clone());
        match list(&directory) {
            Ok(names) => Some(Level { directory, source, tree, names: names.into_iter(), device }),
            Err(error) => {
                self.errors.push(SourceError::Io { step: "list", path: source, source: error });
                None
            }
        }
    }

    /// What is neither a directory nor a file.
    fn special(&mut self, place: &Place<'_>, handle: &File, metadata: fs::Metadata) -> io::Result<Found> {
        let kind = metadata.file_type();
        let kind = if kind.is_symlink() {
            let target = readlinkat(handle, c"", Vec::new())?;
            EntryKind::Link(PathBuf::from(OsStr::from_bytes(target.to_bytes())))
        } else if kind.is_fifo() {
            EntryKind::Pipe
        } else if kind.is_socket() {
            EntryKind::Socket
        } else if kind.is_block_device() {
            EntryKind::Block(metadata.rdev())
        } else if kind.is_char_device() {
            EntryKind::Character(metadata.rdev())
        } else {
            return Err(io::Error::new(ErrorKind::Unsupported, "it is nothing that has a name"));
        };
        let attributes = self.attributes(Holder::Named(&place.source), &place.source);
        let (source, tree) = (place.source.clone(), place.tree.clone());
        Ok(Found { entry: Entry { tree, source, kind, metadata, attributes }, below: None })
    }

    fn attributes(&mut self, holder: Holder<'_>, path: &Path) -> Vec<Attribute> {
        attributes::read(holder).unwrap_or_else(|source| {
            let path = path.to_owned();
            self.errors.push(match source.kind() {
                ErrorKind::NotFound => SourceError::Vanished { path },
                _ => SourceError::Io { step: "read the extended attributes of", path, source },
            });
            Vec::new()
        })
    }
}

impl Iterator for Walk {
    type Item = Result<Entry, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.errors.pop() {
                return Some(Err(error));
            }
            let step = match self.levels.pop() {
                Some(mut level) => {
                    let Some(name) = level.names.next() else { continue };
                    let depth = self.levels.len();
                    let step = self.child(&level, &name);
                    self.levels.insert(depth, level);
                    step
                }
                None => match self.tops.next()? {
                    Top::Above(path) => self.above(path),
                    Top::Path(path) => self.path(&path),
                },
            };
            if let Some(step) = step.transpose() {
                return Some(step);
            }
        }
    }
}

#[cfg(test)]
mod tests;
