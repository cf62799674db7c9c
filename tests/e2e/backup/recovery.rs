//! Where a recovery writes, what it keeps, and what is left of one that did not come to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testbed::{Output, Signal, Site, files, records, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// Ends the server that a recovery has started.
struct Started<'a>(&'a Site, PathBuf);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let data = self.1.display().to_string();
        let _ = self.0.program_ok(self.0.server_program("pg_ctl"), &["-D", &data, "-m", "immediate", "stop"]);
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Asserts that no server starts from the directory.
fn cannot_start(site: &Site, data: &Path) {
    assert!(!data.join("global/pg_control").exists());
    site.recover(data).unwrap_err();
}

fn recover(site: &Site, target: &Path) -> Output {
    site.run(&["database-recovery", "--target-dir", &text(target), "--yes", "-o", "ndjson"]).unwrap()
}

#[test]
fn in_place_the_old_cluster_is_kept_and_the_new_one_opens_and_archives() {
    let site = Site::start("").unwrap();
    let data = site.server().data_dir().to_owned();
    site.sql(&format!("ALTER SYSTEM SET port = {}", site.server().port())).unwrap();
    let space = site.dir().join("space");
    site.program_ok("mkdir", &[&text(&space)]).unwrap();
    site.sql(&format!("CREATE TABLESPACE fast LOCATION '{}'", space.display())).unwrap();
    site.sql("CREATE TABLE there TABLESPACE fast AS SELECT generate_series(1, 1000) AS n").unwrap();
    site.ok(&["full-backup"]).unwrap();
    site.work(20).unwrap();
    let moment = site.sql("SELECT clock_timestamp()").unwrap();
    site.work(5).unwrap();
    site.switch().unwrap();
    let args = ["pitr-recovery", &moment, "--in-place", &text(&data), "--start", "--yes", "-o", "ndjson"];
    let output = site.run(&args).unwrap();
    assert_eq!(output.code, 3, "a server runs there: {output}");
    site.server().stop_fast().unwrap();
    // So damaged that it could not be started.
    fs::remove_file(data.join("global/pg_control")).unwrap();
    let output = site.run(&args).unwrap();
    let _started = Started(&site, data.clone());
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(site.sql("SELECT count(*) FROM ledger").unwrap(), "20");
    assert_eq!(site.sql("SELECT count(*) FROM there").unwrap(), "1000");
    let all = records(&output.stdout).unwrap();
    let opened = all.iter().find(|record| record["data"]["timeline"] == 2 && record["type"] == "maint.step.v1");
    let opened = &opened.unwrap_or_else(|| panic!("{output}"))["data"];
    assert!(opened["replayed_lsn"].as_str().is_some_and(|lsn| lsn.contains('/')), "{opened}");
    // The new timeline goes into the same archive.
    let segment = site.switch().unwrap();
    assert!(segment.starts_with("00000002"), "{segment}");
    let kept = |of: &Path| {
        let names = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| text(path).contains("before-")).collect::<Vec<_>>()
    };
    // The account of the server may not rename its directory here, as it is where that is a mount point.
    let old = [kept(&data), kept(data.parent().unwrap())].concat();
    assert!(old.len() == 1 && old[0].join("base").is_dir(), "{old:?}");
    assert!(kept(&space).len() == 1 && !files(&kept(&space)[0]).is_empty());
}

#[test]
fn what_is_damaged_in_the_repository_is_named_and_nothing_starts() {
    let site = Site::start("").unwrap();
    site.sql("CREATE TABLE noise AS SELECT md5(n::text) || md5((n + 1)::text) AS t FROM generate_series(1, 60000) n")
        .unwrap();
    site.ok(&["full-backup"]).unwrap();
    let packs = files(&site.repository().join("pg/data"));
    let pack = packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let mut bytes = fs::read(pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(pack).unwrap();
    fs::write(pack, bytes).unwrap();
    let target = site.dir().join("target");
    let output = recover(&site, &target);
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stdout.contains("/base/") && output.stdout.contains("no server starts from it"), "{output}");
    assert!(files(&target).len() > 500, "all but one file are there");
    cannot_start(&site, &target);
}

#[test]
fn a_restore_that_is_ended_at_any_moment_cannot_be_started() {
    let site = Site::start("").unwrap();
    site.sql("CREATE TABLE noise AS SELECT md5(n::text) AS t FROM generate_series(1, 200000) n").unwrap();
    site.ok(&["full-backup"]).unwrap();
    for (round, signal) in [Signal::KILL, Signal::TERM, Signal::KILL, Signal::INT, Signal::KILL].into_iter().enumerate()
    {
        let target = site.dir().join(format!("target-{round}"));
        let mut tool = site.tool(&["database-recovery", "--target-dir", &text(&target), "--yes"]);
        let running = testbed::start(&mut tool).unwrap();
        wait_until("some of it is there", SOON, || files(&target).len() > round * 200).unwrap();
        running.signal(signal);
        let output = running.finish(SOON).unwrap();
        if output.code == 0 {
            continue; // It was faster.
        }
        cannot_start(&site, &target);
        let again = recover(&site, &target);
        assert_eq!(again.code, 3, "what is there is not overwritten: {again}");
        if signal != Signal::KILL {
            assert!([130, 143].contains(&output.code) && output.stdout.contains("not whole"), "{output}");
        }
    }
    let target = site.dir().join("whole");
    assert_eq!(recover(&site, &target).code, 0);
    assert_eq!(site.recover(&target).unwrap().sql("SELECT count(*) FROM noise").unwrap(), "200000");
}

#[test]
fn a_copy_without_configuration_starts_by_itself() {
    // As on distributions that keep it elsewhere.
    let site = Site::start("").unwrap();
    let (data, etc) = (site.server().data_dir(), site.dir().join("etc"));
    fs::create_dir(&etc).unwrap();
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        fs::rename(data.join(name), etc.join(name)).unwrap();
    }
    site.ok(&["full-backup"]).unwrap();
    let target = site.dir().join("target");
    let output = recover(&site, &target);
    assert_eq!(output.code, 1, "that there is no configuration is said: {output}");
    assert!(output.stdout.contains("postgresql.conf"), "{output}");
    // Its logins are by the names of this host's users; for this look, everybody may.
    fs::write(target.join("pg_hba.conf"), "local all all trust\n").unwrap();
    assert_eq!(site.recover(&target).unwrap().sql("SELECT count(*) FROM ledger").unwrap(), "0");
}
