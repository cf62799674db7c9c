//! The indexes of one database, and what each of them is: healthy, broken, being built, or left behind by a concurrent
//! rebuild that did not finish.
//!
//! `REINDEX INDEX CONCURRENTLY` builds `NAME_ccnew` beside `NAME` and swaps the two; cut short before the swap it leaves
//! an invalid `NAME_ccnew`, after it an invalid `NAME_ccold`. A plain `REINDEX TABLE` over such leftovers makes them
//! valid: full duplicates that every write pays for. Names are cut to 63 bytes before the suffix is added, so a
//! leftover is told by its suffix *and* by an identical definition, never by the name it seems to belong to.

use std::collections::BTreeSet;

use maint_core::pg::Error;
use maint_core::pg::connect::Session;
use sqlx::Row;

/// One index as the catalogs describe it.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its oid.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its table's oid.
    pub table_oid: u32,
    /// Its table's schema.
    pub table_schema: String,
    /// Its table's name.
    pub table: String,
    /// Access method.
    pub method: String,
    /// Everything that makes two indexes the same: columns, classes, collations, options, expressions, predicate.
    pub definition: String,
    /// An index on a partitioned table: it holds no pages.
    pub partitioned: bool,
    /// Whether queries may use it.
    pub valid: bool,
    /// Whether it backs a constraint, is the replica identity or the clustering order.
    pub bound: bool,
    /// Whether it backs an exclusion constraint: those cannot be rebuilt concurrently.
    pub exclusion: bool,
    /// Whether its table is a catalog of the system.
    pub system: bool,
    /// Whether its table is a TOAST table.
    pub toast: bool,
    /// Whether this role may rebuild and drop it.
    pub allowed: bool,
    /// The session that is building it, or holds a lock on its table such as a build does.
    pub builder: Option<i32>,
    /// Pages by the catalog.
    pub pages: u64,
    /// Size in bytes by the catalog.
    pub size_bytes: u64,
    /// Tuples by the catalog.
    pub tuples: f64,
}

impl Index {
    /// `schema.index`.
    pub fn subject(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// Every index of the database but those of temporary tables; or only those of one table.
///
/// # Errors
/// The server did not answer.
pub async fn indexes(session: &mut Session, table_oid: Option<u32>) -> Result<Vec<Index>, Error> {
    let maintain = if session.server_version_num() >= 170_000 {
        "pg_catalog.has_table_privilege(tc.oid, 'MAINTAIN')"
    } else {
        "pg_catalog.pg_has_role(tc.relowner, 'USAGE')"
    };
    // Two statements, not one with "$1 IS NULL OR": that one could not use an index, and a step asks twice.
    let which = if table_oid.is_some() { "tc.oid = $1::int8::oid" } else { "$1::int8 IS NULL" };
    let sql = format!(
        "SELECT ic.oid::int8 AS oid, n.nspname, ic.relname, tc.oid::int8 AS table_oid, tn.nspname AS table_schema,
                tc.relname AS table_name, am.amname::text AS amname, ic.relkind = 'I' AS partitioned,
                pg_catalog.concat_ws(' ', i.indkey, i.indclass, i.indcollation, i.indoption, i.indnkeyatts,
                    i.indisunique, i.indexprs::text, i.indpred::text, am.oid, ic.reloptions::text) AS definition,
                i.indisvalid AS valid,
                i.indisprimary OR i.indisreplident OR i.indisclustered
                    OR EXISTS (SELECT FROM pg_catalog.pg_constraint x WHERE x.conindid = ic.oid) AS bound,
                i.indisexclusion AS exclusion, tc.oid < 16384 AS system, tc.relkind = 't' AS toast,
                {maintain} AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS allowed,
                COALESCE(
                    (SELECT p.pid FROM pg_catalog.pg_stat_progress_create_index p
                     WHERE p.index_relid = ic.oid OR p.relid = tc.oid LIMIT 1),
                    (SELECT l.pid FROM pg_catalog.pg_locks l
                     WHERE l.locktype = 'relation' AND l.relation = tc.oid AND l.granted AND NOT i.indisvalid
                       AND l.mode = 'ShareUpdateExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid()
                       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                                         WHERE d.datname = pg_catalog.current_database()) LIMIT 1)
                ) AS builder,
                ic.relpages::int8 AS pages, ic.reltuples::float8 AS tuples,
                ic.relpages::int8 * pg_catalog.current_setting('block_size')::int8 AS size
         FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = ic.relnamespace
         JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid
         JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace
         JOIN pg_catalog.pg_am am ON am.oid = ic.relam
         WHERE ic.relpersistence <> 't' AND {which}"
    );
    let table_oid = table_oid.map(i64::from);
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(table_oid).fetch_all(session.conn()).await?;
    let mut indexes = Vec::with_capacity(rows.len());
    for row in rows {
        indexes.push(Index {
            oid: row.try_get::<i64, _>("oid")? as u32,
            schema: row.try_get("nspname")?,
            name: row.try_get("relname")?,
            table_oid: row.try_get::<i64, _>("table_oid")? as u32,
            table_schema: row.try_get("table_schema")?,
            table: row.try_get("table_name")?,
            method: row.try_get("amname")?,
            definition: row.try_get("definition")?,
            partitioned: row.try_get("partitioned")?,
            valid: row.try_get("valid")?,
            bound: row.try_get("bound")?,
            exclusion: row.try_get("exclusion")?,
            system: row.try_get("system")?,
            toast: row.try_get("toast")?,
            allowed: row.try_get("allowed")?,
            builder: row.try_get("builder")?,
            pages: row.try_get::<i64, _>("pages")?.unsigned_abs(),
            size_bytes: row.try_get::<i64, _>("size")?.unsigned_abs(),
            tuples: row.try_get("tuples")?,
        });
    }
    Ok(indexes)
}

/// What an index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing is wrong with it.
    Healthy,
    /// It is being built, or its table is held by what looks like a build.
    Building {
        /// The session that builds.
        pid: i32,
    },
    /// Left behind by a rebuild of ours that did not finish.
    OurLeftover,
    /// Left behind by somebody else's rebuild: invalid, and the sound index stands beside it.
    Leftover,
    /// A leftover that a plain REINDEX made valid: a duplicate of the sound index beside it.
    PromotedLeftover,
    /// A build that failed: no sound index stands beside it.
    Invalid,
    /// An index on a partitioned table that some partition has no part of yet.
    Incomplete,
}

/// What `index` is, among all indexes of its database. `ours` holds the oids of rebuilt indexes' leftovers that this
/// program knows to be its own.
pub fn classify(index: &Index, all: &[Index], ours: &BTreeSet<u32>) -> State {
    let sound_twin = || {
        all.iter().any(|other| {
            other.table_oid == index.table_oid
                && other.oid != index.oid
                && other.valid
                && other.definition == index.definition
                && !has_suffix(&other.name)
        })
    };
    if let (Some(pid), false) = (index.builder, index.valid) {
        return State::Building { pid };
    }
    if index.partitioned {
        return if index.valid { State::Healthy } else { State::Incomplete };
    }
    match (index.valid, has_suffix(&index.name)) {
        (true, true) if !index.bound && sound_twin() => State::PromotedLeftover,
        (true, _) => State::Healthy,
        (false, true) if ours.contains(&index.oid) => State::OurLeftover,
        (false, true) if !index.bound && sound_twin() => State::Leftover,
        (false, _) => State::Invalid,
    }
}

/// Whether a name ends as PostgreSQL names the two halves of a concurrent rebuild: `_ccnew` or `_ccold`, and a number
/// when that name was taken.
pub fn has_suffix(name: &str) -> bool {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    bare.ends_with("_ccnew") || bare.ends_with("_ccold")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn index(oid: u32, name: &str, valid: bool) -> Index {
        Index {
            oid,
            schema: "public".into(),
            name: name.into(),
            table_oid: 1,
            table_schema: "public".into(),
            table: "t".into(),
            method: "btree".into(),
            definition: "1 btree".into(),
            partitioned: false,
            valid,
            bound: false,
            exclusion: false,
            system: false,
            toast: false,
            allowed: true,
            builder: None,
            pages: 2000,
            size_bytes: 2000 * 8192,
            tuples: 1e6,
        }
    }

    fn state(index: &Index, others: &[Index]) -> State {
        let mut all = others.to_vec();
        all.push(index.clone());
        classify(index, &all, &BTreeSet::new())
    }

    #[test]
    fn an_invalid_copy_beside_a_sound_index_is_a_leftover() {
        assert_eq!(state(&index(2, "i_ccnew", false), &[index(1, "i", true)]), State::Leftover);
        assert_eq!(state(&index(2, "i_ccnew12", false), &[index(1, "i", true)]), State::Leftover);
        assert_eq!(state(&index(2, "i_ccold", false), &[index(1, "i", true)]), State::Leftover);
    }

    #[test]
    fn a_valid_copy_beside_a_sound_index_was_promoted() {
        assert_eq!(state(&index(2, "i_ccnew", true), &[index(1, "i", true)]), State::PromotedLeftover);
    }

    #[test]
    fn a_users_own_name_that_happens_to_end_so_is_left_alone() {
        let mut other = index(1, "i", true);
        other.definition = "2 btree".into();
        assert_eq!(state(&index(2, "mine_ccnew", true), &[other]), State::Healthy);
    }

    #[test]
    fn an_index_of_a_constraint_is_never_a_leftover() {
        let mut constraint = index(2, "u_ccnew", true);
        constraint.bound = true;
        assert_eq!(state(&constraint, &[index(1, "u", true)]), State::Healthy);
    }

    #[test]
    fn what_is_being_built_is_never_a_leftover() {
        let mut building = index(2, "i_ccnew", false);
        building.builder = Some(7);
        assert_eq!(state(&building, &[index(1, "i", true)]), State::Building { pid: 7 });
    }

    #[test]
    fn a_failed_build_is_rebuilt_and_an_incomplete_partitioned_index_is_not() {
        assert_eq!(state(&index(1, "i", false), &[]), State::Invalid);
        let mut parent = index(1, "i", false);
        parent.partitioned = true;
        assert_eq!(state(&parent, &[]), State::Incomplete);
    }

    #[test]
    fn only_an_invalid_index_that_we_know_of_is_ours() {
        let leftover = index(2, "i_ccnew", false);
        let all = [index(1, "i", true), leftover.clone()];
        assert_eq!(classify(&leftover, &all, &BTreeSet::from([2])), State::OurLeftover);
        let promoted = index(2, "i_ccnew", true);
        assert_eq!(classify(&promoted, &all, &BTreeSet::from([2])), State::PromotedLeftover);
    }
}
