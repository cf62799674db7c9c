//! What the commands that the server calls leave for each other: the spool directory.
//!
//! Below it every cluster has a directory named after its system identifier, so that a new cluster never believes what was
//! noted for the one before it:
//!
//! - `out/NAME.ok`: the worker has archived the file, durably. Inside is the file's stamp (inode, size, times); the note
//!   holds for that very file only, not for another one of its name.
//! - `out/NAME.error`: it could not, and why.
//! - `worker.error`: the worker could not even begin, and why.
//! - `worker.log`: what the worker said.
//! - `in/NAME`: a segment fetched ahead of time, followed by its content id.
//!
//! Everything here can be lost: the file is then archived or fetched again.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use maint_core::durable::{self, DurableError};
use maint_core::lock::{LockError, RunLock};
use maint_core::state_dir;

use crate::wal::header;
use crate::wal::name::{Segment, WalName};
use crate::wal::object::Sealer;

/// The spool of one cluster.
#[derive(Debug, Clone)]
pub struct Spool {
    root: PathBuf,
}

/// What the worker noted of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the archive, durably.
    Archived,
    /// It could not be archived.
    Failed(String),
}

/// Something that could not be done in the spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A directory of it cannot be made.
    #[error("cannot make the spool directory {}: {why}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A note cannot be written.
    #[error(transparent)]
    Write(#[from] DurableError),
    /// The worker's lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The system said no.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Bytes of the content id behind a segment in `in`.
const ID_BYTES: usize = 32;

impl Spool {
    /// The spool of a cluster below the configured directory; its directories are made where they are missing.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn open(configured: &Path, system_identifier: u64) -> Result<Self, SpoolError> {
        let root = configured.join(system_identifier.to_string());
        for path in [root.join("out"), root.join("in")] {
            state_dir::ensure(&path).map_err(|error| {
                let state_dir::StateDirError::Create { source, .. } = error else {
                    return SpoolError::Make { path: path.clone(), why: error.to_string() };
                };
                SpoolError::Make { path: path.clone(), why: source.to_string() }
            })?;
        }
        Ok(Spool { root })
    }

    /// Where the worker's words go.
    pub fn log(&self) -> PathBuf {
        self.root.join("worker.log")
    }

    fn note(&self, name: WalName, kind: &str) -> PathBuf {
        self.root.join("out").join(format!("{name}.{kind}"))
    }

    /// What was noted of the file `name` that has this stamp now.
    ///
    /// # Errors
    /// The note is there and cannot be read.
    pub fn outcome(&self, name: WalName, stamp: &str) -> Result<Option<Outcome>, SpoolError> {
        if read(&self.note(name, "ok"))?.is_some_and(|noted| noted == stamp) {
            return Ok(Some(Outcome::Archived));
        }
        Ok(read(&self.note(name, "error"))?.map(Outcome::Failed))
    }

    /// Notes what became of a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell(&self, name: WalName, stamp: &str, outcome: &Outcome) -> Result<(), SpoolError> {
        match outcome {
            Outcome::Archived => {
                durable::replace_quickly(&self.note(name, "ok"), stamp.as_bytes(), 0o600)?;
                remove(&self.note(name, "error"))
            }
            Outcome::Failed(why) => Ok(durable::replace_quickly(&self.note(name, "error"), why.as_bytes(), 0o600)?),
        }
    }

    /// Removes what was noted of a file, because it was told.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&self, name: WalName) -> Result<(), SpoolError> {
        remove(&self.note(name, "ok"))?;
        remove(&self.note(name, "error"))
    }

    /// Notes why the worker could not begin.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell_worker_failed(&self, why: &str) -> Result<(), SpoolError> {
        Ok(durable::replace_quickly(&self.root.join("worker.error"), why.as_bytes(), 0o600)?)
    }

    /// Takes the note on why the worker could not begin.
    ///
    /// # Errors
    /// It is there and cannot be read or removed.
    pub fn take_worker_failure(&self) -> Result<Option<String>, SpoolError> {
        let path = self.root.join("worker.error");
        let found = read(&path)?;
        remove(&path)?;
        Ok(found)
    }

    /// Removes the notes on files that do not wait any more, and what a killed worker left. Only for the worker itself.
    ///
    /// # Errors
    /// The directory cannot be read, or a file not removed.
    pub fn sweep(&self, waiting: &[WalName]) -> Result<(), SpoolError> {
        self.clean("out", |file| {
            let name = file.strip_suffix(".ok").or_else(|| file.strip_suffix(".error"));
            name.and_then(|name| name.parse().ok()).is_some_and(|name| waiting.contains(&name))
        })
    }

    fn clean(&self, directory: &str, keep: impl Fn(&str) -> bool) -> Result<(), SpoolError> {
        let directory = self.root.join(directory);
        let io = |source| SpoolError::Io { step: "list", path: directory.clone(), source };
        for entry in fs::read_dir(&directory).map_err(io)? {
            let file = entry.map_err(io)?.file_name();
            if !file.to_str().is_some_and(&keep) {
                remove(&directory.join(file))?;
            }
        }
        Ok(())
    }

    /// Takes the worker's lock; `None` when a worker has it.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub fn lock(&self) -> Result<Option<RunLock>, SpoolError> {
        match RunLock::acquire(&self.root, "worker") {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Held { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a segment that was fetched ahead of time.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, sealer: &Sealer, segment: Segment, mut content: Vec<u8>) -> Result<(), SpoolError> {
        let id = sealer.content_id(&content);
        content.extend_from_slice(&id);
        Ok(durable::replace_quickly(&self.root.join("in").join(segment.to_string()), &content, 0o600)?)
    }

    /// A segment that was fetched ahead of time, if it is there, whole and unchanged.
    pub fn kept(&self, sealer: &Sealer, segment: Segment) -> Option<Vec<u8>> {
        let mut content = fs::read(self.root.join("in").join(segment.to_string())).ok()?;
        let id = content.split_off(content.len().checked_sub(ID_BYTES)?);
        let whole = id == sealer.content_id(&content) && header::check(segment, &content).is_ok();
        whole.then_some(content)
    }

    /// Removes what was fetched ahead of time, except for these.
    ///
    /// # Errors
    /// The directory cannot be read, or a file not removed.
    pub fn drop_kept_but(&self, wanted: &[Segment]) -> Result<(), SpoolError> {
        self.clean("in", |file| file.parse().is_ok_and(|segment: Segment| wanted.contains(&segment)))
    }
}

fn read(path: &Path) -> Result<Option<String>, SpoolError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SpoolError::Io { step: "read", path: path.to_owned(), source }),
    }
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(SpoolError::Io { step: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::store::keys::Keys;
    use crate::wal::header::sample;

    use super::*;

    fn place() -> (tempfile::TempDir, Spool) {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(&directory.path().join("spool"), 7).unwrap();
        (directory, spool)
    }

    fn name(text: &str) -> WalName {
        text.parse().unwrap()
    }

    #[test]
    fn a_note_holds_for_the_very_file_only() {
        let (_directory, spool) = place();
        let name = name("000000010000000000000001");
        spool.tell(name, "stamp one", &Outcome::Archived).unwrap();
        assert_eq!(spool.outcome(name, "stamp one").unwrap(), Some(Outcome::Archived));
        assert_eq!(spool.outcome(name, "stamp two").unwrap(), None);
        spool.forget(name).unwrap();
        assert_eq!(spool.outcome(name, "stamp one").unwrap(), None);
    }

    #[test]
    fn a_note_for_another_cluster_is_not_seen() {
        let (directory, spool) = place();
        spool.tell(name("00000002.history"), "s", &Outcome::Archived).unwrap();
        let other = Spool::open(&directory.path().join("spool"), 8).unwrap();
        assert_eq!(other.outcome(name("00000002.history"), "s").unwrap(), None);
    }

    #[test]
    fn success_takes_an_earlier_failure_back() {
        let (_directory, spool) = place();
        let name = name("000000010000000000000001");
        spool.tell(name, "s", &Outcome::Failed("disk full".into())).unwrap();
        assert_eq!(spool.outcome(name, "s").unwrap(), Some(Outcome::Failed("disk full".into())));
        spool.tell(name, "s", &Outcome::Archived).unwrap();
        assert_eq!(spool.outcome(name, "s").unwrap(), Some(Outcome::Archived));
        assert_eq!(spool.outcome(name, "other").unwrap(), None);
    }

    #[test]
    fn a_sweep_removes_what_does_not_wait_any_more() {
        let (_directory, spool) = place();
        let (old, waiting) = (name("000000010000000000000001"), name("000000010000000000000002"));
        for name in [old, waiting] {
            spool.tell(name, "s", &Outcome::Archived).unwrap();
        }
        fs::write(spool.root.join("out/.x.new-abc"), "half").unwrap();
        spool.sweep(&[waiting]).unwrap();
        assert_eq!(spool.outcome(old, "s").unwrap(), None);
        assert_eq!(spool.outcome(waiting, "s").unwrap(), Some(Outcome::Archived));
        assert_eq!(fs::read_dir(spool.root.join("out")).unwrap().count(), 1);
    }

    #[test]
    fn one_worker_has_the_lock() {
        let (_directory, spool) = place();
        let held = spool.lock().unwrap();
        assert!(held.is_some());
        assert!(spool.lock().unwrap().is_none());
        drop(held);
        assert!(spool.lock().unwrap().is_some());
    }

    #[test]
    fn a_segment_that_was_kept_is_given_back_only_unchanged_and_under_its_name() {
        let (_directory, spool) = place();
        let sealer = Sealer::new(&Keys::from_master(&[1; 32]));
        let segment: Segment = "000000010000000000000001".parse().unwrap();
        let content = sample(segment, 7, 1);
        spool.keep(&sealer, segment, content.clone()).unwrap();
        assert!(spool.kept(&sealer, segment).unwrap() == content);
        let (file, other) = (spool.root.join("in").join(segment.to_string()), segment.next(1 << 20));
        fs::copy(&file, spool.root.join("in").join(other.to_string())).unwrap();
        assert_eq!(spool.kept(&sealer, other), None);
        let whole = fs::read(&file).unwrap();
        for length in [0, 31, 32, 100, whole.len() - 1] {
            fs::write(&file, &whole[..length]).unwrap();
            assert_eq!(spool.kept(&sealer, segment), None, "{length}");
        }
        let mut changed = whole;
        changed[5000] ^= 1;
        fs::write(&file, &changed).unwrap();
        assert_eq!(spool.kept(&sealer, segment), None);
        spool.drop_kept_but(&[other]).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn nobody_else_can_look_into_it() {
        let (directory, _spool) = place();
        for path in ["spool", "spool/7", "spool/7/in", "spool/7/out"] {
            let mode = fs::metadata(directory.path().join(path)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{path}");
        }
    }
}
