//! One run per task and target on this host.
//!
//! The lock is the kernel's (`flock`), so it ends with the process however that ends, and no stale file ever blocks a
//! run. The file only says who holds it. It stays when the lock is released: removing it would let two runs lock two
//! different files of the same name.

use crate::failure::Failure;
use crate::names::file_name;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("another run holds {}{}; wait for it to end, or end it", path.display(), holder(*pid, *since))]
    Held {
        /// Its process id, if it had already written it.
        pid: Option<u32>,
        /// When it took the lock, if it had already written it.
        since: Option<Timestamp>,
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file cannot be used.
    #[error("cannot {step} the lock file {}: {source}", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<LockError> for Failure {
    /// Another run is at it: exit 75, try again. A lock file that cannot be used is the operator's to mend: exit 3.
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held { .. } => Failure::not_now(error.to_string()),
            LockError::Io { .. } => Failure::usage(error.to_string()),
        }
    }
}

fn holder(pid: Option<u32>, since: Option<Timestamp>) -> String {
    match (pid, since) {
        (Some(pid), Some(since)) => format!(" (process {pid}, since {since})"),
        _ => String::new(),
    }
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock `name` (task and target, any text) under the state directory `dir`, without waiting.
    pub fn acquire(dir: &Path, name: &str) -> Result<Self, LockError> {
        let locks = dir.join("locks");
        let path = locks.join(format!("{}.lock", file_name(name)));
        let failed = |step| {
            let path = path.clone();
            move |source: io::Error| LockError::Io { step, path, source }
        };
        crate::state_dir::ensure(&locks).map_err(|e| failed("make the directory of")(io::Error::other(e)))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open"))?;
        match rustix::io::retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let (pid, since) = read_holder(&mut file);
                return Err(LockError::Held { pid, since, path });
            }
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
        let holder = format!("{} {}\n", std::process::id(), Timestamp::now());
        file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).map_err(failed("write"))?;
        Ok(Self { _file: file })
    }
}

/// A holder that is just writing its name is held by nobody known, which is no error.
fn read_holder(file: &mut File) -> (Option<u32>, Option<Timestamp>) {
    let mut text = String::new();
    if file.take(256).read_to_string(&mut text).is_err() {
        return (None, None);
    }
    let mut words = text.split_whitespace();
    (words.next().and_then(|word| word.parse().ok()), words.next().and_then(|word| word.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead as _;
    use std::process::{Command, Stdio};

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let held = RunLock::acquire(dir.path(), "vacuum/db:5432").unwrap();
        let error = RunLock::acquire(dir.path(), "vacuum/db:5432").unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("vacuum%2Fdb"), "{text}");
        let LockError::Held { pid, since, path } = error else { panic!("{error:?}") };
        assert_eq!(pid, Some(std::process::id()));
        assert!(since.unwrap() <= Timestamp::now());
        drop(held);
        assert!(path.exists());
        RunLock::acquire(dir.path(), "vacuum/db:5432").unwrap();
    }

    #[test]
    fn different_names_never_share_a_lock() {
        let long = "x".repeat(400);
        let names = ["a/b", "a_b", "a%2Fb", "..", "", "é", &long, &format!("{long}y")];
        let dir = tempfile::tempdir().unwrap();
        let held: Vec<_> = names.iter().map(|name| RunLock::acquire(dir.path(), name).unwrap()).collect();
        assert_eq!(std::fs::read_dir(dir.path().join("locks")).unwrap().count(), held.len());
    }

    #[test]
    #[ignore = "is the other process of the test below"]
    fn hold_in_another_process() {
        let dir = std::env::var_os("MAINT_TEST_LOCK_DIR").unwrap();
        let _held = RunLock::acquire(Path::new(&dir), "task").unwrap();
        println!("\nheld");
        let _ = io::stdin().read_line(&mut String::new());
    }

    #[test]
    fn a_killed_process_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut other = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "lock::tests::hold_in_another_process", "--nocapture"])
            .env("MAINT_TEST_LOCK_DIR", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = io::BufReader::new(other.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "held"));
        let error = RunLock::acquire(dir.path(), "task").unwrap_err();
        assert!(matches!(error, LockError::Held { pid, .. } if pid == Some(other.id())), "{error}");
        other.kill().unwrap();
        other.wait().unwrap();
        RunLock::acquire(dir.path(), "task").unwrap();
    }
}
