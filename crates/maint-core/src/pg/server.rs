//! The server as a whole: what it is, and which databases it has.

use std::fmt;

use serde::Serialize;
use sqlx::Row;

use super::connect::Session;
use super::error::Error;

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerInfo {
    /// As `server_version_num`: 150018 is 15.18.
    pub version_num: i32,
    /// Tells clusters apart, and is the same on a primary and its standbys. `None` when the role may not read it.
    pub system_identifier: Option<i64>,
    /// A standby, or still recovering.
    pub in_recovery: bool,
    /// `max_connections`.
    pub max_connections: i32,
    /// `superuser_reserved_connections`.
    pub superuser_reserved: i32,
    /// `reserved_connections`; 0 before PostgreSQL 16.
    pub reserved_connections: i32,
    /// `cluster_name`, usually empty.
    pub cluster_name: String,
}

impl ServerInfo {
    /// Asks the server.
    pub async fn read(session: &mut Session) -> Result<Self, Error> {
        let row = sqlx::raw_sql(
            "SELECT current_setting('server_version_num')::int4 AS version_num, pg_is_in_recovery() AS in_recovery, \
             current_setting('max_connections')::int4 AS max_connections, \
             current_setting('superuser_reserved_connections')::int4 AS superuser_reserved, \
             coalesce(current_setting('reserved_connections', true)::int4, 0) AS reserved, \
             current_setting('cluster_name') AS cluster_name, \
             has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS may_read_control",
        )
        .fetch_one(session.conn())
        .await?;
        // A query of its own: the privilege is checked when a query starts, also for a branch that is not taken.
        let system_identifier = if row.try_get("may_read_control")? {
            let sql = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
            Some(sqlx::raw_sql(sql).fetch_one(session.conn()).await?.try_get(0)?)
        } else {
            None
        };
        Ok(Self {
            version_num: row.try_get("version_num")?,
            system_identifier,
            in_recovery: row.try_get("in_recovery")?,
            max_connections: row.try_get("max_connections")?,
            superuser_reserved: row.try_get("superuser_reserved")?,
            reserved_connections: row.try_get("reserved")?,
            cluster_name: row.try_get("cluster_name")?,
        })
    }

    /// Connections that a role without privileges can get.
    pub fn usable_connections(&self) -> i32 {
        self.max_connections.saturating_sub(self.superuser_reserved).saturating_sub(self.reserved_connections).max(0)
    }
}

/// One database of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    /// `pg_database.oid`.
    pub oid: u32,
    /// `pg_database.datname`.
    pub name: String,
    /// `pg_database.datallowconn`.
    pub allow_conn: bool,
    /// `pg_database.datconnlimit`: -1 is no limit, -2 is a drop that did not finish.
    pub conn_limit: i32,
    /// `pg_database.datistemplate`.
    pub is_template: bool,
}

/// Why a run over all databases leaves one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// `datallowconn` is off: nobody can connect, as with `template0`.
    ConnectionsNotAllowed,
    /// `DROP DATABASE` was interrupted; only dropping it again is possible.
    HalfDropped,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionsNotAllowed => "it does not accept connections (datallowconn is off)",
            Self::HalfDropped => "an interrupted DROP DATABASE left it invalid (datconnlimit is -2); drop it again",
        })
    }
}

impl Database {
    /// Why no session can be opened here, if so.
    pub fn skip_reason(&self) -> Option<SkipReason> {
        if self.conn_limit == -2 {
            Some(SkipReason::HalfDropped)
        } else if self.allow_conn {
            None
        } else {
            Some(SkipReason::ConnectionsNotAllowed)
        }
    }
}

/// All databases by name, also those that have to be skipped: their age counts for wraparound all the same.
pub async fn databases(session: &mut Session) -> Result<Vec<Database>, Error> {
    let rows = sqlx::raw_sql(
        "SELECT oid::int8 AS oid, datname::text AS name, datallowconn AS allow_conn, datconnlimit AS conn_limit, \
         datistemplate AS is_template FROM pg_catalog.pg_database ORDER BY datname",
    )
    .fetch_all(session.conn())
    .await?;
    rows.iter()
        .map(|row| {
            let oid: i64 = row.try_get("oid")?;
            Ok(Database {
                oid: u32::try_from(oid).map_err(|e| Error::Driver { message: e.to_string() })?,
                name: row.try_get("name")?,
                allow_conn: row.try_get("allow_conn")?,
                conn_limit: row.try_get("conn_limit")?,
                is_template: row.try_get("is_template")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_dropped_database_is_skipped_as_such_and_a_limited_one_is_not() {
        let database = |allow_conn, conn_limit| Database {
            oid: 1,
            name: "d".to_owned(),
            allow_conn,
            conn_limit,
            is_template: false,
        };
        assert_eq!(database(true, -1).skip_reason(), None);
        assert_eq!(database(true, 0).skip_reason(), None);
        assert_eq!(database(false, -1).skip_reason(), Some(SkipReason::ConnectionsNotAllowed));
        assert_eq!(database(true, -2).skip_reason(), Some(SkipReason::HalfDropped));
        assert_eq!(database(false, -2).skip_reason(), Some(SkipReason::HalfDropped));
    }

    #[test]
    fn reserved_connections_are_not_usable() {
        let info = ServerInfo {
            version_num: 160_000,
            system_identifier: None,
            in_recovery: false,
            max_connections: 100,
            superuser_reserved: 3,
            reserved_connections: 5,
            cluster_name: String::new(),
        };
        assert_eq!(info.usable_connections(), 92);
    }
}
