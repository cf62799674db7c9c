//! The moments that can be recovered: what the log itself says of them, and which of several pasts a moment lies in.

use std::fs;
use std::io::Write as _;

use serde_json::Value;
use testbed::{Recovered, Site, records};

const CLOCK: &str = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'";

fn points(site: &Site, args: &[&str]) -> Vec<Value> {
    let mut all = vec!["wal", "points", "-o", "ndjson"];
    all.extend(args);
    let records = records(&site.ok(&all).unwrap().stdout).unwrap();
    records
        .into_iter()
        .filter(|record| record["type"] == "maint.metric.v1")
        .map(|record| record["data"].clone())
        .collect()
}

#[test]
fn every_commit_is_listed_with_the_time_that_the_server_gave_it() {
    let site = Site::with(&[("track_commit_timestamp", "on"), ("max_prepared_transactions", "4")], "").unwrap();
    site.ok(&["full-backup"]).unwrap();
    site.work(30).unwrap();
    site.sql("BEGIN; INSERT INTO ledger (payload) VALUES ('undone'); ROLLBACK").unwrap();
    site.sql("BEGIN; INSERT INTO ledger (payload) VALUES ('two steps'); PREPARE TRANSACTION 'one, lsn: 0/1'").unwrap();
    site.sql("COMMIT PREPARED 'one, lsn: 0/1'").unwrap();
    site.sql("SELECT pg_create_restore_point(E'before, lsn: 0/9\\ndesc: COMMIT')").unwrap();
    site.switch().unwrap();
    site.work(30).unwrap();
    site.switch().unwrap();
    let expected = site
        .sql(
            "SELECT DISTINCT xmin::text || ' ' || to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', \
             'YYYY-MM-DD\"T\"HH24:MI:SS.US') FROM ledger",
        )
        .unwrap();
    let found = points(&site, &[]);
    let moments: Vec<(String, as_text::Micros)> = found
        .iter()
        .filter_map(|point| Some((point["xid"].as_u64()?.to_string(), as_text::micros(point["time"].as_str()?))))
        .collect();
    assert_eq!(expected.lines().count(), 61);
    for line in expected.lines() {
        let (xid, time) = line.split_once(' ').unwrap();
        let wanted = (xid.to_owned(), as_text::micros(time));
        assert_eq!(moments.iter().filter(|moment| **moment == wanted).count(), 1, "{line}: {moments:?}");
    }
    let named: Vec<&Value> = found.iter().filter(|point| !point["name"].is_null()).collect();
    assert_eq!(named.len(), 1, "{named:?}");
    assert_eq!(named[0]["name"], "before, lsn: 0/9\ndesc: COMMIT");
    assert!(named[0]["time"].is_string(), "{named:?}");
    // What was read once is remembered, and the same.
    assert_eq!(points(&site, &[]), found);
    let middle = found[found.len() / 2]["time"].as_str().unwrap();
    let later = points(&site, &["--since", middle]);
    assert!(!later.is_empty() && later.len() < found.len());
    assert!(later.iter().all(|point| point["time"].as_str().unwrap() >= middle));
}

/// Times as PostgreSQL and as records write them differ in zeros at the end.
mod as_text {
    pub(super) type Micros = String;

    pub(super) fn micros(text: &str) -> Micros {
        let text = text.trim_end_matches('Z');
        let (second, fraction) = text.split_once('.').unwrap_or((text, ""));
        format!("{second}.{fraction:0<6}")
    }
}

/// Recovers to a moment into a server that archives as the first one does: another future.
fn branch(site: &Site, name: &str, args: &[&str]) -> Recovered {
    let target = site.dir().join(name);
    let text = target.display().to_string();
    let mut all = vec!["pitr-recovery"];
    all.extend(args);
    all.extend(["--target-dir", &text, "--yes"]);
    site.ok(&all).unwrap();
    let mut conf = fs::File::options().append(true).open(target.join("postgresql.auto.conf")).unwrap();
    writeln!(conf, "archive_mode = 'on'").unwrap();
    site.recover(&target).unwrap()
}

/// Adds a row, and gives a moment at which it is the last one.
fn row(sql: &dyn Fn(&str) -> String, payload: &str) -> String {
    sql(&format!("INSERT INTO ledger (payload) VALUES ('{payload}')"));
    sql(CLOCK)
}

fn archived(site: &Site, sql: &dyn Fn(&str) -> String) {
    sql("INSERT INTO ledger (payload) VALUES ('last')");
    let segment = sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
    sql("SELECT pg_switch_wal()");
    site.wait_archived(&segment).unwrap();
}

fn payload_at(site: &Site, name: &str, args: &[&str]) -> String {
    let target = site.dir().join(name);
    let text = target.display().to_string();
    let mut all = vec!["pitr-recovery"];
    all.extend(args);
    all.extend(["--target-dir", &text, "--yes"]);
    site.ok(&all).unwrap();
    site.recover(&target).unwrap().sql("SELECT payload FROM ledger ORDER BY id DESC LIMIT 1").unwrap()
}

#[test]
fn a_moment_is_found_in_the_past_it_lies_in_and_asked_about_when_there_are_two() {
    let site = Site::start("").unwrap();
    let first = |sql: &str| site.sql(sql).unwrap();
    site.ok(&["full-backup"]).unwrap();
    let one = row(&first, "one");
    let two = row(&first, "two");
    let three = row(&first, "three");
    row(&first, "four");
    archived(&site, &first);
    let second_server = branch(&site, "second", &[&two]);
    let second = |sql: &str| second_server.sql(sql).unwrap();
    // Both are written at the same time: two pasts that a moment can be in.
    row(&first, "first, before");
    row(&second, "second, before");
    let both = row(&first, "first, within");
    row(&second, "second, after");
    archived(&site, &first);
    archived(&site, &second);
    drop(second_server);
    let third_server = branch(&site, "third", &[&three, "--timeline", "1"]);
    let third = |sql: &str| third_server.sql(sql).unwrap();
    row(&third, "third, before");
    let alone = row(&third, "third");
    archived(&site, &third);
    drop(third_server);

    assert_eq!(site.run(&["wal", "gaps"]).unwrap().code, 0);
    assert_eq!(payload_at(&site, "r1", &[&one]), "one", "before all branches");
    assert_eq!(payload_at(&site, "r2", &[&three]), "three", "only the first past went on");
    assert_eq!(payload_at(&site, "r3", &[&alone]), "third");
    let target = site.dir().join("never").display().to_string();
    let asked = site.run(&["pitr-recovery", &both, "--target-dir", &target, "--yes"]).unwrap();
    assert_eq!(asked.code, 3, "{asked}");
    assert!(asked.stderr.contains("--timeline 1") && asked.stderr.contains("--timeline 2"), "{asked}");
    assert!(!asked.stderr.contains("--timeline 3"), "{asked}");
    assert_eq!(payload_at(&site, "r4", &[&both, "--timeline", "1"]), "first, within");
    assert_eq!(payload_at(&site, "r5", &[&both, "--timeline", "2"]), "second, before");
    let timelines: Vec<u64> = points(&site, &[]).iter().filter_map(|point| point["timeline"].as_u64()).collect();
    assert!([1, 2, 3].iter().all(|timeline| timelines.contains(timeline)), "{timelines:?}");
}
