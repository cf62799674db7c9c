//! What monitoring looks at: the server's archiver, and what the repository says.

use jiff::Timestamp;
use maint_core::pg::Error;
use maint_core::pg::connect::{Session, SessionSettings};
use maint_core::pg::dsn::Target;
use sqlx::Row as _;

use super::attestation::Attested;
use super::forecast::{Forecast, Sample};
use super::ledger::Outcome;
use crate::TOOL;
use crate::backup::ClusterBackup;
use crate::lsn::Lsn;

/// What the server says of its archiving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archiver {
    /// The cluster's identity; `None` where the role may not see it.
    pub system_identifier: Option<u64>,
    /// `archive_mode`.
    pub mode: String,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Where the next record goes; `None` on a standby.
    pub insert_lsn: Option<Lsn>,
    /// Size of a segment in bytes.
    pub segment_bytes: u64,
    /// The last file that was archived.
    pub last_archived_wal: Option<String>,
    /// When that was.
    pub last_archived: Option<Timestamp>,
    /// The file on which archiving failed last.
    pub last_failed_wal: Option<String>,
    /// When that was.
    pub last_failed: Option<Timestamp>,
    /// Seconds after which an unfinished segment is archived; 0 for never.
    pub archive_timeout_seconds: u64,
    /// Files that wait to be archived; `None` where the role may not see them.
    pub waiting: Option<u64>,
    /// The server's clock.
    pub now: Timestamp,
}

/// The server, as far as it could be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// None is configured.
    None,
    /// It did not answer; why.
    Silent(String),
    /// It answered.
    Seen(Archiver),
}

/// What is known of archived WAL.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    /// Segments in the archive.
    pub segments: u64,
    /// What is missing between the oldest backup and the end, in words.
    pub gaps: Vec<String>,
    /// Whether the file that the server archived last is there; `None` when there is nothing to compare.
    pub has_last_archived: Option<bool>,
}

/// Everything that monitoring judges.
#[derive(Debug, Clone)]
pub struct Facts {
    /// This host's clock.
    pub now: Timestamp,
    /// Complete backups of clusters, oldest first.
    pub clusters: Vec<ClusterBackup>,
    /// Backups that a repair set aside.
    pub broken: Vec<String>,
    /// Backups that were begun and never completed, with when.
    pub pending: Vec<(String, Timestamp)>,
    /// The server.
    pub server: Server,
    /// Archived WAL; the reason where it could not be looked at.
    pub logs: Result<Logs, String>,
    /// The last verification: when, and how it ended.
    pub verified: Option<(Timestamp, Outcome)>,
    /// The last one that looked at everything and found nothing.
    pub verified_good: Option<Timestamp>,
    /// Test restores; the reason where they could not be read.
    pub attested: Result<Attested, String>,
    /// The repository's size now.
    pub size: Sample,
    /// What its growth says.
    pub forecast: Forecast,
}

const QUERY: &str = "SELECT current_setting('archive_mode') AS mode, pg_is_in_recovery() AS in_recovery, \
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn()::text END AS insert_lsn, \
    (SELECT setting::int8 * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END FROM pg_catalog.pg_settings \
     WHERE name = 'wal_segment_size') AS segment_bytes, \
    (SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'archive_timeout') AS archive_timeout, \
    last_archived_wal, round(extract(epoch FROM last_archived_time) * 1000000)::int8 AS archived, \
    last_failed_wal, round(extract(epoch FROM last_failed_time) * 1000000)::int8 AS failed, \
    round(extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now \
    FROM pg_catalog.pg_stat_archiver";

/// Asks the server about its archiving. What the role may not see is `None`.
///
/// # Errors
/// The server did not answer.
pub async fn archiver(target: &Target) -> Result<Archiver, Error> {
    let settings = SessionSettings { read_only: true, ..SessionSettings::new(format!("{TOOL} monitor-backups")) };
    let mut session = Session::open(target, settings).await?;
    let row = sqlx::raw_sql(QUERY).fetch_one(session.conn()).await?;
    let moment = |micros: Option<i64>| micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let number = |value: i64| value.unsigned_abs();
    let mut archiver = Archiver {
        system_identifier: None,
        mode: row.try_get("mode")?,
        in_recovery: row.try_get("in_recovery")?,
        insert_lsn: row.try_get::<Option<String>, _>("insert_lsn")?.and_then(|text| text.parse().ok()),
        segment_bytes: number(row.try_get("segment_bytes")?),
        last_archived_wal: row.try_get("last_archived_wal")?,
        last_archived: moment(row.try_get("archived")?),
        last_failed_wal: row.try_get("last_failed_wal")?,
        last_failed: moment(row.try_get("failed")?),
        archive_timeout_seconds: number(row.try_get("archive_timeout")?),
        waiting: None,
        now: moment(row.try_get("now")?).unwrap_or_else(Timestamp::now),
    };
    // Both need privileges that a monitoring role may lack; then there is an estimate, or nothing.
    let waiting = "SELECT count(*) AS n FROM pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
    if let Ok(row) = sqlx::raw_sql(waiting).fetch_one(session.conn()).await {
        archiver.waiting = row.try_get::<i64, _>("n").ok().map(number);
    }
    let identifier = "SELECT system_identifier AS n FROM pg_catalog.pg_control_system()";
    if let Ok(row) = sqlx::raw_sql(identifier).fetch_one(session.conn()).await {
        archiver.system_identifier = row.try_get::<i64, _>("n").ok().map(i64::cast_unsigned);
    }
    // A goodbye that does not arrive changes nothing.
    let _ = session.close().await;
    Ok(archiver)
}
