//! The archive of the log, seen from the server: recovery never ends early, whatever happened to the archive.

use std::fs;
use std::path::{Path, PathBuf};

use testbed::{Output, Site};

fn ok_code(output: &Output, code: i32) {
    assert_eq!(output.code, code, "{output}");
}

/// A site with a backup and five segments after it, each with rows.
fn archived() -> (Site, Vec<String>) {
    let site = Site::start("").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let mut segments = Vec::new();
    for _ in 0..5 {
        site.work(40).unwrap();
        segments.push(site.switch().unwrap());
    }
    (site, segments)
}

fn copied(site: &Site, from: &Path, name: &str) -> PathBuf {
    let to = site.dir().join(name);
    site.program_ok("cp", &["-a", &from.display().to_string(), &to.display().to_string()]).unwrap();
    to
}

#[test]
fn a_flipped_bit_or_a_lost_segment_never_ends_in_an_early_promotion() {
    let (site, segments) = archived();
    let restored = site.dir().join("restored");
    site.ok(&["database-recovery", "--target-dir", &restored.display().to_string(), "--yes"]).unwrap();
    let mut aborted = 0;
    for round in 0..20_usize {
        // The last segment may be lost without anybody being able to know: then the archive just ends earlier.
        let segment = &segments[round % 4];
        let object = site.object(segment).unwrap();
        let whole = fs::read(&object).unwrap();
        if round < 10 {
            let mut bytes = whole.clone();
            let place = bytes.len() * (2 * round + 1) / 20;
            bytes[place] ^= 1 << (round % 8);
            fs::write(&object, bytes).unwrap();
        } else {
            fs::remove_file(&object).unwrap();
        }
        let data = copied(&site, &restored, &format!("try{round}"));
        let error = site.recover(&data).expect_err("it must not open").to_string();
        assert!(error.contains("FATAL"), "{error}");
        aborted += 1;
        fs::write(&object, &whole).unwrap();
        site.program_ok("chmod", &["600", &object.display().to_string()]).ok();
        fs::remove_dir_all(&data).unwrap();
    }
    assert_eq!(aborted, 20);
    // Its healthy twin, and one that was aborted goes on when the archive is mended.
    let server = site.recover(&restored).unwrap();
    assert_eq!(server.sql("SELECT count(*) FROM ledger").unwrap(), "200");
}

#[test]
fn the_same_name_with_other_content_fails_and_changes_nothing() {
    let site = Site::start("").unwrap();
    site.work(10).unwrap();
    let segment = site.switch().unwrap();
    let object = site.object(&segment).unwrap();
    let before = fs::read(&object).unwrap();
    let copy = site.dir().join(&segment);
    let fetched = site.run(&["wal-fetch", &segment, &copy.display().to_string()]).unwrap();
    ok_code(&fetched, 0);
    // The same again is fine; it was archived, whoever asks twice.
    ok_code(&site.run(&["wal-push", &copy.display().to_string()]).unwrap(), 0);
    let mut bytes = fs::read(&copy).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&copy, bytes).unwrap();
    let output = site.run(&["wal-push", &copy.display().to_string()]).unwrap();
    ok_code(&output, 1);
    assert_eq!(fs::read(&object).unwrap(), before);
}

#[test]
fn what_is_fetched_is_what_the_server_wrote() {
    let site = Site::start("").unwrap();
    site.work(20).unwrap();
    let segment = site.switch().unwrap();
    let fetched = site.dir().join(&segment);
    ok_code(&site.run(&["wal-fetch", &segment, &fetched.display().to_string()]).unwrap(), 0);
    let own = site.server().data_dir().join("pg_wal").join(&segment);
    assert!(fs::read(&own).unwrap() == fs::read(&fetched).unwrap());
    site.program_ok(site.server_program("pg_waldump"), &[&fetched.display().to_string()]).ok();
}

#[test]
fn only_the_end_of_the_archive_is_the_end_of_the_log() {
    let (site, segments) = archived();
    let fetch = |name: &str| site.run(&["wal-fetch", name, "fetched"]).unwrap();
    ok_code(&fetch("0000000100000000000000F0"), 1);
    ok_code(&fetch("00000002.history"), 1);
    fs::remove_file(site.object(&segments[1]).unwrap()).unwrap();
    ok_code(&fetch(&segments[1]), 200);
    let object = site.object(&segments[2]).unwrap();
    let bytes = fs::read(&object).unwrap();
    fs::write(&object, &bytes[..bytes.len() / 2]).unwrap();
    ok_code(&fetch(&segments[2]), 200);
    fs::rename(site.repository(), site.dir().join("gone")).unwrap();
    ok_code(&fetch("0000000100000000000000F0"), 200);
    assert!(!site.dir().join("fetched").exists());
}

#[test]
fn asynchronous_archiving_reports_only_what_is_durable() {
    let site = Site::start("").unwrap();
    let spool = site.dir().join("spool");
    site.program_ok("mkdir", &["-m", "700", &spool.display().to_string()]).unwrap();
    site.configure("async.toml", "repository", &format!("spool = {spool:?}\nwal_workers = 2")).unwrap();
    site.archive_with("async.toml").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let mut last = String::new();
    for _ in 0..8 {
        site.work(10).unwrap();
        last = site.sql("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
    }
    site.wait_archived(&last).unwrap();
    testbed::wait_until("the server knows", std::time::Duration::from_mins(1), || {
        site.sql("SELECT last_archived_wal FROM pg_stat_archiver").unwrap() >= last
    })
    .unwrap();
    let restored = site.dir().join("restored");
    let text = restored.display().to_string();
    site.ok(&["database-recovery", "--target-dir", &text, "--yes"]).unwrap();
    assert_eq!(site.recover(&restored).unwrap().sql("SELECT count(*) FROM ledger").unwrap(), "80");
    ok_code(&site.run(&["wal", "gaps"]).unwrap(), 0);
}
