//! Backups for tests: what matters of them is where and when they are.

use jiff::Timestamp;

use crate::backup::{ClusterBackup, Kind, RequiredSettings};
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
        kind: Kind::Full,
        parent: None,
        system_identifier: 7,
        server_version: 150_018,
        timeline,
        start_lsn: Lsn(from),
        stop_lsn: Lsn(to),
        start_segment: Segment::holding(timeline, Lsn(from), MB),
        stop_segment: Segment::ending_at(timeline, Lsn(to), MB),
        wal_segment_bytes: MB,
        start_time: at(stop - 1),
        stop_time: at(stop),
        from_standby: false,
        tablespaces: Vec::new(),
        files: 1,
        bytes: 1 << 20,
        stored_bytes: 1,
        data_checksums: true,
        pages_checked: 1,
        torn_pages: 0,
        damaged: Vec::new(),
        required: RequiredSettings {
            max_connections: 100,
            max_worker_processes: 8,
            max_wal_senders: 10,
            max_prepared_transactions: 0,
            max_locks_per_transaction: 64,
        },
    }
}
