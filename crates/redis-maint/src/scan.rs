//! The walk over the keys of a live server, the one that every command uses.
//!
//! SCAN promises that a key which is there all the time comes at least once; it may come twice when the server resizes
//! its table, and keys that come and go may or may not be seen. So what comes twice is folded ([`Seen`]), and nobody
//! downstream believes that a key is still there.
//!
//! One round trip brings the names of the next batch and what is asked about the keys of this one. What is asked is up
//! to the caller ([`Ask`]), because not everything is free: SCAN and MEMORY USAGE leave no trace, but TYPE, PTTL and OBJECT
//! count as hits of the keyspace in the server's statistics, and reading a length even resets the key's idle time. The
//! walk counts what it added, so that a hit rate can be told without it.
//!
//! Each part of the keyspace (a node, a database) is walked by a task of its own with a connection and a pace of its
//! own; batches meet in one place, in a short queue, so that memory stays bounded whatever the number of keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use maint_core::cancel::Cancel;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::entry::Entry;
use crate::node::Node;
use crate::topology::Which;
use crate::trouble::Trouble;

mod ask;
mod seen;
mod walk;

pub use ask::{Ask, Attribute, DEFAULT_SAMPLES, Filter};
pub use seen::Seen;

/// Batches that wait to be looked at, for each part.
const QUEUE: usize = 4;

/// Where a walk over one part stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The node's address.
    pub address: String,
    /// The server's run when the walk began: a cursor means nothing to another.
    pub run_id: Option<String>,
    /// The database.
    pub db: u32,
    /// The cursor to go on from; 0 at the beginning.
    pub cursor: u64,
    /// Whether all of it has been walked.
    pub done: bool,
}

/// One part of the keyspace: a connection, and where to begin.
pub struct Part {
    /// The connection, with the database selected.
    pub node: Node,
    /// Where to begin.
    pub position: Position,
    /// A slot that the node serves, in a cluster.
    pub slot: Option<u16>,
    /// What the node is to the keys.
    pub which: Which,
}

impl Part {
    /// The part from its beginning.
    pub fn whole(node: Node, which: Which, slot: Option<u16>) -> Self {
        let position = Position {
            address: node.address.to_string(),
            run_id: node.identity.run_id.clone(),
            db: node.db(),
            cursor: 0,
            done: false,
        };
        Part { node, position, slot, which }
    }

    /// The part from where another walk stopped, when that was over the same part of the same run of the server.
    #[must_use]
    pub fn resumed(mut self, from: &[Position]) -> Self {
        let here = &self.position;
        let known = from.iter().find(|at| {
            at.address == here.address && at.db == here.db && at.run_id == here.run_id && at.run_id.is_some()
        });
        if let Some(known) = known {
            self.position = known.clone();
        }
        self
    }
}

/// What comes out of a walk.
#[derive(Debug)]
pub enum Event {
    /// Keys, and where to go on once they are dealt with.
    Batch {
        /// The index of the part.
        part: usize,
        /// The keys.
        entries: Vec<Entry>,
        /// When they were looked at, by the server's clock.
        seen: Timestamp,
        /// Where the walk stands after them.
        position: Position,
    },
    /// The server behind a part became another one (a restart, a failover): its keys come again from the beginning.
    Restarted {
        /// The index of the part.
        part: usize,
    },
}

/// What the walk over one part did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The node.
    pub address: String,
    /// The server's run at the end.
    pub run_id: Option<String>,
    /// The database.
    pub db: u32,
    /// Names that SCAN gave, before folding and before the caller's filter.
    pub names: u64,
    /// Keys that were gone when they were looked at.
    pub vanished: u64,
    /// Keys that the user may not look at.
    pub denied_keys: u64,
    /// What could not be asked at all, and why.
    pub denied: BTreeMap<Attribute, String>,
    /// Keyspace hits that the walk added to the server's statistics.
    pub hits_added: u64,
    /// Keyspace misses that it added.
    pub misses_added: u64,
    /// Times the server was found busy.
    pub backed_off: u64,
    /// How long the walk paused for it.
    pub paused: Duration,
    /// Times the walk began anew because the server became another one.
    pub restarts: u64,
}

/// How a walk treats the server.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How long a batch may keep the server busy.
    pub max_latency: Duration,
    /// How long to try to reach a server again that was lost.
    pub patience: Duration,
}

/// A walk under way over all parts at once.
pub struct Scan {
    receive: mpsc::Receiver<Event>,
    tasks: Vec<JoinHandle<(Report, Result<(), Trouble>)>>,
}

impl Scan {
    /// Starts the walk.
    pub fn start(parts: Vec<Part>, ask: &Ask, manners: Manners) -> Self {
        let ask = Arc::new(ask.clone());
        let (send, receive) = mpsc::channel(QUEUE * parts.len().max(1));
        let walks = parts.into_iter().enumerate();
        let tasks = walks.map(|(index, part)| {
            tokio::spawn(walk::Walk::new(index, part, Arc::clone(&ask), manners, send.clone()).run())
        });
        Scan { tasks: tasks.collect(), receive }
    }

    /// The next event; none when every part is done or the run is cancelled.
    pub async fn next(&mut self, cancel: &Cancel) -> Option<Event> {
        tokio::select! {
            biased;
            _ = cancel.cancelled() => None,
            event = self.receive.recv() => event,
        }
    }

    /// Ends the walk, also one that is not done, and returns what it did, in the order of the parts.
    ///
    /// # Errors
    /// A part could not be walked to its end.
    pub async fn finish(self) -> Result<Vec<Report>, Trouble> {
        // A walk whose events nobody takes any more ends.
        drop(self.receive);
        let mut reports = Vec::new();
        let mut failed = None;
        for task in self.tasks {
            match task.await {
                Ok((report, result)) => {
                    reports.push(report);
                    failed = failed.or(result.err());
                }
                Err(error) => failed = failed.or(Some(Trouble::Server(format!("a walk ended early: {error}")))),
            }
        }
        match failed {
            Some(trouble) => Err(trouble),
            None => Ok(reports),
        }
    }
}
