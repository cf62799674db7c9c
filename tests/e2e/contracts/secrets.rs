//! A password never leaves the place it was given in.

use std::fs;
use std::path::Path;

use testbed::{Postgres, run};

use super::{assert_no_panic, pg_maint};

const PASSWORD: &str = "Tr0ub4dor-and-3@/:horse";
/// As it stands in a URL.
const ENCODED: &str = "Tr0ub4dor-and-3%40%2F%3Ahorse";
/// No part of it may be seen either.
const TRACES: [&str; 2] = ["Tr0ub4dor", "horse"];

fn files_under(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { files_under(&path, found) } else { found.push(path) }
    }
}

#[test]
fn the_password_is_in_no_output_and_in_no_file() {
    let server = Postgres::builder(15).auth_password(PASSWORD).setting("autovacuum", "off").start().unwrap();
    server.psql("postgres", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n; DELETE FROM t;").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let port = server.port();
    let good = [
        format!("postgres://postgres:{ENCODED}@127.0.0.1:{port}/postgres"),
        format!("host=127.0.0.1 port={port} user=postgres dbname=postgres password='{PASSWORD}'"),
    ];
    let commands: [&[&str]; 7] = [
        &["vacuum-analyze", "--every", "-vvv"],
        &["monitor-connections", "-vvv", "-o", "nagios"],
        &["plan", "-vvv", "-o", "ndjson"],
        &["reindex-tables", "-vvv", "-o", "json"],
        &["update-statistics", "-vvv", "-o", "prometheus"],
        &["config", "show", "-vvv"],
        &["config", "show", "-o", "json"],
    ];
    let mut runs = Vec::new();
    for dsn in &good {
        for command in commands {
            let mut by_variable = pg_maint(dir.path(), command);
            by_variable.env("DATABASE_URL", dsn);
            runs.push((by_variable, true));
            let mut by_flag = pg_maint(dir.path(), command);
            by_flag.args(["--dsn", dsn]);
            runs.push((by_flag, true));
        }
    }
    // Mistakes of every kind, with the password in them.
    let bad = [
        format!("postgres://postgres:{ENCODED}@127.0.0.1:1/postgres"),
        format!("postgres://postgres:{ENCODED}@127.0.0.1:{port}/no_such_database"),
        format!("postgres://nobody:{ENCODED}@127.0.0.1:{port}/postgres"),
        format!("postgres://postgres:{ENCODED}@127.0.0.1:99999/postgres"),
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"),
        format!("postgres://postgres:{ENCODED}@127.0.0.1:{port}/postgres?sslmode=maybe"),
        format!("postgres://postgres:{ENCODED}@127.0.0.1:{port}/postgres?no_such_parameter=1"),
        format!("postgres://postgres:{ENCODED}@127.0.0.1:{port}/postgres?sslmode=require"),
        format!("mysql://postgres:{ENCODED}@127.0.0.1:{port}/postgres"),
        format!("host=127.0.0.1 port={port} user=postgres password='{PASSWORD}"),
        format!("host=127.0.0.1 port={port} user=postgres password={PASSWORD} oops"),
    ];
    for dsn in &bad {
        for command in ["plan", "monitor-connections", "vacuum-analyze"] {
            let mut by_variable = pg_maint(dir.path(), &[command, "-vvv", "-o", "ndjson"]);
            by_variable.env("DATABASE_URL", dsn);
            runs.push((by_variable, false));
        }
        // In a place where no connection string belongs.
        runs.push((pg_maint(dir.path(), &[dsn]), false));
        runs.push((pg_maint(dir.path(), &["plan", dsn]), false));
        runs.push((pg_maint(dir.path(), &["plan", "--min-score", dsn]), false));
    }
    for (mut command, works) in runs {
        let out = run(&mut command).unwrap();
        assert_eq!(out.code < 2, works, "{command:?}: {out}");
        assert_no_panic(&out);
        let text = format!("{}{}", out.stdout, out.stderr);
        for trace in TRACES {
            assert!(!text.contains(trace), "{trace} is in the output of {command:?}: {out}");
        }
    }
    let mut files = Vec::new();
    files_under(dir.path(), &mut files);
    assert!(files.iter().any(|path| path.ends_with("journal.ndjson")), "{files:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(TRACES.iter().all(|trace| !text.contains(trace)), "{}", path.display());
    }
    assert!(TRACES.iter().all(|trace| !server.log().contains(trace)), "the server logged it");
}
