//! What ended in each second of a run.

use crate::tally::Tally;

/// The seconds, in order.
#[derive(Debug, Default)]
pub struct Seconds {
    seen: Tally,
    /// What ended in each.
    pub each: Vec<Tally>,
}

impl Seconds {
    /// Takes what was counted until the end of the next second.
    pub fn look(&mut self, counted: Option<&Tally>) {
        let Some(counted) = counted else { return };
        self.each.push(counted.since(&self.seen));
        self.seen = counted.clone();
    }

    /// Takes what was counted in the end: what ended since the last whole second, if anything did.
    pub fn finish(&mut self, counted: &Tally) {
        let rest = counted.since(&self.seen);
        if rest.completed() + rest.failed + rest.timed_out > 0 {
            self.each.push(rest);
        }
    }
}
