//! What happens when a run is killed, a disk is full or input and output fail: an exit code of 0 means that all of it is
//! there, and whatever the end was, what was there before is whole and the next run works.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testbed::{Output, Signal, Site, files, records, start};

use super::restored_whole;

/// Numbers without order; the seed is told, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        println!("seed {seed}");
        Dice(u64::from(seed) | 1)
    }

    /// From 0 up to but not including `end` (xorshift64).
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// A moment of a run that takes `whole` when nobody disturbs it, sometimes just after its end.
    fn moment(&mut self, whole: Duration) -> Duration {
        let micros = u64::try_from(whole.as_micros()).unwrap();
        Duration::from_micros(self.below(micros + micros / 20))
    }
}

#[track_caller]
fn sane(output: &Output) {
    assert!(!output.stderr.contains("panicked"), "{output}");
    assert_ne!(output.code, 101, "{output}");
}

/// How long a run takes that nobody disturbs.
fn timed(site: &Site, args: &[&str]) -> Duration {
    let begun = Instant::now();
    site.ok(args).unwrap();
    begun.elapsed()
}

/// Kills a run with SIGKILL after a while; whether it was killed and did not end before.
fn killed(site: &Site, args: &[&str], after: Duration) -> bool {
    let running = start(&mut site.tool(args)).unwrap();
    thread::sleep(after);
    running.signal(Signal::KILL);
    let output = running.finish(Duration::from_secs(30)).unwrap();
    sane(&output);
    assert!(output.code == 137 || output.code == 0, "{output}");
    output.code == 137
}

/// Labels of the backups that are complete. One that was killed may be listed as what never completed.
fn labels(site: &Site) -> Vec<String> {
    let output = site.run(&["list", "-o", "ndjson"]).unwrap();
    assert!(output.code <= 1, "{output}");
    let listed = records(&output.stdout).unwrap();
    let complete = listed.iter().filter(|record| record["data"]["pending"] == false);
    complete.map(|record| record["subject"].as_str().unwrap().to_owned()).collect()
}

/// Temporary files that were left in a repository.
fn leftovers(site: &Site) -> Vec<PathBuf> {
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    ["pg", "files"].iter().flat_map(|part| files(&site.repository().join(part))).filter(hidden).collect()
}

/// Another program finds the repository whole, byte for byte.
fn restic_checks(site: &Site) {
    let repository = site.repository().join("pg").display().to_string();
    site.program_ok("restic", &["-r", &repository, "--no-cache", "--no-lock", "check", "--read-data"]).unwrap();
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// How many runs are killed before their end: backups, archived segments, prunes, restores.
const KILLS: (usize, usize, usize, usize) = (18, 14, 8, 10);

#[test]
fn a_backup_that_is_killed_at_any_moment_harms_nothing() {
    let site = Site::start("").unwrap();
    let mut dice = Dice::new();
    let whole = timed(&site, &["full-backup"]);
    let mut kills = 0;
    let mut known = labels(&site);
    while kills < KILLS.0 {
        site.work(5).unwrap();
        let args = if kills % 2 == 0 { &["full-backup"][..] } else { &["incremental-backup", "--force-read"] };
        kills += usize::from(killed(&site, args, dice.moment(whole)));
        site.ok(&["incremental-backup"]).unwrap();
        let now = labels(&site);
        assert!(now.starts_with(&known) && now.len() <= known.len() + 2, "{known:?} became {now:?}");
        known = now;
        // Also as others read it: the engine finds what no index names, other programs do not.
        restic_checks(&site);
        site.ok(&["validate-backups"]).unwrap();
    }
    restic_checks(&site);
    assert!(leftovers(&site).is_empty(), "{:?}", leftovers(&site));
    let rows = site.sql("SELECT count(*) FROM ledger").unwrap();
    site.switch().unwrap();
    let target = site.dir().join("restored");
    site.ok(&["database-recovery", "--target-dir", &text(&target), "--yes"]).unwrap();
    assert_eq!(site.recover(&target).unwrap().sql("SELECT count(*) FROM ledger").unwrap(), rows);
}

#[test]
fn a_segment_whose_archiving_is_killed_at_any_moment_is_archived_by_the_next_try() {
    let site = Site::with(&[("wal_keep_size", "1GB")], "").unwrap();
    site.sql("ALTER SYSTEM SET archive_command = '/bin/true'").unwrap();
    site.sql("SELECT pg_reload_conf()").unwrap();
    let mut dice = Dice::new();
    let mut segments = Vec::new();
    for _ in 0..4 * KILLS.1 {
        site.work(20).unwrap();
        segments.push(site.sql("SELECT pg_walfile_name(pg_switch_wal())").unwrap());
    }
    let pg_wal = site.server().data_dir().join("pg_wal");
    let push = |segment: &str| text(&pg_wal.join(segment));
    timed(&site, &["wal-push", &push(&segments[0])]);
    // The first one makes directories and fills caches.
    let whole = timed(&site, &["wal-push", &push(&segments[1])]);
    let fetched = site.dir().join("fetched");
    let fetch = |segment: &str| {
        let output = site.run(&["wal-fetch", segment, &text(&fetched)]).unwrap();
        sane(&output);
        let same = fetched.exists() && fs::read(&fetched).unwrap() == fs::read(pg_wal.join(segment)).unwrap();
        let _ = fs::remove_file(&fetched);
        (output.code, same)
    };
    let mut kills = 0;
    for segment in &segments[2..] {
        if kills == KILLS.1 {
            break;
        }
        kills += usize::from(killed(&site, &["wal-push", &push(segment)], dice.moment(whole)));
        // There or not, but never in part.
        assert!([(0, true), (1, false)].contains(&fetch(segment)), "{segment}");
        site.ok(&["wal-push", &push(segment)]).unwrap();
        assert_eq!(fetch(segment), (0, true), "{segment}");
    }
    assert_eq!(kills, KILLS.1, "too few of {} were killed before their end", segments.len());
    site.ok(&["validate-backups"]).unwrap();
}

#[test]
fn a_prune_that_is_killed_at_any_moment_harms_nothing() {
    let site = Site::start("keep_full = 1\nkeep_days = 0").unwrap();
    let mut dice = Dice::new();
    site.sql("CREATE TABLE filler AS SELECT n, md5(n::text) FROM generate_series(1, 20000) n").unwrap();
    let renew = || {
        site.sql("UPDATE filler SET md5 = md5(random()::text)").unwrap();
        site.ok(&["full-backup"]).unwrap();
        site.ok(&["expire", "--apply", "--yes"]).unwrap();
    };
    renew();
    renew();
    let whole = timed(&site, &["prune", "--yes"]);
    let mut kills = 0;
    while kills < KILLS.2 {
        renew();
        kills += usize::from(killed(&site, &["prune", "--yes"], dice.moment(whole)));
        site.ok(&["validate-backups"]).unwrap();
        site.ok(&["prune", "--yes"]).unwrap();
    }
    site.ok(&["validate-backups", "--all"]).unwrap();
    restic_checks(&site);
    assert!(leftovers(&site).is_empty(), "{:?}", leftovers(&site));
    restored_whole(&site, "restored", "latest");
}

#[test]
fn a_restore_that_is_killed_at_any_moment_cannot_be_started() {
    let site = Site::start("").unwrap();
    site.work(50).unwrap();
    site.ok(&["full-backup"]).unwrap();
    let mut dice = Dice::new();
    let whole =
        timed(&site, &["database-recovery", "--immediate", "--yes", "--target-dir", &text(&site.dir().join("r"))]);
    let (mut kills, mut round) = (0, 0);
    while kills < KILLS.3 {
        round += 1;
        let target = site.dir().join(format!("r{round}"));
        let args = ["database-recovery", "--immediate", "--yes", "--target-dir", &text(&target)];
        let early = killed(&site, &args, dice.moment(whole));
        kills += usize::from(early);
        if target.join("global/pg_control").exists() {
            site.program_ok(site.server_program("pg_verifybackup"), &["-n", &text(&target)]).unwrap();
        } else {
            assert!(early, "it ended with 0 and is not complete");
            assert!(site.recover(&target).is_err(), "a server starts from half a restore");
        }
        let _ = fs::remove_dir_all(&target);
    }
    site.ok(&["validate-backups"]).unwrap();
    restored_whole(&site, "restored", "latest");
}

#[test]
fn a_full_disk_of_the_repository_fails_the_backup_and_loses_nothing() {
    let site = Site::start("").unwrap();
    let Some(disk) = site.small_disk("disk", 400 << 20).unwrap() else { return };
    site.configure("maint.toml", "disk/repository", "").unwrap();
    site.ok(&["init"]).unwrap();
    site.work(10).unwrap();
    site.ok(&["full-backup"]).unwrap();
    let before = labels(&site);
    // Of what does not compress, more than fits.
    let sql = "CREATE TABLE noise AS SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 200000) n GROUP BY n / 50";
    site.sql(sql).unwrap();
    let last = site.sql("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
    let archived_up_to =
        |segment: &str| site.sql("SELECT last_archived_wal FROM pg_stat_archiver").is_ok_and(|name| *name >= *segment);
    testbed::wait_until("the log is archived", Duration::from_mins(1), || archived_up_to(&last)).unwrap();
    let used: u64 = files(disk.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    disk.resize(used + (3 << 20)).unwrap();
    let output = site.run(&["full-backup"]).unwrap();
    sane(&output);
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stderr.contains("space"), "it says why: {output}");
    assert_eq!(labels(&site), before, "nothing new is listed, nothing old is gone");
    // The log as well: the server keeps what the archive does not take.
    disk.fill().unwrap();
    let archived =
        |column: &str| -> u64 { site.sql(&format!("SELECT {column} FROM pg_stat_archiver")).unwrap().parse().unwrap() };
    let failures = archived("failed_count");
    site.work(10).unwrap();
    let segment = site.sql("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
    testbed::wait_until("archiving fails", Duration::from_mins(1), || archived("failed_count") > failures).unwrap();
    disk.relieve().unwrap();
    disk.resize(400 << 20).unwrap();
    site.sql("SELECT pg_reload_conf()").unwrap();
    testbed::wait_until("archiving goes on", Duration::from_mins(2), || archived_up_to(&segment)).unwrap();
    site.ok(&["full-backup"]).unwrap();
    site.ok(&["validate-backups"]).unwrap();
    site.ok(&["wal", "gaps"]).unwrap();
    restored_whole(&site, "restored", "latest");
}

#[test]
fn a_full_disk_of_the_spool_reports_no_segment_as_archived() {
    let site = Site::start("").unwrap();
    let Some(disk) = site.small_disk("spool", 4 << 20).unwrap() else { return };
    let spool = format!("spool = \"{}\"\nwal_timeout = \"5s\"", disk.path().display());
    site.configure("maint.toml", "repository", &spool).unwrap();
    site.work(10).unwrap();
    site.switch().unwrap();
    disk.fill().unwrap();
    site.work(10).unwrap();
    let segment = site.sql("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
    let failing = || site.sql("SELECT failed_count FROM pg_stat_archiver").unwrap() != "0";
    // Either it is not reported, or it is in the archive: what matters is that the two agree.
    testbed::wait_until("the server is told", Duration::from_mins(1), || {
        failing() || site.sql("SELECT last_archived_wal FROM pg_stat_archiver").unwrap() >= segment
    })
    .unwrap();
    if !failing() {
        assert!(site.object(&segment).is_some(), "{segment} was reported and is not there");
    }
    disk.relieve().unwrap();
    site.wait_archived(&segment).unwrap();
    site.work(10).unwrap();
    site.switch().unwrap();
    site.ok(&["full-backup"]).unwrap();
    site.ok(&["validate-backups"]).unwrap();
}

#[test]
fn a_full_disk_of_the_target_is_foreseen_or_leaves_what_cannot_be_started() {
    let site = Site::start("").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let Some(disk) = site.small_disk("disk", 10 << 20).unwrap() else { return };
    let target = disk.path().join("restored");
    let args = ["database-recovery", "--immediate", "--yes", "--target-dir", &text(&target)];
    let output = site.run(&args).unwrap();
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("space") || output.stderr.contains("free"), "it says why: {output}");
    assert!(!target.exists(), "nothing was touched");
    // Large enough when it begins, and then somebody else fills it.
    disk.resize(400 << 20).unwrap();
    let running = start(&mut site.tool(&args)).unwrap();
    testbed::wait_until("it begins to write", Duration::from_secs(30), || files(&target).len() > 3).unwrap();
    disk.fill().unwrap();
    let output = running.finish(Duration::from_mins(1)).unwrap();
    sane(&output);
    disk.relieve().unwrap();
    if output.code == 0 {
        site.program_ok(site.server_program("pg_verifybackup"), &["-n", &text(&target)]).unwrap();
    } else {
        assert_eq!(output.code, 2, "{output}");
        assert!(!target.join("global/pg_control").exists(), "{output}");
        assert!(site.recover(&target).is_err());
    }
}

/// Points of failure of fiu-run(1), with probabilities at which some runs still get through.
const RULES: [(&str, &str); 7] = [
    ("posix/io/rw/write", "0.003"),
    ("posix/io/rw/write", "0.02"),
    ("posix/io/sync/fsync", "0.1"),
    ("posix/io/rw/read", "0.001"),
    ("posix/io/rw/pread", "0.02"),
    ("posix/io/dir/rename", "0.2"),
    ("posix/io/oc/open", "0.002"),
];

/// Runs with a point of failure. `None` when the run had no chance to end well: a failing write(2) also meets the eventfd by
/// which the asynchronous runtime wakes itself, which cannot fail on any system, and which it panics on.
#[track_caller]
fn failing(site: &Site, point: (&str, &str), args: &[&str]) -> Option<Output> {
    let writes = point.0.ends_with("/write");
    let running = start(&mut site.tool_failing(&rule(point), args)).unwrap();
    let output = match running.finish(Duration::from_secs(if writes { 20 } else { 120 })) {
        Err(testbed::Error::TimedOut { .. }) if writes => return None,
        output => output.unwrap(),
    };
    if writes && output.stderr.contains("failed to wake I/O driver") {
        return None;
    }
    sane(&output);
    // To say why is to write, too.
    assert!(output.code == 0 || writes || !output.stderr.trim().is_empty(), "{point:?}: it does not say why");
    Some(output)
}

fn rule((name, probability): (&str, &str)) -> String {
    // 5 is EIO.
    format!("enable_random name={name},probability={probability},failinfo=5")
}

#[test]
fn a_backup_with_failing_input_and_output_ends_with_0_only_when_it_is_complete() {
    let site = Site::start("").unwrap();
    site.work(50).unwrap();
    site.ok(&["full-backup"]).unwrap();
    let (mut whole, mut failed) = (0, 0);
    for round in 0..2 {
        for point in RULES {
            let before = labels(&site);
            let output = failing(&site, point, &["incremental-backup", "--force-read"]);
            let now = labels(&site);
            // With 1 it is complete as well: only the journal could not be written.
            if let Some(output) = output.as_ref().filter(|output| output.code <= 1) {
                whole += 1;
                assert_eq!(now.len(), before.len() + 1, "{point:?}: {output}");
                let target = site.dir().join(format!("restored{whole}"));
                let args = ["database-recovery", "--immediate", "--yes", "--target-dir", &text(&target)];
                site.ok(&args).unwrap();
                site.program_ok(site.server_program("pg_verifybackup"), &["-n", &text(&target)]).unwrap();
                fs::remove_dir_all(&target).unwrap();
            } else {
                failed += 1;
                assert!(output.is_none_or(|output| [2, 3].contains(&output.code)), "{point:?}");
                // It may be complete all the same: what failed then was the last word.
                assert!(now.starts_with(&before), "{point:?}: {before:?} became {now:?}");
            }
        }
        println!("round {round}: {whole} whole, {failed} failed");
    }
    assert!(failed > 3, "no fault was met: {whole} of {}", whole + failed);
    site.ok(&["incremental-backup"]).unwrap();
    site.ok(&["validate-backups", "--all"]).unwrap();
    restic_checks(&site);
}

#[test]
fn archiving_with_failing_input_and_output_ends_with_0_only_when_the_segment_is_there() {
    let site = Site::with(&[("wal_keep_size", "1GB")], "").unwrap();
    site.sql("ALTER SYSTEM SET archive_command = '/bin/true'").unwrap();
    site.sql("SELECT pg_reload_conf()").unwrap();
    let pg_wal = site.server().data_dir().join("pg_wal");
    let fetched = site.dir().join("fetched");
    let mut failed = 0;
    // It does little, so each of it must be likelier to fail.
    let rules = [
        ("posix/io/rw/write", "0.1"),
        ("posix/io/sync/fsync", "0.4"),
        ("posix/io/rw/read", "0.05"),
        ("posix/io/dir/rename", "0.4"),
        ("posix/io/oc/open", "0.05"),
    ];
    for point in [rules; 4].into_iter().flatten() {
        site.work(5).unwrap();
        let segment = site.sql("SELECT pg_walfile_name(pg_switch_wal())").unwrap();
        let own = text(&pg_wal.join(&segment));
        let output = failing(&site, point, &["wal-push", &own]);
        let code = output.map_or(1, |output| output.code);
        assert!([0, 1].contains(&code), "{point:?}: {code}");
        failed += code;
        if code != 0 {
            site.ok(&["wal-push", &own]).unwrap();
        }
        // And back: what is fetched is whole, or there is nothing.
        let output = failing(&site, point, &["wal-fetch", &segment, &text(&fetched)]);
        let code = output.map_or(200, |output| output.code);
        assert!([0, 200].contains(&code), "{point:?}: it is there, so its absence is no answer: {code}");
        if code == 0 {
            assert!(fs::read(&fetched).unwrap() == fs::read(pg_wal.join(&segment)).unwrap(), "{point:?}");
        }
        let _ = fs::remove_file(&fetched);
        site.ok(&["wal-fetch", &segment, &text(&fetched)]).unwrap();
        assert!(fs::read(&fetched).unwrap() == fs::read(pg_wal.join(&segment)).unwrap(), "{point:?}");
        fs::remove_file(&fetched).unwrap();
    }
    assert!(failed > 0, "no fault was met");
    site.ok(&["validate-backups"]).unwrap();
}

#[test]
fn a_restore_with_failing_input_and_output_ends_with_0_only_when_it_is_complete() {
    let site = Site::start("").unwrap();
    site.work(50).unwrap();
    site.ok(&["full-backup"]).unwrap();
    let mut failed = 0;
    for (number, point) in RULES.into_iter().chain(RULES).enumerate() {
        let target = site.dir().join(format!("r{number}"));
        let args = ["database-recovery", "--immediate", "--yes", "--target-dir", &text(&target)];
        let code = failing(&site, point, &args).map_or(2, |output| output.code);
        // With 1 it is complete as well: only the journal could not be written.
        if code <= 1 {
            site.program_ok(site.server_program("pg_verifybackup"), &["-n", &text(&target)]).unwrap();
        } else {
            failed += 1;
            assert!([2, 3].contains(&code), "{point:?}: {code}");
            // With the control file in place, all of it must be: what failed then was the last word.
            if target.join("global/pg_control").exists() {
                site.program_ok(site.server_program("pg_verifybackup"), &["-n", &text(&target)]).unwrap();
            }
        }
        let _ = fs::remove_dir_all(&target);
    }
    assert!(failed > 2, "no fault was met");
}
