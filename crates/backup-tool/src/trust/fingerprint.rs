//! What the tables of a cluster hold: rows, and a hash that does not depend on their order.
//!
//! No fingerprint can be taken of a backup while it is taken: the cluster changes all the time, and a session that reads
//! sees another moment than the one at which replay of the backup ends. So the first restore of a backup to a fixed point
//! records what it found, and every later restore of it to the same point must find the same.
//!
//! The hash of a table is the sum of the 64-bit hashes of its rows as text. A sum does not depend on order, and unlike an
//! exclusive or, equal rows do not cancel each other out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maint_core::pg::connect::{Session, SessionSettings};
use maint_core::pg::dsn::Target;
use maint_core::pg::{Error, Relation};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row as _};

use crate::TOOL;

/// Where fingerprints are, among the notes.
pub const PREFIX: &str = "fingerprints";

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFact {
    /// Its rows.
    pub rows: i64,
    /// The sum of its rows' hashes, in decimal.
    pub hash: String,
}

/// Tables by name (`schema.table`).
pub type Tables = BTreeMap<String, TableFact>;

/// What a cluster held at some point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// When it was taken.
    pub at: Timestamp,
    /// The point, as it was asked for or reached.
    pub point: String,
    /// Tables by database.
    pub databases: BTreeMap<String, Tables>,
}

/// Something that two fingerprints of the same point do not agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table, as `database: schema.table`.
    pub table: String,
    /// What is different.
    pub what: String,
}

/// The note for a backup and a point. Names of notes take only some characters, so the point's others become hyphens.
pub fn key(label: &str, point: &str) -> String {
    let slug: String = point.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{PREFIX}/{label}/{slug}")
}

/// Opens a session in which rows are written as text the same way on every server.
///
/// # Errors
/// The server cannot be reached.
pub async fn session(target: &Target, task: &str) -> Result<Session, Error> {
    let mut session = Session::open(target, SessionSettings::new(format!("{TOOL} {task}"))).await?;
    let settings = "SELECT set_config('datestyle', 'ISO, YMD', false), set_config('intervalstyle', 'postgres', false), \
        set_config('timezone', 'UTC', false), set_config('extra_float_digits', '3', false), \
        set_config('bytea_output', 'hex', false), set_config('xmlbinary', 'base64', false), \
        set_config('row_security', 'off', false)";
    sqlx::raw_sql(settings).execute(session.conn()).await?;
    Ok(session)
}

/// Rows and hash of one table: the same expression wherever two tables are compared. Rows of partitions belong to their
/// parent too; `only` leaves them out.
///
/// # Errors
/// The table cannot be read.
pub async fn of_table(session: &mut Session, table: &Relation, only: bool) -> Result<TableFact, Error> {
    let only = if only { "ONLY " } else { "" };
    let sql = format!(
        "SELECT count(*) AS n, coalesce(sum(pg_catalog.hashtextextended(ROW(maint_row.*)::text COLLATE \"C\", 0)), 0)::text \
         AS hash FROM {only}{} AS maint_row",
        table.quoted()
    );
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session.conn()).await?;
    Ok(TableFact { rows: row.try_get("n")?, hash: row.try_get("hash")? })
}

/// Rows and hashes of all tables of a database that are its users'.
///
/// # Errors
/// A table cannot be read: then it is damaged, or the session is gone.
pub async fn of_database(session: &mut Session) -> Result<Tables, Error> {
    let sql = "SELECT n.nspname::text AS schema, c.relname::text AS name FROM pg_catalog.pg_class AS c \
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated) AND c.relpersistence <> 't' \
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1, 2";
    let rows = sqlx::raw_sql(sql).fetch_all(session.conn()).await?;
    let mut tables = Tables::new();
    for row in rows {
        let table = Relation::new(row.try_get::<String, _>("schema")?, row.try_get::<String, _>("name")?);
        let fact = of_table(session, &table, true).await?;
        tables.insert(format!("{}.{}", table.schema, table.name), fact);
    }
    Ok(tables)
}

/// What is different between what was found before and what is found now.
pub fn differences(before: &Fingerprint, now: &Fingerprint) -> Vec<Difference> {
    let flat = |print: &Fingerprint| -> BTreeMap<String, TableFact> {
        let tables = |(database, tables): (&String, &Tables)| -> Vec<(String, TableFact)> {
            tables.iter().map(|(table, fact)| (format!("{database}: {table}"), fact.clone())).collect()
        };
        print.databases.iter().flat_map(tables).collect()
    };
    let (before, mut now) = (flat(before), flat(now));
    let mut found = Vec::new();
    for (table, was) in before {
        let what = match now.remove(&table) {
            None => "it is not there".to_owned(),
            Some(is) if is.rows != was.rows => format!("{} rows instead of {}", is.rows, was.rows),
            Some(is) if is.hash != was.hash => format!("{} rows as before, but with other content", is.rows),
            Some(_) => continue,
        };
        found.push(Difference { table, what });
    }
    let added = |(table, _)| Difference { table, what: "it was not there before".to_owned() };
    found.extend(now.into_iter().map(added));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(tables: &[(&str, i64, &str)]) -> Fingerprint {
        let fact = |(name, rows, hash): &(&str, i64, &str)| {
            ((*name).to_owned(), TableFact { rows: *rows, hash: (*hash).to_owned() })
        };
        let tables = tables.iter().map(fact).collect();
        Fingerprint {
            at: Timestamp::UNIX_EPOCH,
            point: "x".into(),
            databases: BTreeMap::from([("shop".into(), tables)]),
        }
    }

    #[test]
    fn equal_fingerprints_have_no_differences() {
        let one = print(&[("public.a", 3, "7"), ("public.b", 0, "0")]);
        assert_eq!(differences(&one, &one), []);
    }

    #[test]
    fn lost_rows_changed_rows_lost_tables_and_new_ones_are_told_apart() {
        let before = print(&[("public.a", 3, "7"), ("public.b", 5, "1"), ("public.c", 1, "1")]);
        let now = print(&[("public.a", 2, "7"), ("public.b", 5, "2"), ("public.d", 1, "1")]);
        let found: Vec<String> =
            differences(&before, &now).into_iter().map(|d| format!("{} {}", d.table, d.what)).collect();
        assert_eq!(
            found,
            [
                "shop: public.a 2 rows instead of 3",
                "shop: public.b 5 rows as before, but with other content",
                "shop: public.c it is not there",
                "shop: public.d it was not there before"
            ]
        );
    }

    #[test]
    fn the_name_of_a_note_has_only_what_a_key_may_have() {
        let key = key("20260101-000000F", "2026-11-23 05:00:00.123456+00");
        assert_eq!(key, "fingerprints/20260101-000000F/2026-11-23-05-00-00-123456-00");
        crate::storage::check_key(&format!("notes/{key}")).unwrap();
    }
}
