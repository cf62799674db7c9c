//! The worker of asynchronous archiving: archives all that waits, several files at a time, and notes in the spool what
//! became of each.
//!
//! One runs at a time. It stops at the first failure: what is already being archived is finished, nothing new is begun, so
//! that a gap in the archive is never wider than the number of threads. It ends when nothing waits any more; the next call
//! of `wal-push` starts another.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use maint_core::cancel::Cancel;
use maint_core::failure::Failure;

use super::archive::Archive;
use super::local;
use super::name::WalName;
use super::push::{PushError, one_line, push_file};
use super::spool::{Outcome, Spool};

/// Archives what waits in `pg_wal` with so many threads, until nothing does. Returns how many files were archived; none
/// when another worker is at it.
///
/// # Errors
/// The archive cannot be opened, or the spool or `pg_wal` not be used. It is noted in the spool as well.
pub fn work(
    pg_wal: &Path,
    spool: &Spool,
    threads: usize,
    cancel: &Cancel,
    open: impl FnOnce() -> Result<Archive, Failure>,
) -> Result<usize, Failure> {
    let Some(_lock) = spool.lock().map_err(PushError::from)? else { return Ok(0) };
    let done = open().and_then(|archive| Ok(drain(pg_wal, spool, threads, cancel, &archive)?));
    if let Err(failure) = &done {
        spool.tell_worker_failed(&one_line(failure)).map_err(PushError::from)?;
    }
    done
}

fn drain(pg_wal: &Path, spool: &Spool, threads: usize, cancel: &Cancel, archive: &Archive) -> Result<usize, PushError> {
    let archived = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    while !stop.load(Ordering::Relaxed) && !cancel.is_cancelled() {
        let waiting = local::ready(pg_wal)?;
        spool.sweep(&waiting)?;
        let mut left = Vec::new();
        for name in waiting {
            let stamp = local::stamp_of(&pg_wal.join(name.to_string()));
            // A file that cannot be looked at is tried all the same, which notes the reason.
            let known = stamp.ok().map(|stamp| spool.outcome(name, &stamp)).transpose()?.flatten();
            if known != Some(Outcome::Archived) {
                left.push(name);
            }
        }
        if left.is_empty() {
            break;
        }
        let next = AtomicUsize::new(0);
        let one = || {
            while !stop.load(Ordering::Relaxed) && !cancel.is_cancelled() {
                let Some(name) = left.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                match archive_one(pg_wal, spool, archive, *name) {
                    Ok(true) => drop(archived.fetch_add(1, Ordering::Relaxed)),
                    Ok(false) => stop.store(true, Ordering::Relaxed),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        tracing::error!("{error}");
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.clamp(1, left.len()) {
                scope.spawn(one);
            }
            one();
        });
    }
    Ok(archived.into_inner())
}

/// Archives one file and notes what became of it; whether it is archived.
fn archive_one(pg_wal: &Path, spool: &Spool, archive: &Archive, name: WalName) -> Result<bool, PushError> {
    let (stamp, outcome) = match push_file(archive, &pg_wal.join(name.to_string())) {
        Ok(stamp) => (stamp, Outcome::Archived),
        Err(error) => {
            let why = one_line(&error.into());
            tracing::error!("{why}");
            (String::new(), Outcome::Failed(why))
        }
    };
    spool.tell(name, &stamp, &outcome)?;
    Ok(outcome == Outcome::Archived)
}
