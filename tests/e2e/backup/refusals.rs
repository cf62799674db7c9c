//! What is refused, and that nothing is lost by it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use testbed::{Postgres, Site, files, records};

fn snapshots(site: &Site) -> usize {
    files(&site.repository().join("pg/snapshots")).len()
}

#[test]
fn a_file_that_cannot_be_read_fails_the_backup() {
    let site = Site::start("").unwrap();
    let path = site.sql("SELECT pg_relation_filepath('ledger')").unwrap();
    let file = site.server().data_dir().join(path);
    // Not by taking the right to read it away: root would not notice.
    let aside = site.dir().join("aside");
    fs::rename(&file, &aside).unwrap();
    fs::create_dir(&file).unwrap();
    std::os::unix::fs::symlink("/nonexistent", file.join("link")).unwrap();
    let output = site.run(&["full-backup"]).unwrap();
    fs::remove_dir_all(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    assert_eq!(output.code, 2, "{output}");
    assert_eq!(snapshots(&site), 0, "{output}");
    site.ok(&["full-backup"]).unwrap();
}

#[test]
fn the_files_must_be_those_of_the_server() {
    let site = Site::start("").unwrap();
    let other = Site::start("").unwrap();
    // Servers of the bed are copies of one template; their identity must differ for this.
    if other.sql("SELECT system_identifier FROM pg_control_system()").unwrap()
        == site.sql("SELECT system_identifier FROM pg_control_system()").unwrap()
    {
        return;
    }
    let data = other.server().data_dir().display().to_string();
    let output = site.run(&["full-backup", "--pgdata", &data]).unwrap();
    assert_eq!(output.code, 3, "{output}");
}

#[test]
fn a_server_that_is_down_is_critical() {
    let site = Site::start("").unwrap();
    site.server().stop_fast().unwrap();
    let output = site.run(&["full-backup"]).unwrap();
    assert_eq!(output.code, 2, "{output}");
    assert_eq!(snapshots(&site), 0);
}

#[test]
fn a_repository_that_is_not_there_is_never_made_anew() {
    let site = Site::start("").unwrap();
    site.ok(&["full-backup"]).unwrap();
    fs::rename(site.repository(), site.dir().join("unmounted")).unwrap();
    for command in [&["full-backup"][..], &["list"], &["prune", "--yes"], &["expire"]] {
        let output = site.run(command).unwrap();
        assert_eq!(output.code, 2, "{command:?}: {output}");
    }
    assert!(!site.repository().exists());
}

#[test]
fn an_unreadable_snapshot_directory_makes_prune_delete_nothing() {
    let site = Site::start("").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let snapshots = site.repository().join("pg/snapshots");
    let before = files(&site.repository().join("pg/data"));
    fs::set_permissions(&snapshots, fs::Permissions::from_mode(0o000)).unwrap();
    let output = site.run(&["prune", "--yes"]).unwrap();
    let listed = site.run(&["list"]).unwrap();
    fs::set_permissions(&snapshots, fs::Permissions::from_mode(0o700)).unwrap();
    assert_ne!(output.code, 0, "{output}");
    assert_ne!(listed.code, 0, "{listed}");
    assert_eq!(files(&site.repository().join("pg/data")), before);
    site.ok(&["prune", "--yes"]).unwrap();
    site.ok(&["validate-backups"]).unwrap();
}

#[test]
fn a_wrong_password_opens_nothing() {
    let site = Site::start("").unwrap();
    site.write("password", "another one").unwrap();
    fs::remove_file(site.dir().join("password.keys")).unwrap();
    let output = site.run(&["list"]).unwrap();
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("password"), "{output}");
    assert!(!format!("{output}").contains("another one"));
}

#[test]
fn restoring_never_overwrites() {
    let site = Site::start("").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let target = site.dir().join("full");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "x").unwrap();
    let output = site.run(&["database-recovery", "--target-dir", &target.display().to_string(), "--yes"]).unwrap();
    assert_eq!(output.code, 3, "{output}");
    let own = site.server().data_dir().display().to_string();
    let output = site.run(&["database-recovery", "--in-place", &own, "--yes"]).unwrap();
    assert_eq!(output.code, 3, "a server runs there: {output}");
    let output = site.run(&["database-recovery", "--target-dir", "/srv/x"]).unwrap();
    assert_eq!(output.code, 3, "nobody to ask: {output}");
}

#[test]
fn two_clusters_cannot_share_a_repository() {
    let site = Site::start("").unwrap();
    let segment = site.switch().unwrap();
    // Another cluster, made by initdb itself, so that it has an identity of its own.
    let data = site.dir().join("other");
    let text = data.display().to_string();
    site.program_ok(site.server_program("initdb"), &["-D", &text, "-U", "postgres", "--no-sync", "--auth=trust"])
        .unwrap();
    let theirs = files(&data.join("pg_wal")).into_iter().find(|path| path.extension().is_none()).unwrap();
    let before = files(&site.repository());
    let output = site.run(&["wal-push", &theirs.display().to_string()]).unwrap();
    assert_eq!(output.code, 1, "{output}");
    assert!(output.stderr.contains("cluster") || output.stderr.contains("identifier"), "{output}");
    assert_eq!(files(&site.repository()), before, "nothing was written");
    assert!(site.object(&segment).is_some());
}

#[test]
fn ctrl_c_leaves_no_backup_and_no_lock() {
    let site = Site::start("").unwrap();
    site.sql("CREATE TABLE big AS SELECT repeat('x', 500) || n AS t FROM generate_series(1, 60000) n").unwrap();
    let running = testbed::start(&mut site.tool(&["full-backup", "-o", "ndjson"])).unwrap();
    testbed::wait_until("the backup has begun", std::time::Duration::from_secs(20), || {
        site.repository().join("locks/write").exists()
    })
    .unwrap();
    running.signal(testbed::Signal::INT);
    let output = running.finish(std::time::Duration::from_secs(30)).unwrap();
    assert!([0, 130].contains(&output.code), "{output}");
    if output.code == 130 {
        assert_eq!(snapshots(&site), 0, "{output}");
        let summary = records(&output.stdout).unwrap().pop().unwrap();
        assert_eq!(summary["data"]["exit_code"], 130);
    }
    assert!(!site.repository().join("locks/write").exists());
    site.ok(&["full-backup"]).unwrap();
    let _ = Postgres::builder(15);
}
