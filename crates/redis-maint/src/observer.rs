//! What we ourselves did to a server's statistics.
//!
//! A walk that asks types or times to live adds a hit to `keyspace_hits` for each answer. A hit rate that is told from
//! those figures later would be too good, and an alert on it would stay silent. So every walk notes what it added, for
//! the run of the server that it added it to, and `check` takes it away again.

use std::path::{Path, PathBuf};

use maint_core::durable;
use serde::{Deserialize, Serialize};

/// What we added to the statistics of one run of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// The server's run.
    pub run_id: String,
    /// Hits.
    pub hits: u64,
    /// Misses.
    pub misses: u64,
}

fn file(state_dir: &Path, run_id: &str) -> Option<PathBuf> {
    // It becomes a file name, and comes from a server.
    let safe = !run_id.is_empty() && run_id.len() <= 64 && run_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    safe.then(|| state_dir.join("redis-maint").join(format!("added-{run_id}.json")))
}

/// What was added to this run of the server so far; nothing where nothing is known.
pub fn added(state_dir: &Path, run_id: &str) -> Added {
    let read = || {
        let text = std::fs::read_to_string(file(state_dir, run_id)?).ok()?;
        serde_json::from_str::<Added>(&text).ok().filter(|added| added.run_id == run_id)
    };
    read().unwrap_or_else(|| Added { run_id: run_id.to_owned(), ..Added::default() })
}

/// Notes what a walk added. That it cannot be noted is said in the log: the walk itself was sound.
pub fn note(state_dir: &Path, run_id: Option<&str>, hits: u64, misses: u64) {
    let Some((run_id, path)) = run_id.and_then(|run_id| Some((run_id, file(state_dir, run_id)?))) else { return };
    if hits == 0 && misses == 0 {
        return;
    }
    let before = added(state_dir, run_id);
    let now = Added { run_id: run_id.to_owned(), hits: before.hits + hits, misses: before.misses + misses };
    let write = || -> Result<(), String> {
        maint_core::state_dir::ensure(&state_dir.join("redis-maint")).map_err(|error| error.to_string())?;
        let text = serde_json::to_vec(&now).map_err(|error| error.to_string())?;
        durable::replace_quickly(&path, &text, 0o600).map_err(|error| error.to_string())
    };
    if let Err(error) = write() {
        tracing::warn!("the {hits} hits that this walk added are not noted, so a hit rate may look too good: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_walks_added_sums_up_for_one_run_of_the_server() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(added(dir.path(), "abc").hits, 0);
        note(dir.path(), Some("abc"), 5, 1);
        note(dir.path(), Some("abc"), 7, 0);
        assert_eq!(added(dir.path(), "abc"), Added { run_id: "abc".into(), hits: 12, misses: 1 });
        assert_eq!(added(dir.path(), "def").hits, 0);
    }

    #[test]
    fn a_run_id_is_never_a_path() {
        let dir = tempfile::tempdir().unwrap();
        note(dir.path(), Some("../../evil"), 5, 1);
        assert_eq!(added(dir.path(), "../../evil").hits, 0);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
