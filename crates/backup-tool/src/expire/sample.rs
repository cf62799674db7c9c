//! Backups for the tests of the rules.

use jiff::{SignedDuration, Timestamp};

use crate::backup::{About, ClusterBackup, FilesBackup, Kind};
use crate::lsn::Lsn;
use crate::store::Stored;
use crate::wal::name::Segment;

pub(super) const SIZE: u64 = 16 << 20;

pub(super) fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

pub(super) fn days_ago(days: i64) -> Timestamp {
    now() - SignedDuration::from_hours(24 * days)
}

/// A backup of cluster 7 that needs the segment of this number, and ended so many days ago.
pub(super) fn backup(kind: Kind, timeline: u32, number: u64, days: i64) -> ClusterBackup {
    let start_lsn = Lsn(number * SIZE + 40);
    let stop_lsn = Lsn(start_lsn.0 + 400);
    ClusterBackup {
        label: format!("{days}{}", if kind == Kind::Full { 'F' } else { 'I' }),
        kind,
        system_identifier: 7,
        timeline,
        start_lsn,
        stop_lsn,
        start_segment: Segment::holding(timeline, start_lsn, SIZE),
        stop_segment: Segment::ending_at(timeline, stop_lsn, SIZE),
        wal_segment_bytes: SIZE,
        start_time: days_ago(days) - SignedDuration::from_secs(60),
        stop_time: days_ago(days),
        ..crate::backup::sample()
    }
}

pub(super) fn cluster(backup: ClusterBackup) -> Stored {
    stored(backup.stop_time, About::Cluster(backup))
}

pub(super) fn file_set(set: &str, days: i64) -> Stored {
    let label = format!("{days}-{set}");
    let about = FilesBackup { label, set: set.into(), paths: vec![], entries: 1, bytes: 1, stored_bytes: 1 };
    stored(days_ago(days), About::Files(about))
}

fn stored(time: Timestamp, about: About) -> Stored {
    let mut stored = Stored {
        id: String::new(),
        time,
        tree: rustic_core::TreeId::default(),
        about: Some(about),
        pinned: false,
        pending: false,
        broken: false,
    };
    stored.id = format!("{:0<64}", stored.label().to_owned());
    stored
}
