//! Promises of the whole report, over the records of one routine.

use super::*;
use serde_json::json;

fn event(tool: &str, kind: &str, time: &str, subject: &str, run: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": "01", "source": format!("maint/{tool}/host"), "type": format!("maint.{kind}.v1"),
        "time": time, "subject": subject, "run": run, "data": data})
}

/// A Tuesday: a vacuum that deferred one table, a reindex that failed, a program that was refused.
fn tuesday() -> Vec<Value> {
    let labels = json!({"database": "shop"});
    let step = |time, subject, run, mut data: Value| {
        data["labels"] = labels.clone();
        event("pg-maint", "step", time, subject, run, &data)
    };
    let routine = |time, subject, data| event("xtask", "step", time, subject, "R", &data);
    vec![
        event(
            "xtask",
            "metric",
            "2024-06-04T02:00:00Z",
            "database size",
            "R",
            &json!({"task": "demo", "before_bytes": 3_221_225_472_u64, "after_bytes": 2_147_483_648_u64}),
        ),
        step(
            "2024-06-04T02:02:00Z",
            "public.orders",
            "A",
            json!({"task": "vacuum-analyze", "status": "ok",
            "action": "vacuum", "message": "vacuumed", "duration_seconds": 41.2, "dead_tuples_before": 1_204_882,
            "dead_tuples_after": 0}),
        ),
        step(
            "2024-06-04T02:02:30Z",
            "public.order_items",
            "A",
            json!({"task": "vacuum-analyze", "status": "ok",
            "action": "vacuum", "message": "vacuumed", "duration_seconds": 12.0, "dead_tuples_before": 310_400,
            "dead_tuples_after": 1_020}),
        ),
        step(
            "2024-06-04T02:03:00Z",
            "public.sessions",
            "A",
            json!({"task": "vacuum-analyze", "status": "deferred",
            "action": "vacuum", "message": "another session held the lock for 30 s", "attempts": 3,
            "holder": {"pid": 4711, "application": "billing|batch"}, "sql": "VACUUM (ANALYZE) \"public\".\"sessions\"",
            "notices": ["skipping vacuum of \"sessions\"", "lock not available"]}),
        ),
        step("2024-06-04T02:03:01Z", "public.audit", "A", json!({"task": "vacuum-analyze", "status": "gone"})),
        event(
            "pg-maint",
            "summary",
            "2024-06-04T02:03:05Z",
            "shop",
            "A",
            &json!({"task": "vacuum-analyze",
            "status": "deferred", "counts": {"ok": 2, "deferred": 1, "gone": 1}, "exit_code": 1,
            "duration_seconds": 180, "started": "2024-06-04T02:00:05Z"}),
        ),
        routine(
            "2024-06-04T02:03:06Z",
            "tuesday/pg-maint vacuum-analyze",
            json!({"task": "weekly", "status": "warning",
            "command": "pg-maint vacuum-analyze --max-duration 30m", "exit_code": 1, "duration_seconds": 181.0,
            "child_run": "A", "child_summary": "2 ok, 1 deferred, 1 gone", "message": "finished with exit code 1"}),
        ),
        step(
            "2024-06-04T02:05:30Z",
            "public.orders_pkey",
            "B",
            json!({"task": "reindex", "status": "ok",
            "action": "reindex", "message": "rebuilt", "duration_seconds": 95.5, "size_bytes_before": 402_653_184,
            "size_bytes_after": 150_994_944}),
        ),
        step(
            "2024-06-04T02:06:30Z",
            "public.<script>alert('x')</script>|idx",
            "B",
            json!({"task": "reindex",
            "status": "failed", "action": "reindex", "message": "could not create unique index:\nkey (id)=(7) is duplicated",
            "sql": "REINDEX INDEX CONCURRENTLY x"}),
        ),
        routine(
            "2024-06-04T02:06:32Z",
            "tuesday/pg-maint reindex",
            json!({"task": "weekly", "status": "failed",
            "command": "pg-maint reindex", "exit_code": 2, "duration_seconds": 200.0, "child_run": "B",
            "child_summary": "1 ok, 1 failed", "message": "finished with exit code 2"}),
        ),
        event("health-check", "check", "2024-06-04T02:06:40Z", "disk", "C", &json!({"task": "disk", "status": "ok"})),
        event(
            "access-review",
            "summary",
            "2024-06-04T02:06:50Z",
            "shop",
            "D",
            &json!({"task": "review",
            "status": "denied", "message": "role maint may not read pg_authid; grant pg_read_all_settings",
            "exit_code": 3, "duration_seconds": 0.4}),
        ),
        routine(
            "2024-06-04T02:07:00Z",
            "tuesday/cert-rotate check",
            json!({"task": "weekly", "status": "not-built",
            "command": "cert-rotate check", "message": "the program is not built", "duration_seconds": 0.0}),
        ),
    ]
}

fn now() -> Timestamp {
    "2024-06-04T06:00:00Z".parse().unwrap()
}

fn report(records: &[Value]) -> Report {
    Report::from_records(records, "Weekly maintenance", now(), JournalState::Intact { lines: 1284 })
}

#[test]
fn no_records_is_nothing_ran_and_never_green() {
    for report in [report(&[]), Report::from_records(&[], "t", now(), JournalState::Missing)] {
        assert!(report.headline.starts_with("Nothing ran") && report.severity > Severity::Ok, "{report:?}");
        assert!(report.html().contains("Nothing ran") && report.markdown().contains("Nothing ran"));
        assert!(!report.html().contains("All went well"));
    }
}

#[test]
fn measurements_and_an_empty_summary_alone_are_nothing_ran() {
    let summary = event("xtask", "summary", "2024-06-04T02:00:00Z", "weekly", "R", &json!({"status": "ok"}));
    let report = report(&[tuesday()[0].clone(), summary]);
    assert_eq!(report.headline, "Nothing ran");
}

#[test]
fn a_routine_that_died_before_its_first_step_is_not_nothing() {
    let summary = event(
        "xtask",
        "summary",
        "2024-06-04T02:00:00Z",
        "weekly",
        "R",
        &json!({"status": "failed", "message": "the journal cannot be written"}),
    );
    let report = report(&[summary]);
    assert_eq!((report.headline.as_str(), report.left.len()), ("A step failed", 1));
}

#[test]
fn records_that_cannot_be_read_show_in_the_verdict() {
    let report = report(&[json!({"type": "maint.step.v9", "data": {}})]);
    assert_eq!(report.headline, "Could not tell what ran");
    let ok = tuesday()[1].clone();
    let report = super::tests::report(&[ok, json!(null)]);
    assert_eq!(report.severity, Severity::Unknown);
    assert!(report.headline.contains("not every record") && report.lead.iter().any(|l| l.contains("1 record could")));
}

#[test]
fn a_broken_journal_spoils_a_good_verdict() {
    let records = [tuesday()[1].clone()];
    assert_eq!(report(&records).headline, "All went well");
    let state = JournalState::Broken("line 7 does not follow from line 6".to_owned());
    let report = Report::from_records(&records, "t", now(), state);
    assert_eq!(
        (report.severity, report.headline.as_str()),
        (Severity::Critical, "All went well, but the journal is broken")
    );
    assert!(report.html().contains("line 7 does not follow") && report.markdown().contains("line 7 does not follow"));
}

#[test]
fn the_verdict_is_the_worst_status_when_and_how_long() {
    let report = report(&tuesday());
    assert_eq!(report.headline, "A step failed");
    assert_eq!(report.lead[0], "Worst status: failed. Tuesday 4 June 2024, 02:00 to 02:07 UTC; it took 6 min 55 s.");
    assert_eq!(report.lead[1], "0 of 4 programs ended well; 3 changes made; 6 entries need a person.");
}

#[test]
fn a_plan_alone_is_not_called_work_done() {
    let plan = event("pg-maint", "plan", "2024-06-04T02:00:00Z", "public.orders", "A", &json!({"status": "planned"}));
    let report = report(&[plan]);
    assert_eq!(
        (report.headline.as_str(), report.besides.as_str()),
        ("Planned only: nothing was changed", "1 plan entry planned")
    );
}

#[test]
fn what_was_left_stands_worst_first() {
    let report = report(&tuesday());
    let words: Vec<_> = report.left.iter().map(|item| item.status.word.as_str()).collect();
    assert_eq!(words, ["failed", "failed", "denied", "not-built", "deferred", "warning"]);
    assert_eq!(report.left[0].message, "could not create unique index:\nkey (id)=(7) is duplicated");
}

#[test]
fn a_summary_that_its_steps_explain_is_not_repeated_and_one_alone_is_told() {
    let report = report(&tuesday());
    assert!(!report.left.iter().any(|item| item.subject == "shop" && item.status.word == "deferred"));
    assert!(report.left.iter().any(|item| item.message.starts_with("role maint may not")));
}

#[test]
fn every_run_is_in_the_table_with_what_the_program_said() {
    let report = report(&tuesday());
    let rows: Vec<_> = report.ran.iter().map(|row| (row.name.as_str(), row.exit(), row.said.as_str())).collect();
    assert_eq!(rows[0], ("tuesday/pg-maint vacuum-analyze", "1".to_owned(), "2 ok, 1 deferred, 1 gone"));
    assert_eq!(rows[2], ("tuesday/cert-rotate check", "–".to_owned(), "the program is not built"));
    assert_eq!(rows[3].0, "access-review review");
    assert_eq!(rows.len(), 4);
}

#[test]
fn pairs_and_changes_are_in_both_forms() {
    let report = report(&tuesday());
    let titles: Vec<_> = report.pairs.iter().map(|group| group.title.as_str()).collect();
    assert_eq!(titles, ["measured: size", "vacuum: dead tuples", "reindex: size"]);
    assert_eq!(report.changed.iter().map(|(_, c)| c.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(report.besides, "1 step gone, 1 check ok");
    for text in [report.html(), report.markdown()] {
        for part in ["1,204,882", "384.0 MiB", "144.0 MiB", "−62.5 %", "another session held the lock"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}

#[test]
fn no_name_becomes_markup() {
    let mut records = tuesday();
    for record in &mut records {
        record["subject"] = json!("<script>\"'&|\u{0}`");
        for name in ["message", "task", "status", "action", "command", "child_summary", "reason", "holder", "sql"] {
            record["data"][name] = json!("<script>\"'&|\u{0}`");
        }
        record["data"]["labels"] = json!({"database": "<script>", "action": "<script>"});
    }
    let hostile = Report::from_records(&records, "<script>", now(), JournalState::Broken("<script>".to_owned()));
    for text in [hostile.html(), hostile.markdown()] {
        assert!(!text.contains("<script") && !text.contains('\0'), "{text}");
    }
}

#[test]
fn a_pipe_in_a_name_does_not_split_a_markdown_row() {
    let markdown = report(&tuesday()).markdown();
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let rows: Vec<_> = markdown.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 12 && rows.iter().all(|line| cells(line) == 6), "{markdown}");
}

#[test]
fn the_page_needs_nothing_else_and_tells_status_by_word_and_shape() {
    let html = report(&tuesday()).html();
    for foreign in ["<script", "<link", "<img", "src=", "href=", "http:", "https:", "url("] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert!(html.contains("■</span>failed") && html.contains("▲</span>deferred"));
    assert_eq!(html.matches("<svg").count(), html.matches("<desc").count());
    assert_eq!(html.matches("<svg").count(), 4);
}

#[test]
fn sections_stand_in_their_order() {
    let html = report(&tuesday()).html();
    let order = [
        "class=\"verdict",
        "What ran",
        "Before and after",
        "What changed",
        "Left, or needs",
        "When it ran",
        "The journal<",
    ];
    let places: Vec<_> = order.iter().map(|part| html.find(part).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn fields_of_the_wrong_type_cost_the_field_and_not_the_report() {
    let odd = json!({"source": 1, "type": "maint.step.v1", "time": "yesterday", "subject": [], "data": {"status": 3,
        "duration_seconds": -1e308, "exit_code": "x", "labels": 7, "notices": {"a": [null]}, "counts": []}});
    let report = report(&[odd.clone(), odd]);
    assert_eq!(report.headline, "Something could not be told");
    assert!(report.lead[0].contains("not recorded"));
    assert!(report.html().contains("unknown") && report.markdown().contains("unknown"));
}

#[test]
fn thousands_of_changes_are_counted_but_not_all_shown() {
    let data = |key: usize| json!({"task": "cache-cleanup", "status": "ok", "message": format!("deleted {key}")});
    let records: Vec<Value> = (0..5000)
        .map(|key| event("redis-maint", "step", "2026-11-24T02:00:00Z", &format!("cache:{key}"), "R", &data(key)))
        .collect();
    let html = report(&records).html();
    assert!(html.contains("and 4,800 more") && html.contains("5,000 changes made"), "{}", html.len());
    assert!(html.len() < 200_000, "{}", html.len());
}
