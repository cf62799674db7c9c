//! A session: one server connection whose settings are known and whose backend can be named.
//!
//! Settings are made by a statement after login rather than by startup parameters, because poolers refuse those they do
//! not know. Limits that a role or database carries for the application's sake (`statement_timeout` and its kin) are taken
//! off unless asked for, as `pg_dump` does: a vacuum has its own deadline.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

use super::dsn::Target;
use super::error::Error;
use super::notices::{self, Notice};

/// How long opening a session may take when neither the settings nor the target say so.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a session is opened with. A timeout of `None` means no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// Seen in `pg_stat_activity`, for instance `pg-maint vacuum-analyze`.
    pub application_name: String,
    /// How long a statement waits for a lock.
    pub lock_timeout: Option<Duration>,
    /// How long a statement runs.
    pub statement_timeout: Option<Duration>,
    /// Every transaction is read only: for whatever only looks.
    pub read_only: bool,
    /// How often a running statement looks whether we are still there (server 14 and later). With it, a statement ends
    /// soon after this program is killed; without it, it runs to its end. `None` leaves the server's own setting.
    pub client_connection_check_interval: Option<Duration>,
    /// How long opening the session may take. `None`: the target's `connect_timeout`, else [`DEFAULT_CONNECT_TIMEOUT`].
    pub connect_timeout: Option<Duration>,
}

impl SessionSettings {
    /// Settings with this application name and no limits.
    pub fn new(application_name: impl Into<String>) -> Self {
        Self {
            application_name: application_name.into(),
            lock_timeout: None,
            statement_timeout: None,
            read_only: false,
            client_connection_check_interval: None,
            connect_timeout: None,
        }
    }
}

/// One server process, told from a later one that got the same process id by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// `pg_stat_activity.pid`.
    pub pid: i32,
    /// `pg_stat_activity.backend_start`.
    pub started: Timestamp,
}

/// The outcome of one statement, with what the server remarked on the way, also when it failed.
#[derive(Debug)]
pub struct Executed {
    /// Whether it succeeded.
    pub result: Result<(), Error>,
    /// What the server remarked, in order.
    pub notices: Vec<Notice>,
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    conn: PgConnection,
    backend: Backend,
    server_version_num: i32,
    superuser: bool,
    user: String,
    database: String,
}

impl Session {
    /// Logs in, applies the settings, and asks the server who we are.
    ///
    /// # Errors
    /// Server down, no slot free, login refused, no such database, TLS, or settings that are wrong.
    pub async fn open(target: &Target, settings: SessionSettings) -> Result<Self, Error> {
        let limit = settings.connect_timeout.or_else(|| target.connect_timeout()).unwrap_or(DEFAULT_CONNECT_TIMEOUT);
        match tokio::time::timeout(limit, Self::open_unlimited(target, &settings)).await {
            Ok(session) => session,
            Err(_) => Err(Error::Down {
                target: target.to_string(),
                sqlstate: None,
                message: format!("no answer within {} s", limit.as_secs_f64()),
            }),
        }
    }

    async fn open_unlimited(target: &Target, settings: &SessionSettings) -> Result<Self, Error> {
        let options = target.connect_options(&settings.application_name)?;
        let during_open = |e: sqlx::Error| Error::from_connect(&e, &target.to_string());
        let mut conn = options.connect().await.map_err(during_open)?;
        let version = conn.server_version_num().unwrap_or(0);
        sqlx::raw_sql(AssertSqlSafe(settings_sql(settings, version))).execute(&mut conn).await.map_err(during_open)?;
        let row = sqlx::raw_sql(IDENTITY_SQL).fetch_one(&mut conn).await.map_err(during_open)?;
        Ok(Self {
            backend: Backend { pid: row.try_get("pid")?, started: timestamp(&row, "started_us")? },
            server_version_num: row.try_get("version_num")?,
            superuser: row.try_get("superuser")?,
            user: row.try_get("username")?,
            database: row.try_get("database")?,
            conn,
        })
    }

    /// The connection itself, for queries. Notices raised there reach [`notices::capture`] only.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.conn
    }

    /// Runs ONE statement and keeps its notices.
    ///
    /// Two statements in one text would share a transaction, which `VACUUM` and `CONCURRENTLY` refuse. Names in `sql` must
    /// have gone through [`super::quote_ident`]. Dropping the future does not stop the statement in the server: see
    /// [`super::cancel`].
    pub async fn execute_raw(&mut self, sql: &str) -> Executed {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.conn);
        let (result, notices) = notices::capture(statement).await;
        Executed { result: result.map(drop).map_err(Error::from), notices }
    }

    /// Which server process serves this session.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// As `server_version_num`: 150018 is 15.18.
    pub fn server_version_num(&self) -> i32 {
        self.server_version_num
    }

    /// Whether the session's role is a superuser.
    pub fn is_superuser(&self) -> bool {
        self.superuser
    }

    /// The role that logged in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database the session is in.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Says goodbye, so that the server does not log a lost client. Dropping the session is safe as well.
    pub async fn close(self) -> Result<(), Error> {
        Ok(self.conn.close().await?)
    }
}

const IDENTITY_SQL: &str = "SELECT a.pid, \
    round(extract(epoch FROM a.backend_start) * 1000000)::int8 AS started_us, \
    current_setting('server_version_num')::int4 AS version_num, \
    current_setting('is_superuser')::bool AS superuser, \
    session_user::text AS username, current_database()::text AS database \
    FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = pg_catalog.pg_backend_pid()";

/// A column of microseconds since 1970.
pub(crate) fn timestamp(row: &PgRow, column: &str) -> Result<Timestamp, Error> {
    let micros: i64 = row.try_get(column)?;
    Timestamp::from_microsecond(micros).map_err(|e| Error::Driver { message: e.to_string() })
}

/// One statement, one round trip. `set_config` instead of `SET`, because several `SET`s would be several statements.
fn settings_sql(settings: &SessionSettings, server_version_num: u32) -> String {
    let mut sql = String::from("SELECT pg_catalog.set_config('search_path', '', false)");
    let mut set = |name: &str, value: &str| {
        // Names and values are from this file: words and numbers, nothing to quote.
        let _ = write!(sql, ", pg_catalog.set_config('{name}', '{value}', false)");
    };
    set("client_min_messages", "notice");
    set("lock_timeout", &millis(settings.lock_timeout));
    set("statement_timeout", &millis(settings.statement_timeout));
    set("idle_in_transaction_session_timeout", "0");
    if server_version_num >= 140_000 {
        // A control session may have nothing to do for hours.
        set("idle_session_timeout", "0");
        if let Some(interval) = settings.client_connection_check_interval {
            set("client_connection_check_interval", &millis(Some(interval)));
        }
    }
    if server_version_num >= 170_000 {
        set("transaction_timeout", "0");
    }
    // Seconds. Firewalls forget a silent connection after a few minutes; on a Unix socket these do nothing.
    set("tcp_keepalives_idle", "60");
    set("tcp_keepalives_interval", "10");
    set("tcp_keepalives_count", "6");
    set("default_transaction_read_only", if settings.read_only { "on" } else { "off" });
    sql
}

/// Milliseconds as a setting: 0 for no limit, and never 0 for a limit.
fn millis(limit: Option<Duration>) -> String {
    let millis = limit.map_or(0, |d| i32::try_from(d.as_millis()).unwrap_or(i32::MAX).max(1));
    millis.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_milliseconds_and_none_takes_the_servers_limit_off() {
        let settings = SessionSettings {
            lock_timeout: Some(Duration::from_secs(2)),
            read_only: true,
            ..SessionSettings::new("test")
        };
        let sql = settings_sql(&settings, 150_000);
        assert!(sql.contains("set_config('lock_timeout', '2000', false)"), "{sql}");
        assert!(sql.contains("set_config('statement_timeout', '0', false)"), "{sql}");
        assert!(sql.contains("set_config('default_transaction_read_only', 'on', false)"), "{sql}");
        assert!(!sql.contains(';'), "{sql}");
    }

    #[test]
    fn a_limit_below_a_millisecond_or_beyond_the_settings_range_stays_a_limit() {
        assert_eq!(millis(Some(Duration::from_micros(10))), "1");
        assert_eq!(millis(Some(Duration::MAX)), i32::MAX.to_string());
        assert_eq!(millis(None), "0");
    }

    #[test]
    fn a_setting_is_only_made_on_a_server_that_has_it() {
        let settings = SessionSettings {
            client_connection_check_interval: Some(Duration::from_secs(5)),
            ..SessionSettings::new("test")
        };
        assert!(!settings_sql(&settings, 130_000).contains("client_connection_check_interval"));
        assert!(!settings_sql(&settings, 130_000).contains("idle_session_timeout"));
        assert!(settings_sql(&settings, 140_000).contains("set_config('client_connection_check_interval', '5000'"));
        assert!(!settings_sql(&settings, 160_000).contains("transaction_timeout"));
        assert!(settings_sql(&settings, 170_000).contains("set_config('transaction_timeout', '0'"));
    }
}
