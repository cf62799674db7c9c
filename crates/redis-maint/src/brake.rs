//! When a server must not be written to more: while it forks, loads, frees what was removed before, or while its
//! replicas fall behind. Writing then multiplies memory (every page that is touched during a fork is copied) or the
//! distance of the replicas, so the run waits.

use std::time::{Duration, Instant};

use maint_core::guard::Guard;

use crate::info::{Info, parts};
use crate::node::Node;
use crate::trouble::Trouble;

/// Between two looks at the server.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks while waiting.
const WAIT: Duration = Duration::from_millis(250);
/// Objects that wait to be freed.
const MOST_PENDING: u64 = 200_000;
/// Bytes of the replication stream that a replica may be behind.
const MOST_BEHIND: u64 = 64 * 1024 * 1024;

/// Why not to write now; none when nothing speaks against it.
pub fn reason(info: &Info) -> Option<String> {
    if info.flag("loading") == Some(true) {
        return Some("the server is loading its data".to_owned());
    }
    for (field, what) in
        [("rdb_bgsave_in_progress", "a snapshot is"), ("aof_rewrite_in_progress", "the append-only file is")]
    {
        if info.flag(field) == Some(true) {
            return Some(format!("{what} being written by a fork"));
        }
    }
    if let Some(pending) = info.count("lazyfree_pending_objects").filter(|pending| *pending > MOST_PENDING) {
        return Some(format!("{pending} removed objects are still to be freed"));
    }
    let own = info.count("master_repl_offset")?;
    let furthest = info
        .starting("slave")
        .filter_map(|(_, value)| parts(value).get("offset")?.parse::<u64>().ok())
        .map(|offset| own.saturating_sub(offset))
        .max();
    let behind = furthest.filter(|behind| *behind > MOST_BEHIND)?;
    Some(format!("a replica is {} behind", maint_core::units::format_bytes(behind)))
}

/// Looks at one server now and then.
#[derive(Default)]
pub struct Brake {
    looked: Option<Instant>,
    blind: Option<Trouble>,
}

impl Brake {
    /// Returns when the server may be written to; `Some` says why it may not, for longer than there is patience.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn clear(
        &mut self,
        node: &mut Node,
        guard: &Guard,
        patience: Duration,
    ) -> Result<Option<String>, Trouble> {
        if self.blind.is_some() || self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(None);
        }
        let started = Instant::now();
        let mut said = false;
        loop {
            let info = match node.read_info(&["persistence", "memory", "replication"]).await {
                Ok(info) => info,
                Err(trouble) if trouble.may_pass() => return Err(trouble),
                Err(trouble) => {
                    self.blind = Some(trouble);
                    return Ok(None);
                }
            };
            let Some(reason) = reason(&info) else { break };
            if started.elapsed() >= patience || guard.may_start().is_err() {
                return Ok(Some(reason));
            }
            if !said {
                tracing::warn!("waiting: {reason}");
                said = true;
            }
            tokio::select! {
                _ = guard.cancel().cancelled() => {}
                () = tokio::time::sleep(WAIT) => {}
            }
        }
        self.looked = Some(Instant::now());
        Ok(None)
    }

    /// Why the server could not be looked at, if so.
    pub fn blind(&self) -> Option<&Trouble> {
        self.blind.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<String> {
        reason(&Info::parse(text.as_bytes()))
    }

    #[test]
    fn a_calm_server_may_be_written_to() {
        assert_eq!(
            told("loading:0\r\nrdb_bgsave_in_progress:0\r\naof_rewrite_in_progress:0\r\nmaster_repl_offset:0\r\n"),
            None
        );
        assert_eq!(told("master_repl_offset:1000\r\nslave0:ip=h,port=1,state=online,offset=900,lag=0\r\n"), None);
    }

    #[test]
    fn forks_loading_and_replicas_far_behind_stop_writing() {
        assert!(told("loading:1\r\n").is_some());
        assert!(told("rdb_bgsave_in_progress:1\r\n").unwrap().contains("snapshot"));
        assert!(told("aof_rewrite_in_progress:1\r\n").is_some());
        assert!(told("lazyfree_pending_objects:900000\r\n").is_some());
        let behind = told("master_repl_offset:100000000\r\nslave0:ip=h,port=1,state=online,offset=1,lag=9\r\n");
        assert!(behind.unwrap().contains("behind"));
    }
}
