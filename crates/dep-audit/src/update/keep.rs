//! The lock file's way back: a copy of it, and a note of how far a step has come.
//!
//! A run may be killed at any moment, also while cargo writes the lock file. So the copy and the note are on the disk before
//! cargo starts, and the note knows the process that may still be writing. The next run ends that process and puts the copy
//! back, unless the note says that the new one was verified. A lock file that is neither the old nor the new one was changed
//! by somebody else since, and is not ours to touch.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use maint_core::durable;
use maint_core::failure::Failure;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    /// Cargo may be writing it.
    Moving,
    /// Cargo has written it, and it is being verified.
    Verifying,
    /// It was verified.
    Verified,
}

/// A process, told from a later one with the same number by when it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    id: i32,
    /// In the kernel's ticks since the machine started.
    started: u64,
}

/// What is on the disk while a step is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    lockfile: PathBuf,
    stage: Stage,
    old_sha256: String,
    mode: u32,
    new_sha256: Option<String>,
    process: Option<Process>,
}

/// What was found of an earlier run that did not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The lock file is the old one, without or with our doing.
    Old,
    /// It is the new one, which was verified.
    Verified,
    /// It is neither: somebody else has changed it since, and it was left alone.
    Other,
}

/// The way back of one lock file.
#[derive(Debug)]
pub(crate) struct Keep {
    lockfile: PathBuf,
    note: PathBuf,
    copy: PathBuf,
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::critical(error.to_string())
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Keep {
    /// The place of a lock file's copy and note below the state directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn of(state: &Path, lockfile: &Path) -> Result<Self, Failure> {
        let name: String = sha256(lockfile.as_os_str().as_encoded_bytes()).chars().take(16).collect();
        let directory = state.join("dep-audit").join("update").join(name);
        maint_core::state_dir::ensure(&directory).map_err(failed)?;
        Ok(Keep {
            lockfile: lockfile.to_owned(),
            note: directory.join("note.json"),
            copy: directory.join("Cargo.lock"),
        })
    }

    /// Keeps a copy of the lock file before it is changed.
    ///
    /// # Errors
    /// The copy cannot be made; nothing may be changed then.
    pub(crate) fn begin(&self) -> Result<Step<'_>, Failure> {
        let read = |error| failed(format!("cannot read {}: {error}", self.lockfile.display()));
        let old = fs::read(&self.lockfile).map_err(read)?;
        let mode = fs::metadata(&self.lockfile).map_err(read)?.permissions().mode() & 0o7777;
        durable::replace(&self.copy, &old, 0o600).map_err(failed)?;
        let note = Note {
            lockfile: self.lockfile.clone(),
            stage: Stage::Moving,
            old_sha256: sha256(&old),
            mode,
            new_sha256: None,
            process: None,
        };
        let step = Step { keep: self, note, old };
        step.write()?;
        maint_core::fault::point("update-copied");
        Ok(step)
    }

    /// Brings the lock file of a run that was killed back to the old one, or finds that it is the verified new one. `None`
    /// where no run was killed. `touch` says whether anything may be changed.
    ///
    /// # Errors
    /// The note or the copy does not hold, or the lock file cannot be written.
    pub(crate) fn recover(&self, touch: bool) -> Result<Option<Found>, Failure> {
        let text = match fs::read_to_string(&self.note) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A copy without a note is of before the first change, or of after the last.
                if touch && self.copy.exists() {
                    durable::remove(&self.copy).map_err(failed)?;
                }
                return Ok(None);
            }
            Err(error) => return Err(failed(format!("cannot read {}: {error}", self.note.display()))),
        };
        let note: Note = serde_json::from_str(&text).map_err(|error| {
            failed(format!("{} is not a note of ours: {error}", self.note.display())).hint(format!(
                "compare {} with {}, and remove the note",
                self.copy.display(),
                self.lockfile.display()
            ))
        })?;
        if touch {
            note.process.map_or(Ok(()), end)?;
        }
        let now = fs::read(&self.lockfile).map(|bytes| sha256(&bytes)).unwrap_or_default();
        let found = if now == note.old_sha256 {
            Found::Old
        } else if note.stage == Stage::Moving {
            // Whatever cargo has left there, whole or in part; kept aside, in case that it was not cargo.
            if touch {
                if let Ok(bytes) = fs::read(&self.lockfile) {
                    durable::replace(&self.aside(), &bytes, 0o600).map_err(failed)?;
                }
                self.put_back(&note)?;
            }
            Found::Old
        } else if note.new_sha256.as_deref() != Some(now.as_str()) {
            Found::Other
        } else if note.stage == Stage::Verified {
            Found::Verified
        } else {
            if touch {
                self.put_back(&note)?;
            }
            Found::Old
        };
        if touch {
            self.forget()?;
        }
        Ok(Some(found))
    }

    /// Where a lock file goes that was found half-way.
    pub(crate) fn aside(&self) -> PathBuf {
        self.copy.with_file_name("unverified.lock")
    }

    /// Puts the copy back and sees that it is there, byte for byte.
    fn put_back(&self, note: &Note) -> Result<(), Failure> {
        let stuck = |why: String| {
            Failure::new(maint_core::status::Exit::Stuck, format!("cannot put {} back: {why}", self.lockfile.display()))
                .hint(format!("the old one is {}; copy it by hand", self.copy.display()))
        };
        let old = fs::read(&self.copy).map_err(|error| stuck(format!("cannot read the copy: {error}")))?;
        if sha256(&old) != note.old_sha256 {
            return Err(stuck("the copy is not what was kept".to_owned()));
        }
        durable::replace(&self.lockfile, &old, note.mode).map_err(|error| stuck(error.to_string()))?;
        let now = fs::read(&self.lockfile).map_err(|error| stuck(error.to_string()))?;
        if now == old { Ok(()) } else { Err(stuck("it is another one afterwards".to_owned())) }
    }

    fn forget(&self) -> Result<(), Failure> {
        durable::remove(&self.note).map_err(failed)?;
        maint_core::fault::point("update-forgotten");
        durable::remove(&self.copy).map_err(failed)
    }
}

/// A step under way.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    keep: &'a Keep,
    note: Note,
    /// The lock file as it was.
    pub(crate) old: Vec<u8>,
}

impl Step<'_> {
    fn write(&self) -> Result<(), Failure> {
        let text = serde_json::to_vec(&self.note).map_err(failed)?;
        durable::replace(&self.keep.note, &text, 0o600).map_err(failed)
    }

    /// Notes the process that is about to write the lock file.
    ///
    /// # Errors
    /// The note cannot be written; the process must not go on then.
    pub(crate) fn writes(&mut self, process: i32) -> Result<(), Failure> {
        self.note.process = started(process).map(|started| Process { id: process, started });
        self.write()
    }

    /// Notes what cargo has made of it.
    ///
    /// # Errors
    /// It cannot be read, or the note not be written.
    pub(crate) fn is_moved(&mut self) -> Result<Vec<u8>, Failure> {
        let lockfile = &self.keep.lockfile;
        let new = fs::read(lockfile).map_err(|error| failed(format!("cannot read {}: {error}", lockfile.display())))?;
        self.note.new_sha256 = Some(sha256(&new));
        self.note.stage = Stage::Verifying;
        self.note.process = None;
        self.write()?;
        maint_core::fault::point("update-moved");
        Ok(new)
    }

    /// Keeps the new one.
    ///
    /// # Errors
    /// The note cannot be written.
    pub(crate) fn keep(mut self) -> Result<(), Failure> {
        maint_core::fault::point("update-verified");
        self.note.stage = Stage::Verified;
        self.write()?;
        maint_core::fault::point("update-kept");
        self.keep.forget()
    }

    /// Puts the old one back.
    ///
    /// # Errors
    /// It cannot be put back: a person is needed.
    pub(crate) fn restore(self) -> Result<(), Failure> {
        maint_core::fault::point("update-restoring");
        if fs::read(&self.keep.lockfile).ok().as_deref() != Some(self.old.as_slice()) {
            self.keep.put_back(&self.note)?;
        }
        maint_core::fault::point("update-restored");
        self.keep.forget()
    }
}

/// When a process was started, in the kernel's ticks; `None` when it is not there. Field 22 of `/proc/PID/stat`, see
/// proc(5); the name before it may hold anything, so it is counted from the last parenthesis.
fn started(id: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18)?.parse().ok() }
}

/// Ends a process that a killed run has left behind, with its group, and waits until it is gone.
fn end(process: Process) -> Result<(), Failure> {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while started(process.id) == Some(process.started) {
        if let Some(group) = Pid::from_raw(process.id) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        if std::time::Instant::now() > until {
            return Err(failed(format!("process {} of an earlier run may still write and does not end", process.id)));
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
