//! Writing a snapshot into directories.
//!
//! Bytes come from the reader, which has compared each piece with its hash. A file that cannot be restored is named and
//! the others are restored all the same, because at three in the morning most of a cluster is more than none of it; but
//! then the cluster's control file is not put in place, and without that no server starts from the directory. The control
//! file is also what comes last when all goes well: until everything else is written and synced, there is none.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use maint_core::cancel::Cancel;
use rustic_core::TreeId;
use rustic_core::repofile::{Node, NodeType};
use rustix::fs::{AtFlags, CWD, Gid, Timespec, Timestamps, Uid, XattrFlags};

use crate::store::{Reader, StoreError};

/// Files that are written at the same time.
const WRITERS: usize = 2;
/// Files that wait for a writer; their lists of pieces are all that a large cluster costs in memory.
const WAITING: usize = 64;
/// Errors that are named; the rest is counted.
const NAMED: usize = 20;

/// Where the entries of a tree go.
pub trait Places: Sync {
    /// The path of an entry on disk; `None` for one that is not to be restored.
    fn place(&self, entry: &Path) -> Option<PathBuf>;

    /// The content that takes the place of a stored file's, where a restored cluster must say something else.
    fn content(&self, _entry: &Path) -> Option<Vec<u8>> {
        None
    }

    /// Where a symbolic link is to point instead.
    fn link(&self, _entry: &Path) -> Option<PathBuf> {
        None
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
}

/// A file that is to be written.
struct Job {
    entry: PathBuf,
    place: PathBuf,
    node: Node,
}

/// Restores a tree.
///
/// # Errors
/// The tree cannot be read. What could not be written is in the result.
pub fn restore(reader: &Reader, tree: TreeId, places: &dyn Places, cancel: &Cancel) -> Result<Restored, StoreError> {
    let done = Mutex::new(Restored::default());
    let mut directories = Vec::new();
    let (send, receive) = sync_channel::<Job>(WAITING);
    let receive = Mutex::new(receive);
    let walked = std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| write_files(reader, places, &receive, &done, cancel));
        }
        let walked = walk(reader, tree, places, &send, &done, &mut directories, cancel);
        drop(send);
        walked
    });
    walked?;
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // From the inside out: whatever is written into a directory changes its time.
    for (place, node) in directories.iter().rev() {
        dress(place, node, &mut done, false);
    }
    Ok(done)
}

/// Makes directories and links, and hands files to the writers.
fn walk(
    reader: &Reader,
    tree: TreeId,
    places: &dyn Places,
    files: &SyncSender<Job>,
    done: &Mutex<Restored>,
    directories: &mut Vec<(PathBuf, Node)>,
    cancel: &Cancel,
) -> Result<(), StoreError> {
    let lock = || done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut linked: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
    reader.walk(tree, &mut |entry, node| {
        if cancel.is_cancelled() {
            return Ok(());
        }
        let Some(place) = places.place(entry) else { return Ok(()) };
        if !is_plain(node) {
            lock().fail(entry, "its name would lead outside of the directory");
            return Ok(());
        }
        match &node.node_type {
            NodeType::Dir => {
                match fs::DirBuilder::new().recursive(true).mode(0o700).create(&place) {
                    Ok(()) => directories.push((place, node.clone())),
                    Err(error) => lock().fail(&place, error),
                }
                return Ok(());
            }
            NodeType::File if node.meta.links > 1 && node.meta.inode != 0 => {
                if let Some(first) = linked.get(&(node.meta.device_id, node.meta.inode)) {
                    links.push((first.clone(), place));
                    return Ok(());
                }
                linked.insert((node.meta.device_id, node.meta.inode), place.clone());
            }
            NodeType::File => {}
            NodeType::Symlink { .. } => {
                let target = places.link(entry).unwrap_or_else(|| node.node_type.to_link().to_owned());
                match symlink(target, &place) {
                    Ok(()) => dress(&place, node, &mut lock(), true),
                    Err(error) => lock().fail(&place, error),
                }
                return Ok(());
            }
            NodeType::Fifo => {
                match rustix::fs::mknodat(CWD, &place, rustix::fs::FileType::Fifo, mode_of(node).into(), 0) {
                    Ok(()) => dress(&place, node, &mut lock(), false),
                    Err(error) => lock().fail(&place, error),
                }
                return Ok(());
            }
            other => {
                lock().note(&place, format!("a {other} is not restored"));
                return Ok(());
            }
        }
        // A writer that is gone has left its error behind.
        let _ = files.send(Job { entry: entry.to_owned(), place, node: node.clone() });
        Ok(())
    })?;
    // The files that they are links to may still be in the writers' hands; their names are taken when they are written.
    let mut left = links;
    while !left.is_empty() && !cancel.is_cancelled() {
        let before = lock().failed;
        left.retain(|(first, place)| match fs::hard_link(first, place) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound && before == 0 => true,
            Err(error) => {
                lock().fail(place, error);
                false
            }
        });
        if !left.is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    Ok(())
}

/// Whether the name is one name, and not a way to somewhere else.
fn is_plain(node: &Node) -> bool {
    let name = node.name();
    let bytes = name.as_bytes();
    !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/') && !bytes.contains(&0)
}

/// Permission bits; restic keeps set-user-id and its kin where Go has them.
fn mode_of(node: &Node) -> rustix::fs::RawMode {
    let stored = node.meta.mode.unwrap_or(0o600);
    let special = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];
    special.iter().filter(|(go, _)| stored & go != 0).fold(stored & 0o777, |mode, (_, unix)| mode | unix)
}

fn write_files(
    reader: &Reader,
    places: &dyn Places,
    jobs: &Mutex<Receiver<Job>>,
    done: &Mutex<Restored>,
    cancel: &Cancel,
) {
    loop {
        let job = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if cancel.is_cancelled() {
            continue;
        }
        let written = write_file(reader, places, &job);
        let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match written {
            Ok(bytes) => {
                done.files += 1;
                done.bytes += bytes;
                dress(&job.place, &job.node, &mut done, false);
            }
            Err(why) => done.fail(&job.place, why),
        }
    }
}

fn write_file(reader: &Reader, places: &dyn Places, job: &Job) -> Result<u64, String> {
    let text = |error: io::Error| error.to_string();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&job.place).map_err(text)?;
    if let Some(content) = places.content(&job.entry) {
        file.write_all(&content).map_err(text)?;
        return Ok(content.len() as u64);
    }
    let mut at = 0;
    let mut holes = false;
    for id in job.node.content.iter().flatten() {
        let piece = reader.blob(id).map_err(|error| error.to_string())?;
        // What was never written reads as zeros, and takes no room.
        if piece.iter().all(|byte| *byte == 0) {
            holes = true;
        } else {
            file.write_all_at(&piece, at).map_err(text)?;
            holes = false;
        }
        at += piece.len() as u64;
    }
    if holes {
        file.set_len(at).map_err(text)?;
    }
    if at != job.node.meta.size {
        return Err(format!("{at} bytes are stored of {}", job.node.meta.size));
    }
    Ok(at)
}

/// Owner, mode, extended attributes and times, in this order: a change of owner takes bits of the mode away.
fn dress(place: &Path, node: &Node, done: &mut Restored, link: bool) {
    let meta = &node.meta;
    if rustix::process::geteuid().is_root()
        && let (Some(uid), Some(gid)) = (meta.uid, meta.gid)
    {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let given = rustix::fs::chownat(CWD, place, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        if let Err(error) = given {
            done.note(place, format!("its owner could not be set: {error}"));
        }
    }
    if !link && let Err(error) = fs::set_permissions(place, fs::Permissions::from_mode(mode_of(node))) {
        done.fail(place, format!("its mode could not be set: {error}"));
    }
    for attribute in &meta.extended_attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        if let Err(error) = rustix::fs::lsetxattr(place, &attribute.name, value, XattrFlags::empty()) {
            done.note(place, format!("its attribute {} could not be set: {error}", attribute.name));
        }
    }
    if let Some(time) = meta.mtime {
        let time = Timespec { tv_sec: time.as_second(), tv_nsec: time.subsec_nanosecond().into() };
        let times = Timestamps { last_access: time, last_modification: time };
        let _ = rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
}

/// Makes everything below `directory` durable at once.
///
/// # Errors
/// The system could not write it.
pub fn sync(directory: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(directory)?).map_err(io::Error::from)
}
