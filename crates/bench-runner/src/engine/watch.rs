//! A run as others see it while it lasts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::tally::Tally;

/// A run as others see it while it lasts: they look at its counts once a second, and may end it.
#[derive(Debug, Default)]
pub struct Watch {
    /// Set when the run is to end early.
    pub stop: AtomicBool,
    /// What each thread has counted so far, where somebody looks.
    counts: Option<Mutex<BTreeMap<usize, Tally>>>,
}

impl Watch {
    /// One whose counts can be looked at. Copying them takes a thread about half a millisecond each second.
    pub fn with_counts() -> Self {
        Watch { stop: AtomicBool::new(false), counts: Some(Mutex::default()) }
    }

    /// What was counted so far; nothing where nobody is to look.
    pub fn counted(&self) -> Tally {
        let mut all = Tally::default();
        let counts = self.counts.as_ref().map(|counts| counts.lock().unwrap_or_else(PoisonError::into_inner));
        counts.iter().flat_map(|counts| counts.values()).for_each(|tally| all.add(tally));
        all
    }

    pub(super) fn tell(&self, thread: usize, tally: &Tally) {
        // Whoever is looking right now has the counts of a second ago, and nobody waits.
        if let Some(Ok(mut counts)) = self.counts.as_ref().map(Mutex::try_lock) {
            counts.insert(thread, tally.clone());
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
