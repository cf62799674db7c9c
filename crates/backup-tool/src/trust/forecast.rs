//! How long the disk lasts: a straight line through the sizes of the last weeks.
//!
//! Sizes are kept as notes, one a day at most. A line through too few or too close points would be a guess, so then there
//! is none. Both the repository's own growth and the disk's are followed, because a disk is filled by others too; the
//! faster one counts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::storage::Space;
use crate::store::{Store, StoreError};

const PREFIX: &str = "sizes";
const DAY: f64 = 86_400.0;
/// The line is drawn through at least so many sizes,
const FEWEST: usize = 3;
/// over at least so many days,
const SHORTEST_DAYS: f64 = 2.0;
/// and over no more than so many.
const LONGEST_DAYS: f64 = 45.0;
/// A size is noted again after so many seconds.
const APART: i64 = 20 * 3600;
/// With more notes than this they are written together.
const MANY: usize = 40;
/// So many sizes are kept.
const KEPT: usize = 400;

/// A size that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Bytes of all objects of the repository.
    pub bytes: u64,
    /// Bytes that could still be written; `None` where there is no bound.
    pub free: Option<u64>,
    /// Size of the disk in bytes; `None` where there is no bound.
    pub total: Option<u64>,
}

/// What the line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Forecast {
    /// Too little is known to say anything.
    NotEnough {
        /// Sizes that are known.
        samples: usize,
        /// The time between the first and the last, in days.
        days: f64,
    },
    /// The place has no end, or none that can be seen.
    Unbounded {
        /// What the repository grows by, in bytes a day; negative when it shrinks.
        bytes_per_day: f64,
    },
    /// It does not fill up.
    Steady {
        /// What the repository grows by, in bytes a day; negative when it shrinks.
        bytes_per_day: f64,
    },
    /// It fills up.
    Full {
        /// What the repository grows by, in bytes a day.
        bytes_per_day: f64,
        /// Days until it is full.
        days_left: f64,
        /// When that is; `None` when it is beyond the calendar.
        on: Option<Timestamp>,
    },
}

/// The slope of the line of least squares through points, in units of y per unit of x; `None` when all x are the same.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (variance > 0.0).then(|| covariance / variance)
}

/// What the sizes say, in any order; the newest is today's.
pub fn forecast(samples: &[Sample]) -> Forecast {
    let mut samples = samples.to_vec();
    samples.sort_by_key(|sample| sample.at);
    let Some(last) = samples.last().copied() else { return Forecast::NotEnough { samples: 0, days: 0.0 } };
    let age = |sample: &Sample| last.at.duration_since(sample.at).as_secs_f64() / DAY;
    samples.retain(|sample| age(sample) <= LONGEST_DAYS);
    let days = samples.first().map_or(0.0, age);
    let not_enough = Forecast::NotEnough { samples: samples.len(), days };
    if samples.len() < FEWEST || days < SHORTEST_DAYS {
        return not_enough;
    }
    let line = |y: &dyn Fn(&Sample) -> Option<f64>| {
        let points: Vec<(f64, f64)> = samples.iter().filter_map(|sample| Some((-age(sample), y(sample)?))).collect();
        if points.len() < FEWEST { None } else { slope(&points) }
    };
    let Some(bytes_per_day) = line(&|sample| Some(sample.bytes as f64)) else { return not_enough };
    let (Some(free), Some(total)) = (last.free, last.total) else { return Forecast::Unbounded { bytes_per_day } };
    // A disk that was enlarged meanwhile is another disk.
    let used = |sample: &Sample| {
        let free = sample.free.filter(|_| sample.total == Some(total))?;
        Some(total.saturating_sub(free) as f64)
    };
    let fastest = line(&used).unwrap_or(bytes_per_day).max(bytes_per_day);
    if fastest <= 0.0 {
        return Forecast::Steady { bytes_per_day };
    }
    let days_left = free as f64 / fastest;
    let seconds = (days_left * DAY) as i64;
    let on = last.at.as_second().checked_add(seconds).and_then(|second| Timestamp::from_second(second).ok());
    Forecast::Full { bytes_per_day, days_left, on }
}

/// The sizes that were kept, oldest first. A note that does not open is left out.
///
/// # Errors
/// They cannot be listed.
pub fn kept(store: &Store) -> Result<Vec<Sample>, StoreError> {
    let keys = store.notes(PREFIX)?;
    let mut samples: Vec<Sample> =
        keys.iter().filter_map(|key| store.note::<Vec<Sample>>(key).ok()).flatten().collect();
    samples.sort_by_key(|sample| sample.at);
    samples.dedup();
    Ok(samples)
}

/// Keeps today's size, unless one was kept within the last hours.
///
/// # Errors
/// It cannot be written.
pub fn keep(store: &Store, known: &[Sample], now: Sample) -> Result<(), StoreError> {
    let newest = known.iter().map(|sample| sample.at.as_second()).max();
    if newest.is_some_and(|newest| now.at.as_second().saturating_sub(newest) < APART) {
        return Ok(());
    }
    let old = store.notes(PREFIX)?;
    let key = format!("{PREFIX}/{}", Ulid::generate());
    if old.len() < MANY {
        return store.put_note(&key, &[now]).map(drop);
    }
    let all: Vec<Sample> = known.iter().copied().chain([now]).collect();
    store.put_note(&key, &all.get(all.len().saturating_sub(KEPT)..))?;
    for key in old {
        // What stays only says the same once more.
        if let Err(error) = store.remove_note(&key) {
            tracing::info!("an old note on sizes stays: {error}");
        }
    }
    Ok(())
}

/// A size as it is now.
pub fn sample(at: Timestamp, bytes: u64, space: Option<Space>) -> Sample {
    Sample { at, bytes, free: space.map(|space| space.free), total: space.map(|space| space.total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn day(day: i64, bytes: u64, free: u64) -> Sample {
        let at = Timestamp::from_second(day * 86_400).unwrap();
        sample(at, bytes, Some(Space { free, total: 100 * GB }))
    }

    #[test]
    fn a_gigabyte_a_day_fills_what_is_free_in_as_many_days() {
        let samples: Vec<Sample> = (0..10).map(|n| day(n, (10 + n as u64) * GB, (50 - n as u64) * GB)).collect();
        let Forecast::Full { bytes_per_day, days_left, on } = forecast(&samples) else { panic!() };
        assert!((bytes_per_day - GB as f64).abs() < 1.0, "{bytes_per_day}");
        assert!((days_left - 41.0).abs() < 0.001, "{days_left}");
        assert_eq!(on, Timestamp::from_second(50 * 86_400).ok());
    }

    #[test]
    fn too_few_or_too_close_sizes_are_no_forecast() {
        assert_eq!(forecast(&[]), Forecast::NotEnough { samples: 0, days: 0.0 });
        let two = [day(0, GB, GB), day(20, 2 * GB, GB)];
        assert!(matches!(forecast(&two), Forecast::NotEnough { samples: 2, .. }));
        let close = [0, 1, 2].map(|n| Sample { at: Timestamp::from_second(n * 3600).unwrap(), ..day(0, GB, GB) });
        assert!(matches!(forecast(&close), Forecast::NotEnough { samples: 3, .. }));
    }

    #[test]
    fn others_that_fill_the_disk_count_too() {
        let samples: Vec<Sample> = (0..10).map(|n| day(n, 10 * GB, (50 - 5 * n as u64) * GB)).collect();
        let Forecast::Full { bytes_per_day, days_left, .. } = forecast(&samples) else { panic!() };
        assert!(bytes_per_day.abs() < 1.0, "the repository itself does not grow");
        assert!((days_left - 1.0).abs() < 0.001, "{days_left}");
    }

    #[test]
    fn a_shrinking_repository_never_fills_the_disk_and_an_endless_place_has_no_date() {
        let samples: Vec<Sample> = (0..5).map(|n| day(n, (10 - n as u64) * GB, (50 + n as u64) * GB)).collect();
        assert!(matches!(forecast(&samples), Forecast::Steady { .. }));
        let endless: Vec<Sample> = (0..5).map(|n| Sample { free: None, total: None, ..day(n, GB, 0) }).collect();
        assert!(matches!(forecast(&endless), Forecast::Unbounded { .. }));
    }

    #[test]
    fn sizes_of_long_ago_do_not_bend_the_line() {
        let mut samples = vec![day(0, 90 * GB, 10 * GB)];
        samples.extend((100..110).map(|n| day(n, (n as u64 - 90) * GB, (190 - n as u64) * GB)));
        let Forecast::Full { bytes_per_day, .. } = forecast(&samples) else { panic!() };
        assert!((bytes_per_day - GB as f64).abs() < 1.0, "{bytes_per_day}");
    }
}
