//! How much to ask of a server at once, decided by how it answers.
//!
//! While a server works on our batch, every other client waits. So the size of a batch follows its own duration, beyond
//! what the network takes: a little more after each quick one, half after a slow one (additive increase, multiplicative
//! decrease, as TCP does). When even the smallest batch is slow the server is busy with others, and we pause as well.
//! Pauses are added up until they are worth a timer, because timers are no finer than a millisecond.

use std::time::Duration;

/// Keys a batch has at least, at first, and at most.
const SMALLEST: u32 = 8;
const FIRST: u32 = 64;
const LARGEST: u32 = 256;
/// Keys more after a quick batch.
const STEP: u32 = 8;
/// Pauses shorter than this are saved up.
const WORTH_A_TIMER: Duration = Duration::from_millis(2);
/// The longest single pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The size of the next batch and the pause before it.
#[derive(Debug, Clone)]
pub struct Pace {
    limit: Duration,
    round_trip: Duration,
    size: u32,
    owed: Duration,
    backed_off: u64,
    paused: Duration,
}

impl Pace {
    /// A batch may keep the server busy for about `limit`. `round_trip` is what an idle server takes to answer.
    pub fn new(limit: Duration, round_trip: Duration) -> Self {
        Pace { limit, round_trip, size: FIRST, owed: Duration::ZERO, backed_off: 0, paused: Duration::ZERO }
    }

    /// Keys to ask for in the next batch.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Takes note of a batch that took `elapsed`, and says how long to pause before the next one.
    pub fn after(&mut self, elapsed: Duration) -> Duration {
        // The quickest answer so far is the best guess of the network's share.
        self.round_trip = self.round_trip.min(elapsed);
        let busy = elapsed.saturating_sub(self.round_trip);
        if busy <= self.limit {
            self.size = (self.size + STEP).min(LARGEST);
            self.owed = self.owed.saturating_sub(self.limit);
            return Duration::ZERO;
        }
        if busy > self.limit * 2 || self.size > FIRST {
            self.size = (self.size / 2).max(SMALLEST);
        }
        if busy > self.limit * 4 {
            // The server was busy for longer than our batch explains: give others as long as they took.
            self.backed_off += 1;
            self.owed = (self.owed + busy).min(LONGEST_PAUSE);
        }
        if self.owed < WORTH_A_TIMER {
            return Duration::ZERO;
        }
        let pause = std::mem::take(&mut self.owed);
        self.paused += pause;
        pause
    }

    /// How often the server was found busy, and how long we paused for it in all.
    pub fn backed_off(&self) -> (u64, Duration) {
        (self.backed_off, self.paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(500);
    const TRIP: Duration = Duration::from_micros(50);

    #[test]
    fn quick_answers_make_batches_grow_to_a_limit() {
        let mut pace = Pace::new(LIMIT, TRIP);
        for _ in 0..1000 {
            assert_eq!(pace.after(Duration::from_micros(100)), Duration::ZERO);
        }
        assert_eq!(pace.size(), LARGEST);
    }

    #[test]
    fn slow_answers_make_batches_small_and_us_wait() {
        let mut pace = Pace::new(LIMIT, TRIP);
        let paused: Duration = (0..20).map(|_| pace.after(Duration::from_millis(10))).sum();
        assert_eq!(pace.size(), SMALLEST);
        assert!(paused >= Duration::from_millis(150), "{paused:?}");
        assert_eq!(pace.backed_off().0, 20);
    }

    #[test]
    fn a_slow_network_is_not_a_slow_server() {
        let mut pace = Pace::new(LIMIT, Duration::from_millis(20));
        for _ in 0..100 {
            assert_eq!(pace.after(Duration::from_millis(20)), Duration::ZERO);
        }
        assert!(pace.size() > FIRST);
    }

    #[test]
    fn the_pace_recovers_when_the_server_does() {
        let mut pace = Pace::new(LIMIT, TRIP);
        for _ in 0..20 {
            pace.after(Duration::from_millis(10));
        }
        for _ in 0..100 {
            pace.after(Duration::from_micros(200));
        }
        assert!(pace.size() > FIRST, "{}", pace.size());
    }
}
