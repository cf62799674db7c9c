//! What is known of a backup: kept, encrypted, in its snapshot, so that a listing needs no index and no data.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;
use crate::wal::name::Segment;

/// How a backup of a cluster was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Every file was read.
    Full,
    /// Files that had not changed since the parent were taken from it. It restores alone all the same.
    Incremental,
}

impl Kind {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Full => "full",
            Kind::Incremental => "incremental",
        }
    }
}

/// A tablespace outside of the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    /// Its oid: the name of its link in `pg_tblspc`.
    pub oid: u32,
    /// The directory it was in, absolute.
    pub location: String,
}

/// A page that was broken on disk already when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPage {
    /// The file, relative to the data directory.
    pub file: String,
    /// Number of the page within the file, counted from 0.
    pub block: u32,
    /// What is wrong with it.
    pub why: String,
}

/// Settings below which a server refuses to replay this cluster's log (`CheckRequiredParameterValues`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequiredSettings {
    /// `max_connections`.
    pub max_connections: u32,
    /// `max_worker_processes`.
    pub max_worker_processes: u32,
    /// `max_wal_senders`.
    pub max_wal_senders: u32,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: u32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: u32,
}

/// A backup of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterBackup {
    /// Its name, for people and for references: `20261123-150405F` (full) or `...I`.
    pub label: String,
    /// How it was taken.
    pub kind: Kind,
    /// Label of the backup whose unchanged files it took over.
    pub parent: Option<String>,
    /// The cluster's identity (`pg_control`).
    pub system_identifier: u64,
    /// Version of the server, as `server_version_num`.
    pub server_version: i32,
    /// Timeline it was taken on.
    pub timeline: u32,
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// Replay must reach this position before the cluster is consistent.
    pub stop_lsn: Lsn,
    /// The first segment that replay needs.
    pub start_segment: Segment,
    /// The last segment that consistency needs.
    pub stop_segment: Segment,
    /// Size of a segment in bytes.
    pub wal_segment_bytes: u64,
    /// When it began, by the database's clock.
    pub start_time: Timestamp,
    /// When it ended, by the database's clock; no earlier moment can be recovered from it.
    pub stop_time: Timestamp,
    /// Whether it was taken from a standby.
    pub from_standby: bool,
    /// Tablespaces outside of the data directory.
    pub tablespaces: Vec<Tablespace>,
    /// Files in it.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Bytes that this backup added to the repository.
    pub stored_bytes: u64,
    /// Whether the cluster's pages have checksums.
    pub data_checksums: bool,
    /// Pages whose checksum was compared.
    pub pages_checked: u64,
    /// Pages that were being written while they were read, and were right when read again (or will be, by replay).
    pub torn_pages: u64,
    /// Pages that were broken on disk.
    pub damaged: Vec<DamagedPage>,
    /// What a server must allow at least to replay it.
    pub required: RequiredSettings,
    /// The role that the cluster was created with: it may do everything, and cannot be removed.
    pub superuser: String,
}

impl ClusterBackup {
    /// The server's major version.
    pub fn major(&self) -> i32 {
        self.server_version / 10_000
    }
}

/// A backup of a file set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilesBackup {
    /// Its name: `20261123-150405-NAME`.
    pub label: String,
    /// The set's name in the configuration.
    pub set: String,
    /// The paths it covers, absolute.
    pub paths: Vec<String>,
    /// Entries in it.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Bytes that this backup added to the repository.
    pub stored_bytes: u64,
}

/// What a snapshot says of itself in its description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "maint", rename_all = "kebab-case")]
pub enum About {
    /// A cluster.
    Cluster(ClusterBackup),
    /// A file set.
    Files(FilesBackup),
}

/// A backup for tests to change.
#[cfg(test)]
pub(crate) fn sample() -> ClusterBackup {
    let segment = Segment { timeline: 1, log: 0, segment: 2 };
    ClusterBackup {
        label: "20260101-000000F".into(),
        kind: Kind::Full,
        parent: None,
        system_identifier: 7_000_000_000_000_000_001,
        server_version: 150_018,
        timeline: 1,
        start_lsn: Lsn(0x0200_0028),
        stop_lsn: Lsn(0x0200_0138),
        start_segment: segment,
        stop_segment: segment,
        wal_segment_bytes: 16 << 20,
        start_time: Timestamp::UNIX_EPOCH,
        stop_time: Timestamp::UNIX_EPOCH,
        from_standby: false,
        tablespaces: Vec::new(),
        files: 1000,
        bytes: 30_000_000,
        stored_bytes: 4_000_000,
        data_checksums: true,
        pages_checked: 3000,
        torn_pages: 0,
        damaged: Vec::new(),
        required: RequiredSettings {
            max_connections: 100,
            max_worker_processes: 8,
            max_wal_senders: 10,
            max_prepared_transactions: 0,
            max_locks_per_transaction: 64,
        },
        superuser: "postgres".into(),
    }
}
