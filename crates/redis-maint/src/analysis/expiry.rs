//! Times to live and idle times, sorted into classes, and the minutes in which many keys expire at once.

use super::Count;
use crate::patterns::Ttl;

/// Upper ends of the classes of ages, in seconds, and their names.
pub const AGES: [(u64, &str); 5] =
    [(60, "<1m"), (3600, "<1h"), (86_400, "<1d"), (7 * 86_400, "<7d"), (30 * 86_400, "<30d")];

/// Keys by an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ages {
    /// The classes of [`AGES`].
    pub classes: [Count; AGES.len()],
    /// 30 days and more.
    pub more: Count,
    /// Keys without a time to live.
    pub never: Count,
    /// Keys whose time to live is over, though they are still there.
    pub over: Count,
    /// Keys of which it is not known.
    pub unknown: Count,
}

impl Ages {
    pub(super) fn add_ttl(&mut self, ttl: Option<Ttl>, bytes: Option<u64>) {
        match ttl {
            Some(Ttl::Never) => self.never.add(bytes),
            Some(Ttl::Over) => self.over.add(bytes),
            Some(Ttl::Seconds(seconds)) => self.add_seconds(Some(seconds), bytes),
            None => self.unknown.add(bytes),
        }
    }

    pub(super) fn add_seconds(&mut self, seconds: Option<u64>, bytes: Option<u64>) {
        let Some(seconds) = seconds else { return self.unknown.add(bytes) };
        let class = AGES.iter().zip(&mut self.classes).find(|((end, _), _)| seconds < *end);
        class.map_or(&mut self.more, |(_, count)| count).add(bytes);
    }

    /// The classes with their names, in order; those in which there is nothing too.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, Count)> {
        let ends = [("30d+", self.more), ("never", self.never), ("over", self.over), ("unknown", self.unknown)];
        AGES.iter().map(|(_, name)| *name).zip(self.classes).chain(ends)
    }
}

/// How far ahead minutes are told apart.
const MINUTES: u64 = 30 * 24 * 60;

/// Keys by the minute from now in which they expire, for the next 30 days.
#[derive(Debug, Clone, Default)]
pub struct Minutes {
    counts: Vec<Count>,
    /// Keys that expire later.
    pub later: Count,
}

/// Minutes in a row in which unusually many keys expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cliff {
    /// The first of them, in minutes from now.
    pub from_minute: u64,
    /// How many they are.
    pub minutes: u64,
    /// The keys.
    pub count: Count,
}

impl Minutes {
    pub(super) fn add(&mut self, seconds: u64, bytes: Option<u64>) {
        let minute = seconds / 60;
        if minute >= MINUTES {
            return self.later.add(bytes);
        }
        if self.counts.len() as u64 <= minute {
            self.counts.resize(minute as usize + 1, Count::default());
        }
        if let Some(count) = self.counts.get_mut(minute as usize) {
            count.add(bytes);
        }
    }

    /// The cliffs, the one of most keys first.
    ///
    /// A minute belongs to a cliff when `min_keys` expire in it, which are at least 1 % of the keys that have a time to
    /// live, and ten times as many as in the quietest of the fifteen minutes before. Keys that are written all the time
    /// with the same time to live fill every minute up to it alike, and are therefore no cliff; keys that were written
    /// all at once are. The next two minutes are left out: nothing can be done about them.
    pub fn cliffs(&self, min_keys: u64) -> Vec<Cliff> {
        let all: u64 = self.counts.iter().map(|count| count.keys).sum::<u64>() + self.later.keys;
        let mut cliffs: Vec<Cliff> = Vec::new();
        for (minute, count) in self.counts.iter().enumerate().skip(2) {
            let before = self.counts.get(minute.saturating_sub(15)..minute).unwrap_or_default();
            let quietest = before.iter().map(|count| count.keys).min().unwrap_or_default();
            let steep = count.keys >= min_keys && count.keys * 100 >= all && count.keys >= quietest.saturating_mul(10);
            if !steep || count.keys == 0 {
                continue;
            }
            let minute = minute as u64;
            match cliffs.last_mut().filter(|last| last.from_minute + last.minutes == minute) {
                Some(last) => {
                    last.minutes += 1;
                    last.count.keys += count.keys;
                    last.count.bytes += count.bytes;
                }
                None => cliffs.push(Cliff { from_minute: minute, minutes: 1, count: *count }),
            }
        }
        cliffs.sort_by_key(|cliff| (std::cmp::Reverse(cliff.count.keys), cliff.from_minute));
        cliffs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_fall_into_the_class_whose_end_they_are_below() {
        let mut ages = Ages::default();
        for seconds in [0, 59, 60, 3599, 3600, 86_399, 86_400, 604_799, 604_800, 2_591_999, 2_592_000, u64::MAX] {
            ages.add_ttl(Some(Ttl::Seconds(seconds)), Some(10));
        }
        ages.add_ttl(Some(Ttl::Never), Some(5));
        ages.add_ttl(Some(Ttl::Over), None);
        ages.add_ttl(None, Some(7));
        let rows: Vec<_> = ages.rows().map(|(name, count)| (name, count.keys, count.bytes)).collect();
        assert_eq!(
            rows,
            [
                ("<1m", 2, 20),
                ("<1h", 2, 20),
                ("<1d", 2, 20),
                ("<7d", 2, 20),
                ("<30d", 2, 20),
                ("30d+", 2, 20),
                ("never", 1, 5),
                ("over", 1, 0),
                ("unknown", 1, 7)
            ]
        );
    }

    #[test]
    fn keys_written_at_once_are_a_cliff_and_keys_written_all_the_time_are_not() {
        let mut steady = Minutes::default();
        (0..100_000_u64).for_each(|i| steady.add(i % 300, Some(1)));
        (0..20_000_u64).for_each(|i| steady.add(i * 120, Some(1)));
        assert_eq!(steady.cliffs(1000), []);
        // A load of four minutes, with a time to live of a day.
        (0..50_000_u64).for_each(|i| steady.add(86_400 + i % 240, Some(2)));
        let cliffs = steady.cliffs(1000);
        assert_eq!(cliffs.len(), 1);
        assert_eq!((cliffs[0].from_minute, cliffs[0].minutes), (1440, 4));
        assert!((50_000..50_010).contains(&cliffs[0].count.keys), "{cliffs:?}");
        assert_eq!(steady.cliffs(20_000), [], "no minute of it has so many");
    }

    #[test]
    fn keys_far_ahead_or_about_to_expire_are_no_cliff() {
        let mut minutes = Minutes::default();
        (0..5000).for_each(|_| minutes.add(40 * 86_400, None));
        (0..5000).for_each(|_| minutes.add(30, None));
        assert_eq!(minutes.cliffs(1000), []);
        assert_eq!(minutes.later.keys, 5000);
        minutes.add(u64::MAX, None);
    }
}
