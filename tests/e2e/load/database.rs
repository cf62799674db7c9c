//! `database` against a real PostgreSQL: the books of TPC-B balance with the tool's own, and every end is told.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use testbed::{Output, Postgres, RUN_LIMIT, run, shared, start, tool};

use super::{ended, near, number, summary};

struct Bed<'a> {
    server: &'a Postgres,
    db: String,
    state: tempfile::TempDir,
}

impl<'a> Bed<'a> {
    fn new(server: &'a Postgres) -> Self {
        Bed { server, db: server.fresh_db("load").unwrap(), state: tempfile::tempdir().unwrap() }
    }

    /// The tables of `pgbench -i`.
    fn with_tables(self, scale: &str) -> Self {
        let mut pgbench = Command::new(self.server.installation().bin.join("pgbench"));
        pgbench.args(["-i", "-q", "-s", scale]).arg(self.server.dsn(&self.db));
        assert_eq!(run(&mut pgbench).unwrap().code, 0);
        self
    }

    fn command(&self, dsn: &str, args: &[&str]) -> Command {
        let mut command = tool("bench-runner", self.state.path()).unwrap();
        command.args(["-o", "ndjson", "database", dsn]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> (Output, Value) {
        let output = run(&mut self.command(&self.server.dsn(&self.db), args)).unwrap();
        let data = summary(&output);
        (output, data)
    }

    fn ask(&self, sql: &str) -> String {
        self.server.psql(&self.db, sql).unwrap().trim().to_owned()
    }

    fn script(&self, text: &str) -> String {
        let path = self.state.path().join("script.sql");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn every_transaction_that_is_told_of_is_in_the_history() {
    let bed = Bed::new(shared(15).unwrap()).with_tables("2");
    let (output, data) = bed.run(&["-w", "tpcb", "-c", "4", "-j", "2", "-d", "2s"]);
    ended(&output, &data, 0);
    let good = data["good"].as_u64().unwrap();
    assert!(good > 100 && data["bad"] == 0, "{data}");
    assert_eq!(bed.ask("SELECT count(*) FROM pgbench_history"), good.to_string());
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta)
        AND (SELECT sum(tbalance) FROM pgbench_tellers) = sum(delta)
        AND (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta) FROM pgbench_history";
    assert_eq!(bed.ask(sums), "t");
    // Both branches and all of their accounts are drawn.
    assert_eq!(
        bed.ask("SELECT count(DISTINCT bid), max(aid) > 150000, min(aid) < 50000 FROM pgbench_history"),
        "2|t|t"
    );
    // At a rate it is the rate that is sent.
    let (output, data) = bed.run(&["-w", "select-only", "--rate", "300", "-c", "4", "-d", "2s"]);
    ended(&output, &data, 0);
    assert_eq!((&data["scheduled"], &data["completed"]), (&600.into(), &600.into()), "{data}");
}

#[test]
fn a_statement_that_takes_its_time_gives_the_rate_that_follows() {
    let bed = Bed::new(shared(15).unwrap());
    let script = bed.script("\\set ms 20\nSELECT pg_sleep(:ms / 1000.0);\n");
    let (output, data) = bed.run(&["-w", &script, "-c", "5", "-d", "2s"]);
    ended(&output, &data, 0);
    // Five connections, 20 ms and a little more each.
    let rate = number(&data, "requests_per_second");
    assert!((200.0..=250.0).contains(&rate), "{data}");
    // Pauses belong to the request, and nothing is sent meanwhile.
    let script = bed.script("\\sleep 30 ms\nSELECT 1;\n\\sleep 20 ms\n");
    let (output, data) = bed.run(&["-w", &script, "-c", "2", "--rate", "20", "-d", "2s"]);
    ended(&output, &data, 0);
    let median = number(&data, "response_p50_seconds");
    assert!((0.05..0.07).contains(&median), "{data}");
}

#[test]
fn errors_have_their_code_and_leave_no_transaction_open() {
    let bed = Bed::new(shared(15).unwrap());
    for (text, code) in [
        ("BEGIN;\nSELECT 1 / (:x - 1);\nEND;\n", "22012"),
        ("BEGIN;\nSELECT :x;\n", "25001"),
        ("\\set y :x\nSELECT CASE WHEN :y = 1 THEN 'a' ELSE 'b' END::int;\n", "22P02"),
    ] {
        let script = bed.script(text);
        let (output, data) = bed.run(&["-w", &script, "-D", "x=1", "-c", "2", "--rate", "50", "-d", "1s"]);
        ended(&output, &data, 2);
        assert_eq!(data["statuses"], serde_json::json!({ code: 50 }), "{data}");
        assert_eq!((&data["good"], &data["bad"]), (&0.into(), &50.into()), "{data}");
    }
    // A script whose expression has no value fails by itself.
    let script = bed.script("\\set y 1 / (:x - 1)\nSELECT :y;\n");
    let (output, data) = bed.run(&["-w", &script, "-D", "x=1", "-c", "2", "--rate", "20", "-d", "1s"]);
    ended(&output, &data, 2);
    assert_eq!(data["faults"], serde_json::json!({ "script": 20 }), "{data}");
}

#[test]
fn what_cannot_work_is_said_before_load_is_sent() {
    let bed = Bed::new(shared(15).unwrap());
    let dsn = bed.server.dsn(&bed.db);
    let nowhere = bed.script("SELECT 1;\nSELECT a FROM nowhere;\n");
    let unknown = bed.state.path().join("unknown.sql");
    std::fs::write(&unknown, "SELECT 1;\n\nSELECT :nobody;\n").unwrap();
    for (dsn, args, code, said) in [
        (dsn.as_str(), &["-w", "select-only"][..], 3, "pgbench -i"),
        (&dsn, &["-w", "select-only", "-D", "scale=1"], 2, "pgbench -i"),
        (&dsn, &["-w", &nowhere], 2, "42P01"),
        (&dsn, &["-w", unknown.to_str().unwrap()], 3, "line 3"),
        (&dsn, &["-w", "no-such-file.sql"], 3, "no-such-file.sql"),
        (&dsn, &["-D", "scale=many"], 3, "many"),
        ("host=192.0.2.1 dbname=x sslmode=disable", &["-D", "scale=1"], 3, "--allow-host 192.0.2.1"),
        ("host=127.0.0.1 sslmode=require", &["-D", "scale=1"], 3, "sslmode=require"),
        ("host=127.0.0.1 port=1 sslmode=disable", &["-D", "scale=1"], 2, "cannot be reached"),
    ] {
        let output = run(&mut bed.command(dsn, args)).unwrap();
        assert_eq!(output.code, code, "{dsn} {args:?}: {output}");
        assert!(output.stderr.contains(said), "{dsn} {args:?}: {output}");
    }
}

#[test]
fn a_password_is_proved_and_never_shown() {
    let server = Postgres::builder(15).auth_password("first").start().unwrap();
    server.role("loader", "s3cr3t-word", "").unwrap();
    let bed = Bed { server: &server, db: "postgres".to_owned(), state: tempfile::tempdir().unwrap() };
    let script = bed.script("SELECT 1;\n");
    let args = ["-w", &script, "-c", "2", "--rate", "20", "-d", "1s"];
    let mut command = bed.command(&server.url_as("loader", "s3cr3t-word", &bed.db), &args);
    let output = run(&mut command).unwrap();
    let data = summary(&output);
    ended(&output, &data, 0);
    assert_eq!(data["good"], 20, "{data}");
    assert!(!output.to_string().contains("s3cr3t-word"), "{output}");
    let output = run(&mut bed.command(&server.url_as("loader", "wr0ng-word", &bed.db), &args)).unwrap();
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stderr.contains("28P01") && !output.to_string().contains("wr0ng-word"), "{output}");
}

#[test]
fn a_server_that_dies_under_load_is_seen_to() {
    let server = Postgres::builder(15).start().unwrap();
    let bed = Bed { server: &server, db: "postgres".to_owned(), state: tempfile::tempdir().unwrap() };
    let script = bed.script("SELECT 1;\n");
    let dsn = server.dsn(&bed.db);
    let running =
        start(&mut bed.command(&dsn, &["-w", &script, "-c", "4", "--rate", "100", "-d", "3s", "--drain", "1s"]));
    let running = running.unwrap();
    sleep(Duration::from_millis(1500));
    server.stop_immediate().unwrap();
    let output = running.finish(RUN_LIMIT).unwrap();
    let data = summary(&output);
    ended(&output, &data, 2);
    near(number(&data, "scheduled"), 300.0, "every start");
    assert!(number(&data, "good") >= 50.0 && number(&data, "failed") >= 50.0, "{data}");
    assert!(data["error_ratio"].as_f64().unwrap() > 0.2, "{data}");
}
