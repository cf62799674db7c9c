//! Backups for tests: what matters of them is where and when they are.

use jiff::Timestamp;

use crate::backup::{ClusterBackup, sample};
use crate::lsn::Lsn;
use crate::wal::name::Segment;

/// Size of a segment in these tests, in bytes.
pub(crate) const MB: u64 = 1 << 20;

/// A moment: seconds after an arbitrary beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A backup on a timeline, from one position to another, that ended at [`at`]`(stop)`.
pub(crate) fn backup(label: &str, timeline: u32, from: u64, to: u64, stop: i64) -> ClusterBackup {
    ClusterBackup {
        label: label.into(),
        timeline,
        start_lsn: Lsn(from),
        stop_lsn: Lsn(to),
        start_segment: Segment::holding(timeline, Lsn(from), MB),
        stop_segment: Segment::ending_at(timeline, Lsn(to), MB),
        wal_segment_bytes: MB,
        start_time: at(stop - 1),
        stop_time: at(stop),
        damaged: Vec::new(),
        ..sample()
    }
}
