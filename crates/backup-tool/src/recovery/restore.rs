//! Writing a snapshot into directories.
//!
//! Bytes come from the reader, which has compared each piece with its hash. A file that cannot be restored is named and
//! the others are restored all the same, because at three in the morning most of a cluster is more than none of it; but
//! then the cluster's control file is not put in place, and without that no server starts from the directory. The control
//! file is also what comes last when all goes well: until everything else is written and synced, there is none.
//!
//! A tree is not trusted to stay where it is put: names that lead elsewhere are refused with all that is below them,
//! nothing is written through a symbolic link, and nothing that is there is overwritten.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use maint_core::cancel::Cancel;
use rustic_core::repofile::{Node, NodeType};
use rustic_core::{DataId, TreeId};
use rustix::fs::{CWD, FallocateFlags, FileType};

use crate::store::{Reader, StoreError};

mod dress;
#[cfg(test)]
mod tests;

use dress::{dress, mode_of};

/// Files that are written at the same time.
const WRITERS: usize = 2;
/// Files that wait for a writer. Few, because a file of a gigabyte comes with a list of pieces of a megabyte.
const WAITING: usize = 8;
/// Errors that are named; the rest is counted.
const NAMED: usize = 20;

/// Where the entries of a tree go.
pub trait Places: Sync {
    /// The path of an entry on disk; `None` for one that is not to be restored. What it lies in is an entry as well, or a
    /// directory that is there.
    fn place(&self, entry: &Path) -> Option<PathBuf>;

    /// The content that takes the place of a stored file's, where a restored cluster must say something else.
    fn content(&self, _entry: &Path) -> Option<Vec<u8>> {
        None
    }

    /// Where a symbolic link is to point that pointed to `stored`.
    ///
    /// # Errors
    /// It must not be restored: why.
    fn link(&self, _entry: &Path, stored: &Path) -> Result<PathBuf, String> {
        Ok(stored.to_owned())
    }

    /// Whether this is a cluster. Its files take all of their room at once, since its server counts on it, and they are
    /// as long as they were noted to be; in a set of files one may have grown while it was read.
    fn is_cluster(&self) -> bool {
        false
    }
}

/// What was restored.
#[derive(Debug, Default)]
pub struct Restored {
    /// Files that were written.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// What could not be restored, with why: the first of them.
    pub errors: Vec<String>,
    /// All that could not be restored.
    pub failed: u64,
    /// What was restored otherwise than it was: an owner that could not be given, say.
    pub notes: Vec<String>,
    /// Entries whose owner or group only root could have given them.
    foreign: u64,
    /// Files of several names that could not be restored.
    lost: HashSet<PathBuf>,
}

impl Restored {
    fn fail(&mut self, path: &Path, why: impl std::fmt::Display) {
        self.failed += 1;
        if self.errors.len() < NAMED {
            self.errors.push(format!("{}: {why}", path.display()));
        }
    }

    fn note(&mut self, path: &Path, why: impl std::fmt::Display) {
        if self.notes.len() < NAMED {
            self.notes.push(format!("{}: {why}", path.display()));
        }
    }

    /// The errors as one text; those that are not named are counted.
    pub fn trouble(&self) -> String {
        let more = self.failed.saturating_sub(self.errors.len() as u64);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        format!("{}{more}", self.errors.join("; "))
    }
}

/// A file that is to be written.
struct Job {
    entry: PathBuf,
    place: PathBuf,
    node: Node,
}

/// One restore: what all of its threads share.
struct Restoring<'a> {
    reader: &'a Reader,
    places: &'a dyn Places,
    cancel: &'a Cancel,
    done: Mutex<Restored>,
}

/// What the walk of a tree has to remember.
struct Walk {
    /// To the writers; dropping it tells them that there is no more.
    files: SyncSender<Job>,
    /// Directories, to be dressed at the end: whatever is written into one changes its time.
    directories: Vec<(PathBuf, Node)>,
    /// Further names of files, to be given when the files are written: where the file is, and the name.
    names: Vec<(PathBuf, PathBuf)>,
    /// Files that may have further names, by device and inode.
    named: HashMap<(u64, u64), (PathBuf, Content)>,
    /// Directories that were not made: nothing below them is restored.
    closed: HashSet<PathBuf>,
}

impl Walk {
    fn new(files: SyncSender<Job>) -> Self {
        Walk { files, directories: Vec::new(), names: Vec::new(), named: HashMap::new(), closed: HashSet::new() }
    }

    /// Hands a file to the writers, or keeps in mind that it is another name of one.
    fn hand_on(&mut self, entry: &Path, place: PathBuf, node: &Node) {
        if node.meta.links > 1 && node.meta.inode != 0 {
            let key = (node.meta.device_id, node.meta.inode);
            match self.named.get(&key) {
                Some((file, content)) if *content == Content::of(node) => {
                    self.names.push((file.clone(), place));
                    return;
                }
                _ => self.named.insert(key, (place.clone(), Content::of(node))),
            };
        }
        // Writers end after the walk does, so there is always one to take it.
        let _ = self.files.send(Job { entry: entry.to_owned(), place, node: node.clone() });
    }
}

/// Restores a tree. When the run is asked to stop, it returns early with what there is; whoever called sees that by asking
/// as well.
///
/// # Errors
/// The tree cannot be read. What could not be written is in the result.
pub fn restore(reader: &Reader, tree: TreeId, places: &dyn Places, cancel: &Cancel) -> Result<Restored, StoreError> {
    let restoring = Restoring { reader, places, cancel, done: Mutex::default() };
    let (send, receive) = sync_channel::<Job>(WAITING);
    let receive = Mutex::new(receive);
    let (directories, names) = std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| restoring.write_files(&receive));
        }
        let mut walk = Walk::new(send);
        reader.walk(tree, &mut |entry, node| {
            restoring.visit(&mut walk, entry, node);
            Ok(())
        })?;
        Ok::<_, StoreError>((walk.directories, walk.names))
    })?;
    Ok(restoring.finish(&directories, &names))
}

impl Restoring<'_> {
    fn done(&self) -> MutexGuard<'_, Restored> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a directory, link or pipe, and hands a file to the writers.
    fn visit(&self, walk: &mut Walk, entry: &Path, node: &Node) {
        if self.cancel.is_cancelled() {
            return;
        }
        if !walk.closed.is_empty() && entry.ancestors().any(|above| walk.closed.contains(above)) {
            self.done().failed += 1;
            return;
        }
        if !is_plain(node) {
            walk.closed.insert(entry.to_owned());
            self.done().fail(entry, "its name would lead outside of the directory");
            return;
        }
        let Some(place) = self.places.place(entry) else { return };
        let made = match &node.node_type {
            NodeType::File => {
                walk.hand_on(entry, place, node);
                return;
            }
            NodeType::Dir => match directory(&place) {
                Ok(()) => {
                    walk.directories.push((place, node.clone()));
                    return;
                }
                Err(error) => {
                    walk.closed.insert(entry.to_owned());
                    Err(error.to_string())
                }
            },
            NodeType::Symlink { .. } => self
                .places
                .link(entry, node.node_type.to_link())
                .and_then(|target| symlink(target, &place).map_err(|error| error.to_string())),
            NodeType::Fifo => rustix::fs::mknodat(CWD, &place, FileType::Fifo, mode_of(node).into(), 0)
                .map_err(|error| error.to_string()),
            NodeType::Socket | NodeType::Dev { .. } | NodeType::Chardev { .. } => {
                self.done().note(&place, "it is a socket or a device, and was not restored");
                return;
            }
        };
        let mut done = self.done();
        match made {
            Ok(()) => dress(&place, node, &mut done),
            Err(why) => done.fail(&place, why),
        }
    }

    /// What can only be done when all files are written.
    fn finish(self, directories: &[(PathBuf, Node)], names: &[(PathBuf, PathBuf)]) -> Restored {
        let mut done = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (file, name) in names {
            if self.cancel.is_cancelled() {
                break;
            }
            if done.lost.contains(file) {
                done.fail(name, "the file that this is another name of could not be restored");
            } else if let Err(error) = fs::hard_link(file, name) {
                done.fail(name, error);
            }
        }
        // From the inside out: a directory that is dressed may not be open to us any more.
        for (place, node) in directories.iter().rev() {
            dress(place, node, &mut done);
        }
        if done.foreign > 0 {
            let foreign = done.foreign;
            done.notes
                .insert(0, format!("entries without their owner or group, which only root could give: {foreign}"));
        }
        done
    }

    fn write_files(&self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else { return };
            if self.cancel.is_cancelled() {
                continue;
            }
            let written = self.write_file(&job);
            let mut done = self.done();
            match written {
                Ok(bytes) => {
                    done.files += 1;
                    done.bytes += bytes;
                    dress(&job.place, &job.node, &mut done);
                    if bytes != job.node.meta.size && self.places.content(&job.entry).is_none() {
                        done.note(&job.place, "it changed while it was backed up, and may not be of one moment");
                    }
                }
                Err(why) => {
                    done.fail(&job.place, why);
                    if job.node.meta.links > 1 {
                        done.lost.insert(job.place);
                    }
                }
            }
        }
    }

    /// Writes one file; its size in bytes. Of one that cannot be written to its end the beginning stays, for whoever has
    /// nothing better.
    fn write_file(&self, job: &Job) -> Result<u64, String> {
        let text = |error: io::Error| error.to_string();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&job.place).map_err(text)?;
        if let Some(content) = self.places.content(&job.entry) {
            file.write_all(&content).map_err(text)?;
            return Ok(content.len() as u64);
        }
        let noted = job.node.meta.size;
        if job.node.content.is_none() && noted > 0 {
            return Err("nothing of its content is stored".to_owned());
        }
        let cluster = self.places.is_cluster();
        if cluster {
            allocate(&file, noted).map_err(text)?;
        }
        let mut at = 0;
        for id in job.node.content.iter().flatten() {
            if let Err(why) = self.write_piece(&file, id, &mut at) {
                // What was allocated behind it is no part of the file.
                let _ = file.set_len(at);
                return Err(format!("{why}; only its first {at} bytes are there"));
            }
        }
        if cluster && at != noted {
            return Err(format!("{at} bytes are stored of {noted}"));
        }
        file.set_len(at).map_err(text)?;
        Ok(at)
    }

    fn write_piece(&self, file: &File, id: &DataId, at: &mut u64) -> Result<(), String> {
        let piece = self.reader.blob(id).map_err(|error| error.to_string())?;
        // What was never written, or only allocated, reads as zeros already.
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(&piece, *at).map_err(|error| error.to_string())?;
        }
        *at += piece.len() as u64;
        Ok(())
    }
}

/// Enough of a file's content to tell two names of one file from an inode that was used twice.
#[derive(PartialEq)]
struct Content {
    pieces: usize,
    first: Option<DataId>,
    last: Option<DataId>,
}

impl Content {
    fn of(node: &Node) -> Self {
        let pieces = node.content.as_deref().unwrap_or_default();
        Content { pieces: pieces.len(), first: pieces.first().copied(), last: pieces.last().copied() }
    }
}

/// Whether the name is one name, and not a way to somewhere else.
fn is_plain(node: &Node) -> bool {
    let name = node.name();
    let bytes = name.as_bytes();
    !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/') && !bytes.contains(&0)
}

/// Makes a directory, private until it is dressed; one that is there is taken, a link to one never is. What is missing above
/// it is made as anybody makes directories, because whoever the files belong to must get through.
pub(super) fn directory(place: &Path) -> io::Result<()> {
    let mut private = fs::DirBuilder::new();
    private.mode(0o700);
    match (private.create(place), place.parent()) {
        (Err(error), _) if error.kind() == ErrorKind::AlreadyExists && fs::symlink_metadata(place)?.is_dir() => Ok(()),
        (Err(error), Some(above)) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(above)?;
            private.create(place)
        }
        (made, _) => made,
    }
}

/// Takes the room that a file needs, so that a full disk is found now and not by the server. Where the file system cannot
/// do that, the file has holes.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::io::Errno;
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        _ => Ok(()),
    }
}
