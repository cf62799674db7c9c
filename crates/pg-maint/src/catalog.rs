//! Reads the tables of one database with all that the plans are made from, without taking a lock on any of them.
//!
//! Sizes come from `pg_class.relpages`, not from `pg_relation_size()`: that function waits behind an ACCESS EXCLUSIVE
//! lock, and a tool that looks for locked tables must not hang on one. Every function and table is written with its
//! schema, so that nothing in a database can put itself in between.

use std::collections::BTreeMap;

use maint_core::pg::Error;
use maint_core::pg::connect::Session;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::score::{Counters, Settings};

/// What kind of relation a [`Table`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// An ordinary table.
    Ordinary,
    /// A materialized view.
    MaterializedView,
    /// A partitioned table: it holds no rows, but planners want its statistics.
    Partitioned,
}

/// One table as the catalogs describe it.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its oid.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: TableKind,
    /// Whether this role may vacuum and analyze it.
    pub allowed: bool,
    /// Table and TOAST together, in bytes, as of the last vacuum or analyze.
    pub size_bytes: u64,
    /// What has gathered in the table itself.
    pub counters: Counters,
    /// What has gathered in its TOAST table.
    pub toast: Option<Counters>,
    /// Vacuums so far, by hand and by autovacuum.
    pub vacuums: i64,
    /// Analyzes so far, by hand and by autovacuum.
    pub analyzes: i64,
    /// Seconds since the epoch of the last vacuum of any kind.
    pub last_vacuum: Option<f64>,
    /// Seconds since the epoch of the last analyze of any kind.
    pub last_analyze: Option<f64>,
    /// Every partitioned table above it.
    pub ancestors: Vec<u32>,
    /// What the planner has no statistics for: columns, expressions of indexes, extended statistics.
    pub missing: Vec<String>,
    /// Whether it is a catalog of the system.
    pub system: bool,
}

impl Table {
    /// Whether it can be analyzed: everything but `pg_statistic` (oid 2619), which the server passes over in silence.
    pub fn analyzable(&self) -> bool {
        self.oid != 2619
    }

    /// `schema.table`.
    pub fn subject(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// The settings that the scores are made from.
///
/// # Errors
/// The server did not answer.
pub async fn settings(session: &mut Session) -> Result<Settings, Error> {
    let rows = sqlx::query(
        "SELECT name, setting::float8 AS value FROM pg_catalog.pg_settings
         WHERE vartype IN ('integer', 'real') AND (name LIKE 'autovacuum%' OR name LIKE 'vacuum%failsafe_age')",
    )
    .fetch_all(session.conn())
    .await?;
    let mut settings = BTreeMap::new();
    for row in rows {
        settings.insert(row.try_get("name")?, row.try_get("value")?);
    }
    Ok(Settings(settings))
}

/// Every table of the database but temporary ones. Missing statistics are looked for in all tables or, where that is not
/// what was asked for, in partitioned ones alone: it is the dearest question of all.
///
/// # Errors
/// The server did not answer.
pub async fn tables(session: &mut Session, all_statistics: bool) -> Result<Vec<Table>, Error> {
    let version = session.server_version_num();
    // MAINTAIN came with 17; before it only the owner of the table or of the database may.
    let allowed = if version >= 170_000 {
        "pg_catalog.has_table_privilege(c.oid, 'MAINTAIN')
         OR pg_catalog.pg_has_role(d.datdba, 'USAGE') AND NOT c.relisshared"
    } else {
        "pg_catalog.pg_has_role(c.relowner, 'USAGE')
         OR pg_catalog.pg_has_role(d.datdba, 'USAGE') AND NOT c.relisshared"
    };
    let all_frozen = if version >= 180_000 { "relallfrozen" } else { "relallvisible * 0" };
    let sql = format!(
        "SELECT c.oid::int8 AS oid, n.nspname, c.relname, c.relkind::text AS relkind, ({allowed}) AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS allowed,
                c.oid < 16384 AS system,
                (c.relpages::int8 + COALESCE(t.relpages, 0)) * pg_catalog.current_setting('block_size')::int8 AS size,
                c.reltuples::float8 AS tuples, c.relpages::float8 AS pages, c.{all_frozen}::float8 AS frozen_pages,
                pg_catalog.age(c.relfrozenxid)::float8 AS xid_age,
                pg_catalog.mxid_age(c.relminmxid)::float8 AS mxid_age, c.reloptions,
                s.n_dead_tup::float8 AS dead, s.n_ins_since_vacuum::float8 AS inserted,
                s.n_mod_since_analyze::float8 AS modified,
                COALESCE(s.vacuum_count + s.autovacuum_count, 0) AS vacuums,
                COALESCE(s.analyze_count + s.autoanalyze_count, 0) AS analyzes,
                EXTRACT(epoch FROM GREATEST(s.last_vacuum, s.last_autovacuum))::float8 AS last_vacuum,
                EXTRACT(epoch FROM GREATEST(s.last_analyze, s.last_autoanalyze))::float8 AS last_analyze,
                t.oid IS NOT NULL AS has_toast, t.reltuples::float8 AS t_tuples, t.relpages::float8 AS t_pages,
                t.{all_frozen}::float8 AS t_frozen_pages, pg_catalog.age(t.relfrozenxid)::float8 AS t_xid_age,
                pg_catalog.mxid_age(t.relminmxid)::float8 AS t_mxid_age, t.reloptions AS t_reloptions,
                ts.n_dead_tup::float8 AS t_dead, ts.n_ins_since_vacuum::float8 AS t_inserted,
                0::float8 AS t_modified, c.relispartition
         FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
         LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
         LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
         LEFT JOIN pg_catalog.pg_stat_all_tables ts ON ts.relid = t.oid
         WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(session.conn()).await?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in &rows {
        tables.push(table(row)?);
    }
    add_ancestors(session, &mut tables).await?;
    add_missing(session, &mut tables, all_statistics).await?;
    Ok(tables)
}

fn table(row: &PgRow) -> Result<Table, Error> {
    let kind = match row.try_get::<String, _>("relkind")?.as_str() {
        "p" => TableKind::Partitioned,
        "m" => TableKind::MaterializedView,
        _ => TableKind::Ordinary,
    };
    let toast = if row.try_get("has_toast")? { Some(counters(row, "t_")?) } else { None };
    Ok(Table {
        oid: row.try_get::<i64, _>("oid")? as u32,
        schema: row.try_get("nspname")?,
        name: row.try_get("relname")?,
        kind,
        allowed: row.try_get("allowed")?,
        size_bytes: row.try_get::<i64, _>("size")?.unsigned_abs(),
        counters: counters(row, "")?,
        toast,
        vacuums: row.try_get("vacuums")?,
        analyzes: row.try_get("analyzes")?,
        last_vacuum: row.try_get("last_vacuum")?,
        last_analyze: row.try_get("last_analyze")?,
        ancestors: Vec::new(),
        missing: Vec::new(),
        system: row.try_get("system")?,
    })
}

fn counters(row: &PgRow, prefix: &str) -> Result<Counters, Error> {
    let number = |name: &str| -> Result<f64, sqlx::Error> {
        Ok(row.try_get::<Option<f64>, _>(format!("{prefix}{name}").as_str())?.unwrap_or(0.0))
    };
    let options: Option<Vec<String>> = row.try_get(format!("{prefix}reloptions").as_str())?;
    // A relation without a frozen xid (a partitioned table) has the age of "never", 2^31 - 1.
    let age = |value: f64| if value >= 2_147_483_647.0 { 0.0 } else { value };
    Ok(Counters {
        tuples: number("tuples")?,
        pages: number("pages")?,
        all_frozen_pages: number("frozen_pages")?,
        dead: number("dead")?,
        inserted: number("inserted")?,
        modified: number("modified")?,
        xid_age: age(number("xid_age")?),
        mxid_age: age(number("mxid_age")?),
        options: parse_options(&options.unwrap_or_default()),
    })
}

/// The numeric storage parameters among `name=value` texts.
fn parse_options(options: &[String]) -> BTreeMap<String, f64> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    options.iter().filter_map(pair).collect()
}

async fn add_ancestors(session: &mut Session, tables: &mut [Table]) -> Result<(), Error> {
    let rows = sqlx::query(
        "SELECT i.inhrelid::int8 AS child, i.inhparent::int8 AS parent FROM pg_catalog.pg_inherits i
         JOIN pg_catalog.pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'p'",
    )
    .fetch_all(session.conn())
    .await?;
    let mut parents = BTreeMap::new();
    for row in rows {
        parents.insert(row.try_get::<i64, _>("child")? as u32, row.try_get::<i64, _>("parent")? as u32);
    }
    for table in tables {
        let mut at = table.oid;
        while let Some(&parent) = parents.get(&at) {
            table.ancestors.push(parent);
            at = parent;
        }
    }
    Ok(())
}

/// What the planner has no statistics for, in tables that have rows and whose statistics this role may see.
///
/// Only superusers and owners see statistics through the views; for a table whose columns this role may not read, the
/// answer would be "all missing", so such tables are left out here.
async fn add_missing(session: &mut Session, tables: &mut [Table], all: bool) -> Result<(), Error> {
    let kinds = if all { "('r', 'm', 'p')" } else { "('p')" };
    let generated = if session.server_version_num() >= 180_000 { "AND a.attgenerated <> 'v'" } else { "" };
    let sql = format!(
        "WITH seen AS (
             SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN {kinds} AND c.relpersistence <> 't' AND c.reltuples > 0 AND c.oid >= 16384
               AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.row_security_active(c.oid)
         )
         SELECT seen.oid::int8 AS oid, 'column ' || a.attname AS what FROM seen
         JOIN pg_catalog.pg_attribute a ON a.attrelid = seen.oid
         WHERE a.attnum > 0 AND NOT a.attisdropped AND COALESCE(a.attstattarget, -1) <> 0 {generated}
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_stats st WHERE st.schemaname = seen.nspname
                AND st.tablename = seen.relname AND st.attname = a.attname
                AND st.inherited = (seen.relkind = 'p'))
         UNION ALL
         SELECT seen.oid::int8, 'expression of index ' || ic.relname FROM seen
         JOIN pg_catalog.pg_index i ON i.indrelid = seen.oid AND i.indexprs IS NOT NULL AND i.indisvalid
         JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid AND ic.relkind = 'i'
         JOIN pg_catalog.pg_namespace ino ON ino.oid = ic.relnamespace
         WHERE pg_catalog.pg_has_role(ic.relowner, 'USAGE') AND EXISTS (
             SELECT FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = ic.oid AND a.attnum <= i.indnkeyatts
               AND i.indkey[a.attnum - 1] = 0 AND COALESCE(a.attstattarget, -1) <> 0
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_stats st WHERE st.schemaname = ino.nspname
                    AND st.tablename = ic.relname AND st.attname = a.attname))
         UNION ALL
         SELECT seen.oid::int8, 'extended statistics ' || x.stxname FROM seen
         JOIN pg_catalog.pg_statistic_ext x ON x.stxrelid = seen.oid
         JOIN pg_catalog.pg_namespace xn ON xn.oid = x.stxnamespace
         WHERE pg_catalog.pg_has_role(x.stxowner, 'USAGE') AND COALESCE(x.stxstattarget, -1) <> 0
           AND seen.relkind <> 'p'
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_stats_ext st WHERE st.statistics_schemaname = xn.nspname
                AND st.statistics_name = x.stxname)"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(session.conn()).await?;
    let mut missing: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for row in rows {
        missing.entry(row.try_get::<i64, _>("oid")? as u32).or_default().push(row.try_get("what")?);
    }
    for table in tables {
        table.missing = missing.remove(&table.oid).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_parameters_that_are_not_numbers_are_left_out() {
        let options = parse_options(&["autovacuum_enabled=false".into(), "autovacuum_vacuum_threshold=10".into()]);
        assert_eq!(options, BTreeMap::from([("autovacuum_vacuum_threshold".to_owned(), 10.0)]));
    }
}
