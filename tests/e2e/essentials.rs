//! What nobody may ever break: interrupted rebuilds, locked tables, exact plans.

use std::time::{Duration, Instant};

use testbed::{Postgres, Running, Signal, records, run, run_fed, shared, start, tool, wait_until};

fn maint(server: &Postgres, db: &str, state: &tempfile::TempDir) -> std::process::Command {
    let mut command = tool("pg-maint", state.path()).unwrap();
    command.env("DATABASE_URL", server.url(db));
    command
}

fn state() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

const INVALID: &str = "SELECT string_agg(c.relname, ',' ORDER BY c.relname) FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT i.indisvalid";

/// A table whose index is worth rebuilding, and a rebuild of it that waits for a transaction in its way.
fn stuck_rebuild(server: &Postgres, db: &str, state: &tempfile::TempDir, reader: &str) -> (testbed::Session, Running) {
    server
        .psql(db, "CREATE TABLE big (id int, v text); INSERT INTO big SELECT g, md5(g::text) FROM generate_series(1, 200000) g;
            CREATE INDEX big_v ON big (v); ANALYZE big; DELETE FROM big WHERE id % 5 <> 0;")
        .unwrap();
    server.psql(db, "VACUUM ANALYZE big").unwrap();
    let holder = server.psql_background(db, reader).unwrap();
    let mut command = maint(server, db, state);
    let running =
        start(command.args(["reindex-tables", "-t", "big", "--every", "--lock-timeout", "60s", "-o", "ndjson"]))
            .unwrap();
    wait_until("the rebuild waits with its new index in place", Duration::from_secs(30), || {
        server
            .psql(db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'REINDEX%' AND wait_event_type = 'Lock'")
            .unwrap()
            .trim()
            == "1"
            && server.psql(db, INVALID).unwrap().contains("big_v_cc")
    })
    .unwrap();
    (holder, running)
}

#[test]
fn ctrl_c_in_a_rebuild_leaves_no_index_behind_and_the_next_run_resumes() {
    for major in [15, 17, 18] {
        let server = shared(major).unwrap();
        let (db, state) = (server.fresh_db("sigint").unwrap(), state());
        // An old snapshot elsewhere keeps the rebuild waiting, but holds no lock on its table.
        server.psql(&db, "CREATE TABLE elsewhere (a int)").unwrap();
        let reader = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM elsewhere;";
        let (holder, running) = stuck_rebuild(server, &db, &state, reader);
        let asked = Instant::now();
        running.signal(Signal::INT);
        let output = running.finish(Duration::from_secs(30)).unwrap();
        let took = asked.elapsed();
        assert_eq!(output.code, 130, "{major}: {output}");
        assert_eq!(server.psql(&db, INVALID).unwrap().trim(), "", "{major}: {output}");
        assert!(took < Duration::from_secs(5), "{major}: {took:?}");
        holder.close().unwrap();
        let output = run(maint(server, &db, &state).args(["reindex-tables", "-t", "big", "--every"])).unwrap();
        assert_eq!(output.code, 0, "{major}: {output}");
    }
}

#[test]
fn after_sigkill_the_next_run_drops_its_own_leftover_and_nobody_elses() {
    let server = shared(15).unwrap();
    let (db, state) = (server.fresh_db("sigkill").unwrap(), state());
    server
        .psql(&db, "CREATE TABLE theirs (id int); CREATE INDEX theirs_id ON theirs (id); INSERT INTO theirs VALUES (1)")
        .unwrap();
    let blocker = server.psql_background(&db, "BEGIN; SELECT * FROM theirs;").unwrap();
    let foreign = server.psql(&db, "SET lock_timeout = '300ms'; REINDEX INDEX CONCURRENTLY theirs_id");
    assert!(foreign.is_err());
    blocker.close().unwrap();
    assert!(server.psql(&db, INVALID).unwrap().contains("theirs_id_cc"));

    let (holder, running) =
        stuck_rebuild(server, &db, &state, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM big;");
    running.signal(Signal::KILL);
    running.finish(Duration::from_secs(30)).unwrap();
    wait_until("the server ends the orphaned rebuild", Duration::from_secs(30), || {
        server
            .psql(&db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'REINDEX%' AND state = 'active'")
            .unwrap()
            .trim()
            == "0"
    })
    .unwrap();
    holder.close().unwrap();
    assert!(server.psql(&db, INVALID).unwrap().contains("big_v_cc"));
    let output =
        run(maint(server, &db, &state).args(["reindex-tables", "-o", "ndjson", "--min-index-size", "1MB"])).unwrap();
    assert_eq!(output.code, 1, "{output}");
    let left = server.psql(&db, INVALID).unwrap();
    assert!(!left.contains("big_v_cc") && left.contains("theirs_id_cc"), "{left} {output}");
    let seen = records(&output.stdout).unwrap();
    assert!(seen.iter().any(|r| r["type"] == "maint.finding.v1" && r["data"]["kind"] == "leftover"), "{output}");
}

#[test]
fn one_locked_table_keeps_no_other_from_being_done() {
    for major in [15, 17, 18] {
        let server = shared(major).unwrap();
        let (db, state) = (server.fresh_db("locked").unwrap(), state());
        for n in 0..6 {
            server
                .psql(&db, &format!("CREATE TABLE t{n} (a int); INSERT INTO t{n} SELECT generate_series(1, 5000); DELETE FROM t{n} WHERE a % 2 = 0"))
                .unwrap();
        }
        let holder = server.psql_background(&db, "BEGIN; LOCK TABLE t3 IN ACCESS EXCLUSIVE MODE;").unwrap();
        let args = ["vacuum-analyze", "-n", "public", "--lock-timeout", "100ms", "--retries", "1", "-o", "ndjson"];
        let output = run(maint(server, &db, &state).args(args)).unwrap();
        assert_eq!(output.code, 1, "{major}: {output}");
        let done = server
            .psql(
                &db,
                "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_stat_user_tables WHERE vacuum_count > 0",
            )
            .unwrap();
        assert_eq!(done.trim(), "t0,t1,t2,t4,t5", "{major}: {output}");
        let seen = records(&output.stdout).unwrap();
        let locked = seen.iter().find(|r| r["subject"] == "public.t3").unwrap();
        assert_eq!(locked["data"]["status"], "deferred");
        assert!(locked["data"]["message"].as_str().unwrap().contains(&format!("pid {}", holder.pid())), "{locked}");
        holder.close().unwrap();
        let output = run(maint(server, &db, &state).args(args)).unwrap();
        assert_eq!(output.code, 0, "{major}: {output}");
    }
}

#[test]
fn a_filtered_plan_is_carried_out_exactly() {
    let server = shared(15).unwrap();
    let (db, state) = (server.fresh_db("plan").unwrap(), state());
    for (name, dead) in [("hot", 4000), ("warm", 1200), ("calm", 10)] {
        server
            .psql(&db, &format!("CREATE TABLE {name} (a int); INSERT INTO {name} SELECT generate_series(1, 5000); ANALYZE {name}; DELETE FROM {name} WHERE a <= {dead}"))
            .unwrap();
        server
            .psql(
                &db,
                &format!(
                    "VACUUM (TRUNCATE false) {name}; UPDATE {name} SET a = a WHERE a % 2 = 0 OR '{name}' <> 'calm'"
                ),
            )
            .unwrap();
    }
    server.psql(&db, "ANALYZE calm").unwrap();
    let plan = run(maint(server, &db, &state).args(["plan", "-o", "ndjson", "-n", "public"])).unwrap();
    let script = "select(.data.score > 2 and .subject == \"public.hot\")";
    let mut jq = std::process::Command::new("jq");
    let chosen = run_fed(jq.arg(script), &plan.stdout).unwrap();
    assert!(chosen.stdout.lines().count() > 5, "laid out over lines: {chosen} {plan}");
    let output = run_fed(maint(server, &db, &state).args(["apply", "-", "-o", "ndjson"]), &chosen.stdout).unwrap();
    assert_eq!(output.code, 0, "{output}");
    let done = server.psql(&db, "SELECT string_agg(relname, ',') FROM pg_stat_user_tables WHERE vacuum_count > 1 OR analyze_count > 1 AND relname <> 'calm'").unwrap();
    assert_eq!(done.trim(), "hot", "{output}");
}
