//! One run at a time that writes or removes: a lock of this host, and one in the repository that other hosts see.
//!
//! The lock of the host ends with its process, however that ends. The object in the repository does not, so it says who
//! holds it: where the process is gone, or the host was started anew since, the object is stale and is removed.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use maint_core::cli::state_directory;
use maint_core::failure::Failure;
use maint_core::lock::{LockError, RunLock};
use serde::{Deserialize, Serialize};

use super::Store;
use crate::storage::{Put, Storage};

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    storage: Arc<dyn Storage>,
    key: String,
    _host: RunLock,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    host: String,
    pid: u32,
    boot_id: String,
    since: Timestamp,
}

impl Holder {
    fn of_this_process() -> Self {
        Holder {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            boot_id: boot_id(),
            since: Timestamp::now(),
        }
    }

    /// Whether it is known that nobody holds it any more: only for a process of this host can that be known.
    fn is_gone(&self, us: &Holder) -> bool {
        if self.host != us.host {
            return false;
        }
        self.boot_id != us.boot_id || self.pid == us.pid || !is_at_work(self.pid)
    }
}

/// Whether a process of this number runs this program. One that ended and that nobody has waited for is at work no more.
fn is_at_work(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        // Number, name in parentheses, state: the name may hold anything, so the state is looked for from its end.
        Ok(stat) => {
            let ended = stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']));
            stat.contains("(backup-tool)") && !ended
        }
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Store {
    /// Takes the lock `name` without waiting.
    ///
    /// # Errors
    /// Another run holds it: exit 75, with who and since when. Or it could not be looked at.
    pub fn lock(&self, name: &str) -> Result<Lock, Failure> {
        let place = self.storage().location();
        let host =
            RunLock::acquire(&state_directory()?, &format!("backup-tool {place} {name}")).map_err(
                |error| match error {
                    LockError::Held { .. } => Failure::not_now(format!("another run is at work in {place}: {error}"))
                        .hint("wait for it, or end it"),
                    LockError::Io { .. } => Failure::usage(error.to_string()),
                },
            )?;
        let key = format!("locks/{name}");
        let us = Holder::of_this_process();
        let body = serde_json::to_vec(&us).map(Bytes::from).unwrap_or_default();
        for _ in 0..3 {
            if self.storage().put_new(&key, std::slice::from_ref(&body))? == Put::Created {
                // Whoever writes backups holds this lock, so what is half written there is nobody's.
                for part in super::Part::ALL {
                    // What cannot be swept costs only room; whatever is wrong there, the command will meet it.
                    if let Err(error) = self.storage().sweep(part.directory()) {
                        tracing::info!("{error}");
                    }
                }
                return Ok(Lock { storage: Arc::clone(self.storage()), key, _host: host });
            }
            let holder = match self.storage().get(&key) {
                Ok(text) => serde_json::from_slice::<Holder>(&text).ok(),
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            match holder {
                Some(holder) if holder.is_gone(&us) => match self.storage().remove(&key) {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => tracing::info!("removed the lock of process {} that is gone", holder.pid),
                },
                Some(Holder { host, pid, since, .. }) => {
                    return Err(Failure::not_now(format!(
                        "another run is at work in {place}: process {pid} on {host}, since {since:.0}"
                    ))
                    .hint(format!("wait for it; if that host is gone for good, remove {key} in the repository")));
                }
                None => {
                    return Err(Failure::not_now(format!(
                        "{key} in {place} says that another run is at work, but not who"
                    ))
                    .hint("if there is none, remove it"));
                }
            }
        }
        Err(Failure::not_now(format!("others take the lock {key} in {place} faster than it can be had")))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What cannot be removed now is stale, and the next run sees that.
        let _ = self.storage.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_this_host_can_it_be_known_that_a_holder_is_gone() {
        let us = Holder::of_this_process();
        let other = |host: &str, pid: u32, boot: &str| Holder {
            host: host.into(),
            pid,
            boot_id: boot.into(),
            since: Timestamp::UNIX_EPOCH,
        };
        assert!(other(&us.host, 4_000_000, &us.boot_id).is_gone(&us), "no such process");
        assert!(other(&us.host, 1, "earlier").is_gone(&us), "before the last boot");
        assert!(!other("elsewhere", 4_000_000, "any").is_gone(&us));
    }
}
