//! The checks inside of a restored cluster: every index against its table, every table's pages and rows, and queries that the
//! operator wrote.
//!
//! `amcheck` is PostgreSQL's own; where a server comes without it, that is said, and the rows are read all the same, which
//! finds what cannot be read at all.

use std::collections::BTreeMap;

use maint_core::pg::connect::Session;
use maint_core::pg::dsn::Target;
use maint_core::pg::{Error, Relation};
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_count;
use sqlx::{AssertSqlSafe, Row as _};

use super::fingerprint::{self, Tables};
use super::queries::Query;

/// Problems of one database that are reported one by one; more than these are only counted.
const SHOWN: usize = 20;

/// What was found in a cluster.
#[derive(Debug, Default)]
pub struct Inspected {
    /// Problems, each a record.
    pub findings: Vec<Record>,
    /// One check for each kind of test.
    pub checks: Vec<Record>,
    /// What the tables hold, by database; `None` where a table could not be read.
    pub databases: Option<BTreeMap<String, Tables>>,
}

#[derive(Debug, Default)]
struct Tally {
    indexes: u64,
    tables: u64,
    bad_indexes: u64,
    bad_tables: u64,
    rows: i64,
    hashed: u64,
    without_amcheck: Vec<String>,
    unreadable: u64,
}

/// The databases that can be connected to.
///
/// # Errors
/// The server did not answer.
pub async fn databases(target: &Target) -> Result<Vec<String>, Error> {
    let mut session = fingerprint::session(target, "test-restore").await?;
    let sql = "SELECT datname::text AS name FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1";
    let rows = sqlx::raw_sql(sql).fetch_all(session.conn()).await?;
    rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
}

/// Looks at every database.
///
/// # Errors
/// The server did not answer. What is wrong in the cluster is in the findings.
pub async fn cluster(target: &Target) -> Result<Inspected, Error> {
    let mut found = Inspected { databases: Some(BTreeMap::new()), ..Inspected::default() };
    let mut tally = Tally::default();
    for database in databases(target).await? {
        let mut session = fingerprint::session(&target.with_database(&database), "test-restore").await?;
        if amcheck(&mut session).await? {
            indexes(&mut session, &database, &mut found, &mut tally).await?;
            tables(&mut session, &database, &mut found, &mut tally).await?;
        } else {
            tally.without_amcheck.push(database.clone());
        }
        match fingerprint::of_database(&mut session).await {
            Ok(tables) => {
                tally.hashed += tables.len() as u64;
                tally.rows += tables.values().map(|fact| fact.rows).sum::<i64>();
                if let Some(databases) = &mut found.databases {
                    databases.insert(database, tables);
                }
            }
            Err(error) => {
                tally.unreadable += 1;
                found.databases = None;
                let message = format!("a table cannot be read: {error}");
                found.findings.push(Record::new(Kind::Finding, database, Status::Critical, message));
            }
        }
    }
    found.checks = tally.checks();
    Ok(found)
}

impl Tally {
    fn checks(&self) -> Vec<Record> {
        let check = |subject: &str, bad: u64, what: String| {
            let status = if bad == 0 { Status::Ok } else { Status::Critical };
            let message = if bad == 0 { what } else { format!("{bad} damaged; {what}") };
            Record::new(Kind::Check, subject, status, message).field("value", bad)
        };
        let mut checks = Vec::new();
        if self.indexes + self.tables > 0 || self.without_amcheck.is_empty() {
            let what = format!("{} indexes compared with their tables", format_count(self.indexes));
            checks.push(check("indexes", self.bad_indexes, what).field("indexes", self.indexes));
            let what = format!("the pages of {} tables are sound", format_count(self.tables));
            checks.push(check("tables", self.bad_tables, what).field("tables", self.tables));
        }
        if !self.without_amcheck.is_empty() {
            let message = format!(
                "amcheck is not installed with this server; not checked in {}",
                self.without_amcheck.join(", ")
            );
            checks.push(Record::new(Kind::Check, "amcheck", Status::Skipped, message));
        }
        let what =
            format!("{} rows of {} tables read", format_count(self.rows.unsigned_abs()), format_count(self.hashed));
        checks.push(check("rows", self.unreadable, what).field("rows", self.rows).field("tables", self.hashed));
        checks
    }
}

/// Makes amcheck available; `false` where the server has none.
async fn amcheck(session: &mut Session) -> Result<bool, Error> {
    let sql = "SELECT count(*) AS n FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'";
    let row = sqlx::raw_sql(sql).fetch_one(session.conn()).await?;
    if row.try_get::<i64, _>("n")? == 0 {
        return Ok(false);
    }
    let made = session.execute_raw("CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA pg_catalog").await;
    made.result?;
    Ok(true)
}

/// Schema and function of amcheck, which may have been installed somewhere else before.
async fn function(session: &mut Session, name: &str) -> Result<Option<Relation>, Error> {
    let sql = format!(
        "SELECT n.nspname::text AS schema FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = \
         p.pronamespace JOIN pg_catalog.pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e' JOIN \
         pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'amcheck' WHERE p.proname = '{name}' LIMIT 1"
    );
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(session.conn()).await?;
    row.map(|row| Ok(Relation::new(row.try_get::<String, _>("schema")?, name))).transpose()
}

struct Named {
    oid: i64,
    name: String,
}

async fn relations(session: &mut Session, sql: &'static str) -> Result<Vec<Named>, Error> {
    let rows = sqlx::raw_sql(sql).fetch_all(session.conn()).await?;
    rows.iter().map(|row| Ok(Named { oid: row.try_get("oid")?, name: row.try_get("name")? })).collect()
}

fn finding(found: &mut Inspected, database: &str, name: &str, message: String) {
    let shown = found.findings.iter().filter(|record| record.subject.starts_with(&format!("{database}: "))).count();
    if shown < SHOWN {
        let subject = format!("{database}: {name}");
        found.findings.push(Record::new(Kind::Finding, subject, Status::Critical, message));
    }
}

/// Whether the error is the server's word on the relation, and not the end of the session.
fn is_verdict(error: &Error) -> bool {
    error.report().is_some()
}

async fn indexes(session: &mut Session, database: &str, found: &mut Inspected, tally: &mut Tally) -> Result<(), Error> {
    let Some(check) = function(session, "bt_index_check").await? else { return Ok(()) };
    let all = relations(
        session,
        "SELECT c.oid::int8 AS oid, c.oid::regclass::text AS name FROM pg_catalog.pg_class AS c \
         JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid JOIN pg_catalog.pg_am AS a ON a.oid = c.relam \
         WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisready AND i.indisvalid \
         ORDER BY 2",
    )
    .await?;
    for Named { oid, name } in all {
        tally.indexes += 1;
        let sql = format!("SELECT {}({oid}::oid::regclass, true)", check.quoted());
        match session.execute_raw(&sql).await.result {
            Ok(()) => {}
            Err(error) if is_verdict(&error) => {
                tally.bad_indexes += 1;
                finding(found, database, &name, error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn tables(session: &mut Session, database: &str, found: &mut Inspected, tally: &mut Tally) -> Result<(), Error> {
    // Since server 14.
    let Some(check) = function(session, "verify_heapam").await? else { return Ok(()) };
    let all = relations(
        session,
        "SELECT c.oid::int8 AS oid, c.oid::regclass::text AS name FROM pg_catalog.pg_class AS c \
         JOIN pg_catalog.pg_am AS a ON a.oid = c.relam \
         WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence <> 't' AND a.amname = 'heap' ORDER BY 2",
    )
    .await?;
    for Named { oid, name } in all {
        tally.tables += 1;
        let sql = format!(
            "SELECT count(*) AS n, min(format('block %s: %s', blkno, msg)) AS first FROM {}({oid}::oid::regclass, \
             check_toast => true)",
            check.quoted()
        );
        let seen = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session.conn()).await.map_err(Error::from);
        match seen {
            Ok(row) => {
                let count: i64 = row.try_get("n")?;
                if count > 0 {
                    tally.bad_tables += 1;
                    let first: Option<String> = row.try_get("first")?;
                    finding(found, database, &name, format!("{count} problems: {}", first.unwrap_or_default()));
                }
            }
            Err(error) if is_verdict(&error) => {
                tally.bad_tables += 1;
                finding(found, database, &name, error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Asks the operator's queries; each must return one value, and that must be true.
///
/// # Errors
/// The server did not answer.
pub async fn queries(target: &Target, default: &str, queries: &[Query]) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    let mut session: Option<(String, Session)> = None;
    for query in queries {
        let database = query.database.as_deref().unwrap_or(default);
        if session.as_ref().is_none_or(|(open, _)| open != database) {
            let opened = fingerprint::session(&target.with_database(database), "test-restore").await?;
            // Names mean in the operator's queries what they mean to everybody else.
            let mut opened = opened;
            opened.execute_raw("SELECT pg_catalog.set_config('search_path', reset_val, false) FROM pg_catalog.pg_settings WHERE name = 'search_path'").await.result?;
            session = Some((database.to_owned(), opened));
        }
        let Some((_, open)) = &mut session else { continue };
        let subject = format!("query on line {}", query.line);
        let sql = format!("SELECT ({})::bool AS answer", query.sql);
        let asked = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(open.conn()).await.map_err(Error::from);
        let (status, message) = match asked.and_then(|row| Ok(row.try_get::<Option<bool>, _>("answer")?)) {
            Ok(Some(true)) => (Status::Ok, query.sql.clone()),
            Ok(Some(false)) => (Status::Critical, format!("it is false: {}", query.sql)),
            Ok(None) => (Status::Critical, format!("it is null: {}", query.sql)),
            Err(error) if is_verdict(&error) => (Status::Critical, format!("{error}: {}", query.sql)),
            Err(error) => return Err(error),
        };
        let holds = i32::from(status == Status::Ok);
        records
            .push(Record::new(Kind::Check, subject, status, message).field("value", holds).field("database", database));
    }
    Ok(records)
}
