//! One server for all tests of a binary: a server each would cost more than the tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::postgres::Postgres;
use crate::setup;

/// The test binary's server of this major version, started by whoever asks first; tests take a database each with
/// [`Postgres::fresh_db`]. Autovacuum is off, so that what a test left stays as it left it. Tests that stop, freeze or
/// fill a server start one of their own instead.
///
/// It is never dropped: the end of the process stops it.
pub fn shared(major: u32) -> Result<&'static Postgres> {
    static SERVERS: Mutex<BTreeMap<u32, &'static Postgres>> = Mutex::new(BTreeMap::new());
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = servers.get(&major) {
        return Ok(server);
    }
    let mut builder = Postgres::builder(major)
        .setting("track_counts", "on")
        .setting("autovacuum", "off")
        .setting("max_prepared_transactions", "10")
        .setting("max_connections", "60");
    if setup::installation(major)?.has_module("pg_stat_statements") {
        builder = builder.setting("shared_preload_libraries", "pg_stat_statements");
    }
    let server: &'static Postgres = Box::leak(Box::new(builder.start()?));
    servers.insert(major, server);
    Ok(server)
}
