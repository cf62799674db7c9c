//! Runs, side by side, with somebody who looks at them and can end them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use maint_core::cancel::Cancel;
use maint_core::failure::Failure;

use crate::engine::run::{Load, Ran, run};
use crate::engine::watch::Watch;
use crate::tally::Tally;
use crate::target::Target;

/// How often an interruption is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How often the counts are looked at.
const SECOND: Duration = Duration::from_secs(1);

/// The threads tell their counts each second since they began, which is a little later than here.
const BEHIND: Duration = Duration::from_millis(100);

/// One of the runs.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Whom to ask.
    pub target: &'a Target,
    /// How.
    pub load: &'a Load,
}

/// Looks at what the runs have counted after so much time; true ends them.
pub type Look<'a> = &'a mut dyn FnMut(Duration, &[Tally]) -> bool;

/// Runs all of them at the same time, until they end, somebody interrupts the program, or `look` has seen enough.
///
/// # Errors
/// A target cannot be reached, or this machine cannot do it.
pub fn drive(jobs: &[Job<'_>], cancel: &Cancel, mut look: Option<Look<'_>>) -> Result<Vec<Ran>, Failure> {
    let watch = || if look.is_some() { Watch::with_counts() } else { Watch::default() };
    let watches: Vec<Watch> = jobs.iter().map(|_| watch()).collect();
    let end = || watches.iter().for_each(|watch| watch.stop.store(true, Ordering::Relaxed));
    std::thread::scope(|scope| {
        let running: Vec<_> =
            jobs.iter().zip(&watches).map(|(job, watch)| scope.spawn(|| run(job.target, job.load, watch))).collect();
        let begun = Instant::now();
        let mut next = SECOND + BEHIND;
        while !running.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            if cancel.is_cancelled() {
                end();
            }
            if let Some(look) = look.as_mut().filter(|_| begun.elapsed() >= next) {
                next += SECOND;
                let counted: Vec<Tally> = watches.iter().map(Watch::counted).collect();
                if look(begun.elapsed(), &counted) {
                    end();
                }
            }
            std::thread::sleep(LOOK);
        }
        let gone = |_| Err(Failure::critical("a run ended before its time"));
        running.into_iter().map(|one| one.join().unwrap_or_else(gone)).collect()
    })
}
