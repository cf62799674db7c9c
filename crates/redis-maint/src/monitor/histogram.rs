//! How long commands took: the buckets of `LATENCY HISTOGRAM`, whose upper ends are powers of two of a microsecond.
//!
//! The server counts since it started, so what a command did lately is the difference of two looks. A percentile is told as
//! the upper end of its bucket: at most twice the truth, never less than it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Calls that took at most so many microseconds, all smaller ones included, as the server writes it.
    pub up_to: BTreeMap<u64, u64>,
}

impl Histogram {
    /// Calls in all.
    pub fn calls(&self) -> u64 {
        self.up_to.values().next_back().copied().unwrap_or(0)
    }

    /// The calls since `before`; none when counters went back.
    pub fn since(&self, before: &Histogram) -> Option<Histogram> {
        // The server leaves out buckets that add nothing, so a missing one counts as the next smaller one does.
        let at = |histogram: &Histogram, micros: u64| {
            histogram.up_to.range(..=micros).next_back().map_or(0, |(_, count)| *count)
        };
        let edges = self.up_to.keys().chain(before.up_to.keys()).copied();
        let up_to: Option<BTreeMap<u64, u64>> =
            edges.map(|edge| Some((edge, at(self, edge).checked_sub(at(before, edge))?))).collect();
        Some(Histogram { up_to: up_to? })
    }

    /// The calls of both.
    #[must_use]
    pub fn and(&self, other: &Histogram) -> Histogram {
        let at = |histogram: &Histogram, micros: u64| {
            histogram.up_to.range(..=micros).next_back().map_or(0, |(_, count)| *count)
        };
        let edges = self.up_to.keys().chain(other.up_to.keys()).copied();
        Histogram { up_to: edges.map(|edge| (edge, at(self, edge) + at(other, edge))).collect() }
    }

    /// Seconds within which the share of calls was done (0.95), as the upper end of a bucket; none without calls.
    pub fn within(&self, share: f64) -> Option<f64> {
        let calls = self.calls();
        if calls == 0 {
            return None;
        }
        let wanted = (calls as f64 * share).ceil() as u64;
        self.up_to.iter().find(|(_, count)| **count >= wanted).map(|(edge, _)| *edge as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(buckets: &[(u64, u64)]) -> Histogram {
        Histogram { up_to: buckets.iter().copied().collect() }
    }

    #[test]
    fn a_window_is_the_difference_of_two_looks() {
        let before = of(&[(1, 100), (1024, 101)]);
        let after = of(&[(1, 100), (2, 150), (524_288, 171)]);
        let window = after.since(&before).unwrap();
        assert_eq!(window.calls(), 70);
        assert_eq!(window.within(0.5), Some(2e-6));
        assert_eq!(window.within(0.95), Some(0.524_288));
    }

    #[test]
    fn counters_that_went_back_tell_nothing() {
        assert_eq!(of(&[(1, 5)]).since(&of(&[(1, 9)])), None);
        assert_eq!(Histogram::default().within(0.95), None);
    }

    #[test]
    fn commands_add_up() {
        let both = of(&[(1, 5), (4, 6)]).and(&of(&[(2, 3)]));
        assert_eq!(both.up_to, BTreeMap::from([(1, 5), (2, 8), (4, 9)]));
    }
}
