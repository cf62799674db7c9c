//! What can go wrong with a session, sorted by what an operator does about it.
//!
//! Decisions follow SQLSTATE and, where one SQLSTATE stands for several things, the name of the server routine that
//! raised the error: the message text depends on the server's version and `lc_messages`. No variant carries a statement's
//! text or the server's `DETAIL` in its message, since both can hold data; the detail is there on request.

use std::fmt;
use std::io;

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::failure::Failure;
use crate::status::Exit;

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerReport {
    /// Five characters, see the appendix "PostgreSQL Error Codes".
    pub sqlstate: String,
    /// The primary message, in the server's language.
    pub message: String,
    /// `DETAIL`; can hold values of a row. Not part of any `Display`.
    pub detail: Option<String>,
    /// The C function that raised it: stable across languages.
    pub routine: Option<String>,
    /// The session is over (severity FATAL or PANIC).
    pub fatal: bool,
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)
    }
}

impl From<&PgDatabaseError> for ServerReport {
    fn from(e: &PgDatabaseError) -> Self {
        Self {
            sqlstate: e.code().to_owned(),
            message: e.message().to_owned(),
            detail: e.detail().map(str::to_owned),
            routine: e.routine().map(str::to_owned),
            fatal: matches!(e.severity(), PgSeverity::Fatal | PgSeverity::Panic),
        }
    }
}

/// Which limit on connections was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotLimit {
    /// `max_connections`: not even a superuser gets in.
    Server,
    /// What is left is kept for superusers or for `pg_use_reserved_connections`.
    ServerReserved,
    /// The database's `CONNECTION LIMIT`.
    Database,
    /// The role's `CONNECTION LIMIT`.
    Role,
    /// The server, or a pooler before it, did not let us tell.
    Unknown,
}

impl fmt::Display for SlotLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "max_connections of the server",
            Self::ServerReserved => "max_connections of the server less the reserved connections",
            Self::Database => "connection limit of the database",
            Self::Role => "connection limit of the role",
            Self::Unknown => "a limit on connections",
        })
    }
}

/// Everything that a session, or opening one, can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answers, or the server is starting up or shutting down.
    #[error("PostgreSQL cannot be reached at {target}: {message}")]
    Down {
        /// `user@host:port/database`.
        target: String,
        /// Where a server did answer.
        sqlstate: Option<String>,
        /// Why.
        message: String,
    },
    /// SQLSTATE 53300.
    #[error("no free connection slot, {which} reached: {report}")]
    SlotsFull {
        /// Which limit it was.
        which: SlotLimit,
        /// What the server said.
        report: ServerReport,
    },
    /// SQLSTATE 28P01 or 28000: wrong password, no such role, or refused by pg_hba.conf.
    #[error("login refused: {0}")]
    Auth(ServerReport),
    /// SQLSTATE 3D000.
    #[error("no such database: {0}")]
    NoDatabase(ServerReport),
    /// SQLSTATE 42501.
    #[error("privilege missing: {0}")]
    Privilege(ServerReport),
    /// SQLSTATE 55P03: the lock was not to be had within `lock_timeout`.
    #[error("lock not obtained: {0}")]
    LockTimeout(ServerReport),
    /// SQLSTATE 57014: by us, by somebody else, or by `statement_timeout`.
    #[error("cancelled: {0}")]
    Cancelled(ServerReport),
    /// SQLSTATE 42P01 or 42704: dropped meanwhile.
    #[error("no longer there: {0}")]
    Gone(ServerReport),
    /// A connection string or setting is wrong.
    #[error("{message}")]
    Usage {
        /// What is wrong and what to write instead.
        message: String,
    },
    /// TLS could not be agreed on, or the certificate was not accepted.
    #[error("TLS to the server failed: {message}")]
    Tls {
        /// Why.
        message: String,
    },
    /// The session ended under way.
    #[error("connection to the server lost: {message}")]
    ConnectionLost {
        /// Where the server said so itself.
        sqlstate: Option<String>,
        /// Why.
        message: String,
    },
    /// Sessions are multiplexed over server connections, so session state and session locks do not hold.
    #[error("a connection pooler in transaction mode is between this program and the server: {message}")]
    Pooler {
        /// What gave it away.
        message: String,
    },
    /// Any other error of the server.
    #[error("{0}")]
    Other(ServerReport),
    /// The driver could not make sense of an answer.
    #[error("unexpected answer from the server: {message}")]
    Driver {
        /// What was unexpected.
        message: String,
    },
}

impl Error {
    /// Sorts an error of opening a session; `target` is its printed form.
    pub(crate) fn from_connect(error: &sqlx::Error, target: &str) -> Self {
        if let Some(e) = database_error(error) {
            return classify_connect(ServerReport::from(e), target);
        }
        match error {
            // How rustls reports a handshake that failed, such as a certificate that is not accepted.
            sqlx::Error::Io(e) if e.kind() == io::ErrorKind::InvalidData => Self::Tls { message: e.to_string() },
            sqlx::Error::Io(e) => Self::Down { target: target.to_owned(), sqlstate: None, message: io_message(e) },
            other => Self::from_driver(other),
        }
    }

    fn from_driver(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(e) => Self::ConnectionLost { sqlstate: None, message: io_message(e) },
            sqlx::Error::Tls(e) => Self::Tls { message: e.to_string() },
            sqlx::Error::Configuration(e) => Self::Usage { message: e.to_string() },
            sqlx::Error::WorkerCrashed => Self::ConnectionLost { sqlstate: None, message: error.to_string() },
            other => Self::Driver { message: other.to_string() },
        }
    }

    /// The SQLSTATE, where the server sent one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Down { sqlstate, .. } | Self::ConnectionLost { sqlstate, .. } => sqlstate.as_deref(),
            other => other.report().map(|report| report.sqlstate.as_str()),
        }
    }

    /// What the server said, where it is kept.
    pub fn report(&self) -> Option<&ServerReport> {
        match self {
            Self::SlotsFull { report, .. }
            | Self::Auth(report)
            | Self::NoDatabase(report)
            | Self::Privilege(report)
            | Self::LockTimeout(report)
            | Self::Cancelled(report)
            | Self::Gone(report)
            | Self::Other(report) => Some(report),
            _ => None,
        }
    }

    /// The server's `DETAIL`, such as the key that is there twice. It can hold a row's values.
    pub fn detail(&self) -> Option<&str> {
        self.report()?.detail.as_deref()
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Down { sqlstate: Some(_), .. } => {
                "the server is starting up or shutting down: try again shortly, and look at its log if it stays so"
            }
            Self::Down { .. } => "check that the server runs, and that host, port and firewall are right",
            Self::SlotsFull { which, .. } => match which {
                SlotLimit::Server | SlotLimit::ServerReserved => {
                    "find who holds the connections (pg_stat_activity, as a superuser) and end idle ones, or raise max_connections"
                }
                SlotLimit::Database => {
                    "end sessions of this database, or raise its limit: ALTER DATABASE .. CONNECTION LIMIT"
                }
                SlotLimit::Role => "end sessions of this role, or raise its limit: ALTER ROLE .. CONNECTION LIMIT",
                SlotLimit::Unknown => {
                    "compare max_connections and the limits of role and database with pg_stat_activity; ask the pooler, if there is one"
                }
            },
            Self::Auth(report) if report.sqlstate == "28P01" => {
                "check the password: in the connection string, PGPASSWORD, or a line of ~/.pgpass (mode 0600)"
            }
            Self::Auth(_) => "check that the role exists and may log in, and that pg_hba.conf lets it in from here",
            Self::NoDatabase(_) => "check the database's name with `psql -l`",
            Self::Privilege(_) => {
                "run as the owner or a superuser; to look only, membership of pg_monitor is enough for most"
            }
            Self::LockTimeout(_) => "another session holds the lock: try again later, or find it in pg_locks",
            Self::Tls { .. } => "check sslmode, sslrootcert, and that the certificate is for this host name",
            Self::ConnectionLost { .. } => "look at the server's log, then run again: finished steps are not repeated",
            Self::Pooler { .. } => "connect to the server itself: its own host and port instead of the pooler's",
            Self::Cancelled(_) | Self::Gone(_) | Self::Usage { .. } | Self::Other(_) | Self::Driver { .. } => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}

/// Sorts an error of a session that is open.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match database_error(&error) {
            Some(e) => classify(ServerReport::from(e), "the server"),
            None => Self::from_driver(&error),
        }
    }
}

fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>())
}

fn down_report(target: &str, report: ServerReport) -> Error {
    Error::Down { target: target.to_owned(), sqlstate: Some(report.sqlstate), message: report.message }
}

/// An operating system's error, with the words that matter for a connection.
fn io_message(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no server listens on that socket".to_owned(),
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// While a session is being opened every error is the end of it, so that it is fatal tells nothing, and nothing can have
/// been dropped meanwhile: 42704 is then a setting that the server does not know.
fn classify_connect(report: ServerReport, target: &str) -> Error {
    match report.sqlstate.as_str() {
        "57P01" | "57P02" => down_report(target, report),
        // A pooler's code for nearly everything. That it refuses something does not mean that it is down.
        "08P01" => Error::Other(report),
        state if state.starts_with("08") => down_report(target, report),
        _ => match classify(report.clone(), target) {
            Error::ConnectionLost { .. } | Error::Gone(_) => Error::Other(report),
            error => error,
        },
    }
}

fn classify(report: ServerReport, target: &str) -> Error {
    match report.sqlstate.as_str() {
        "57P03" => down_report(target, report),
        "53300" => Error::SlotsFull { which: slot_limit(&report), report },
        "28P01" | "28000" => Error::Auth(report),
        "3D000" => Error::NoDatabase(report),
        "42501" => Error::Privilege(report),
        "55P03" => Error::LockTimeout(report),
        "57014" => Error::Cancelled(report),
        "42P01" | "42704" => Error::Gone(report),
        // 57P01 to 57P05 are endings of the session; so is whatever else is FATAL.
        state if report.fatal || state.starts_with("57P") || state.starts_with("08") => {
            Error::ConnectionLost { sqlstate: Some(report.sqlstate), message: report.message }
        }
        _ => Error::Other(report),
    }
}

/// Tells the limits apart by the routine that raised the error, else by the English text, which is what a pooler forwards.
fn slot_limit(report: &ServerReport) -> SlotLimit {
    match report.routine.as_deref() {
        Some("InitializeSessionUserId") => return SlotLimit::Role,
        Some("CheckMyDatabase") => return SlotLimit::Database,
        // InitPostgres raises 53300 for the reserved slots only; the others refuse whoever comes.
        Some("InitPostgres") => return SlotLimit::ServerReserved,
        Some("InitProcess" | "ProcArrayAdd" | "ProcessStartupPacket" | "BackendInitialize") => {
            return SlotLimit::Server;
        }
        _ => {}
    }
    let text = &report.message;
    if text.starts_with("too many connections for role") {
        SlotLimit::Role
    } else if text.starts_with("too many connections for database") {
        SlotLimit::Database
    } else if text.starts_with("remaining connection slots are reserved") {
        SlotLimit::ServerReserved
    } else if text.starts_with("sorry, too many clients already") {
        SlotLimit::Server
    } else {
        SlotLimit::Unknown
    }
}

/// How an error of the server ends a run: a server that is down or full is critical, anything that keeps us from looking
/// is unknown.
impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let exit = match error {
            Error::Down { .. } | Error::SlotsFull { .. } | Error::ConnectionLost { .. } | Error::Other(_) => {
                Exit::Critical
            }
            _ => Exit::Unknown,
        };
        let mut failure = Failure::new(exit, error.to_string());
        failure.hint = error.hint();
        failure
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::from(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(sqlstate: &str, message: &str, routine: Option<&str>) -> ServerReport {
        ServerReport {
            sqlstate: sqlstate.to_owned(),
            message: message.to_owned(),
            routine: routine.map(str::to_owned),
            ..ServerReport::default()
        }
    }

    #[test]
    fn limits_are_told_apart_in_any_language() {
        let cases = [
            ("désolé, trop de clients sont déjà connectés", Some("InitProcess"), SlotLimit::Server),
            ("trop de connexions pour le rôle", Some("InitializeSessionUserId"), SlotLimit::Role),
            ("trop de connexions pour la base", Some("CheckMyDatabase"), SlotLimit::Database),
            ("les emplacements restants", Some("InitPostgres"), SlotLimit::ServerReserved),
            ("too many connections for role \"x\"", None, SlotLimit::Role),
            ("too many connections for database \"x\"", None, SlotLimit::Database),
            ("remaining connection slots are reserved for roles with ..", None, SlotLimit::ServerReserved),
            ("sorry, too many clients already", None, SlotLimit::Server),
            ("no more connections allowed (max_client_conn)", None, SlotLimit::Unknown),
        ];
        for (message, routine, expected) in cases {
            match classify(report("53300", message, routine), "t") {
                Error::SlotsFull { which, .. } => assert_eq!(which, expected, "{message}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn each_sqlstate_has_its_variant() {
        let of = |sqlstate: &str| classify(report(sqlstate, "m", None), "t");
        assert!(matches!(of("57P03"), Error::Down { .. }));
        assert!(matches!(of("28P01"), Error::Auth(_)));
        assert!(matches!(of("28000"), Error::Auth(_)));
        assert!(matches!(of("3D000"), Error::NoDatabase(_)));
        assert!(matches!(of("42501"), Error::Privilege(_)));
        assert!(matches!(of("55P03"), Error::LockTimeout(_)));
        assert!(matches!(of("57014"), Error::Cancelled(_)));
        assert!(matches!(of("42P01"), Error::Gone(_)));
        assert!(matches!(of("42704"), Error::Gone(_)));
        assert!(matches!(of("57P01"), Error::ConnectionLost { .. }));
        assert!(matches!(of("XX001"), Error::Other(_)));
        let fatal = ServerReport { fatal: true, ..report("25P03", "m", None) };
        assert!(matches!(classify(fatal, "t"), Error::ConnectionLost { .. }));
    }

    #[test]
    fn the_sqlstate_is_kept_whatever_the_variant() {
        for state in ["57P03", "53300", "28P01", "57P01", "23505"] {
            assert_eq!(classify(report(state, "m", None), "t").sqlstate(), Some(state));
        }
    }

    #[test]
    fn a_broken_connection_is_down_while_opening_and_lost_later() {
        let broken = || sqlx::Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(matches!(Error::from_connect(&broken(), "u@h:1/d"), Error::Down { target, .. } if target == "u@h:1/d"));
        assert!(matches!(Error::from(broken()), Error::ConnectionLost { .. }));
        let certificate = sqlx::Error::Io(io::Error::new(io::ErrorKind::InvalidData, "invalid peer certificate"));
        assert!(matches!(Error::from_connect(&certificate, "t"), Error::Tls { .. }));
    }

    #[test]
    fn what_is_refused_while_opening_is_neither_down_nor_gone_nor_lost() {
        let of = |sqlstate: &str| classify_connect(ServerReport { fatal: true, ..report(sqlstate, "m", None) }, "t");
        for state in ["08P01", "42704", "22023"] {
            assert!(matches!(of(state), Error::Other(_)), "{state}");
        }
        for state in ["57P01", "57P03", "08006"] {
            assert!(matches!(of(state), Error::Down { .. }), "{state}");
        }
        assert!(matches!(of("53300"), Error::SlotsFull { .. }));
    }

    #[test]
    fn detail_is_on_request_and_not_in_the_message() {
        let duplicate = ServerReport {
            detail: Some("Key (email)=(a@b) is duplicated.".to_owned()),
            ..report("23505", "could not create unique index \"u\"", None)
        };
        let error = classify(duplicate, "t");
        assert!(!error.to_string().contains("a@b"));
        assert_eq!(error.detail(), Some("Key (email)=(a@b) is duplicated."));
    }
}
