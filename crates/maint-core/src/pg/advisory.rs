//! One run at a time per database, across hosts: a session-level advisory lock.
//!
//! The lock lives as long as the session, so a killed program leaves none behind. That is also its weakness: a pooler in
//! transaction mode hands the session's next statement to another server connection, and the lock with it to a stranger.
//! [`detect_transaction_pooler`] has to come first where a pooler is possible.

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Row};

use super::connect::{Session, timestamp};
use super::error::Error;

/// A lock that this program can take. Locks are per database: the same key in two databases is two locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvisoryLock {
    class: i32,
    object: i32,
}

/// What came of trying to take a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is ours until [`AdvisoryLock::release`], or the session's end.
    Acquired(AdvisoryLock),
    /// Somebody else has it.
    Held(Holder),
}

/// Who has a lock, as far as this role may know. All are `None` when it was let go while we looked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// The backend's process id.
    pub pid: Option<i32>,
    /// What it calls itself.
    pub application_name: Option<String>,
    /// When its session began: the lock is no older. Another role's needs `pg_read_all_stats`.
    pub since: Option<Timestamp>,
}

impl AdvisoryLock {
    /// Tries to take the lock for `key`, without waiting.
    ///
    /// `class` keeps this project's locks apart from the application's. The key is hashed here, not by the server, whose
    /// hash functions may change with its version.
    pub async fn try_acquire(session: &mut Session, class: i32, key: &str) -> Result<Outcome, Error> {
        let lock = Self { class, object: hash(key) };
        let sql = format!("SELECT pg_catalog.pg_try_advisory_lock({}, {}) AS done", lock.class, lock.object);
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session.conn()).await?;
        if row.try_get("done")? {
            return Ok(Outcome::Acquired(lock));
        }
        Ok(Outcome::Held(lock.holder(session).await?))
    }

    async fn holder(self, session: &mut Session) -> Result<Holder, Error> {
        // pg_locks shows the two halves as oids; objsubid 2 marks a key of two integers.
        let sql = format!(
            "SELECT l.pid, a.application_name, round(extract(epoch FROM a.backend_start) * 1000000)::int8 AS since_us \
             FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 \
             AND l.classid = {} AND l.objid = {} AND l.database = \
             (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())",
            self.class.cast_unsigned(),
            self.object.cast_unsigned()
        );
        let Some(row) = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(session.conn()).await? else {
            return Ok(Holder::default());
        };
        let since: Option<i64> = row.try_get("since_us")?;
        Ok(Holder {
            pid: row.try_get("pid")?,
            application_name: row.try_get::<Option<String>, _>("application_name")?.filter(|name| !name.is_empty()),
            since: if since.is_some() { Some(timestamp(&row, "since_us")?) } else { None },
        })
    }

    /// Lets the lock go; `false` when the session did not have it.
    pub async fn release(self, session: &mut Session) -> Result<bool, Error> {
        let sql = format!("SELECT pg_catalog.pg_advisory_unlock({}, {}) AS done", self.class, self.object);
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(session.conn()).await?;
        Ok(row.try_get("done")?)
    }
}

/// The first four bytes of the key's SHA-256.
fn hash(key: &str) -> i32 {
    Sha256::digest(key.as_bytes()).iter().take(4).fold(0_i32, |sum, byte| (sum << 8) | i32::from(*byte))
}

/// Fails with [`Error::Pooler`] when two sessions that are open at once do not have a server process each, or when one
/// of them is not served by the process that it began with.
///
/// Nothing else a client can see gives a transaction pooler away for sure. While other clients keep the pooler's server
/// connections moving it can pass this test by luck; with a pool to itself it cannot.
pub async fn detect_transaction_pooler(a: &mut Session, b: &mut Session) -> Result<(), Error> {
    let begun = (a.backend().pid, b.backend().pid);
    for _ in 0..3 {
        let now = (backend_pid(a).await?, backend_pid(b).await?);
        if now.0 == now.1 {
            let message = format!("two open sessions report one server process (pid {})", now.0);
            return Err(Error::Pooler { message });
        }
        if now != begun {
            let message = format!("the server processes of two sessions changed from {begun:?} to {now:?}");
            return Err(Error::Pooler { message });
        }
    }
    Ok(())
}

async fn backend_pid(session: &mut Session) -> Result<i32, Error> {
    Ok(sqlx::raw_sql("SELECT pg_catalog.pg_backend_pid()").fetch_one(session.conn()).await?.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_hashes_the_same_everywhere() {
        // printf reindex | sha256sum
        assert_eq!(hash("reindex").cast_unsigned(), 0x2ad9_45a5);
        assert_ne!(hash("vacuum"), hash("reindex"));
    }
}
