//! What every program keeps, whatever it does: exit codes, configuration, secrets, the shape of its output, the journal.
//! Checked on the built `pg-maint` with a real server.

mod configuration;
mod journal;
mod prometheus;
pub(crate) mod schema;
mod secrets;
mod streams;
mod table;
mod usage;

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testbed::{Output, Postgres, run, shared, tool};

/// A database with one table that needs a vacuum, and a state directory.
struct Place {
    server: &'static Postgres,
    db: String,
    state: TempDir,
}

impl Place {
    fn new(prefix: &str) -> Self {
        let server = shared(15).unwrap();
        let db = server.fresh_db(prefix).unwrap();
        server
            .psql(
                &db,
                "CREATE TABLE orders AS SELECT g AS id, g AS n FROM generate_series(1, 5000) g;
                 VACUUM ANALYZE orders;
                 DELETE FROM orders WHERE id <= 3000;
                 SELECT pg_stat_force_next_flush();",
            )
            .unwrap();
        Self { server, db, state: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> &Path {
        self.state.path()
    }

    /// `pg-maint` that finds the database through `DATABASE_URL`.
    fn pg_maint(&self, args: &[&str]) -> Command {
        let mut command = pg_maint(self.dir(), args);
        command.env("DATABASE_URL", self.server.url(&self.db));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        run(&mut self.pg_maint(args)).unwrap()
    }

    fn vacuums(&self) -> String {
        let sql = "SELECT sum(vacuum_count + analyze_count) FROM pg_stat_user_tables WHERE relname = 'orders'";
        self.server.psql(&self.db, sql).unwrap()
    }
}

/// `pg-maint` that finds nothing but what the test gives it.
fn pg_maint(state: &Path, args: &[&str]) -> Command {
    let mut command = tool("pg-maint", state).unwrap();
    command.args(args);
    command
}

/// A panic would show in one of these words.
#[track_caller]
fn assert_no_panic(out: &Output) {
    for word in ["panicked", "RUST_BACKTRACE", "thread 'main'"] {
        assert!(!out.stderr.contains(word) && !out.stdout.contains(word), "{out}");
    }
    assert_ne!(out.code, 101, "{out}");
}

#[test]
fn nothing_fails_on_a_server_where_nothing_is_wrong() {
    let place = Place::new("whole");
    for args in [["vacuum-analyze", "--every"], ["update-statistics", "--every"], ["reindex-tables", "--every"]] {
        let out = place.run(&args);
        assert_eq!(out.code, 0, "{args:?}: {out}");
    }
}
