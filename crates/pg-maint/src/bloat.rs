//! How much of an index is air, by the best method that the server allows, and never a number without its method.
//!
//! 1. `pgstatindex` (extension pgstattuple) reads every page: exact, for indexes small enough to read.
//! 2. `pageinspect` (superuser) looks at a random sample of pages and gives a 95 % interval.
//! 3. The planner's statistics give an estimate, with a model of deduplication (PostgreSQL 13 and later store equal
//!    keys once with a list of row addresses, which the widely copied SQL estimates do not know, so that they call
//!    healthy low-cardinality indexes empty and never see bloated ones).
//! 4. Where none of them can tell, nothing is claimed.
//!
//! Bloat is `1 - pages it would need / pages it has`, where the need is that of a fresh build with the index's own
//! fill factor.

use maint_core::pg::Error;
use maint_core::pg::connect::Session;
use maint_core::pg::ident::quote_ident;
use sqlx::Row;

use crate::indexes::Index;

/// How a figure was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Every page was read by pgstatindex.
    Exact,
    /// A random sample of pages.
    Sample,
    /// Planner statistics and the deduplication model.
    Statistics,
}

impl Method {
    /// The name as it stands in a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Exact => "pgstatindex",
            Method::Sample => "page-sample",
            Method::Statistics => "statistics",
        }
    }
}

/// A figure with its method.
#[derive(Debug, Clone, Copy)]
pub struct Bloat {
    /// 0 (none) to 1.
    pub ratio: f64,
    /// Half of the 95 % interval, where the method has one.
    pub margin: Option<f64>,
    /// How it was found.
    pub method: Method,
}

/// What this server and role allow.
#[derive(Debug, Clone, Default)]
pub struct Means {
    pgstattuple: Option<String>,
    pageinspect: Option<String>,
    block: f64,
}

/// Up to this many pages an index is read whole (64 MiB).
const READ_WHOLE: u64 = 8192;
/// Pages in a sample: a standard error of about 1.5 points on what is met in practice.
const SAMPLE: i64 = 300;
/// Page header and B-tree special space, in bytes.
const PAGE_OVERHEAD: f64 = 24.0 + 16.0;

/// Finds out what can be used.
///
/// # Errors
/// The server did not answer.
pub async fn means(session: &mut Session) -> Result<Means, Error> {
    let rows = sqlx::query(
        "SELECT e.extname::text AS extname, n.nspname, pg_catalog.current_setting('block_size')::float8 AS block,
                COALESCE(bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE')), false)
                    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS allowed
         FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
         LEFT JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname IN ('pgstatindex', 'bt_page_stats')
         WHERE e.extname IN ('pgstattuple', 'pageinspect') GROUP BY e.extname, n.oid, n.nspname",
    )
    .fetch_all(session.conn())
    .await?;
    let mut means = Means { block: 8192.0, ..Means::default() };
    for row in rows {
        means.block = row.try_get("block")?;
        if !row.try_get::<bool, _>("allowed")? {
            continue;
        }
        let schema: String = row.try_get("nspname")?;
        match row.try_get::<String, _>("extname")?.as_str() {
            "pgstattuple" => means.pgstattuple = Some(schema),
            // pageinspect is for superusers alone, whatever has been granted.
            _ if session.is_superuser() => means.pageinspect = Some(schema),
            _ => {}
        }
    }
    Ok(means)
}

/// The bloat of one B-tree index.
///
/// # Errors
/// `Ok(Err(reason))` where nothing can be said; an error only when the server is gone.
pub async fn bloat(session: &mut Session, index: &Index, means: &Means) -> Result<Result<Bloat, String>, Error> {
    if index.method != "btree" {
        return Ok(Err(format!("no method for {} indexes", index.method)));
    }
    let mut why = Vec::new();
    if let (Some(schema), true) = (&means.pgstattuple, index.pages <= READ_WHOLE) {
        match exact(session, index, schema).await {
            Ok(bloat) => return Ok(Ok(bloat)),
            Err(error @ Error::ConnectionLost { .. }) => return Err(error),
            Err(error) => why.push(format!("pgstatindex: {error}")),
        }
    }
    if let Some(schema) = &means.pageinspect {
        match sample(session, index, schema, means.block).await {
            Ok(bloat) => return Ok(Ok(bloat)),
            Err(error @ Error::ConnectionLost { .. }) => return Err(error),
            Err(error) => why.push(format!("pageinspect: {error}")),
        }
    }
    match statistics(session, index, means.block).await? {
        Some(bloat) => Ok(Ok(bloat)),
        None if why.is_empty() => Ok(Err("no usable statistics; analyze the table, or install pgstattuple".to_owned())),
        None => Ok(Err(why.join("; "))),
    }
}

async fn fill_factor(session: &mut Session, index: &Index) -> Result<f64, Error> {
    let row = sqlx::query(
        "SELECT COALESCE((SELECT option_value::float8 FROM pg_catalog.pg_options_to_table(c.reloptions)
                          WHERE option_name = 'fillfactor'), 90) AS fill
         FROM pg_catalog.pg_class c WHERE c.oid = $1::int8::oid",
    )
    .bind(i64::from(index.oid))
    .fetch_one(session.conn())
    .await?;
    Ok(row.try_get::<f64, _>("fill")? / 100.0)
}

async fn exact(session: &mut Session, index: &Index, schema: &str) -> Result<Bloat, Error> {
    let fill = fill_factor(session, index).await?;
    let sql = format!(
        "SELECT leaf_pages::float8 AS leaf, internal_pages::float8 AS internal, empty_pages::float8 AS empty,
                deleted_pages::float8 AS deleted, NULLIF(avg_leaf_density, 'NaN')::float8 AS density
         FROM {}.pgstatindex($1::int8::oid::regclass)",
        quote_ident(schema)
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(i64::from(index.oid)).fetch_one(session.conn()).await?;
    let leaf: f64 = row.try_get("leaf")?;
    let density = row.try_get::<Option<f64>, _>("density")?.unwrap_or(0.0) / 100.0;
    let internal: f64 = row.try_get("internal")?;
    let dead = row.try_get::<f64, _>("empty")? + row.try_get::<f64, _>("deleted")?;
    let needed = leaf * (density / fill).min(1.0);
    let shrunk = if leaf > 0.0 { needed / leaf } else { 1.0 };
    let (need, has) = (needed + internal * shrunk + 1.0, leaf + internal + dead + 1.0);
    Ok(Bloat { ratio: (1.0 - need / has).max(0.0), margin: None, method: Method::Exact })
}

async fn sample(session: &mut Session, index: &Index, schema: &str, block: f64) -> Result<Bloat, Error> {
    let fill = fill_factor(session, index).await?;
    // Page 0 is the metapage. The size is asked for here and not taken from the catalog: a page past the end is an
    // error, and one not looked at is a hole in the sample.
    let sql = format!(
        "WITH size AS MATERIALIZED (
             SELECT pg_catalog.pg_relation_size($1::int8::oid::regclass)
                        / pg_catalog.current_setting('block_size')::int8 AS pages
         ), picked AS MATERIALIZED (
             SELECT DISTINCT 1 + pg_catalog.floor(pg_catalog.random() * (size.pages - 1))::int8 AS page
             FROM size, pg_catalog.generate_series(1, $2::int8) WHERE size.pages > 1
         )
         SELECT s.type::text AS kind, s.free_size::float8 AS free, s.live_items::float8 AS live,
                s.dead_items::float8 AS dead, size.pages::float8 AS pages
         FROM size, picked, LATERAL {}.bt_page_stats($3, picked.page) s",
        quote_ident(schema)
    );
    let name = format!("{}.{}", quote_ident(&index.schema), quote_ident(&index.name));
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(i64::from(index.oid))
        .bind(SAMPLE)
        .bind(name)
        .fetch_all(session.conn())
        .await?;
    let mut used = Vec::with_capacity(rows.len());
    let mut pages = 1.0_f64;
    for row in &rows {
        pages = row.try_get("pages")?;
        let kind: String = row.try_get("kind")?;
        let (free, live, dead): (f64, f64, f64) = (row.try_get("free")?, row.try_get("live")?, row.try_get("dead")?);
        let alive = if live + dead > 0.0 { live / (live + dead) } else { 0.0 };
        used.push(match kind.as_str() {
            "l" => ((1.0 - free / (block - PAGE_OVERHEAD)) * alive / fill).min(1.0),
            "i" | "r" => 1.0,
            _ => 0.0,
        });
    }
    Ok(from_sample(&used, pages))
}

/// Mean and 95 % interval (normal approximation, with the correction for a finite population of `pages`).
fn from_sample(used: &[f64], pages: f64) -> Bloat {
    let n = used.len().max(1) as f64;
    let mean = used.iter().sum::<f64>() / n;
    let variance = used.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let finite = (1.0 - n / pages.max(n)).max(0.0).sqrt();
    let margin = 1.96 * (variance / n).sqrt() * finite;
    Bloat { ratio: (1.0 - mean).clamp(0.0, 1.0), margin: Some(margin), method: Method::Sample }
}

async fn statistics(session: &mut Session, index: &Index, block: f64) -> Result<Option<Bloat>, Error> {
    let fill = fill_factor(session, index).await?;
    let rows = sqlx::query(
        "SELECT st.avg_width::float8 AS width, st.null_frac::float8 AS nulls, st.n_distinct::float8 AS distinct_values,
                a.attnum <= i.indnkeyatts AS key, i.indisunique AS is_unique,
                a.atttypid IN ('numeric'::regtype, 'float4'::regtype, 'float8'::regtype, 'jsonb'::regtype)
                    OR t.typtype <> 'b' OR t.typcategory = 'A' AS unequal_images,
                COALESCE((SELECT option_value = 'off' FROM pg_catalog.pg_options_to_table(ic.reloptions)
                          WHERE option_name = 'deduplicate_items'), false) AS off,
                i.indnatts > i.indnkeyatts AS includes
         FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
         JOIN pg_catalog.pg_namespace ino ON ino.oid = ic.relnamespace
         JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid
         JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace
         JOIN pg_catalog.pg_attribute a ON a.attrelid = ic.oid AND a.attnum > 0
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         LEFT JOIN pg_catalog.pg_attribute ta ON ta.attrelid = tc.oid AND ta.attnum = i.indkey[a.attnum - 1]
              AND i.indkey[a.attnum - 1] <> 0
         LEFT JOIN pg_catalog.pg_stats st ON NOT st.inherited
              AND (st.schemaname, st.tablename, st.attname) = (
                  CASE WHEN ta.attnum IS NULL THEN ino.nspname ELSE tn.nspname END,
                  CASE WHEN ta.attnum IS NULL THEN ic.relname ELSE tc.relname END,
                  CASE WHEN ta.attnum IS NULL THEN a.attname ELSE ta.attname END)
         WHERE ic.oid = $1::int8::oid AND i.indpred IS NULL ORDER BY a.attnum",
    )
    .bind(i64::from(index.oid))
    .fetch_all(session.conn())
    .await?;
    let mut columns = Vec::with_capacity(rows.len());
    for row in &rows {
        let (Some(width), Some(nulls), Some(distinct)) = (
            row.try_get::<Option<f64>, _>("width")?,
            row.try_get::<Option<f64>, _>("nulls")?,
            row.try_get::<Option<f64>, _>("distinct_values")?,
        ) else {
            return Ok(None);
        };
        let deduplicates = !row.try_get::<bool, _>("unequal_images")?
            && !row.try_get::<bool, _>("off")?
            && !row.try_get::<bool, _>("includes")?;
        columns.push(Column { width, nulls, distinct, deduplicates, unique: row.try_get("is_unique")? });
    }
    if columns.is_empty() || index.tuples < 0.0 || index.pages < 10 {
        return Ok(None);
    }
    let need = predicted_pages(&columns, index.tuples, block, fill);
    let ratio = (1.0 - need / index.pages as f64).clamp(0.0, 1.0);
    Ok(Some(Bloat { ratio, margin: None, method: Method::Statistics }))
}

/// The statistics of one index column.
#[derive(Debug, Clone, Copy)]
struct Column {
    width: f64,
    nulls: f64,
    distinct: f64,
    deduplicates: bool,
    unique: bool,
}

/// Pages of a freshly built B-tree over `tuples` rows.
///
/// Sizes are those of `itup.h` and `nbtree.h`: 8 bytes of tuple header, 4 of line pointer, keys aligned to 8; a list of
/// row addresses has 6 bytes for each, and a build makes it no larger than a tenth of a page (`_bt_load` in nbtsort.c).
fn predicted_pages(columns: &[Column], tuples: f64, block: f64, fill: f64) -> f64 {
    let align = |bytes: f64| (bytes / 8.0).ceil() * 8.0;
    let data: f64 = columns.iter().map(|column| column.width * (1.0 - column.nulls)).sum();
    let key = align(data) + 8.0;
    let usable = (block - PAGE_OVERHEAD) * fill;
    let single = columns.iter().any(|column| column.unique || !column.deduplicates);
    let bytes = if single {
        tuples * (key + 4.0)
    } else {
        let values = |column: &Column| {
            let count = if column.distinct < 0.0 { -column.distinct * tuples } else { column.distinct };
            count.max(1.0) + if column.nulls > 0.0 { 1.0 } else { 0.0 }
        };
        let groups = columns.iter().map(values).product::<f64>().min(tuples.max(1.0));
        let each = tuples / groups;
        if each < 1.5 {
            tuples * (key + 4.0)
        } else {
            let room = ((block * 0.1 - 4.0 - key) / 6.0).floor().max(2.0);
            let lists = (each / room).ceil();
            groups * lists * (key + 4.0) + tuples * 6.0
        }
    };
    let leaves = (bytes / usable).ceil().max(1.0);
    // One downlink a leaf, with a key of about the same size; and the metapage.
    leaves + (leaves * (key + 4.0) / ((block - PAGE_OVERHEAD) * 0.7)).ceil() + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_cardinality_index_is_not_called_bloated() {
        // 200,000 rows of 10 values take 171 pages on a real server.
        let column = Column { width: 4.0, nulls: 0.0, distinct: 10.0, deduplicates: true, unique: false };
        let pages = predicted_pages(&[column], 200_000.0, 8192.0, 0.9);
        assert!((155.0..190.0).contains(&pages), "{pages}");
    }

    #[test]
    fn a_unique_bigint_index_has_its_known_size() {
        // 1,000,000 rows of bigint take 2745 pages on a real server.
        let column = Column { width: 8.0, nulls: 0.0, distinct: -1.0, deduplicates: true, unique: true };
        let pages = predicted_pages(&[column], 1_000_000.0, 8192.0, 0.9);
        assert!((2650.0..2850.0).contains(&pages), "{pages}");
    }

    #[test]
    fn a_sample_has_an_interval_and_a_whole_reading_has_none() {
        let half: Vec<f64> = (0..300).map(|i| if i % 2 == 0 { 1.0 } else { 0.0 }).collect();
        let bloat = from_sample(&half, 100_000.0);
        assert!((bloat.ratio - 0.5).abs() < 1e-9);
        assert!((0.04..0.07).contains(&bloat.margin.unwrap()));
        assert!(from_sample(&half, 300.0).margin.unwrap() < 1e-9);
    }

    #[test]
    fn an_empty_sample_claims_nothing_impossible() {
        assert!((0.0..=1.0).contains(&from_sample(&[], 1.0).ratio));
    }
}
