//! A bit flips in what is stored, whatever it is: a restore either says so or is equal byte for byte, and validation finds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::{Site, files, records, run};

use super::restored_whole;

/// A site with an object of every kind.
fn full_of_everything() -> Site {
    let site = Site::start("").unwrap();
    let set = site.dir().join("set");
    fs::create_dir(&set).unwrap();
    fs::write(set.join("file"), "a file of a set\n".repeat(1000)).unwrap();
    let sets = format!("[backup-tool.sets.things]\npaths = [\"{}\"]", set.display());
    site.configure("maint.toml", "repository", &sets).unwrap();
    site.sql("CREATE TABLE noise AS SELECT n, md5(n::text) FROM generate_series(1, 30000) n").unwrap();
    site.work(20).unwrap();
    site.ok(&["full-backup"]).unwrap();
    site.ok(&["config-backup"]).unwrap();
    site.switch().unwrap();
    // Another timeline, so that there is a history file.
    site.server().stop_fast().unwrap();
    let own = site.server().data_dir().display().to_string();
    site.ok(&["database-recovery", "--in-place", &own, "--yes"]).unwrap();
    site.server().start_again().unwrap();
    testbed::wait_until("the server is open", std::time::Duration::from_mins(1), || {
        site.sql("SELECT pg_is_in_recovery()").is_ok_and(|text| text == "f")
    })
    .unwrap();
    site.work(20).unwrap();
    site.switch().unwrap();
    site.ok(&["validate-backups"]).unwrap();
    site
}

/// What an object is, and whether a path below the root is one.
type Kind = (&'static str, fn(&str) -> bool);

const KINDS: [Kind; 8] = [
    ("configuration", |path| path == "pg/config" || path == "files/config"),
    ("key", |path| path.starts_with("pg/keys/")),
    ("index", |path| path.starts_with("pg/index/")),
    ("snapshot", |path| path.starts_with("pg/snapshots/")),
    ("pack", |path| path.starts_with("pg/data/")),
    ("pack of files", |path| path.starts_with("files/data/")),
    ("segment", |path| path.starts_with("wal/") && !path.contains("history")),
    ("history", |path| path.starts_with("wal/") && path.contains("history")),
];

fn flip(path: &Path, part: usize, parts: usize, bit: u32) -> Vec<u8> {
    let whole = fs::read(path).unwrap();
    let mut bytes = whole.clone();
    let place = (bytes.len() * (2 * part + 1) / (2 * parts)).min(bytes.len() - 1);
    bytes[place] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
    whole
}

fn recovery(site: &Site, target: &Path) -> Command {
    site.tool(&["database-recovery", "--yes", "--target-dir", &target.display().to_string()])
}

fn equal(a: &Path, b: &Path) -> bool {
    run(Command::new("diff").arg("-r").arg("-q").arg(a).arg(b)).unwrap().code == 0
}

#[test]
fn a_flipped_bit_in_any_object_is_told_or_changes_nothing() {
    let site = full_of_everything();
    let root = site.repository();
    let reference = site.dir().join("reference");
    assert_eq!(run(&mut recovery(&site, &reference)).unwrap().code, 0);
    // The same again, to another place: only then does a comparison say something.
    let twin = site.dir().join("twin");
    assert_eq!(run(&mut recovery(&site, &twin)).unwrap().code, 0);
    assert!(equal(&reference, &twin), "two restores of one backup differ");
    for (kind, is_one) in KINDS {
        let all: Vec<PathBuf> = files(&root)
            .into_iter()
            .filter(|path| path.strip_prefix(&root).is_ok_and(|below| is_one(&below.display().to_string())))
            .collect();
        assert!(!all.is_empty(), "there is no {kind}");
        for part in 0..4 {
            let object = &all[part * all.len() / 4];
            let name = format!("{kind} {}, part {part}", object.display());
            let whole = flip(object, part, 4, u32::try_from(part).unwrap() * 3 + 1);
            // Without the cached key the password's object is read, as after a move to a new host.
            if kind == "key" {
                let _ = fs::remove_file(site.dir().join("password.keys"));
            }
            let target = site.dir().join("target");
            let output = run(&mut recovery(&site, &target)).unwrap();
            assert!(!output.stderr.contains("panicked"), "{name}: {output}");
            if output.code == 0 {
                assert!(equal(&reference, &target), "{name}: silently another restore");
            } else {
                assert!([1, 2, 3].contains(&output.code), "{name}: {output}");
                assert!(output.stderr.trim().len() > 20, "{name}: it does not say why: {output}");
                assert!(!target.join("global/pg_control").exists(), "{name}: it can be started: {output}");
            }
            let _ = fs::remove_dir_all(&target);
            // The time of a key's making may change without harm; a lost note of who made it is no damage.
            let checked = site.run(&["validate-backups", "--all"]).unwrap();
            assert!(!checked.stderr.contains("panicked"), "{name}: {checked}");
            if kind != "key" {
                assert_ne!(checked.code, 0, "{name}: validation finds nothing: {checked}");
            }
            fs::write(object, whole).unwrap();
        }
    }
    site.ok(&["validate-backups", "--all"]).unwrap();
    restored_whole(&site, "whole", "latest");
}

#[test]
fn what_is_lost_or_cut_short_is_found() {
    let site = full_of_everything();
    let root = site.repository();
    let listed = records(&site.ok(&["list", "--clusters", "-o", "ndjson"]).unwrap().stdout).unwrap();
    // A segment that the backup needs; one before the first backup may go.
    let needed = listed[0]["data"]["start_segment"].as_str().unwrap().to_owned();
    for (kind, is_one) in KINDS.into_iter().filter(|(kind, _)| !["configuration", "key"].contains(kind)) {
        let is_it = |path: &str| is_one(path) && (kind != "segment" || path.ends_with(&format!("{needed}.wal")));
        let below = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
        let object = files(&root).into_iter().find(|path| is_it(&below(path))).unwrap();
        let whole = fs::read(&object).unwrap();
        fs::write(&object, &whole[..whole.len() / 2]).unwrap();
        let output = site.run(&["validate-backups", "--all"]).unwrap();
        assert_eq!(output.code, 2, "{kind} cut short: {output}");
        fs::write(&object, &whole).unwrap();
        // That a backup is gone can only be told by who has seen it whole the last time.
        site.ok(&["validate-backups", "--all"]).unwrap();
        fs::remove_file(&object).unwrap();
        let output = site.run(&["validate-backups", "--all"]).unwrap();
        assert_ne!(output.code, 0, "{kind} lost: {output}");
        fs::write(&object, whole).unwrap();
        site.ok(&["validate-backups", "--all"]).unwrap();
    }
}
