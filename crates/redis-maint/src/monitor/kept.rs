//! The snapshot of the last look, kept in a file for the next.

use std::path::{Path, PathBuf};

use maint_core::durable;

use super::Snapshot;

fn file(state_dir: &Path, task: &str, address: &str) -> PathBuf {
    // An address may hold anything, a path for a socket: its checksum makes a name of it.
    let name = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, address.as_bytes());
    state_dir.join("redis-maint").join(format!("{task}-{name:016x}.json"))
}

/// The snapshot of the last look of this command at this server, if there is one that can be read.
pub fn load(state_dir: &Path, task: &str, address: &str) -> Option<Snapshot> {
    let text = std::fs::read_to_string(file(state_dir, task, address)).ok()?;
    serde_json::from_str::<Snapshot>(&text).ok().filter(|snapshot| snapshot.address == address)
}

/// Keeps a snapshot.
///
/// # Errors
/// The state directory cannot be written: the next run will find no difference to judge.
pub fn store(state_dir: &Path, task: &str, snapshot: &Snapshot) -> Result<(), String> {
    maint_core::state_dir::ensure(&state_dir.join("redis-maint")).map_err(|error| error.to_string())?;
    let text = serde_json::to_vec(snapshot).map_err(|error| error.to_string())?;
    durable::replace_quickly(&file(state_dir, task, &snapshot.address), &text, 0o600).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_comes_back_and_a_broken_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = Snapshot { address: "/run/redis.sock".into(), at: 5.0, ..Snapshot::default() };
        assert_eq!(load(dir.path(), "check", "/run/redis.sock"), None);
        store(dir.path(), "check", &snapshot).unwrap();
        assert_eq!(load(dir.path(), "check", "/run/redis.sock"), Some(snapshot));
        assert_eq!(load(dir.path(), "check", "other"), None);
        std::fs::write(file(dir.path(), "check", "/run/redis.sock"), "{").unwrap();
        assert_eq!(load(dir.path(), "check", "/run/redis.sock"), None);
    }
}
