//! `docs/records.schema.json` describes what the programs really write, and nothing looser.

use jsonschema::Validator;
use maint_core::record::Kind;
use maint_core::status::Status;
use serde_json::{Value, json};
use testbed::{Output, records, run, run_fed};

use super::Place;

const SCHEMA: &str = include_str!("../../../docs/records.schema.json");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

pub(crate) fn validator() -> Validator {
    jsonschema::meta::validate(&schema()).unwrap_or_else(|error| panic!("not a schema: {error}"));
    jsonschema::validator_for(&schema()).unwrap()
}

#[track_caller]
pub(crate) fn assert_valid(validator: &Validator, out: &Output) -> Vec<Value> {
    let events = records(&out.stdout).unwrap();
    assert!(!events.is_empty(), "{out}");
    for event in &events {
        let errors: Vec<String> =
            validator.iter_errors(event).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{event:#}");
    }
    events
}

#[test]
fn the_schema_lists_the_statuses_and_types_that_the_code_has() {
    let names: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    assert_eq!(schema()["$defs"]["status"]["enum"], json!(names));
    let types: Vec<&str> = Kind::ALL.iter().map(|kind| kind.event_type()).collect();
    assert_eq!(schema()["properties"]["type"]["enum"], json!(types));
}

#[test]
fn real_output_of_every_command_is_valid() {
    let place = Place::new("schema");
    place
        .server
        .psql(
            &place.db,
            "CREATE TABLE wide (id int PRIMARY KEY, t text);
             INSERT INTO wide SELECT g, repeat(md5(g::text), 4) FROM generate_series(1, 30000) g;
             CREATE INDEX wide_t ON wide (t);
             VACUUM ANALYZE wide;
             DELETE FROM wide WHERE id % 10 <> 0;
             VACUUM wide;
             CREATE TABLE parent (id int) PARTITION BY RANGE (id);
             CREATE TABLE child PARTITION OF parent FOR VALUES FROM (0) TO (100000);
             INSERT INTO parent SELECT generate_series(1, 5000);
             CREATE EXTENSION pgstattuple;
             SELECT pg_stat_force_next_flush();",
        )
        .unwrap();
    let validator = validator();
    let ndjson = |args: &[&str]| place.run(&[args, &["-q", "-o", "ndjson"]].concat());
    let has = |events: &[Value], kind: &str, status: &str| {
        events.iter().any(|event| event["type"] == kind && event["data"]["status"] == status)
    };

    let plan = ndjson(&["plan", "--min-index-size", "64kB"]);
    let events = assert_valid(&validator, &plan);
    for action in ["vacuum", "analyze", "reindex"] {
        assert!(events.iter().any(|event| event["data"]["action"] == action), "no {action}: {plan}");
    }
    assert_valid(&validator, &ndjson(&["vacuum-analyze", "--dry-run"]));
    assert_valid(&validator, &ndjson(&["config", "show"]));
    assert_valid(&validator, &ndjson(&["monitor-connections", "-w", "0.1%"]));
    assert_valid(&validator, &ndjson(&["plan", "-t", "no_such_table"]));

    // One step that must wait, one that is done, and the rest from the plan.
    let mut lock = place.server.psql_background(&place.db, "BEGIN; LOCK TABLE orders IN SHARE MODE;").unwrap();
    let events = assert_valid(&validator, &ndjson(&["vacuum-analyze", "--lock-timeout", "100ms", "--retries", "0"]));
    assert!(has(&events, "maint.step.v1", "deferred") && has(&events, "maint.step.v1", "ok"), "{events:#?}");
    lock.send("COMMIT;").unwrap();
    let mut apply = place.pg_maint(&["apply", "-", "-q", "-o", "ndjson"]);
    let applied = run_fed(&mut apply, &plan.stdout).unwrap();
    let events = assert_valid(&validator, &applied);
    assert!(
        events.iter().any(|event| event["data"]["action"] == "reindex" && event["data"]["status"] == "ok"),
        "{applied}"
    );
    assert_valid(&validator, &ndjson(&["update-statistics", "--every"]));
    assert_valid(&validator, &ndjson(&["reindex-tables", "--every", "-t", "wide"]));
    assert_valid(&validator, &ndjson(&["vacuum-analyze", "-t", "orders"]));

    // Dead rows that somebody still needs.
    let _open = place.server.psql_background(&place.db, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;").unwrap();
    place.server.psql(&place.db, "DELETE FROM orders; SELECT pg_stat_force_next_flush();").unwrap();
    let events = assert_valid(&validator, &ndjson(&["vacuum-analyze", "-t", "orders"]));
    assert!(has(&events, "maint.step.v1", "ineffective"), "{events:#?}");
    let down = run(&mut super::pg_maint(
        place.dir(),
        &["--dsn", "postgres://u@127.0.0.1:1/x", "monitor-connections", "-o", "ndjson"],
    ));
    assert_valid(&validator, &down.unwrap());
}

#[test]
fn what_is_not_a_record_is_refused() {
    let place = Place::new("refused");
    let validator = validator();
    let out = place.run(&["plan", "-o", "ndjson"]);
    let events = assert_valid(&validator, &out);
    let plan = events.iter().find(|event| event["type"] == "maint.plan.v1").unwrap();
    let summary = events.last().unwrap();
    let refused = |event: &Value, what: &str, change: &dyn Fn(&mut Value)| {
        let mut changed = event.clone();
        change(&mut changed);
        assert_ne!(&changed, event, "{what}: the test changed nothing");
        assert!(!validator.is_valid(&changed), "{what} is accepted: {changed:#}");
    };
    for name in ["specversion", "id", "source", "type", "time", "run", "data"] {
        refused(plan, &format!("without {name}"), &|event| drop(event.as_object_mut().unwrap().remove(name)));
    }
    for name in ["task", "status", "message", "action", "oid", "database", "relation", "score", "sql"] {
        let without = |event: &mut Value| drop(event["data"].as_object_mut().unwrap().remove(name));
        refused(plan, &format!("data without {name}"), &without);
    }
    for name in ["counts", "exit_code", "duration_seconds", "started"] {
        let without = |event: &mut Value| drop(event["data"].as_object_mut().unwrap().remove(name));
        refused(summary, &format!("a summary without {name}"), &without);
    }
    let cases: [(&str, &Value, &str, Value); 17] = [
        ("an unknown type", plan, "/type", json!("maint.plan.v2")),
        ("another specversion", plan, "/specversion", json!("0.3")),
        ("an id that is no ULID", plan, "/id", json!("1")),
        ("a local time", plan, "/time", json!("2026-01-01T00:00:00+01:00")),
        ("a source of somebody else", plan, "/source", json!("other/pg-maint/host")),
        ("an empty subject", plan, "/subject", json!("")),
        ("a status in capitals", plan, "/data/status", json!("OK")),
        ("a plan that is done", plan, "/data/status", json!("ok")),
        ("a step that is planned", plan, "/type", json!("maint.step.v1")),
        ("an unknown action", plan, "/data/action", json!("drop-table")),
        ("an oid as text", plan, "/data/oid", json!("16384")),
        ("bytes as text", plan, "/data/size_bytes", json!("8 kB")),
        ("negative bytes", plan, "/data/size_bytes", json!(-1)),
        ("a score as text", plan, "/data/score", json!("1.0")),
        ("an unknown option", plan, "/data/options", json!({"full": true})),
        ("an exit code nobody documents", summary, "/data/exit_code", json!(4)),
        ("a count of an unknown status", summary, "/data/counts", json!({"fine": 1})),
    ];
    for (what, event, pointer, value) in cases {
        refused(event, what, &|event| *event.pointer_mut(pointer).unwrap() = value.clone());
    }
    refused(plan, "an attribute too many", &|event| event["extra"] = json!(1));
    refused(plan, "a label that is a number", &|event| event["data"]["labels"]["database"] = json!(1));
}
