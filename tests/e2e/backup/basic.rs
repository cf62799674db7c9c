//! A backup, what is in it, and whether others find it whole.

use std::process::Command;

use testbed::{Site, files, records, run, start};

fn data(site: &Site) -> String {
    site.server().data_dir().display().to_string()
}

#[test]
fn a_backup_under_load_is_accepted_by_every_judge() {
    let site = Site::start("").unwrap();
    let port = site.server().port().to_string();
    let pgbench = |args: &[&str]| {
        let mut command = Command::new("/usr/lib/postgresql/15/bin/pgbench");
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port]).args(args).arg("postgres");
        command
    };
    let output = run(&mut pgbench(&["-i", "-q", "-s", "3"])).unwrap();
    assert_eq!(output.code, 0, "{output}");
    site.sql("CREATE UNLOGGED TABLE scribble AS SELECT generate_series(1, 10000) AS n").unwrap();

    // What was touched a moment before the parent began is read again; a new cluster is all of that.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let load = start(&mut pgbench(&["-T", "60", "-c", "2", "-n"])).unwrap();
    let full = site.ok(&["full-backup", "-o", "ndjson"]).unwrap();
    let incremental = site.ok(&["incremental-backup", "-o", "ndjson"]).unwrap();
    drop(load);
    let full = &records(&full.stdout).unwrap()[0]["data"];
    let incremental = &records(&incremental.stdout).unwrap()[0]["data"];
    assert!(full["pages_checked"].as_u64().unwrap() > 5000, "{full}");
    assert_eq!(incremental["parent"], full["label"]);
    assert!(incremental["unchanged_files"].as_u64().unwrap() > 100, "{incremental}");

    let listed = records(&site.ok(&["list", "-o", "ndjson"]).unwrap().stdout).unwrap();
    let kinds: Vec<_> = listed.iter().filter_map(|r| r["data"]["kind"].as_str()).collect();
    assert_eq!(kinds, ["full", "incremental"]);

    // Every backup restores alone: first the incremental one, then the full one.
    for (name, label) in [("b", &incremental["label"]), ("a", &full["label"])] {
        let target = site.dir().join(name);
        let target_text = target.display().to_string();
        let args = ["database-recovery", label.as_str().unwrap(), "--immediate", "--target-dir", &target_text, "--yes"];
        site.ok(&args).unwrap();
        site.program_ok(site.server_program("pg_verifybackup"), &["-n", &target_text]).unwrap();
        let server = site.recover(&target).unwrap();
        assert_eq!(server.sql("SELECT count(*) FROM scribble").unwrap(), "0", "an unlogged table comes back empty");
        let sum = "SELECT sum(abalance) = (SELECT sum(tbalance) FROM pgbench_tellers) FROM pgbench_accounts";
        assert_eq!(server.sql(sum).unwrap(), "t", "no transaction is there in part");
        server.sql("CREATE EXTENSION amcheck").unwrap();
        let socket = server.socket().display().to_string();
        let args = ["-h", &socket, "-p", "5432", "-U", "postgres", "--heapallindexed", "--parent-check", "postgres"];
        site.program_ok(site.server_program("pg_amcheck"), &args).unwrap();
        let stopped = server.stop().unwrap();
        site.program_ok(site.server_program("pg_checksums"), &["-c", "-D", &stopped.display().to_string()]).unwrap();
    }
}

#[test]
fn restic_checks_the_repository_and_restores_what_we_restore() {
    let site = Site::start("").unwrap();
    site.work(50).unwrap();
    site.ok(&["full-backup"]).unwrap();
    let repository = site.repository().join("pg").display().to_string();
    site.program_ok("restic", &["-r", &repository, "--no-cache", "check", "--read-data"]).unwrap();
    let theirs = site.dir().join("theirs").display().to_string();
    site.program_ok("restic", &["-r", &repository, "--no-cache", "restore", "latest", "--target", &theirs]).unwrap();
    let ours = site.dir().join("ours").display().to_string();
    site.ok(&["database-recovery", "--target-dir", &ours, "--yes"]).unwrap();
    // What a recovery adds: its settings and its signal.
    let args = ["-r", "-x", "postgresql.auto.conf", "-x", "recovery.signal", &format!("{theirs}/pgdata"), &ours];
    site.program_ok("diff", &args).unwrap();
}

#[test]
fn tablespaces_come_back_where_they_are_mapped() {
    let site = Site::start("").unwrap();
    let old = site.dir().join("space");
    let new = site.dir().join("elsewhere");
    site.program_ok("mkdir", &[&old.display().to_string()]).unwrap();
    site.sql(&format!("CREATE TABLESPACE fast LOCATION '{}'", old.display())).unwrap();
    site.sql("CREATE TABLE there TABLESPACE fast AS SELECT generate_series(1, 1000) AS n").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let target = site.dir().join("restored");
    let text = target.display().to_string();
    let output = site.run(&["database-recovery", "--target-dir", &text, "--yes"]).unwrap();
    assert_eq!(output.code, 3, "the tablespace's own place is taken: {output}");
    assert!(!target.exists(), "nothing was touched");
    let map = format!("{}={}", old.display(), new.display());
    site.ok(&["database-recovery", "--target-dir", &text, "--tablespace-map", &map, "--yes"]).unwrap();
    // The map must say the new place; everything else is as the manifest has it.
    site.program_ok(site.server_program("pg_verifybackup"), &["-n", "-i", "tablespace_map", &text]).unwrap();
    let server = site.recover(&target).unwrap();
    assert_eq!(server.sql("SELECT count(*) FROM there").unwrap(), "1000");
    let place = server.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'").unwrap();
    assert_eq!(place, new.display().to_string());
}

#[test]
fn a_damaged_page_is_named_and_the_backup_is_marked() {
    let site = Site::start("").unwrap();
    site.sql("CREATE TABLE t AS SELECT generate_series(1, 50000) AS n; CHECKPOINT").unwrap();
    let path = site.sql("SELECT pg_relation_filepath('t')").unwrap();
    let file = site.server().data_dir().join(&path);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[3 * 8192 + 5000] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();
    let output = site.run(&["full-backup", "-o", "ndjson"]).unwrap();
    assert_eq!(output.code, 2, "{output}");
    let all = records(&output.stdout).unwrap();
    assert_eq!((&all[0]["data"]["file"], &all[0]["data"]["block"]), (&path.clone().into(), &3.into()), "{output}");
    let listed = site.run(&["list", "-o", "ndjson"]).unwrap();
    assert_eq!(listed.code, 1, "{listed}");
    assert_eq!(records(&listed.stdout).unwrap()[0]["data"]["damaged_pages"], 1);
    // Its healthy twin: the page mended, the next backup is whole.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[3 * 8192 + 5000] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();
    site.ok(&["full-backup"]).unwrap();
}

#[test]
fn the_backup_that_is_due_is_taken() {
    let site = Site::start("").unwrap();
    let kind = |output: &testbed::Output| records(&output.stdout).unwrap()[0]["data"]["kind"].clone();
    assert_eq!(kind(&site.ok(&["database-backup", "--dry-run", "-o", "ndjson"]).unwrap()), "full");
    assert!(files(&site.repository().join("pg/snapshots")).is_empty(), "a dry run writes nothing");
    assert_eq!(kind(&site.ok(&["database-backup", "-o", "ndjson"]).unwrap()), "full");
    assert_eq!(kind(&site.ok(&["database-backup", "-o", "ndjson"]).unwrap()), "incremental");
}

#[test]
fn archiving_is_proven_by_a_round_trip() {
    let site = Site::start("").unwrap();
    site.sql("ALTER SYSTEM SET archive_timeout = '30s'").unwrap();
    site.sql("ALTER SYSTEM SET archive_command = '/bin/false'").unwrap();
    site.sql("SELECT pg_reload_conf()").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let output = site.run(&["pitr-backup"]).unwrap();
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stdout.contains("archive_command"), "{output}");
    let output = site.ok(&["pitr-backup", "--setup", "--yes", "-o", "ndjson"]).unwrap();
    let all = records(&output.stdout).unwrap();
    assert!(all.iter().any(|r| r["data"]["message"].as_str().unwrap().contains("read back whole")), "{output}");
    assert_eq!(site.ok(&["pitr-backup"]).unwrap().code, 0, "{}", data(&site));
}
