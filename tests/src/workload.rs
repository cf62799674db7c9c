//! A database in the state years of neglect leave it in: something for every part of the upkeep to find.
//!
//! All of it is deterministic and really done by the server, nothing is written into catalogs. The tables have default
//! storage parameters; that autovacuum does not clean up meanwhile is for the server's settings to say
//! (`autovacuum = off`, as [`crate::shared`] has it).

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::postgres::Postgres;
use crate::wait_until;

const SQL: &str = include_str!("workload.sql");

/// Two fifths of its tuples are dead.
pub const DEAD_TUPLES: &str = "orders";
/// Two thirds of these indexes or more are free space.
pub const BLOATED_INDEXES: [&str; 2] = ["events_token_idx", "events_pkey"];
/// Two indexes with one definition.
pub const DUPLICATES: [&str; 2] = ["orders_customer_id_idx", "orders_customer_id_copy_idx"];
/// What a cancelled `REINDEX INDEX CONCURRENTLY` of `accounts_email_idx` left.
pub const INVALID_INDEX: &str = "accounts_email_idx_ccnew";
/// Twenty times larger than when it was analysed.
pub const STALE_STATISTICS: &str = "readings";
/// A table without statistics.
pub const NEVER_ANALYSED: &str = "imports";
/// A partitioned table without statistics of its own, with twelve partitions that have them.
pub const PARTITIONED: &str = "measurements";
/// A table whose name must be quoted with care.
pub const ODD_NAME: &str = "We\"ird Näme.x";
/// A table with dead values in its TOAST table.
pub const TOASTED: &str = "documents";
/// A table whose identity column has used nine tenths of an integer's range.
pub const NEARLY_FULL_SEQUENCE: &str = "tickets_id_seq";

/// What was made.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    /// Size of the database.
    pub size_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Fills a database of `server`, which should be empty. At scale 1 this takes a few seconds and about 100 MB; rows grow in
/// proportion to `scale`, and scales below 0.02 are taken as that.
pub fn fill(server: &Postgres, db: &str, scale: f64) -> Result<Filled> {
    let begin = Instant::now();
    let scale = if scale.is_finite() { scale.clamp(0.02, 1000.0) } else { 1.0 };
    let sizes = [
        ("orders", 150_000.0),
        ("events", 160_000.0),
        ("accounts", 50_000.0),
        ("readings", 100_000.0),
        ("imports", 50_000.0),
        ("measurements", 60_000.0),
        ("odd", 5_000.0),
        ("documents", 2_500.0),
    ];
    let variables: String = sizes
        .iter()
        .flat_map(|(name, rows)| ["\\set ", name, " ", &format!("{:.0}\n", rows * scale)].map(str::to_owned))
        .collect();
    server.psql(db, &format!("{variables}{SQL}"))?;
    leave_invalid_index(server, db)?;
    let size = server.psql(db, "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")?;
    let size_bytes =
        size.parse().map_err(|_| Error::Sql { db: db.to_owned(), message: format!("no size but: {size}") })?;
    Ok(Filled { size_bytes, elapsed: begin.elapsed() })
}

/// Starts a concurrent rebuild while another session holds an old snapshot, and cancels it while it waits for that: the
/// new index is built by then, every write pays for it, and no query may use it.
fn leave_invalid_index(server: &Postgres, db: &str) -> Result<()> {
    let holder = server.psql_background(db, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;")?;
    let mut rebuild = server.psql_background(db, "")?;
    rebuild.send_nowait("REINDEX INDEX CONCURRENTLY accounts_email_idx")?;
    let sql = format!(
        "SELECT count(*) FROM pg_catalog.pg_stat_progress_create_index \
         WHERE pid = {} AND phase = 'waiting for old snapshots'",
        rebuild.pid()
    );
    wait_until("the rebuild waits for an old snapshot", Duration::from_mins(1), || {
        server.psql(db, &sql).is_ok_and(|n| n == "1")
    })?;
    rebuild.cancel()?;
    match rebuild.finish() {
        Err(Error::Sql { message, .. }) if message.contains("57014") => {}
        Err(other) => return Err(other),
        Ok(_) => {
            let message = "REINDEX CONCURRENTLY was not cancelled".into();
            return Err(Error::Sql { db: db.to_owned(), message });
        }
    }
    rebuild.close()?;
    holder.close()
}
