//! What a thread is to do, where threads meet, and what they did.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use super::target::Target;
use super::watch::Watch;
use crate::schedule::Slots;
use crate::tally::Tally;

/// What a thread is to do. Times are in nanoseconds since the run's beginning.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Whom to ask.
    pub target: &'a Target,
    /// How many connections to hold.
    pub connections: usize,
    /// When to ask; `None`: on each connection as soon as it is free (a closed model).
    pub slots: Option<Slots>,
    /// When asking ends.
    pub until: u64,
    /// How long answers are awaited after that.
    pub drain: u64,
    /// When an answer is given up, counted from its planned start.
    pub timeout: u64,
    /// Use connections for more than one request.
    pub keep_alive: bool,
    /// Through which others look at the run.
    pub watch: &'a Watch,
    /// Which of its threads this is.
    pub thread: usize,
}

/// What the threads of a run have in common: where they meet before it begins.
#[derive(Debug)]
pub struct Meeting {
    pub(super) barrier: Barrier,
    pub(super) start: OnceLock<Instant>,
    pub(super) open: AtomicUsize,
}

impl Meeting {
    /// For that many threads.
    pub fn new(threads: usize) -> Self {
        Meeting { barrier: Barrier::new(threads), start: OnceLock::new(), open: AtomicUsize::new(0) }
    }

    /// When the run began, after it has.
    pub fn start(&self) -> Option<Instant> {
        self.start.get().copied()
    }

    /// How many connections there were when it began.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

/// What a thread did.
#[derive(Debug, Default)]
pub struct Done {
    /// What became of its requests.
    pub tally: Tally,
    /// The processor time that it took while the run lasted.
    pub cpu: Duration,
    /// How long it lasted.
    pub elapsed: Duration,
    /// The first thing that went wrong, for people.
    pub trouble: Option<String>,
}
