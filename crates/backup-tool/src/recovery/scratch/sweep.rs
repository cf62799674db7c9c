//! Finding and removing what runs that were killed have left.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{NOTE, PREFIX};
use crate::recovery::place::running_in;

/// What tells this start of the host from every other.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Removes what runs that were killed have left in `under`: their servers and their directories.
///
/// Others may write where we look, as into the system's temporary directory. So only a note counts that is a file of ours,
/// and only a process is ended that works in the directory that is removed.
pub fn sweep(under: &Path) {
    let Ok(entries) = fs::read_dir(under) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_left(&path) {
            remove_left(&path);
        }
    }
}

/// Whether the run that made this scratch directory has ended.
fn is_left(directory: &Path) -> bool {
    let note = directory.join(NOTE);
    let ours = |metadata: fs::Metadata| metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw();
    if !fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.is_dir())
        || !fs::symlink_metadata(&note).is_ok_and(ours)
    {
        return false;
    }
    let note = fs::read_to_string(note).unwrap_or_default();
    let mut words = note.split_whitespace();
    let (Some(pid), Some(boot)) = (words.next().and_then(|word| word.parse::<i32>().ok()), words.next()) else {
        return false;
    };
    boot != boot_id() || !is_running(pid)
}

fn remove_left(directory: &Path) {
    let data = directory.join("data");
    let in_it = |pid: i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data);
    if let Some(pid) = running_in(&data).filter(|pid| in_it(*pid)).and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::QUIT);
        let end = Instant::now() + Duration::from_secs(10);
        while running_in(&data).is_some() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    match fs::remove_dir_all(directory) {
        Ok(()) => tracing::info!("removed {}, which a run that was killed had left", directory.display()),
        Err(error) => tracing::warn!("a run that was killed left {}: {error}", directory.display()),
    }
}

fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    fn left(under: &Path, name: &str, note: &str) -> PathBuf {
        let directory = under.join(format!("{PREFIX}{name}"));
        fs::create_dir_all(directory.join("data")).unwrap();
        fs::write(directory.join(NOTE), note).unwrap();
        directory
    }

    #[test]
    fn what_a_killed_run_left_is_removed_with_its_server_and_what_is_in_use_stays() {
        let under = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(under.path()).unwrap();
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let dead = left(&root, "dead", &format!("{} {}", gone.id(), boot_id()));
        let other_boot = left(&root, "boot", &format!("{} of-another-boot", std::process::id()));
        let used = left(&root, "used", &format!("{} {}", std::process::id(), boot_id()));
        let unknown = left(&root, "unknown", "");
        let mut server = Command::new("sleep").arg("60").current_dir(dead.join("data")).spawn().unwrap();
        fs::write(dead.join("data/postmaster.pid"), format!("{}\n", server.id())).unwrap();
        // Not in its directory: whoever wrote that wants us to end it.
        let mut foreign = Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(other_boot.join("data/postmaster.pid"), format!("{}\n", foreign.id())).unwrap();
        sweep(&root);
        assert!(!dead.exists() && !other_boot.exists());
        assert!(used.exists() && unknown.exists());
        assert!(!server.wait().unwrap().success());
        assert!(foreign.try_wait().unwrap().is_none());
        foreign.kill().unwrap();
        foreign.wait().unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_a_scratch_directory_or_its_note_is_left_alone() {
        let under = tempfile::tempdir().unwrap();
        let note = "1 of-another-boot";
        let real = under.path().join("real");
        fs::create_dir(&real).unwrap();
        fs::write(real.join(NOTE), note).unwrap();
        std::os::unix::fs::symlink(&real, under.path().join(format!("{PREFIX}link"))).unwrap();
        let linked = left(under.path(), "note", "");
        fs::remove_file(linked.join(NOTE)).unwrap();
        std::os::unix::fs::symlink(real.join(NOTE), linked.join(NOTE)).unwrap();
        sweep(under.path());
        assert!(real.join(NOTE).exists() && linked.exists());
    }
}
