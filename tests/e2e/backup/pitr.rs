//! Recovery to a moment: each is an exact prefix of what was committed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use testbed::{Site, records};

/// Recovers to `target` and gives the highest id of the ledger, having seen that it is a prefix.
fn ledger_at(site: &Site, name: &str, args: &[&str]) -> u64 {
    let target = site.dir().join(name);
    let text = target.display().to_string();
    let mut all = vec!["pitr-recovery"];
    all.extend(args);
    all.extend(["--target-dir", &text, "--yes"]);
    site.ok(&all).unwrap();
    let server = site.recover(&target).unwrap();
    let row = server.sql("SELECT count(*), coalesce(max(id), 0), coalesce(min(id), 1) FROM ledger").unwrap();
    drop(server);
    std::fs::remove_dir_all(&target).unwrap();
    let numbers: Vec<u64> = row.split('|').map(|text| text.parse().unwrap()).collect();
    assert_eq!((numbers[0], numbers[2]), (numbers[1], 1), "a prefix without holes: {row}");
    numbers[1]
}

/// Commits rows one by one and gives each one's id and the moment just after its commit.
fn committed(site: &Site, rows: usize) -> Vec<(u64, String)> {
    let sql = "INSERT INTO ledger (payload) VALUES ('one') RETURNING id;\nSELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', \
               'YYYY-MM-DD HH24:MI:SS.US') || '+00';\n";
    let text = site.sql(&sql.repeat(rows)).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("INSERT")).collect();
    lines.chunks(2).map(|pair| (pair[0].parse().unwrap(), pair[1].to_owned())).collect()
}

#[test]
fn a_hundred_moments_are_each_an_exact_prefix() {
    let site = Site::start("").unwrap();
    site.ok(&["full-backup"]).unwrap();
    // Meanwhile others commit, roll back and build indexes without pause.
    site.sql("CREATE TABLE busy AS SELECT n, 0 AS changes FROM generate_series(1, 200) n").unwrap();
    let (done, changes) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = &|number: usize| {
        let sql = format!(
            "UPDATE busy SET changes = changes + 1 WHERE n % 3 = {number}; \
             BEGIN; DELETE FROM busy; ROLLBACK; REINDEX TABLE busy"
        );
        while !done.load(Ordering::Relaxed) {
            site.sql(&sql).unwrap();
            changes.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut moments = Vec::new();
    std::thread::scope(|scope| {
        for number in 0..2 {
            scope.spawn(move || load(number));
        }
        for round in 0..5 {
            moments.extend(committed(&site, 20));
            if round == 2 {
                site.ok(&["incremental-backup"]).unwrap();
            }
            site.switch().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(changes.load(Ordering::Relaxed) > 10, "there was no load");
    committed(&site, 1);
    site.switch().unwrap();
    assert_eq!(moments.len(), 100);
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((id, moment)) = moments.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = ledger_at(&site, &format!("r{id}"), &[moment]);
                    if found != *id {
                        wrong.lock().unwrap().push(format!("{moment}: row {id}, found {found}"));
                    }
                }
            });
        }
    });
    assert!(wrong.lock().unwrap().is_empty(), "{:?}", wrong.lock().unwrap());
}

#[test]
fn positions_transactions_and_names_are_targets_too() {
    let site = Site::start("").unwrap();
    site.ok(&["full-backup"]).unwrap();
    committed(&site, 3);
    site.sql("SELECT pg_create_restore_point('before the deploy')").unwrap();
    let xid =
        site.sql("BEGIN; INSERT INTO ledger (payload) VALUES ('four'); SELECT pg_current_xact_id(); COMMIT").unwrap();
    let xid = xid.lines().find(|line| line.parse::<u64>().is_ok()).unwrap().to_owned();
    let lsn = site.sql("SELECT pg_current_wal_lsn()").unwrap();
    committed(&site, 2);
    site.switch().unwrap();
    assert_eq!(ledger_at(&site, "name", &["--name", "before the deploy"]), 3);
    assert_eq!(ledger_at(&site, "xid", &["--xid", &xid]), 4);
    assert_eq!(ledger_at(&site, "before", &["--xid", &xid, "--exclusive"]), 3);
    assert_eq!(ledger_at(&site, "lsn", &["--lsn", &lsn]), 4);
    let points = records(&site.ok(&["wal", "points", "--named", "-o", "ndjson"]).unwrap().stdout).unwrap();
    assert!(points.iter().any(|r| r["data"]["name"] == "before the deploy"), "{points:?}");
}

#[test]
fn what_cannot_be_reached_is_refused_before_anything_is_touched() {
    let site = Site::start("").unwrap();
    let early = committed(&site, 1).remove(0).1;
    site.ok(&["full-backup"]).unwrap();
    committed(&site, 2);
    let lost = site.switch().unwrap();
    let reached = committed(&site, 2).remove(0).1;
    site.switch().unwrap();
    let refused = |args: &[&str], word: &str| {
        let target = site.dir().join("never");
        let text = target.display().to_string();
        let mut all = vec!["pitr-recovery"];
        all.extend(args);
        all.extend(["--target-dir", &text, "--yes"]);
        let output = site.run(&all).unwrap();
        assert_eq!(output.code, 3, "{output}");
        assert!(output.stderr.contains(word), "{word}: {output}");
        assert!(!target.exists(), "{output}");
    };
    refused(&[&early], "first backup");
    refused(&["2099-01-01 00:00:00+00"], "archived");
    refused(&["yesterday at noon"], "moment");
    refused(&["--name", "no such point"], "no such point");
    refused(&["--xid", "4000000000"], "4000000000");
    std::fs::remove_file(site.object(&lost).unwrap()).unwrap();
    refused(&[&reached], "missing");
    assert_eq!(site.run(&["wal", "gaps"]).unwrap().code, 2);
}

#[test]
fn a_tree_of_timelines_leads_to_each_of_its_branches() {
    let site = Site::start("").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let first = committed(&site, 4);
    site.switch().unwrap();
    let own = site.server().data_dir().display().to_string();
    // Twice back to an earlier moment, in place; each time another future begins.
    let mut branches = Vec::new();
    for (branch, back_to) in [&first[1].1, &first[2].1].iter().enumerate() {
        site.server().stop_fast().unwrap();
        site.ok(&["pitr-recovery", back_to, "--timeline", "1", "--in-place", &own, "--yes"]).unwrap();
        site.server().start_again().unwrap();
        testbed::wait_until("the server is open", std::time::Duration::from_mins(1), || {
            site.sql("SELECT pg_is_in_recovery()").is_ok_and(|text| text == "f")
        })
        .unwrap();
        let timeline = site.sql("SELECT timeline_id FROM pg_control_checkpoint()").unwrap();
        let kept = site.sql("SELECT count(*) FROM ledger").unwrap();
        assert_eq!(kept, (branch + 2).to_string());
        site.sql(&format!("INSERT INTO ledger (payload) VALUES ('branch {branch}')")).unwrap();
        let at = site
            .sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'")
            .unwrap();
        site.sql("INSERT INTO ledger (payload) VALUES ('later')").unwrap();
        site.switch().unwrap();
        branches.push((timeline, at, format!("branch {branch}")));
    }
    for (timeline, at, payload) in &branches {
        let target = site.dir().join(format!("on{timeline}"));
        let text = target.display().to_string();
        site.ok(&["pitr-recovery", at, "--timeline", timeline, "--target-dir", &text, "--yes"]).unwrap();
        let server = site.recover(&target).unwrap();
        assert_eq!(server.sql("SELECT payload FROM ledger ORDER BY id DESC LIMIT 1").unwrap(), *payload);
        let rows = server.sql("SELECT count(*) FROM ledger WHERE payload LIKE 'branch%'").unwrap();
        assert_eq!(rows, "1", "nothing of the other branch");
    }
    // The old future is still there.
    let target = site.dir().join("old");
    let text = target.display().to_string();
    site.ok(&["pitr-recovery", &first[3].1, "--timeline", "1", "--exclusive", "--target-dir", &text, "--yes"]).ok();
    let output = site.run(&["wal", "gaps"]).unwrap();
    assert_eq!(output.code, 0, "{output}");
}
