//! Proof that what is stored comes back: what was verified and when, what a restored cluster held, signed attestations,
//! and what all of it says about today.
//!
//! [`ledger`] remembers verified objects, so that an unchanged repository is not read twice. [`objects`], [`structure`] and
//! [`logs`] do the verifying: bytes, trees, and the archived write-ahead log; [`vanished`] judges what is not there any
//! more. [`fingerprint`] is what a cluster's tables hold, [`inspect`] the checks inside of a restored cluster,
//! [`attestation`] the signed statement that a restore was tested. [`facts`] and [`judge`] are the two halves of
//! monitoring, with [`forecast`] for the disk.

pub mod attestation;
pub mod facts;
pub mod fingerprint;
pub mod forecast;
pub mod inspect;
pub mod judge;
pub mod ledger;
pub mod logs;
pub mod objects;
pub mod queries;
pub mod structure;
pub mod vanished;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use crate::backup::{ClusterBackup, Kind};
    use crate::wal::name::Segment;

    /// A full backup on timeline 1 whose log is from one segment to another.
    pub(super) fn cluster(label: &str, start: u64, stop: u64) -> ClusterBackup {
        let size = 16 << 20;
        let (start_segment, stop_segment) = (Segment::numbered(1, start, size), Segment::numbered(1, stop, size));
        ClusterBackup {
            label: label.into(),
            kind: Kind::Full,
            system_identifier: 7,
            timeline: 1,
            start_lsn: start_segment.start(size),
            stop_lsn: stop_segment.start(size),
            start_segment,
            stop_segment,
            wal_segment_bytes: size,
            start_time: Timestamp::UNIX_EPOCH,
            stop_time: Timestamp::UNIX_EPOCH,
            ..crate::backup::sample()
        }
    }
}
