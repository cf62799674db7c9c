//! `monitor-connections`: who is connected, and how near every limit is.
//!
//! There are three limits, and a role can be refused by any of them while the other two look fine: the server's slots
//! (less those reserved), a database's CONNECTION LIMIT and a role's. Only client backends count: background workers
//! take no slot of them. A role that may not read other sessions' state would see no session idle in a transaction, so
//! for it that is unknown, not zero.

use std::collections::BTreeMap;
use std::time::Duration;

use maint_core::pg::Error;
use maint_core::pg::connect::Session;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_ratio, format_seconds};
use sqlx::Row;

/// The limits to judge by.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Share in use that is a warning, 0 to 1.
    pub warning: f64,
    /// Share in use that is critical, 0 to 1.
    pub critical: f64,
    /// How long a session may idle in a transaction.
    pub idle_in_transaction: Duration,
}

/// One client session.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Its process.
    pub pid: i32,
    /// Its role.
    pub role: String,
    /// Its database.
    pub database: String,
    /// Its `application_name`.
    pub application: String,
    /// Its state; none when this role may not see it.
    pub state: Option<String>,
    /// How long its transaction has been idle, in seconds.
    pub idle_seconds: Option<f64>,
    /// Whether it waits for a lock.
    pub waiting: bool,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// `max_connections`.
    pub max: i64,
    /// Slots that ordinary roles cannot have.
    pub reserved: i64,
    /// Every client session, this one included.
    pub clients: Vec<Client>,
    /// Databases with a CONNECTION LIMIT.
    pub databases: Vec<(String, i64)>,
    /// Roles with a CONNECTION LIMIT.
    pub roles: Vec<(String, i64)>,
    /// Whether this role sees other sessions' state.
    pub sees_state: bool,
}

/// Looks, with one session and without touching a table.
///
/// # Errors
/// The server did not answer.
pub async fn inspect(session: &mut Session) -> Result<Seen, Error> {
    let row = sqlx::query(
        "SELECT pg_catalog.current_setting('max_connections')::int8 AS max,
                pg_catalog.current_setting('superuser_reserved_connections')::int8
                    + COALESCE(pg_catalog.current_setting('reserved_connections', true), '0')::int8 AS reserved,
                pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees",
    )
    .fetch_one(session.conn())
    .await?;
    let mut seen = Seen {
        max: row.try_get("max")?,
        reserved: row.try_get("reserved")?,
        sees_state: row.try_get::<bool, _>("sees")? || session.is_superuser(),
        ..Seen::default()
    };
    let rows = sqlx::query(
        "SELECT pid, usename::text AS role, datname::text AS database, application_name AS application, state,
                CASE WHEN state LIKE 'idle in transaction%'
                     THEN EXTRACT(epoch FROM pg_catalog.clock_timestamp() - state_change)::float8 END AS idle,
                COALESCE(wait_event_type = 'Lock', false) AS waiting
         FROM pg_catalog.pg_stat_activity
         WHERE backend_type = 'client backend' OR backend_type IS NULL AND datname IS NOT NULL",
    )
    .fetch_all(session.conn())
    .await?;
    for row in rows {
        let text = |name: &str| row.try_get::<Option<String>, _>(name).map(Option::unwrap_or_default);
        seen.clients.push(Client {
            pid: row.try_get("pid")?,
            role: text("role")?,
            database: text("database")?,
            application: text("application")?,
            state: row.try_get("state")?,
            idle_seconds: row.try_get("idle")?,
            waiting: row.try_get("waiting")?,
        });
    }
    seen.databases = limits(
        session,
        "SELECT datname::text, datconnlimit::int8 FROM pg_catalog.pg_database WHERE datconnlimit >= 0 AND datallowconn",
    )
    .await?;
    seen.roles = limits(
        session,
        "SELECT rolname::text, rolconnlimit::int8 FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND rolcanlogin",
    )
    .await?;
    Ok(seen)
}

async fn limits(session: &mut Session, sql: &'static str) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query(sql).fetch_all(session.conn()).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Judges what was seen: the checks first, then the counts.
pub fn judge(seen: &Seen, limits: &Limits) -> Vec<Record> {
    let mut records = vec![share("server", "", seen.clients.len() as i64, seen.max - seen.reserved, limits)];
    let used = |of: &dyn Fn(&Client) -> bool| seen.clients.iter().filter(|client| of(client)).count() as i64;
    for (name, limit) in &seen.databases {
        records.push(share("database", name, used(&|client| client.database == *name), *limit, limits));
    }
    for (name, limit) in &seen.roles {
        records.push(share("role", name, used(&|client| client.role == *name), *limit, limits));
    }
    records.extend(idle(seen, limits));
    let waiting = seen.clients.iter().filter(|client| client.waiting).count();
    records.push(Record::new(Kind::Metric, "waiting for a lock", Status::Ok, "").field("connections", waiting));
    type Of = fn(&Client) -> String;
    let groups: [(&'static str, Of); 4] = [
        ("role", |client| client.role.clone()),
        ("database", |client| client.database.clone()),
        ("application", |client| client.application.clone()),
        ("state", |client| client.state.clone().unwrap_or_else(|| "hidden".to_owned())),
    ];
    for (group, of) in groups {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for client in &seen.clients {
            *counts.entry(of(client)).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (name, count) in counts {
            let shown = if name.is_empty() { "(none)" } else { name.as_str() };
            records.push(
                Record::new(Kind::Metric, format!("{group} {shown}"), Status::Ok, "")
                    .label(group, &name)
                    .field("connections", count),
            );
        }
    }
    records
}

fn share(what: &'static str, name: &str, used: i64, limit: i64, limits: &Limits) -> Record {
    let subject = if name.is_empty() { what.to_owned() } else { format!("{what} {name} limit") };
    let (status, ratio) = if limit <= 0 {
        (Status::Critical, 1.0)
    } else {
        let ratio = used as f64 / limit as f64;
        let status = if ratio >= limits.critical {
            Status::Critical
        } else if ratio >= limits.warning {
            Status::Warning
        } else {
            Status::Ok
        };
        (status, ratio)
    };
    let text = format!("{used} of {limit} connections in use ({})", format_ratio(ratio));
    let record = Record::new(Kind::Check, subject, status, text)
        .field("connections", used)
        .field("limit_connections", limit)
        .field("used_ratio", ratio)
        .limits("used_ratio", format!("{}", limits.warning), format!("{}", limits.critical));
    if name.is_empty() { record } else { record.label(what, name) }
}

fn idle(seen: &Seen, limits: &Limits) -> Vec<Record> {
    let subject = "idle in transaction";
    if !seen.sees_state {
        let text = "this role may not see other sessions' state: GRANT pg_monitor to it";
        return vec![Record::new(Kind::Check, subject, Status::Unknown, text)];
    }
    let limit = limits.idle_in_transaction.as_secs_f64();
    let idle: Vec<(&Client, f64)> =
        seen.clients.iter().filter_map(|client| Some((client, client.idle_seconds?))).collect();
    let longest = idle.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
    let over: Vec<_> = idle.iter().filter(|(_, seconds)| *seconds >= limit).collect();
    let status = if over.is_empty() { Status::Ok } else { Status::Warning };
    let text = format!(
        "{} sessions, the longest for {}; {} over {}",
        idle.len(),
        format_seconds(longest),
        over.len(),
        format_seconds(limit)
    );
    let mut records = vec![
        Record::new(Kind::Check, subject, status, text)
            .field("connections", idle.len())
            .field("longest_seconds", longest)
            .limits("longest_seconds", format!("{limit}"), ""),
    ];
    for (client, seconds) in over {
        let application = if client.application.is_empty() { "unnamed" } else { client.application.as_str() };
        let text = format!(
            "idle in transaction for {} (role {}, database {}, application {application}); it holds its locks and the \
             vacuum horizon",
            format_seconds(*seconds),
            client.role,
            client.database,
        );
        records.push(
            Record::new(Kind::Finding, format!("pid {}", client.pid), Status::Warning, text)
                .label("role", &client.role)
                .label("database", &client.database)
                .field("pid", client.pid)
                .field("idle_seconds", *seconds),
        );
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { warning: 0.7, critical: 0.9, idle_in_transaction: Duration::from_secs(300) }
    }

    fn seen(clients: usize) -> Seen {
        let client =
            Client { role: "app".into(), database: "db".into(), state: Some("active".into()), ..Client::default() };
        Seen { max: 13, reserved: 3, clients: vec![client; clients], sees_state: true, ..Seen::default() }
    }

    fn status(records: &[Record], subject: &str) -> Status {
        records.iter().find(|record| record.subject == subject).unwrap().status
    }

    #[test]
    fn reserved_slots_are_not_free_slots() {
        assert_eq!(status(&judge(&seen(6), &limits()), "server"), Status::Ok);
        assert_eq!(status(&judge(&seen(7), &limits()), "server"), Status::Warning);
        assert_eq!(status(&judge(&seen(9), &limits()), "server"), Status::Critical);
    }

    #[test]
    fn a_role_at_its_own_limit_is_critical_although_the_server_is_fine() {
        let mut seen = seen(2);
        seen.roles.push(("app".into(), 2));
        seen.databases.push(("db".into(), 100));
        let records = judge(&seen, &limits());
        assert_eq!(status(&records, "server"), Status::Ok);
        assert_eq!(status(&records, "role app limit"), Status::Critical);
        assert_eq!(status(&records, "database db limit"), Status::Ok);
    }

    #[test]
    fn a_blind_role_is_told_that_it_is_blind() {
        let mut seen = seen(1);
        seen.sees_state = false;
        assert_eq!(status(&judge(&seen, &limits()), "idle in transaction"), Status::Unknown);
    }

    #[test]
    fn a_long_idle_transaction_is_named_by_pid_and_a_short_one_is_not() {
        let mut seen = seen(1);
        seen.clients[0].idle_seconds = Some(10.0);
        assert_eq!(status(&judge(&seen, &limits()), "idle in transaction"), Status::Ok);
        seen.clients[0].idle_seconds = Some(400.0);
        seen.clients[0].pid = 42;
        assert_eq!(status(&judge(&seen, &limits()), "pid 42"), Status::Warning);
    }
}
