//! The session in which a backup is taken.
//!
//! The server is in backup mode for as long as the session that began it lives: a connection that is lost ends the backup,
//! and nothing of it may be published. So there is one session, held from beginning to end, never one of a pool. Label and
//! tablespace map come from the server's answer at the end; the files of those names in a data directory belong to others.

use jiff::Timestamp;
use maint_core::pg::Error;
use maint_core::pg::connect::{Session, SessionSettings};
use maint_core::pg::dsn::Target;
use sqlx::{AssertSqlSafe, Row as _};

use crate::TOOL;
use crate::lsn::Lsn;

/// A server that is to be backed up.
#[derive(Debug)]
pub struct BackupSession {
    session: Session,
    /// What the server says of itself.
    pub facts: Facts,
}

/// What a backup has to know of its server.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The cluster's identity.
    pub system_identifier: u64,
    /// As `server_version_num`.
    pub server_version: i32,
    /// Where its files are, by its own word.
    pub data_directory: String,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// `wal_level`.
    pub wal_level: String,
    /// `archive_mode`.
    pub archive_mode: String,
    /// The role that the cluster was created with.
    pub superuser: String,
    /// Its clock.
    pub now: Timestamp,
}

/// A backup that was begun.
#[derive(Debug, Clone)]
pub struct Started {
    /// Where replay will begin.
    pub lsn: Lsn,
    /// The server's clock just before.
    pub time: Timestamp,
}

/// A backup that was ended.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// The position that replay must reach.
    pub lsn: Lsn,
    /// The server's clock just after.
    pub time: Timestamp,
    /// What belongs into `backup_label`.
    pub label: String,
    /// What belongs into `tablespace_map`; empty without tablespaces.
    pub tablespace_map: String,
}

fn position(text: &str) -> Result<Lsn, Error> {
    text.parse().map_err(|error: crate::lsn::LsnError| Error::Driver { message: error.to_string() })
}

fn moment(micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(micros).map_err(|error| Error::Driver { message: error.to_string() })
}

const NOW: &str = "round(extract(epoch FROM clock_timestamp()) * 1000000)::int8";

impl BackupSession {
    /// Logs in and asks the server what it is. Nothing is begun.
    ///
    /// # Errors
    /// The server cannot be reached, or the role may not see what a backup has to know.
    pub async fn open(target: &Target, task: &str) -> Result<Self, Error> {
        let mut session = Session::open(target, SessionSettings::new(format!("{TOOL} {task}"))).await?;
        // The session idles for as long as files are read.
        let idle = if session.server_version_num() >= 140_000 { "SET idle_session_timeout = 0;" } else { "" };
        let sql = format!("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; {idle}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(session.conn()).await?;
        let sql = format!(
            "SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS identifier, \
             current_setting('data_directory') AS data_directory, pg_is_in_recovery() AS in_recovery, \
             current_setting('wal_level') AS wal_level, current_setting('archive_mode') AS archive_mode, \
             (SELECT rolname::text FROM pg_catalog.pg_roles WHERE oid = 10) AS superuser, {NOW} AS now"
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session.conn()).await?;
        let facts = Facts {
            system_identifier: row.try_get::<i64, _>("identifier")?.cast_unsigned(),
            server_version: session.server_version_num(),
            data_directory: row.try_get("data_directory")?,
            in_recovery: row.try_get("in_recovery")?,
            wal_level: row.try_get("wal_level")?,
            archive_mode: row.try_get("archive_mode")?,
            superuser: row.try_get("superuser")?,
            now: moment(row.try_get("now")?)?,
        };
        Ok(BackupSession { session, facts })
    }

    /// The session itself, for other questions before or after a backup.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Begins a backup. With `fast`, the checkpoint that it begins with does not spare the disk.
    ///
    /// # Errors
    /// The server refuses: no privilege, `wal_level = minimal`, a standby without `full_page_writes`.
    pub async fn start(&mut self, label: &str, fast: bool) -> Result<Started, Error> {
        let call = if self.facts.server_version >= 150_000 {
            "pg_catalog.pg_backup_start($1, $2)"
        } else {
            "pg_catalog.pg_start_backup($1, $2, false)"
        };
        let sql = format!("SELECT {call}::text AS lsn");
        let time = self.now().await?;
        let row = sqlx::query(AssertSqlSafe(sql)).bind(label).bind(fast).fetch_one(self.session.conn()).await?;
        Ok(Started { lsn: position(row.try_get("lsn")?)?, time })
    }

    /// Ends the backup. The server does not wait for its archiver: whoever took the backup looks into the archive itself.
    ///
    /// # Errors
    /// The connection was lost meanwhile (then the backup was aborted), or a standby was promoted.
    pub async fn stop(&mut self) -> Result<Stopped, Error> {
        let call = if self.facts.server_version >= 150_000 {
            "pg_catalog.pg_backup_stop(false)"
        } else {
            "pg_catalog.pg_stop_backup(false, false)"
        };
        let sql = format!("SELECT lsn::text AS lsn, labelfile, spcmapfile FROM {call}");
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(self.session.conn()).await?;
        let stopped = Stopped {
            lsn: position(row.try_get("lsn")?)?,
            time: self.now().await?,
            label: row.try_get("labelfile")?,
            tablespace_map: row.try_get::<Option<String>, _>("spcmapfile")?.unwrap_or_default(),
        };
        Ok(stopped)
    }

    async fn now(&mut self) -> Result<Timestamp, Error> {
        let sql = format!("SELECT {NOW} AS now");
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(self.session.conn()).await?;
        moment(row.try_get("now")?)
    }
}
