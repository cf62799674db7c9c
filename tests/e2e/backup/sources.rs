//! What a cluster may look like while it is backed up: in motion, in pieces, in odd places.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testbed::{Site, files, records};

use super::{restored_whole, verified};

/// Does something over and over until `work` is done; errors are part of it (what one session drops, another misses).
fn meanwhile<T>(site: &Site, statements: &[&str], work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for sql in statements {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = site.sql(sql);
                }
            });
        }
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn one_file_that_must_not_be_read_fails_the_backup_and_is_named() {
    let site = Site::start("").unwrap();
    let path = site.sql("SELECT pg_relation_filepath('ledger')").unwrap();
    let file = site.server().data_dir().join(&path);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let output = site.run(&["full-backup"]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stderr.contains(&path) && output.stderr.contains("ermission"), "{output}");
    assert!(files(&site.repository().join("pg/snapshots")).is_empty(), "{output}");
    // An incremental one reads it only when it must.
    site.ok(&["full-backup"]).unwrap();
    site.work(5).unwrap();
    site.sql("CHECKPOINT").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let output = site.run(&["incremental-backup"]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(output.code, 2, "{output}");
    assert_eq!(files(&site.repository().join("pg/snapshots")).len(), 1, "{output}");
}

#[test]
fn a_storm_of_definitions_does_not_disturb_a_backup() {
    let site = Site::start("").unwrap();
    site.sql("CREATE TABLE kept AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n; CREATE INDEX ON kept (n)")
        .unwrap();
    let storm = [
        "CREATE TABLE a AS SELECT generate_series(1, 3000) n; CREATE INDEX ON a (n); DROP TABLE a",
        "CREATE TABLE b AS SELECT generate_series(1, 3000) n; TRUNCATE b; INSERT INTO b VALUES (1); DROP TABLE b",
        "VACUUM FULL kept; REINDEX TABLE kept; ALTER TABLE kept SET UNLOGGED; ALTER TABLE kept SET LOGGED",
        "CREATE DATABASE fleeting; DROP DATABASE fleeting",
    ];
    meanwhile(&site, &storm, || {
        site.ok(&["full-backup"]).unwrap();
        for _ in 0..3 {
            site.ok(&["incremental-backup"]).unwrap();
        }
    });
    let listed = records(&site.ok(&["list", "-o", "ndjson"]).unwrap().stdout).unwrap();
    let labels: Vec<&str> = listed.iter().filter_map(|record| record["data"]["id"].as_str()).collect();
    assert_eq!(labels.len(), 4);
    for label in labels {
        restored_whole(&site, label, label);
    }
}

#[test]
fn pages_that_are_written_while_they_are_read_are_no_damage() {
    // Next to no memory for pages: every one that is changed is soon written, again and again.
    let site = Site::with(&[("shared_buffers", "128kB"), ("bgwriter_delay", "10ms")], "").unwrap();
    let port = site.server().port().to_string();
    let pgbench = |args: &[&str]| {
        let mut command = Command::new(site.server_program("pgbench"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port]).args(args).arg("postgres");
        command
    };
    assert_eq!(testbed::run(&mut pgbench(&["-i", "-q", "-s", "2"])).unwrap().code, 0);
    let load = testbed::start(&mut pgbench(&["-T", "100", "-c", "4", "-n", "-N"])).unwrap();
    let backups = meanwhile(&site, &["CHECKPOINT"], || {
        (0..4).map(|_| site.ok(&["full-backup", "-o", "ndjson"]).unwrap()).collect::<Vec<_>>()
    });
    drop(load);
    let torn: u64 =
        backups.iter().map(|output| records(&output.stdout).unwrap()[0]["data"]["torn_pages"].as_u64().unwrap()).sum();
    println!("{torn} torn pages were met");
    restored_whole(&site, "restored", "latest");
}

#[test]
fn what_a_server_makes_anew_is_left_out_and_its_directories_come_back() {
    let site = Site::start("").unwrap();
    let data = site.server().data_dir();
    site.sql("CREATE UNLOGGED TABLE scribble AS SELECT generate_series(1, 1000) n").unwrap();
    let unlogged = site.sql("SELECT pg_relation_filepath('scribble')").unwrap();
    let spilled = data.join("base/pgsql_tmp/pgsql_tmp99.0");
    fs::create_dir_all(spilled.parent().unwrap()).unwrap();
    for path in [&spilled, &data.join("pg_stat_tmp/left"), &data.join("backup_label.old")] {
        fs::write(path, "of no use to anybody").unwrap();
    }
    site.sql("SELECT pg_create_physical_replication_slot('standby')").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let target = site.dir().join("restored");
    let text = target.display().to_string();
    site.ok(&["database-recovery", "--immediate", "--target-dir", &text, "--yes"]).unwrap();
    let gone = [
        "base/pgsql_tmp",
        "pg_stat_tmp/left",
        "backup_label.old",
        "postmaster.pid",
        "postmaster.opts",
        &unlogged,
        "pg_replslot/standby",
    ];
    for name in gone {
        assert!(
            !target.join(name).exists() || files(&target.join(name)).is_empty() && target.join(name).is_dir(),
            "{name}"
        );
    }
    assert!(target.join(format!("{unlogged}_init")).exists());
    assert!(files(&target.join("pg_wal")).is_empty());
    for name in
        ["pg_wal", "pg_replslot", "pg_notify", "pg_dynshmem", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"]
    {
        let mode = target.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{name}");
    }
    let server = site.recover(&target).unwrap();
    assert_eq!(server.sql("SELECT count(*) FROM scribble").unwrap(), "0");
    assert_eq!(server.sql("SELECT count(*) FROM pg_replication_slots").unwrap(), "0");
}

#[test]
fn a_tablespace_inside_of_the_data_directory_is_part_of_it() {
    // The server itself demands it while it recovers.
    let site = Site::with(&[("allow_in_place_tablespaces", "on")], "").unwrap();
    site.sql("CREATE TABLESPACE inside LOCATION ''").unwrap();
    site.sql("CREATE TABLE there TABLESPACE inside AS SELECT generate_series(1, 1000) AS n").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let target = site.dir().join("restored");
    let text = target.display().to_string();
    site.ok(&["database-recovery", "--immediate", "--target-dir", &text, "--yes"]).unwrap();
    verified(&site, &target);
    // It is an ordinary cluster now.
    assert_eq!(site.recover(&target).unwrap().sql("SELECT count(*) FROM there").unwrap(), "1000");
}

#[test]
fn a_table_of_more_than_one_file_is_checked_by_its_own_page_numbers() {
    let site = Site::start("").unwrap();
    site.sql("CREATE EXTENSION pageinspect; CREATE TABLE large (n int)").unwrap();
    site.sql("INSERT INTO large SELECT generate_series(1, 200); CHECKPOINT").unwrap();
    let path = site.server().data_dir().join(site.sql("SELECT pg_relation_filepath('large')").unwrap());
    // The first page moved to where a second file begins, with the checksum that it must have there; before it a hole, which
    // reads as pages that were never used.
    let moved = "SELECT encode(overlay(page PLACING set_byte(set_byte('\\x0000', 0, sum & 255), 1, (sum >> 8) & 255) FROM 9), 'hex') \
                 FROM (SELECT page, page_checksum(page, 131072) & 65535 AS sum FROM get_raw_page('large', 0) page) p";
    let hex = site.sql(moved).unwrap();
    let page: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    assert_eq!(page.len(), 8192);
    site.server().stop_fast().unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
    let second = path.with_file_name(format!("{}.1", path.file_name().unwrap().to_string_lossy()));
    site.program_ok("touch", &[&second.display().to_string()]).unwrap();
    fs::write(&second, &page).unwrap();
    site.server().start_again().unwrap();
    assert_eq!(site.sql("SELECT count(*) FROM large").unwrap(), "400");
    site.ok(&["full-backup"]).unwrap();
    let target = site.dir().join("restored");
    site.ok(&["database-recovery", "--immediate", "--target-dir", &target.display().to_string(), "--yes"]).unwrap();
    assert_eq!(site.recover(&target).unwrap().sql("SELECT count(*) FROM large").unwrap(), "400");
    fs::remove_dir_all(&target).unwrap();
    // And one bit of it is damage in the second file.
    let mut bytes = page;
    bytes[8000] ^= 4;
    fs::write(&second, bytes).unwrap();
    let output = site.run(&["full-backup", "-o", "ndjson"]).unwrap();
    assert_eq!(output.code, 2, "{output}");
    let found = &records(&output.stdout).unwrap()[0]["data"];
    assert!(found["file"].as_str().unwrap().ends_with(".1"), "{output}");
}
