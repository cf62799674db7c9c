//! What may be removed, what never is, and what brings a repository back into order.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testbed::{Output, Site, files, records, run};

/// A site with this many full backups.
fn with_backups(count: usize) -> Site {
    let site = Site::start("").unwrap();
    for _ in 0..count {
        site.work(20).unwrap();
        site.ok(&["full-backup"]).unwrap();
    }
    site
}

fn out(site: &Site, args: &[&str]) -> Output {
    run(site.tool(args).args(["-o", "ndjson"])).unwrap()
}

/// Runs it, and wants it to succeed. The records, without the summary.
#[track_caller]
fn ok(site: &Site, args: &[&str]) -> Vec<Value> {
    let output = out(site, args);
    assert_eq!(output.code, 0, "{args:?}: {output}");
    told(&output)
}

/// The records of an output without its summary.
pub(super) fn told(output: &Output) -> Vec<Value> {
    let mut all = records(&output.stdout).unwrap();
    all.retain(|record| record["type"] != "maint.summary.v1");
    all
}

pub(super) fn subjects(records: &[Value]) -> Vec<String> {
    records.iter().filter_map(|record| record["subject"].as_str().map(str::to_owned)).collect()
}

/// Labels of the backups that are listed, oldest first.
fn labels(site: &Site) -> Vec<String> {
    subjects(&ok(site, &["list"]))
}

/// Names of the WAL segments in a repository, sorted.
pub(super) fn segments(repository: &Path) -> Vec<String> {
    let segment = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".wal").map(str::to_owned);
    let mut found: Vec<String> = files(&repository.join("wal")).iter().filter_map(segment).collect();
    found.retain(|name| name.len() == 24);
    found.sort();
    found
}

/// Path and size of everything in a directory.
fn all_of(directory: &Path) -> Vec<(String, u64)> {
    files(directory).iter().map(|path| (path.display().to_string(), fs::metadata(path).unwrap().len())).collect()
}

#[test]
fn prune_with_unreadable_snapshots_removes_nothing() {
    let site = with_backups(1);
    let (data, snapshots) = (site.dir().join("repository/pg/data"), site.dir().join("repository/pg/snapshots"));
    let before = all_of(&data);
    for args in [&["prune", "--yes"][..], &["prune", "--yes", "--force"]] {
        fs::set_permissions(&snapshots, Permissions::from_mode(0o000)).unwrap();
        let output = out(&site, args);
        fs::set_permissions(&snapshots, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(output.code, 2, "{output}");
        assert!(output.stdout.contains("pg/snapshots"), "{output}");
        assert_eq!(all_of(&data), before);
    }
    ok(&site, &["prune", "--yes"]);
    let after = all_of(&data);
    assert!(before.iter().all(|pack| after.contains(pack)), "what is rewritten stays until a later run");
}

#[test]
fn prune_refuses_when_backups_are_gone_that_nobody_let_go() {
    let site = with_backups(3);
    ok(&site, &["prune", "--yes"]);
    let data = all_of(&site.dir().join("repository/pg/data"));
    for snapshot in files(&site.dir().join("repository/pg/snapshots")).iter().skip(1) {
        fs::remove_file(snapshot).unwrap();
    }
    let output = out(&site, &["prune", "--yes"]);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stdout.contains("2 of the 3 backups"), "{output}");
    assert_eq!(all_of(&site.dir().join("repository/pg/data")), data);
    ok(&site, &["prune", "--yes", "--force"]);
    // What is there now is what the next run expects.
    ok(&site, &["prune", "--yes"]);
    for snapshot in files(&site.dir().join("repository/pg/snapshots")) {
        fs::remove_file(snapshot).unwrap();
    }
    let output = out(&site, &["prune", "--yes"]);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stdout.contains("no snapshot"), "{output}");
}

#[test]
fn expire_lists_first_and_removes_backups_with_the_wal_that_only_they_need() {
    let site = with_backups(3);
    let all = labels(&site);
    let before = all_of(&site.dir().join("repository"));
    let rules = ["expire", "--keep-full", "1", "--keep-days", "0"];
    let plan = ok(&site, &rules);
    assert!(plan.iter().all(|record| record["type"] == "maint.plan.v1"), "{plan:?}");
    assert_eq!(subjects(&plan), [all[0].as_str(), all[1].as_str(), "WAL of timeline 1"]);
    let wanted = ok(&site, &["info", &all[2]])[0]["data"]["start_segment"].as_str().unwrap().to_owned();
    // Neither without --apply, nor without consent.
    ok(&site, &[&rules[..], &["--apply", "--dry-run"]].concat());
    let output = out(&site, &[&rules[..], &["--apply"]].concat());
    assert_eq!(output.code, 3, "{output}");
    assert_eq!(all_of(&site.dir().join("repository")), before);

    let done = ok(&site, &[&rules[..], &["--apply", "--yes"]].concat());
    assert!(done.iter().all(|record| record["data"]["status"] == "ok"), "{done:?}");
    assert_eq!(labels(&site), all[2..]);
    assert_eq!(segments(&site.repository()).first(), Some(&wanted));
    assert!(ok(&site, &[&rules[..], &["--apply", "--yes"]].concat()).is_empty(), "and nothing is left to do");
    // What was let go on purpose is not missed.
    ok(&site, &["prune", "--yes"]);
}

#[test]
fn a_pinned_backup_stays_with_its_wal() {
    let site = with_backups(2);
    let all = labels(&site);
    let start = ok(&site, &["info", &all[0]])[0]["data"]["start_segment"].as_str().unwrap().to_owned();
    let mut wal = segments(&site.repository());
    wal.retain(|name| *name >= start);
    ok(&site, &["pin", &all[0]]);
    ok(&site, &["expire", "--keep-full", "1", "--keep-days", "0", "--apply", "--yes"]);
    assert_eq!(labels(&site), all);
    assert!(segments(&site.repository()).starts_with(&wal));
}

#[test]
fn the_second_repository_holds_the_same_and_opens_with_a_password_of_its_own() {
    let site = with_backups(2);
    let second = site.dir().join("second");
    site.write("second-password", "another long password\n").unwrap();
    let config = fs::read_to_string(site.dir().join("maint.toml")).unwrap();
    let more =
        format!("second_repository = {second:?}\nsecond_password_file = {:?}\n", site.dir().join("second-password"));
    site.write("maint.toml", &(config + &more)).unwrap();
    ok(&site, &["copy", "--dry-run"]);
    assert!(!second.exists(), "a dry run makes nothing");
    ok(&site, &["copy"]);
    let in_second = |args: &[&str]| {
        let place = second.display().to_string();
        let password = site.dir().join("second-password").display().to_string();
        ok(&site, &[args, &["--repository", &place, "--password-file", &password]].concat())
    };
    assert_eq!(subjects(&in_second(&["list"])), labels(&site));
    assert_eq!(segments(&second), segments(&site.repository()));
    for part in ["pg", "files"] {
        let (part, password) = (second.join(part), site.dir().join("second-password"));
        let [part, password] = [part, password].map(|path| path.display().to_string());
        let args = ["--no-cache", "--no-lock", "-r", &part, "--password-file", &password, "check", "--read-data"];
        site.program_ok("restic", &args).unwrap();
    }
    let again: Vec<_> = ok(&site, &["copy"]);
    assert!(again.iter().all(|record| record["subject"] == "WAL and notes"), "{again:?}");
    // A damaged object is not copied, and does not keep the others from being copied.
    site.switch().unwrap();
    ok(&site, &["full-backup"]);
    let missing = segments(&site.repository()).into_iter().find(|name| !segments(&second).contains(name)).unwrap();
    let objects = files(&site.dir().join("repository/wal"));
    let damaged = objects.iter().find(|path| path.display().to_string().ends_with(&format!("/{missing}.wal"))).unwrap();
    let mut body = fs::read(damaged).unwrap();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    fs::write(damaged, body).unwrap();
    let output = out(&site, &["copy"]);
    assert_eq!(output.code, 2, "{output}");
    assert!(!segments(&second).contains(&missing), "{output}");
    assert_eq!(subjects(&in_second(&["list"])), labels(&site));
}

#[test]
fn repair_sets_a_backup_aside_that_lost_data_and_takes_it_back() {
    let site = with_backups(2);
    let all = labels(&site);
    assert_eq!(ok(&site, &["repair", "--dry-run"])[0]["type"], "maint.check.v1");
    let packs = files(&site.dir().join("repository/pg/data"));
    let lost = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let aside = site.dir().join("aside");
    fs::rename(lost, &aside).unwrap();
    let plan = ok(&site, &["repair", "--dry-run"]);
    assert!(plan.iter().all(|record| record["type"] == "maint.plan.v1"), "{plan:?}");
    let output = out(&site, &["repair", "--yes"]);
    assert_eq!(output.code, 2, "{output}");
    let set_aside = subjects(&told(&output));
    assert!(all.iter().any(|label| set_aside.contains(label)), "{output}");
    let output = out(&site, &["list"]);
    assert!(output.stdout.contains("lost data"), "{output}");
    fs::rename(&aside, lost).unwrap();
    ok(&site, &["repair", "--yes"]);
    assert_eq!(labels(&site), all);
}

#[test]
fn a_rotated_password_replaces_the_old_one_and_archiving_goes_on_meanwhile() {
    let site = with_backups(1);
    site.write("new-password", "the new password\n").unwrap();
    let new = site.dir().join("new-password").display().to_string();
    let output = out(&site, &["key", "rotate", "--new-password-file", &new]);
    assert_eq!(output.code, 3, "it asks first: {output}");
    let output = out(&site, &["key", "rotate", "--new-password-file", &new, "--yes"]);
    assert_eq!(output.code, 1, "the configuration still names the old one: {output}");
    assert_eq!(ok(&site, &["key", "list"]).len(), 2);
    // The cached master key opens it still.
    ok(&site, &["full-backup"]);
    fs::remove_file(site.dir().join("password.keys")).unwrap();
    let output = out(&site, &["list"]);
    assert_eq!(output.code, 3, "{output}");
    fs::rename(site.dir().join("new-password"), site.dir().join("password")).unwrap();
    assert_eq!(labels(&site).len(), 2);
}
