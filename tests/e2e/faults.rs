//! Faults and their healthy twins: what must be found, named and survived, and what must stay silent.

use serde_json::Value;
use testbed::{Output, Pgbouncer, Postgres, records, run, run_fed, shared, tool};

fn maint(server: &Postgres, db: &str, state: &tempfile::TempDir, args: &[&str]) -> Output {
    let mut command = tool("pg-maint", state.path()).unwrap();
    run(command.env("DATABASE_URL", server.url(db)).args(args)).unwrap()
}

fn as_role(server: &Postgres, role: &str, db: &str, state: &tempfile::TempDir, args: &[&str]) -> Output {
    let mut command = tool("pg-maint", state.path()).unwrap();
    run(command.env("DATABASE_URL", server.url_as(role, "secret", db)).args(args)).unwrap()
}

fn state() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn fresh(major: u32, name: &str, sql: &str) -> (&'static Postgres, String) {
    let server = shared(major).unwrap();
    let db = server.fresh_db(name).unwrap();
    server.psql(&db, sql).unwrap();
    (server, db)
}

/// The records with this status.
fn with_status(output: &Output, status: &str) -> Vec<Value> {
    let all = records(&output.stdout).unwrap();
    all.into_iter().filter(|r| r["data"]["status"] == status && r["type"] != "maint.summary.v1").collect()
}

fn names(records: &[Value]) -> Vec<&str> {
    records.iter().filter_map(|r| r["subject"].as_str()).collect()
}

const DEAD: &str =
    "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 5000); DELETE FROM t WHERE a % 2 = 0;";
const VACUUM: &[&str] = &["vacuum-analyze", "-n", "public", "-o", "ndjson"];

#[test]
fn dead_rows_that_a_snapshot_still_needs_are_reported_with_its_holder() {
    for major in [15, 17, 18] {
        let (server, db) =
            fresh(major, "horizon", "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 5000);");
        let mut holder = server.psql_background(&db, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;").unwrap();
        server.psql(&db, "DELETE FROM t WHERE a % 2 = 0").unwrap();
        let output = maint(server, &db, &state(), VACUUM);
        assert_eq!(output.code, 1, "{major}: {output}");
        let found = with_status(&output, "ineffective");
        assert_eq!(names(&found), ["public.t"], "{output}");
        assert!(found[0]["data"]["holder"].as_str().unwrap().contains(&format!("pid {}", holder.pid())), "{output}");
        holder.send("COMMIT").unwrap();
        let output = maint(server, &db, &state(), VACUUM);
        assert_eq!(output.code, 0, "{major}: {output}");
    }
}

#[test]
fn a_forgotten_prepared_transaction_is_named_by_its_gid() {
    let (server, db) = fresh(
        15,
        "prepared",
        "CREATE TABLE t (a int); CREATE TABLE u (a int); INSERT INTO t SELECT generate_series(1, 5000);",
    );
    server.psql(&db, "BEGIN; INSERT INTO u VALUES (1); PREPARE TRANSACTION 'forgotten order 7';").unwrap();
    server.psql(&db, "DELETE FROM t WHERE a % 2 = 0").unwrap();
    let output = maint(server, &db, &state(), VACUUM);
    server.psql(&db, "ROLLBACK PREPARED 'forgotten order 7'").unwrap();
    assert_eq!(output.code, 1, "{output}");
    assert!(output.stdout.contains("forgotten order 7"), "{output}");
}

#[test]
fn a_snapshot_in_another_database_is_no_reason_to_complain() {
    let (server, db) = fresh(15, "twin", DEAD);
    let other = server.fresh_db("elsewhere").unwrap();
    let holder = server.psql_background(&other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;").unwrap();
    let output = maint(server, &db, &state(), VACUUM);
    assert_eq!(output.code, 0, "{output}");
    holder.close().unwrap();
}

#[test]
fn a_role_without_the_privilege_changes_nothing_and_is_told_so() {
    for major in [15, 17, 18] {
        let (server, db) = fresh(major, "privilege", DEAD);
        let role = format!("nobody_{db}");
        server.role(&role, "secret", "").unwrap();
        let output = as_role(server, &role, &db, &state(), VACUUM);
        assert_eq!(output.code, 3, "{major}: {output}");
        assert_eq!(names(&with_status(&output, "denied")), ["public.t"]);
        let owner = format!("owner_{db}");
        server.role(&owner, "secret", "").unwrap();
        server.psql(&db, &format!("ALTER TABLE t OWNER TO \"{owner}\"")).unwrap();
        let output = as_role(server, &owner, &db, &state(), VACUUM);
        assert_eq!(output.code, 0, "{major}: {output}");
    }
}

#[test]
fn a_blind_role_does_not_report_health() {
    let (server, db) = fresh(15, "blind", "");
    let role = format!("blind_{db}");
    server.role(&role, "secret", "").unwrap();
    let args = ["monitor-connections", "-o", "ndjson"];
    let output = as_role(server, &role, &db, &state(), &args);
    assert_eq!(output.code, 3, "{output}");
    assert!(names(&with_status(&output, "unknown")).contains(&"idle in transaction"));
    server.psql("postgres", &format!("GRANT pg_monitor TO \"{role}\"")).unwrap();
    let output =
        as_role(server, &role, &db, &state(), &["monitor-connections", "-o", "ndjson", "--idle-in-transaction", "1h"]);
    assert!(with_status(&output, "unknown").is_empty(), "{output}");
}

#[test]
fn a_full_server_role_or_database_is_critical_and_says_which() {
    let server = Postgres::builder(15)
        .setting("max_connections", "8")
        .setting("superuser_reserved_connections", "3")
        .start()
        .unwrap();
    server.role("app", "secret", "").unwrap();
    server.role("small", "secret", "").unwrap();
    server.psql("postgres", "ALTER ROLE small CONNECTION LIMIT 1; CREATE DATABASE tight CONNECTION LIMIT 1").unwrap();
    let state = state();
    let args = ["monitor-connections", "-o", "nagios"];
    assert_eq!(as_role(&server, "app", "postgres", &state, &["plan"]).code, 0);
    let psql = |url: &str| {
        let bin = server.installation().bin.join("psql");
        std::process::Command::new(bin).args([url, "-qc", "SELECT pg_sleep(60)"]).spawn().unwrap()
    };
    let busy = |count: &str, role: &str| {
        testbed::wait_until("sessions are there", std::time::Duration::from_secs(10), || {
            let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND state = 'active'");
            server.psql("postgres", &sql).unwrap().trim() == count
        })
        .unwrap();
    };
    let mut held = vec![psql(&server.url_as("small", "secret", "postgres"))];
    busy("1", "small");
    let output = as_role(&server, "small", "postgres", &state, &args);
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stdout.starts_with("PG-MAINT CRITICAL") && output.stdout.contains("limit of the role"), "{output}");
    held.push(psql(&server.url_as("app", "secret", "tight")));
    busy("1", "app");
    let output = as_role(&server, "app", "tight", &state, &args);
    assert!(output.code == 2 && output.stdout.contains("limit of the database"), "{output}");
    for count in ["2", "3", "4"] {
        // The session that counts may itself be in the way for a moment.
        loop {
            let mut child = psql(&server.url_as("app", "secret", "postgres"));
            std::thread::sleep(std::time::Duration::from_millis(200));
            if child.try_wait().unwrap().is_none() {
                held.push(child);
                break;
            }
        }
        busy(count, "app");
    }
    let output = as_role(&server, "app", "postgres", &state, &args);
    assert!(output.code == 2 && output.stdout.contains("max_connections of the server"), "{output}");
    for mut child in held {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn a_server_that_is_down_is_critical_and_a_wrong_password_is_unknown() {
    let server = Postgres::builder(15).auth_password("right").start().unwrap();
    let state = state();
    let output = as_role(&server, "postgres", "postgres", &state, &["plan"]);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("login refused") && !output.stderr.contains("secret"), "{output}");
    server.stop_immediate().unwrap();
    let output = as_role(&server, "postgres", "postgres", &state, &["vacuum-analyze", "-o", "nagios"]);
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stdout.starts_with("PG-MAINT CRITICAL"), "{output}");
    assert_eq!(output.stdout.lines().count(), 1);
}

#[test]
fn a_dry_run_writes_nothing() {
    let server = Postgres::builder(15)
        .setting("autovacuum", "off")
        .setting("wal_level", "minimal")
        .setting("max_wal_senders", "0")
        .start()
        .unwrap();
    server.psql("postgres", DEAD).unwrap();
    let state = state();
    let commands = [
        &["vacuum-analyze", "--dry-run"][..],
        &["reindex-tables", "--dry-run", "--every"],
        &["update-statistics", "--dry-run"],
        &["plan"],
    ];
    // Whoever reads a row first may write a hint or prune its page, with checksums to the log too. That is the server's
    // own and dries up; what a dry run wrote would be written every time.
    let lsn = || server.psql("postgres", "SELECT pg_current_wal_insert_lsn()").unwrap();
    let silent = (0..4).any(|_| {
        let before = lsn();
        for args in commands {
            let output = maint(&server, "postgres", &state, args);
            assert_eq!(output.code, 0, "{output}");
        }
        lsn() == before
    });
    assert!(silent, "every round of dry runs wrote to the log");
    assert!(!state.path().join("journal").exists());
}

#[test]
fn partitioned_parents_expressions_and_extended_statistics_get_what_they_lack() {
    for major in [15, 17, 18] {
        let (server, db) = fresh(
            major,
            "statistics",
            "CREATE TABLE p (a int, b int) PARTITION BY RANGE (a);
             CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000);
             INSERT INTO p SELECT g % 1000, g FROM generate_series(1, 3000) g;
             CREATE TABLE e (a int, b int); INSERT INTO e SELECT g, g % 7 FROM generate_series(1, 3000) g;",
        );
        server.psql(&db, "ANALYZE p1; ANALYZE e").unwrap();
        server
            .psql(&db, "CREATE INDEX e_x ON e ((a + b)); CREATE STATISTICS e_s (dependencies) ON a, b FROM e")
            .unwrap();
        let args = ["update-statistics", "-n", "public", "--missing", "-o", "ndjson"];
        let output = maint(server, &db, &state(), &args);
        assert_eq!(output.code, 0, "{major}: {output}");
        let mut done = with_status(&output, "ok");
        done.sort_by_key(|r| r["subject"].to_string());
        assert_eq!(names(&done), ["public.e", "public.p"], "{major}: {output}");
        let seen = |sql: &str| server.psql(&db, sql).unwrap().trim().to_owned();
        assert_eq!(seen("SELECT count(*) FROM pg_stats WHERE tablename = 'p' AND inherited"), "2");
        assert_eq!(seen("SELECT count(*) FROM pg_stats WHERE tablename = 'e_x'"), "1");
        assert_eq!(seen("SELECT count(*) FROM pg_stats_ext WHERE statistics_name = 'e_s'"), "1");
        let output = maint(server, &db, &state(), &args);
        assert_eq!(names(&with_status(&output, "ok")), Vec::<&str>::new(), "{major}: {output}");
    }
}

#[test]
fn leftovers_are_told_from_indexes_that_only_look_like_them() {
    let (server, db) = fresh(
        15,
        "leftovers",
        "CREATE TABLE t (a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 1000) g;
         CREATE INDEX t_a ON t (a); CREATE INDEX t_b ON t (b); CREATE INDEX mine_ccnew ON t (a, b);",
    );
    for index in ["t_a", "t_b"] {
        let reader = server.psql_background(&db, "BEGIN; SELECT count(*) FROM t;").unwrap();
        server.psql(&db, &format!("SET lock_timeout = '300ms'; REINDEX INDEX CONCURRENTLY {index}")).unwrap_err();
        reader.close().unwrap();
        if index == "t_a" {
            // A plain REINDEX makes the leftover valid: a full duplicate.
            server.psql(&db, "REINDEX TABLE t").unwrap();
        }
    }
    let all = || {
        server
            .psql(&db, "SELECT string_agg(indexname, ',' ORDER BY indexname) FROM pg_indexes WHERE tablename = 't'")
            .unwrap()
            .trim()
            .to_owned()
    };
    let before = all();
    let state = state();
    let output = maint(server, &db, &state, &["reindex-tables", "-o", "ndjson"]);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(with_status(&output, "warning").len(), 2, "{before} {output}");
    assert_eq!(all(), before);
    let output = maint(server, &db, &state, &["reindex-tables", "--cleanup-leftovers", "-o", "ndjson"]);
    assert_eq!(output.code, 3, "no terminal, no --yes: {output}");
    assert_eq!(all(), before);
    let output = maint(server, &db, &state, &["reindex-tables", "--cleanup-leftovers", "--yes", "-o", "ndjson"]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(all(), "mine_ccnew,t_a,t_b");
    assert_eq!(maint(server, &db, &state, &["reindex-tables"]).code, 0);
}

#[test]
fn a_build_in_progress_is_left_alone() {
    let (server, db) = fresh(
        15,
        "building",
        "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000); CREATE INDEX t_a ON t (a);",
    );
    let writer = server.psql_background(&db, "BEGIN; INSERT INTO t VALUES (0);").unwrap();
    let mut builder = server.psql_background(&db, "SELECT 1;").unwrap();
    builder.send_nowait("REINDEX INDEX CONCURRENTLY t_a;").unwrap();
    testbed::wait_until("the build waits", std::time::Duration::from_secs(10), || {
        server.psql(&db, "SELECT count(*) FROM pg_index WHERE NOT indisvalid").unwrap().trim() == "1"
    })
    .unwrap();
    let output = maint(server, &db, &state(), &["reindex-tables", "--cleanup-leftovers", "--yes", "-o", "ndjson"]);
    assert_eq!(output.code, 1, "{output}");
    let found = with_status(&output, "deferred");
    assert!(
        found.iter().any(|r| r["data"]["message"].as_str().unwrap().contains(&format!("pid {}", builder.pid()))),
        "{output}"
    );
    writer.close().unwrap();
    builder.finish().unwrap();
    assert_eq!(maint(server, &db, &state(), &["reindex-tables"]).code, 0);
}

#[test]
fn a_rebuild_that_fails_on_duplicates_cleans_up_after_itself() {
    let (server, db) = fresh(15, "duplicates", "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1);");
    server.psql(&db, "CREATE UNIQUE INDEX CONCURRENTLY t_u ON t (a)").unwrap_err();
    let state = state();
    let output = maint(server, &db, &state, &["reindex-tables", "-o", "ndjson"]);
    assert_eq!(output.code, 2, "{output}");
    let all = || {
        server
            .psql(&db, "SELECT string_agg(indexname, ',') FROM pg_indexes WHERE tablename = 't'")
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(all(), "t_u", "{output}");
    server.psql(&db, "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)").unwrap();
    let output = maint(server, &db, &state, &["reindex-tables", "-o", "ndjson"]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(
        server.psql(&db, "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_u'::regclass").unwrap().trim(),
        "t"
    );
}

#[test]
fn after_the_swap_the_index_counts_as_rebuilt() {
    let (server, db) = fresh(
        15,
        "swapped",
        "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000); CREATE INDEX t_a ON t (a);",
    );
    // A reader of the table does not keep the new index from being swapped in, only the old one from being dropped.
    let reader = server.psql_background(&db, "BEGIN; SELECT count(*) FROM t;").unwrap();
    let state = state();
    let args =
        ["reindex-tables", "--every", "-n", "public", "--lock-timeout", "300ms", "--retries", "0", "-o", "ndjson"];
    let output = maint(server, &db, &state, &args);
    assert_eq!(output.code, 1, "{output}");
    assert!(output.stdout.contains("rebuilt, old copy left") && output.stdout.contains("t_a_ccold"), "{output}");
    reader.close().unwrap();
    let output = maint(server, &db, &state, &["reindex-tables", "-o", "ndjson"]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(names(&with_status(&output, "ok")), ["public.t_a_ccold"], "{output}");
}

#[test]
fn what_time_did_not_allow_is_listed_and_done_by_the_next_run() {
    let (server, db) = fresh(15, "budget", DEAD);
    let state = state();
    let output =
        maint(server, &db, &state, &["vacuum-analyze", "-n", "public", "--max-duration", "0s", "-o", "ndjson"]);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(names(&with_status(&output, "left")), ["public.t"]);
    assert_eq!(maint(server, &db, &state, VACUUM).code, 0);
    let output = maint(server, &db, &state, &["vacuum-analyze", "--every", "--window", "Sat 01:00-01:01 UTC,"]);
    assert_eq!(output.code, 3, "{output}");
}

#[test]
fn two_runs_in_one_database_do_not_meet() {
    let (server, db) = fresh(15, "lock", DEAD);
    let locked = server.psql_background(&db, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE;").unwrap();
    let first = state();
    let mut command = tool("pg-maint", first.path()).unwrap();
    let running = testbed::start(command.env("DATABASE_URL", server.url(&db)).args([
        "vacuum-analyze",
        "-n",
        "public",
        "--lock-timeout",
        "30s",
    ]))
    .unwrap();
    testbed::wait_until("the first run waits", std::time::Duration::from_secs(20), || {
        server.psql(&db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'VACUUM%' AND wait_event_type = 'Lock'").unwrap().trim() == "1"
    })
    .unwrap();
    let output = maint(server, &db, &state(), VACUUM);
    assert_eq!(output.code, 75, "{output}");
    assert!(output.stderr.contains("another run is under way"), "{output}");
    locked.close().unwrap();
    assert_eq!(running.finish(std::time::Duration::from_secs(30)).unwrap().code, 0);
}

#[test]
fn a_pooler_in_transaction_mode_is_refused() {
    let (server, db) = fresh(15, "pooler", DEAD);
    let pooler = Pgbouncer::start(server).unwrap();
    let state = state();
    let mut command = tool("pg-maint", state.path()).unwrap();
    let output = run(command.env("DATABASE_URL", pooler.url(&db)).args(VACUUM)).unwrap();
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("pooler"), "{output}");
}

#[test]
fn plans_that_do_not_fit_change_nothing() {
    let (server, db) = fresh(
        15,
        "plans",
        "CREATE TABLE \"We\"\"ird Näme.x\" (a int); INSERT INTO \"We\"\"ird Näme.x\" SELECT generate_series(1, 5000);",
    );
    let state = state();
    let plan = maint(server, &db, &state, &["plan", "-n", "public", "-o", "ndjson"]);
    assert_eq!(plan.code, 0, "{plan}");
    let apply = |text: &str| {
        let mut command = tool("pg-maint", state.path()).unwrap();
        run_fed(command.env("DATABASE_URL", server.url(&db)).args(["apply", "-", "-o", "ndjson"]), text).unwrap()
    };
    let vacuums = || server.psql(&db, "SELECT sum(vacuum_count) FROM pg_stat_user_tables").unwrap().trim().to_owned();
    assert_eq!(apply(&format!("{}\n{{\"type\":\"nonsense\"}}\n", plan.stdout)).code, 3);
    let first = plan.stdout.lines().next().unwrap();
    let mut other: Value = serde_json::from_str(first).unwrap();
    other["data"]["server"] = "1".into();
    let output = apply(&other.to_string());
    assert!(output.code == 3 && output.stderr.contains("another server"), "{output}");
    assert_eq!(vacuums(), "0");
    assert_eq!(apply(first).code, 0);
    assert_eq!(vacuums(), "1");
    server.psql(&db, "DROP TABLE \"We\"\"ird Näme.x\"; CREATE TABLE \"We\"\"ird Näme.x\" (a int)").unwrap();
    let output = apply(first);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(with_status(&output, "gone").len(), 1, "a namesake is not the same table: {output}");
    assert_eq!(vacuums(), "0");
}

#[test]
fn every_database_is_visited_and_a_half_dropped_one_is_reported() {
    let server = Postgres::builder(15).setting("autovacuum", "off").start().unwrap();
    for db in ["one", "two", "broken"] {
        server.create_db(db).unwrap();
        server.psql(db, DEAD).unwrap();
    }
    server.psql("postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'").unwrap();
    let output = maint(&server, "postgres", &state(), &["vacuum-analyze", "--all", "-o", "ndjson"]);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(names(&with_status(&output, "warning")), ["broken"]);
    for db in ["one", "two"] {
        assert_eq!(server.psql(db, "SELECT vacuum_count FROM pg_stat_user_tables").unwrap().trim(), "1");
    }
}

#[test]
fn connections_are_judged_against_every_limit() {
    let server = Postgres::builder(15).start().unwrap();
    server.role("app", "secret", "").unwrap();
    let args = ["monitor-connections", "-o", "ndjson", "--idle-in-transaction", "1ms"];
    let output = maint(&server, "postgres", &state(), &args);
    assert_eq!(output.code, 0, "{output}");
    server
        .psql("postgres", "ALTER ROLE postgres CONNECTION LIMIT 2; ALTER DATABASE postgres CONNECTION LIMIT 3")
        .unwrap();
    let idle = server.psql_background("postgres", "BEGIN; SELECT 1;").unwrap();
    let output = maint(&server, "postgres", &state(), &args);
    assert_eq!(output.code, 2, "{output}");
    assert!(names(&with_status(&output, "critical")).contains(&"role postgres limit"), "{output}");
    let pid = format!("pid {}", idle.pid());
    assert!(names(&with_status(&output, "warning")).contains(&pid.as_str()), "{output}");
}

#[test]
fn a_server_that_stops_in_the_middle_is_critical_and_nothing_is_lost_from_sight() {
    let server = Postgres::builder(15).setting("autovacuum", "off").start().unwrap();
    server.psql("postgres", "CREATE TABLE a (x int); CREATE TABLE b (x int); INSERT INTO a SELECT generate_series(1, 5000); INSERT INTO b SELECT generate_series(1, 4000);").unwrap();
    let locked = server.psql_background("postgres", "BEGIN; LOCK TABLE a, b IN ACCESS EXCLUSIVE MODE;").unwrap();
    let state = state();
    let mut command = tool("pg-maint", state.path()).unwrap();
    let args = ["vacuum-analyze", "-n", "public", "-j", "1", "--lock-timeout", "30s", "-o", "ndjson"];
    let running = testbed::start(command.env("DATABASE_URL", server.url("postgres")).args(args)).unwrap();
    testbed::wait_until("the run waits", std::time::Duration::from_secs(20), || {
        server
            .psql(
                "postgres",
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND wait_event_type = 'Lock'",
            )
            .unwrap()
            .trim()
            == "1"
    })
    .unwrap();
    server.stop_immediate().unwrap();
    let output = running.finish(std::time::Duration::from_mins(1)).unwrap();
    drop(locked);
    assert_eq!(output.code, 2, "{output}");
    let subjects: Vec<Value> = records(&output.stdout).unwrap();
    let named = names(&subjects);
    assert!(named.contains(&"public.a") && named.contains(&"public.b"), "{output}");
    server.start_again().unwrap();
    assert_eq!(maint(&server, "postgres", &state, VACUUM).code, 0);
}

#[test]
fn an_autovacuum_at_work_is_not_disturbed() {
    let server = Postgres::builder(15)
        .setting("autovacuum", "on")
        .setting("autovacuum_naptime", "1s")
        .setting("autovacuum_vacuum_cost_delay", "100ms")
        .setting("autovacuum_vacuum_cost_limit", "1")
        .start()
        .unwrap();
    let sql = "CREATE TABLE t (a int, v text); INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 50000) g; DELETE FROM t WHERE a % 2 = 0";
    server.psql("postgres", sql).unwrap();
    let at_work = || {
        let sql = "SELECT string_agg(p.pid::text, ',') FROM pg_stat_progress_vacuum p WHERE p.relid = 't'::regclass";
        server.psql("postgres", sql).unwrap().trim().to_owned()
    };
    testbed::wait_until("autovacuum has come", std::time::Duration::from_secs(90), || !at_work().is_empty()).unwrap();
    let pid = at_work();
    let args = ["vacuum-analyze", "-t", "t", "--every", "--retries", "0", "-o", "ndjson"];
    let output = maint(&server, "postgres", &state(), &args);
    assert_eq!(output.code, 1, "{output}");
    let found = with_status(&output, "deferred");
    assert!(found[0]["data"]["message"].as_str().unwrap().contains(&pid), "{output}");
    assert_eq!(at_work(), pid, "it is still at work");
}

#[test]
fn jobs_leave_room_for_others() {
    let server = Postgres::builder(15).setting("max_connections", "10").start().unwrap();
    server.psql("postgres", DEAD).unwrap();
    let output = maint(&server, "postgres", &state(), &["vacuum-analyze", "--every", "-j", "50", "-o", "ndjson"]);
    assert_eq!(output.code, 0, "{output}");
    let all = records(&output.stdout).unwrap();
    let room = all.iter().find(|r| r["data"]["kind"] == "headroom").unwrap();
    assert!(room["data"]["message"].as_str().unwrap().contains("instead of 50"), "{room}");
}

#[test]
fn a_lock_held_by_a_prepared_transaction_is_named_as_such() {
    let (server, db) = fresh(15, "prepared_lock", DEAD);
    server.psql(&db, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'lock of t'").unwrap();
    let args = ["vacuum-analyze", "-n", "public", "--lock-timeout", "100ms", "--retries", "0", "-o", "ndjson"];
    let output = maint(server, &db, &state(), &args);
    server.psql(&db, "ROLLBACK PREPARED 'lock of t'").unwrap();
    assert_eq!(output.code, 1, "{output}");
    assert!(output.stdout.contains("by a prepared transaction"), "{output}");
    assert_eq!(maint(server, &db, &state(), &args).code, 0);
}

#[test]
fn an_exclusion_constraint_is_left_to_a_person() {
    let (server, db) = fresh(
        15,
        "exclusion",
        "CREATE TABLE r (v int4range, EXCLUDE USING gist (v WITH &&)); INSERT INTO r VALUES ('[1,2)')",
    );
    let output = maint(server, &db, &state(), &["reindex-tables", "--every", "-n", "public", "-o", "ndjson"]);
    assert_eq!(output.code, 0, "a sound one needs nobody: {output}");
    server.psql(&db, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'r_v_excl'::regclass").unwrap();
    let output = maint(server, &db, &state(), &["reindex-tables", "-o", "ndjson"]);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(names(&with_status(&output, "skipped")), ["public.r_v_excl"]);
}

#[test]
fn a_standby_is_refused_with_the_reason() {
    let server = Postgres::builder(15).start().unwrap();
    server.stop_fast().unwrap();
    std::fs::write(server.data_dir().join("standby.signal"), "").unwrap();
    server.start_again().unwrap();
    let output = maint(&server, "postgres", &state(), &["vacuum-analyze"]);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("standby"), "{output}");
    assert_eq!(maint(&server, "postgres", &state(), &["monitor-connections"]).code, 0);
}

#[test]
fn looking_never_touches_the_notes_on_rebuilds() {
    let sql = "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000); CREATE INDEX t_a ON t (a);";
    let (server, db) = fresh(15, "notes", sql);
    let state = state();
    assert_eq!(maint(server, &db, &state, &["reindex-tables", "--every", "-n", "public"]).code, 0);
    let note = std::fs::read_dir(state.path().join("pg-maint")).unwrap().next().unwrap().unwrap().path();
    // As another run would have noted it a moment ago, with nothing to be seen of it yet.
    let text = r#"{"1": {"index": "public.t_a", "table_oid": 2, "before": [1]}}"#;
    std::fs::write(&note, text).unwrap();
    for args in [&["plan"][..], &["reindex-tables", "--dry-run"]] {
        maint(server, &db, &state, args);
        assert_eq!(std::fs::read_to_string(&note).unwrap(), text, "{args:?}");
    }
    assert_eq!(maint(server, &db, &state, &["reindex-tables"]).code, 0);
    assert!(!std::fs::read_to_string(&note).unwrap().contains("t_a"), "a run strikes out what is over");
}
