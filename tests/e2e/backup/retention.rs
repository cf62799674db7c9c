//! What may be removed, what never is, and what brings a repository back into order.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::place::{Site, files, subjects, told};

/// A site with this many full backups.
fn with_backups(count: usize) -> Site {
    let site = Site::new();
    site.archive();
    site.sql("CREATE TABLE ledger (a int)");
    for _ in 0..count {
        site.sql("INSERT INTO ledger SELECT generate_series(1, 20000)");
        site.ok(&["full-backup"]);
    }
    site
}

/// Path and size of everything in a directory.
fn all_of(directory: &Path) -> Vec<(String, u64)> {
    files(directory).iter().map(|path| (path.display().to_string(), fs::metadata(path).unwrap().len())).collect()
}

#[test]
fn prune_with_unreadable_snapshots_removes_nothing() {
    let site = with_backups(1);
    let (data, snapshots) = (site.path("repository/pg/data"), site.path("repository/pg/snapshots"));
    let before = all_of(&data);
    for args in [&["prune", "--yes"][..], &["prune", "--yes", "--force"]] {
        fs::set_permissions(&snapshots, Permissions::from_mode(0o000)).unwrap();
        let output = site.run(args);
        fs::set_permissions(&snapshots, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(output.code, 2, "{output}");
        assert!(output.stdout.contains("pg/snapshots"), "{output}");
        assert_eq!(all_of(&data), before);
    }
    site.ok(&["prune", "--yes"]);
    assert_eq!(all_of(&data), before);
}

#[test]
fn prune_refuses_when_backups_are_gone_that_nobody_let_go() {
    let site = with_backups(3);
    site.ok(&["prune", "--yes"]);
    let data = all_of(&site.path("repository/pg/data"));
    for snapshot in files(&site.path("repository/pg/snapshots")).iter().skip(1) {
        fs::remove_file(snapshot).unwrap();
    }
    let output = site.run(&["prune", "--yes"]);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stdout.contains("2 of the 3 backups"), "{output}");
    assert_eq!(all_of(&site.path("repository/pg/data")), data);
    site.ok(&["prune", "--yes", "--force"]);
    // What is there now is what the next run expects.
    site.ok(&["prune", "--yes"]);
    for snapshot in files(&site.path("repository/pg/snapshots")) {
        fs::remove_file(snapshot).unwrap();
    }
    let output = site.run(&["prune", "--yes"]);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stdout.contains("no snapshot"), "{output}");
}

#[test]
fn expire_lists_first_and_removes_backups_with_the_wal_that_only_they_need() {
    let site = with_backups(3);
    let labels = site.labels();
    let before = all_of(&site.path("repository"));
    let rules = ["expire", "--keep-full", "1", "--keep-days", "0"];
    let plan = site.ok(&rules);
    assert!(plan.iter().all(|record| record["type"] == "maint.plan.v1"), "{plan:?}");
    assert_eq!(subjects(&plan), [labels[0].as_str(), labels[1].as_str(), "WAL of timeline 1"]);
    let wanted = site.ok(&["info", &labels[2]])[0]["data"]["start_segment"].as_str().unwrap().to_owned();
    // Neither without --apply, nor without consent.
    site.ok(&[&rules[..], &["--apply", "--dry-run"]].concat());
    let output = site.run(&[&rules[..], &["--apply"]].concat());
    assert_eq!(output.code, 3, "{output}");
    assert_eq!(all_of(&site.path("repository")), before);

    let done = site.ok(&[&rules[..], &["--apply", "--yes"]].concat());
    assert!(done.iter().all(|record| record["data"]["status"] == "ok"), "{done:?}");
    assert_eq!(site.labels(), labels[2..]);
    assert_eq!(site.segments("repository").first(), Some(&wanted));
    assert!(site.ok(&[&rules[..], &["--apply", "--yes"]].concat()).is_empty(), "and nothing is left to do");
    // What was let go on purpose is not missed.
    site.ok(&["prune", "--yes"]);
}

#[test]
fn a_pinned_backup_stays_with_its_wal() {
    let site = with_backups(2);
    let labels = site.labels();
    let segments = site.segments("repository");
    site.ok(&["pin", &labels[0]]);
    assert!(site.ok(&["expire", "--keep-full", "1", "--keep-days", "0", "--apply", "--yes"]).is_empty());
    assert_eq!(site.labels(), labels);
    assert!(site.segments("repository").starts_with(&segments));
}

#[test]
fn the_second_repository_holds_the_same_and_opens_with_a_password_of_its_own() {
    let site = with_backups(2);
    let second = site.path("second");
    site.write("second-password", "another long password\n");
    let config = fs::read_to_string(site.path("maint.toml")).unwrap();
    let more = format!("second_repository = {second:?}\nsecond_password_file = {:?}\n", site.path("second-password"));
    site.write("maint.toml", &(config + &more));
    site.ok(&["copy", "--dry-run"]);
    assert!(!second.exists(), "a dry run makes nothing");
    site.ok(&["copy"]);
    let in_second = |args: &[&str]| {
        let place = second.display().to_string();
        let password = site.path("second-password").display().to_string();
        site.ok(&[args, &["--repository", &place, "--password-file", &password]].concat())
    };
    assert_eq!(subjects(&in_second(&["list"])), site.labels());
    assert_eq!(site.segments("second"), site.segments("repository"));
    let again: Vec<_> = site.ok(&["copy"]);
    assert!(again.iter().all(|record| record["subject"] == "WAL and notes"), "{again:?}");
    // A damaged object is not copied, and does not keep the others from being copied.
    site.sql("SELECT pg_switch_wal()");
    site.ok(&["full-backup"]);
    let missing = site.segments("repository").into_iter().find(|name| !site.segments("second").contains(name)).unwrap();
    let wal = files(&site.path("repository/wal"));
    let damaged = wal.iter().find(|path| path.display().to_string().contains(&missing)).unwrap();
    let mut body = fs::read(damaged).unwrap();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    fs::write(damaged, body).unwrap();
    let output = site.run(&["copy"]);
    assert_eq!(output.code, 2, "{output}");
    assert!(!site.segments("second").contains(&missing), "{output}");
    assert_eq!(subjects(&in_second(&["list"])), site.labels());
}

#[test]
fn repair_sets_a_backup_aside_that_lost_data_and_takes_it_back() {
    let site = with_backups(2);
    let labels = site.labels();
    assert_eq!(site.ok(&["repair", "--dry-run"])[0]["type"], "maint.check.v1");
    let packs = files(&site.path("repository/pg/data"));
    let lost = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let aside = site.path("aside");
    fs::rename(lost, &aside).unwrap();
    let plan = site.ok(&["repair", "--dry-run"]);
    assert!(plan.iter().all(|record| record["type"] == "maint.plan.v1"), "{plan:?}");
    let output = site.run(&["repair", "--yes"]);
    assert_eq!(output.code, 2, "{output}");
    let set_aside = subjects(&told(&output));
    assert!(labels.iter().any(|label| set_aside.contains(label)), "{output}");
    let output = site.run(&["list"]);
    assert!(output.stdout.contains("lost data"), "{output}");
    fs::rename(&aside, lost).unwrap();
    site.ok(&["repair", "--yes"]);
    assert_eq!(site.labels(), labels);
}

#[test]
fn a_rotated_password_replaces_the_old_one_and_archiving_goes_on_meanwhile() {
    let site = with_backups(1);
    site.write("new-password", "the new password\n");
    let new = site.path("new-password").display().to_string();
    let output = site.run(&["key", "rotate", "--new-password-file", &new]);
    assert_eq!(output.code, 3, "it asks first: {output}");
    let output = site.run(&["key", "rotate", "--new-password-file", &new, "--yes"]);
    assert_eq!(output.code, 1, "the configuration still names the old one: {output}");
    assert_eq!(site.ok(&["key", "list"]).len(), 2);
    // The cached master key opens it still.
    site.ok(&["full-backup"]);
    fs::remove_file(site.path("password.keys")).unwrap();
    let output = site.run(&["list"]);
    assert_eq!(output.code, 3, "{output}");
    fs::rename(site.path("new-password"), site.path("password")).unwrap();
    assert_eq!(site.labels().len(), 2);
}
