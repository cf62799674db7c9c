//! What archiving looks like from inside of the server.

use jiff::Timestamp;
use maint_core::pg::Error;
use maint_core::pg::connect::Session;
use sqlx::Row as _;

/// The server's settings for archiving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archiving {
    /// `wal_level`.
    pub wal_level: String,
    /// `archive_mode`.
    pub mode: String,
    /// `archive_command`.
    pub command: String,
    /// `archive_library`; empty before server 15.
    pub library: String,
    /// `archive_timeout` in seconds; 0 for never.
    pub timeout_seconds: u64,
    /// Whether the server is a standby.
    pub in_recovery: bool,
}

/// What the server's archiver has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Archiver {
    /// When it last archived something.
    pub last_archived: Option<Timestamp>,
    /// When it last failed.
    pub last_failed: Option<Timestamp>,
    /// The file that it failed on.
    pub last_failed_wal: Option<String>,
}

impl Archiver {
    /// Whether its last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.last_failed.is_some_and(|failed| self.last_archived.is_none_or(|archived| archived < failed))
    }
}

/// Asks for the settings. `archive_command` shows as "(disabled)" while archiving is off; what it is set to is its reset
/// value.
///
/// # Errors
/// The server did not answer.
pub async fn settings(session: &mut Session) -> Result<Archiving, Error> {
    let row = sqlx::raw_sql(
        "SELECT current_setting('wal_level') AS wal_level, current_setting('archive_mode') AS mode, \
         (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'archive_command') AS command, coalesce(current_setting('archive_library', true), '') AS library, \
         (SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'archive_timeout') AS timeout, \
         pg_is_in_recovery() AS in_recovery",
    )
    .fetch_one(session.conn())
    .await?;
    Ok(Archiving {
        wal_level: row.try_get("wal_level")?,
        mode: row.try_get("mode")?,
        command: row.try_get("command")?,
        library: row.try_get("library")?,
        timeout_seconds: row.try_get::<i64, _>("timeout")?.unsigned_abs(),
        in_recovery: row.try_get("in_recovery")?,
    })
}

/// Asks what the archiver has done.
///
/// # Errors
/// The server did not answer.
pub async fn archiver(session: &mut Session) -> Result<Archiver, Error> {
    let row = sqlx::raw_sql(
        "SELECT round(extract(epoch FROM last_archived_time) * 1000000)::int8 AS archived, \
         round(extract(epoch FROM last_failed_time) * 1000000)::int8 AS failed, last_failed_wal \
         FROM pg_catalog.pg_stat_archiver",
    )
    .fetch_one(session.conn())
    .await?;
    let moment = |micros: Option<i64>| micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    Ok(Archiver {
        last_archived: moment(row.try_get("archived")?),
        last_failed: moment(row.try_get("failed")?),
        last_failed_wal: row.try_get("last_failed_wal")?,
    })
}
